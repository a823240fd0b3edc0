import dataclasses
import functools
import json

import keras
import numpy as np
import pytest

from keras_infnet import INFNet
from keras_infnet.models.infnet import DEFAULT, PAPER_V1, Form
from tests import tiny
from tests.gradients import gradients
from tests.reference import infnet as reference

SMALL = dataclasses.replace(DEFAULT, cross_rank=2)
FORMS = {
    "form_b": (INFNet, {"dim": 8, "head_dim": 6, "form": SMALL}),
    "form_b_deep": (
        INFNet,
        {"dim": 8, "head_dim": 6, "num_blocks": 2, "num_heads": 2, "form": SMALL},
    ),
    "paper_v1": (INFNet.paper_v1, {"dim": 8, "head_dim": 6}),
    "paper_v2": (INFNet.paper_v2, {"dim": 8, "head_dim": 6, "num_blocks": 2}),
    "no_task_tokens": (
        INFNet,
        {
            "dim": 8,
            "head_dim": 6,
            "num_blocks": 2,
            "task_tokens": False,
            "form": SMALL,
            "event_context": ("action", "age", "position", "match"),
        },
    ),
    "no_shared_tokens": (
        INFNet,
        {
            "dim": 8,
            "head_dim": 6,
            "num_blocks": 2,
            "num_task_proxies": 0,
            "form": dataclasses.replace(SMALL, layer_norm=True, output_gate=True),
        },
    ),
    "own_proxies": (
        INFNet,
        {
            "dim": 8,
            "head_dim": 6,
            "num_blocks": 2,
            "num_own_proxies": 2,
            "form": dataclasses.replace(SMALL, pooling="attention"),
        },
    ),
    "own_proxies_v2": (
        INFNet.paper_v2,
        {"dim": 8, "head_dim": 6, "num_blocks": 1, "num_own_proxies": 1},
    ),
    "own_proxies_v1": (
        INFNet.paper_v1,
        {"dim": 8, "head_dim": 6, "num_own_proxies": 3, "homogeneous_flow": False},
    ),
}
WITH_HISTORY = [
    *((form, history) for form in list(FORMS)[:4] for history in ("exposures", "positives")),
    ("no_task_tokens", "exposures"),
    ("no_shared_tokens", "mixed"),
    ("own_proxies", "exposures"),
    ("own_proxies_v1", "exposures"),
    ("own_proxies_v2", "mixed"),
]
WITHOUT = [(form, "none") for form in FORMS if form not in ("own_proxies_v1", "own_proxies_v2")]
PADDED = [form for form in FORMS if form in ("own_proxies", *list(FORMS)[:5])]


@functools.cache
def make(form, history):
    build, arguments = FORMS[form]
    schema = tiny.schema(history)
    return tiny.randomise(build(schema, **arguments), scale=0.3), schema


def by_path(model):
    return {v.path: np.array(v, "float64") for v in model.weights}


@pytest.mark.parametrize(("form", "history"), [*WITH_HISTORY, *WITHOUT])
def test_outputs_equal_the_textbook(form, history):
    model, schema = make(form, history)
    x = tiny.inputs(schema)
    expected = reference.predict(by_path(model), schema, x, model.config)
    outputs = tiny.predict(model, x)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)


@pytest.mark.parametrize(("form", "history"), WITH_HISTORY)
def test_gradients_equal_finite_differences_of_the_textbook(form, history):
    model, schema = make(form, history)
    x, (y, w) = tiny.inputs(schema), tiny.labels(schema)
    loss = keras.losses.BinaryCrossentropy()

    def training_loss(outputs):
        return sum(
            t.loss_weight * loss(y[t.name], outputs[t.name], w[t.name]) for t in schema.tasks
        )

    variables, rng = by_path(model), np.random.default_rng(4)
    step = 1e-5
    for path, gradient in gradients(model, x, training_loss).items():
        direction = rng.normal(size=variables[path].shape)
        sides = []
        for sign in (1, -1):
            moved = {**variables, path: variables[path] + sign * step * direction}
            sides.append(reference.loss(moved, schema, x, model.config, y, w))
        slope = (sides[0] - sides[1]) / (2 * step)
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("form", PADDED)
def test_garbage_in_padded_events_changes_nothing(form):
    model, schema = make(form, "exposures")
    x = tiny.inputs(schema)
    padded = x["exposures"][:, :, 0] == 0
    garbage = {name: array.copy() for name, array in x.items()}
    garbage["exposures"][padded, 1:] = 1
    garbage["exposures_age"][padded] = 7
    assert padded[0].all() and padded[1:].any()
    expected, outputs = tiny.predict(model, x), model.predict_on_batch(garbage)
    for task in schema.task_names:
        assert np.isfinite(expected[task]).all()
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-6)


