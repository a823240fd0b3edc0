import keras
import numpy as np
import pytest

from keras_infnet.models import DIEN
from tests import tiny
from tests.reference import sequences
from tests.reference.schema_tokens import history_tokens
from tests.reference.textbook import Weights
from tests.reference.tokens import EVENT_CONTEXT

SIZES = {"dim": 8, "hidden_dims": (10, 6), "head_dim": 5}


@pytest.mark.parametrize("history", ["exposures", "positives", "mixed"])
def test_outputs_equal_the_formula(history):
    schema = tiny.schema(history)
    model = tiny.randomise(DIEN(schema, **SIZES), scale=0.4)
    x, w = tiny.inputs(schema), Weights.of(model)
    expected = sequences.predict(
        w, schema, x, lambda events, cand, ages: sequences.evolution(w, events, cand)
    )
    outputs = tiny.predict(model, x)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)


def test_longer_padding_changes_nothing():
    schema = tiny.schema()
    model, wide = DIEN(schema, **SIZES), DIEN(tiny.longer(schema, 5), **SIZES)
    tiny.randomise(model, scale=0.4), tiny.randomise(wide, seed=9)
    for old, new in zip(model.weights, wide.weights, strict=True):
        # Positions count from the newest event: the first rows are those that both have.
        new.assign(np.concatenate([np.array(old), np.array(new)[old.shape[0] :]]))
    x = tiny.inputs(schema)
    padding = {"exposures": ((0, 0), (5, 0), (0, 0)), "exposures_age": ((0, 0), (5, 0))}
    padded = {name: np.pad(a, padding[name]) if name in padding else a for name, a in x.items()}
    expected, outputs = tiny.predict(model, x), tiny.predict(wide, padded)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-6)


@pytest.mark.parametrize(("history", "members"), [("exposures", 1), ("positives", 2)])
def test_the_auxiliary_loss_is_added_in_training_alone(history, members):
    schema = tiny.schema(history, tasks=tiny.TASKS[:1])
    x, (y, _) = tiny.inputs(schema), tiny.labels(schema)
    training, evaluation, values = [], [], {}
    for weight in (0.3, 0.0):
        model = DIEN(schema, **SIZES, auxiliary_loss_weight=weight, members=members)
        tiny.randomise(model, scale=0.4)
        # The layer of the loss changes the order of the weights.
        values = values or {v.path: np.array(v) for v in model.weights}
        for v in model.weights:
            v.assign(values[v.path])
        model.compile(keras.optimizers.SGD(0.0), weighted_metrics=[], **tiny.quick())
        training.append(model.train_on_batch(x, y, return_dict=True)["loss"])
        evaluation.append(model.test_on_batch(x, y, return_dict=True)["loss"])
    w = Weights.of(model)
    networks = [w / f"member_{m}" for m in range(members)] if members > 1 else [w]
    losses = [auxiliary_loss(network, schema, x) for network in networks]
    np.testing.assert_allclose(training[0] - training[1], 0.3 * np.mean(losses), rtol=1e-4)
    np.testing.assert_allclose(*evaluation, rtol=1e-6)


def auxiliary_loss(network, schema, x):
    """Of one network, over all histories; its tables are those of all members."""
    own = {
        path.removeprefix(network.prefix): value
        for path, value in network.variables.items()
        if path.startswith((network.prefix, "fused_embedding"))
    }
    w = Weights(own)
    tokens = history_tokens(w, schema, x, {"event_context": EVENT_CONTEXT})
    longest, start = max(s.max_length for s in schema.histories), 0
    rows = {"states": [], "tokens": [], "mask": []}
    for s in schema.histories:
        lies = slice(start, start + s.max_length)
        events, mask = tokens["history"][:, lies], tokens["mask"][:, lies]
        states = np.zeros(events.shape)
        for b in range(len(events)):
            cell = w / "interest_extraction/recurrence/cell"
            states[b][mask[b]] = sequences.augru(cell, events[b][mask[b]])
        missing = ((0, 0), (longest - s.max_length, 0))
        rows["states"].append(np.pad(states, (*missing, (0, 0))))
        rows["tokens"].append(np.pad(events, (*missing, (0, 0))))
        rows["mask"].append(np.pad(mask, missing))
        start += s.max_length
    # Histories are rows of the batch: the same history of the example before has the negatives.
    rows = {name: np.stack(parts, 1) for name, parts in rows.items()}
    flat = [rows[name].reshape(-1, *rows[name].shape[2:]) for name in ("states", "tokens", "mask")]
    return sequences.next_event_loss(*flat, shift=len(schema.histories))


def test_a_training_step_compiled_by_xla_changes_every_weight():
    keras.utils.set_random_seed(0)
    schema = tiny.schema("positives", tasks=tiny.TASKS[:1])
    model = tiny.randomise(DIEN(schema, dim=4, hidden_dims=(6,), head_dim=5), scale=0.3)
    # Lion goes by the sign of a gradient: a small one moves a weight as far as a large one.
    model.compile(keras.optimizers.Lion(0.1), jit_compile=True, weighted_metrics=[])
    x, (y, w) = tiny.inputs(schema, batch=16), tiny.labels(schema, batch=16)
    before = model.get_weights()
    model.fit(x, y, sample_weight=w, batch_size=16, verbose=0)
    changed = [np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert [w.path for w, c in zip(model.weights, changed, strict=True) if not c] == []


def test_a_schema_without_history_is_an_error():
    with pytest.raises(ValueError, match="DIEN: the schema has no history.*History"):
        DIEN(tiny.schema("none"))


def test_a_negative_loss_weight_is_an_error():
    with pytest.raises(ValueError, match="DIEN: `auxiliary_loss_weight` must be 0 or more.*-1"):
        DIEN(tiny.schema(), auxiliary_loss_weight=-1)
