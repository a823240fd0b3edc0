"""Models that grow with their encoder, against tables and slots that `np.insert` makes."""

import keras
import numpy as np
import pytest

from keras_infnet import INFNet
from keras_infnet.data import FeatureEncoder
from keras_infnet.models import FM, STEM, SharedBottom
from keras_infnet.optimizers import LazyAdam, SparseAdagrad, split_optimizer
from tests import tiny
from tests.cases import days

BATCH = 90


@pytest.fixture(scope="module")
def encoders():
    first = FeatureEncoder(days.schema()).fit(days.log(0))
    return first, first.extend(days.log(1))


def decaying():
    return keras.optimizers.schedules.PolynomialDecay(0.1, 10, 0.0)


# By name: model, its arguments, its optimizer, and what its slots begin at by the end of the name.
CASES = {
    "lazy": (INFNet, {"dim": 8, "num_heads": 2}, lambda: LazyAdam(0.1, row_updates_from=0)),
    "members": (
        FM,
        {"dim": 4, "members": 2, "own_tables": True},
        lambda: keras.optimizers.Adam(decaying(), amsgrad=True),
    ),
    "split": (
        STEM,
        {"dim": 4},
        lambda: split_optimizer(SparseAdagrad(0.1, row_updates_from=0), keras.optimizers.AdamW()),
    ),
    "dropout": (
        SharedBottom,
        {"dim": 4, "hidden_dims": (8,), "dropout": 0.5},
        lambda: SparseAdagrad(0.1, clipnorm=1.0),
    ),
    "average": (
        FM,
        {"dim": 4, "members": 2},
        lambda: keras.optimizers.SGD(0.1, 0.9, use_ema=True, loss_scale_factor=8.0),
    ),
}


def sizes(schema):
    return {**schema.table_rows(), "#action": schema.layout.sizes["seen/#action"]}


def inserted(path, before, after):
    """Rows of a weight before which new ones lie, each as often as there are; none: no table."""
    was, now = sizes(before), sizes(after)
    if path.endswith("fused_embedding/embeddings"):
        tables = list(before.table_rows())
    elif path.endswith("action_table"):
        tables = ["#action"]
    else:
        return np.zeros(0, int)
    ends = np.cumsum([was[table] for table in tables])
    return np.repeat(ends, [now[table] - was[table] for table in tables])


def by_hand(before, places, first):
    """An array with rows inserted: all are `first`, or each one of `first`."""
    return np.insert(before, places, first, axis=0) if len(places) else before


def new_rows(now, places):
    """The rows that stand where `np.insert` puts new ones."""
    return now[places + np.arange(len(places))]


def trained(case, encoder):
    kind, arguments, optimizer = CASES[case]
    model = kind(encoder.schema, **arguments)
    model.compile(optimizer(), loss_weights={"click": 2.0}, **tiny.quick())
    x, y = days.inputs(encoder, 0), days.labels()
    for _ in range(2):
        model.train_on_batch(x, y)
    return model, x


def slots(model, places_of):
    """The optimizer's variables, with the places of new rows and what these begin at."""
    paths = {v.path.replace("/", "_"): v for v in model.trainable_variables}
    found = []
    for variable in model.optimizer.variables:
        of = [path for path in paths if variable.name.startswith(path)]
        if variable.name.endswith("_positions"):
            continue
        places = places_of(paths[max(of, key=len)].path) if of else np.zeros(0, int)
        found.append((variable, places))
    return found


@pytest.mark.parametrize("case", CASES)
def test_old_rows_slots_and_the_next_step_are_those_of_inserted_tables(encoders, case):
    before, after = encoders
    model, x = trained(case, before)
    expected = tiny.predict(model, x)
    weights = [np.array(w) for w in model.weights]
    grown = model.grow(after, seed=3)
    assert type(grown) is type(model) and grown.config == model.config
    assert grown.schema == after.schema and model.schema == before.schema
    for task, values in tiny.predict(grown, days.inputs(after, 0)).items():
        np.testing.assert_array_equal(values, expected[task])

    def places(path):
        return inserted(path, before.schema, after.schema)

    hand = CASES[case][0](after.schema, **CASES[case][1])
    hand.compile(CASES[case][2](), loss_weights={"click": 2.0}, **tiny.quick())
    grew = 0
    for was, now, other in zip(weights, grown.weights, hand.weights, strict=True):
        at = places(now.path)
        other.assign(by_hand(was, at, new_rows(np.array(now), at)))
        np.testing.assert_array_equal(np.array(now), np.array(other), now.path)
        grew += len(at) > 0
    assert grew >= 2 + (case == "members")
    hand.optimizer.build(hand.trainable_variables)
    parts = [slots(m, places) for m in (model, grown, hand)]
    for (was, at), (now, _), (other, _) in zip(*parts, strict=True):
        first = {"accumulator": 0.1}.get(now.name.rsplit("_", 1)[-1], 0.0)
        if now.name.endswith("_average"):
            first = new_rows(np.array(now), at)
            assert np.abs(first).max(initial=1) > 0
        other.assign(by_hand(np.array(was), at, first))
        np.testing.assert_array_equal(np.array(now), np.array(other), now.name)
    for state, other in zip(model._random_states(), hand._random_states(), strict=True):
        other.assign(state)
    steps = []
    for each in (grown, hand):
        logs = each.train_on_batch(days.inputs(after, 1), days.labels(), return_dict=True)
        steps.append((logs["loss"], [np.array(w) for w in each.weights]))
    assert steps[0][0] == pytest.approx(steps[1][0], rel=1e-6)
    for found, wanted in zip(steps[0][1], steps[1][1], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)
    # The model that grew is what it was.
    for was, now in zip(weights, model.weights, strict=True):
        np.testing.assert_array_equal(was, np.array(now))