@pytest.mark.parametrize("form", PADDED)
def test_longer_padding_changes_nothing(form):
    model, schema = make(form, "exposures")
    longer = tiny.longer(schema, 5)
    build, arguments = FORMS[form]
    wide = tiny.randomise(build(longer, **arguments), seed=9)
    for old, new in zip(model.weights, wide.weights, strict=True):
        # Positions count from the newest event: the first rows are those that both have.
        new.assign(np.concatenate([np.array(old), np.array(new)[old.shape[0] :]]))
    x = tiny.inputs(schema)
    padding = {"exposures": ((0, 0), (5, 0), (0, 0)), "exposures_age": ((0, 0), (5, 0))}
    padded = {name: np.pad(a, padding[name]) if name in padding else a for name, a in x.items()}
    expected, outputs = tiny.predict(model, x), tiny.predict(wide, padded)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-6)


def test_attention_weights_sum_to_one_and_padding_has_none():
    model, schema = make("form_b_deep", "exposures")
    x = tiny.inputs(schema)
    maps = model.attention_weights(x)
    assert {m: sorted(groups) for m, groups in maps.items()} == {
        "fields": ["candidate_proxy", "sequence_proxies", "task_proxies", "tasks"],
        "history": ["candidate_proxy", "field_proxies", "task_proxies", "tasks"],
        "tasks": ["field_proxies", "sequence_proxies"],
    }
    np.testing.assert_allclose(np.sum(maps["fields"]["tasks"], -1), 1, atol=1e-6)
    history = np.array(maps["history"]["tasks"])
    assert history.shape == (6, 3, 8)
    assert not np.any(history.swapaxes(1, 2)[x["exposures"][:, :, 0] == 0])
    np.testing.assert_allclose(history[0].sum(), 0)
    np.testing.assert_allclose(history[-1].sum(-1), 1, atol=1e-6)


def without_oldest(x, number):
    """Histories without their oldest positions; and at full length, with these cleared."""
    cleared = {name: a.copy() for name, a in x.items()}
    for name in ("exposures", "exposures_age"):
        cleared[name][:, :number] = 0
    cut = {n: a[:, number:] if n.startswith("exposures") else a for n, a in cleared.items()}
    return cut, cleared


# JAX compiles for each length; `test_any_length.py` cuts histories of other models there.
@pytest.mark.parametrize(
    "form",
    tiny.marked(
        ["form_b", "form_b_deep", "paper_v1", "paper_v2", "own_proxies"], on_both=["form_b"]
    ),
)
def test_a_history_may_come_without_its_oldest_positions(form):
    if form == "paper_v1":
        model, schema = make("form_b", "exposures")
        model = tiny.randomise(INFNet.paper_v1(schema, dim=8, event_context=("age",)), scale=0.4)
    else:
        model, schema = make(form, "exposures")
    for number in (1, 5, 7):
        cut, cleared = without_oldest(tiny.inputs(schema), number)
        expected, outputs = tiny.predict(model, cleared), model.predict_on_batch(cut)
        for task in schema.task_names:
            np.testing.assert_allclose(outputs[task], expected[task], atol=1e-6)


def test_a_history_longer_than_its_positions_is_an_error():
    model, schema = make("form_b", "exposures")
    x = tiny.inputs(schema)
    long = {n: np.concatenate([a, a], 1) if n.startswith("exposures") else a for n, a in x.items()}
    with pytest.raises(ValueError, match="a history of 16 positions; expected at most 8"):
        model(long)


def test_training_on_cut_histories_is_training_on_whole_ones():
    import tensorflow as tf

    schema = tiny.schema("exposures")
    batches = [
        without_oldest(tiny.inputs(schema, seed=i), number) for i, number in enumerate((5, 2, 5))
    ]
    y, w = tiny.labels(schema)
    trained = []
    for part in (0, 1):
        data = [(pair[part], y, w) for pair in batches]
        model = tiny.randomise(INFNet(schema, dim=8, head_dim=6), scale=0.4)
        model.compile(keras.optimizers.SGD(0.1), weighted_metrics=[])
        signature = tf.nest.map_structure(
            lambda *a: tf.TensorSpec(
                [
                    d if len({b.shape[i] for b in a}) == 1 else None
                    for i, d in enumerate(a[0].shape)
                ],
                a[0].dtype,
            ),
            *data,
        )
        stream = tf.data.Dataset.from_generator(lambda d=data: iter(d), output_signature=signature)
        stream = stream.apply(tf.data.experimental.assert_cardinality(len(data)))
        model.fit(stream, verbose=0, shuffle=False)
        trained.append(by_path(model))
    for (path, cut), whole in zip(trained[0].items(), trained[1].values(), strict=True):
        np.testing.assert_allclose(cut, whole, atol=1e-5, rtol=1e-4, err_msg=path)


@pytest.mark.one_backend
@pytest.mark.parametrize("form", ["no_task_tokens", "no_shared_tokens"])
def test_a_saved_model_has_the_same_arguments_and_outputs(form, tmp_path):
    (build, arguments), schema = FORMS[form], tiny.schema()
    model = tiny.randomise(build(schema, **arguments))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    x = tiny.inputs(schema)
    expected, outputs = tiny.predict(model, x), tiny.predict(loaded, x)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-6)


def test_attention_of_a_block_that_is_not_there_is_an_error():
    model = INFNet(tiny.schema("none"), dim=4, num_blocks=0)
    with pytest.raises(ValueError, match="no block -1; it has 0"):
        model.attention_weights(tiny.inputs(model.schema))


def test_sizes_of_the_papers():
    first = INFNet.paper_v1(tiny.schema(), dim=16).config
    assert (first.num_blocks, first.num_field_proxies, first.num_task_proxies) == (2, 4, 2)
    assert first.form == PAPER_V1 and not first.form.uses_candidate
    second = INFNet.paper_v2(tiny.schema("none"), num_blocks=1).config
    assert (second.dim, second.num_field_proxies, second.form.gate) == (64, 16, "affine")


# Gradients themselves are compared with the textbook's on either backend.
@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("history", "build", "switches"),
    [
        ("exposures", INFNet, {"num_blocks": 0}),
        ("exposures", INFNet, {"homogeneous_flow": False, "num_blocks": 2}),
        ("positives", INFNet, {"num_encoder_layers": 1, "event_context": ()}),
        ("exposures", INFNet, {"num_encoder_layers": 1, "event_context": ("position",)}),
        (
            "mixed",
            INFNet,
            {"num_blocks": 2, "form": Form(gate="interpolate", pooling="sum", own_group=True)},
        ),
        ("mixed", INFNet, {"heterogeneous_flow": False}),
        (
            "mixed",
            INFNet,
            {
                "num_own_proxies": 2,
                "num_encoder_layers": 1,
                "num_blocks": 2,
                "members": 2,
                "form": Form(gate="interpolate", pooling="attention", cross_rank=4),
            },
        ),
        ("none", INFNet, {"task_tokens": False, "num_blocks": 2, "event_context": ("match",)}),
        ("positives", INFNet.paper_v1, {"num_blocks": 2}),
        ("none", INFNet.paper_v1, {"homogeneous_flow": False}),
        ("positives", INFNet.paper_v2, {"num_blocks": 1}),
        ("mixed", INFNet.paper_v2, {"num_blocks": 2, "num_task_proxies": 0, "members": 2}),
    ],
)
def test_no_weight_is_without_a_gradient(history, build, switches):
    schema = tiny.schema(history)
    x, (y, _) = tiny.inputs(schema, batch=8), tiny.labels(schema, batch=8)
    model = tiny.randomise(build(schema, **{"dim": 4, "head_dim": 16, **switches}))
    found = gradients(model, x, lambda outputs: squared_error(outputs, y))
    assert [path for path, g in found.items() if g is None or not np.any(g)] == []


def squared_error(outputs, labels):
    return sum(keras.ops.mean((outputs[t] - labels[t]) ** 2) for t in labels)


def test_all_attentions_have_the_activation_of_the_form():
    schema = tiny.schema("exposures")
    model = INFNet(schema, dim=8, form=dataclasses.replace(SMALL, activation="silu"))
    attentions = [layer for _, (layer, _) in model.attention_calls(0, 0).items()]
    assert [layer.activation for layer in attentions] == ["silu"] * 3


def test_a_form_is_frozen_and_survives_a_config():
    form = dataclasses.replace(DEFAULT, gate="interpolate")
    config = INFNet(tiny.schema("none"), dim=4, form=form).get_config()
    assert json.loads(json.dumps(config)) == config
    assert INFNet.from_config(config).config.form == form
    with pytest.raises(dataclasses.FrozenInstanceError):
        form.gate = "sigmoid"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 0}, "INFNet: `dim` must be 1 or more. Received: 0"),
        ({"dropout": 1.0}, "`dropout` must be in"),
        ({"event_context": ("age", "place")}, "event_context has \\['place'\\]"),
        ({"form": PAPER_V1, "num_blocks": 0}, "nothing of the inputs reaches the heads"),
        ({"form": Form(uses_candidate=False)}, "cross_rank=64 in a form with uses_candidate=False"),
        ({"form": Form(cross_rank=0)}, "`cross_rank` must be 1 or more, or None"),
        ({"form": PAPER_V1, "task_tokens": False}, "leaves the heads nothing to read"),
        ({"num_own_proxies": 2, "task_tokens": False}, "num_own_proxies=2 with task_tokens=False"),
        ({"num_own_proxies": -1}, "`num_own_proxies` must be 0 or more. Received: -1"),
        ({"form": "paper_v1"}, "`form` must be a Form. Received: form='paper_v1'"),
        (
            {"form": Form(pooling="max")},
            "`pooling` must be one of .*\"attention\". Received: 'max'",
        ),
        ({"form": Form(gate="open")}, '`gate` "sigmoid", "affine" or "interpolate"'),
    ],
)
def test_arguments_out_of_range_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        INFNet(tiny.schema("none"), **arguments)


def test_a_schema_that_is_not_fitted_is_an_error():
    with pytest.raises(ValueError, match="Fit an encoder on training rows"):
        INFNet(tiny.schema("none").with_layout(None))
