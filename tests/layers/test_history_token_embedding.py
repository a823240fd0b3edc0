import keras
import numpy as np
import pytest

from keras_infnet.layers import HistoryTokenEmbedding
from tests import tiny
from tests.gradients import gradients

RNG = np.random.default_rng(0)
AGES = RNG.integers(0, 5, (2, 5)).astype("int32")


def test_kinds_of_events_lie_side_by_side_and_the_context_is_added():
    events = [RNG.normal(size=(2, 3, 6)), RNG.normal(size=(2, 2, 4))]
    layer = HistoryTokenEmbedding(dim=4, num_buckets={"age": 5})
    layer = tiny.randomise_after(layer, events, {"age": AGES})
    ages, first, second = layer.get_weights()
    expected = np.concatenate([events[0] @ first, events[1] @ second], 1) + ages[AGES]
    np.testing.assert_allclose(layer(events, {"age": AGES}), expected, atol=1e-5)


def test_a_candidate_is_the_first_term_alone():
    events, candidates = RNG.normal(size=(2, 5, 6)), RNG.normal(size=(2, 6))
    layer = HistoryTokenEmbedding(dim=4, num_buckets={"age": 5})
    layer = tiny.randomise_after(layer, events, {"age": AGES})
    kernel = layer.get_weights()[-1]
    np.testing.assert_allclose(layer(candidates), candidates @ kernel, atol=1e-5)


def test_without_projection_and_context_the_event_is_the_token():
    events = RNG.normal(size=(2, 5, 4)).astype("float32")
    layer = HistoryTokenEmbedding(dim=4, use_projection=False)
    np.testing.assert_array_equal(layer(events), events)


def test_events_of_several_fields_need_the_projection():
    layer = HistoryTokenEmbedding(dim=4, use_projection=False)
    with pytest.raises(ValueError, match="width \\[8\\]; expected 4.*use_projection=True"):
        layer(np.ones((2, 5, 8), "float32"))


class Lookup(keras.Model):
    """Tokens of events whose ids and tables are given; the tables are weights."""

    def __init__(self):
        super().__init__()
        self.tables = [
            keras.Variable(RNG.normal(size=(rows, 3)), name=f"t{rows}") for rows in (6, 4)
        ]
        self.tokens = HistoryTokenEmbedding(dim=4)

    def call(self, ids, training=None):
        tables = [keras.ops.convert_to_tensor(table) for table in self.tables]
        return self.tokens({"ids": ids, "tables": tables}, training=training)


@pytest.mark.parametrize("training", [False, True])
def test_looked_up_events_and_their_gradients_equal_those_of_rows(training):
    one, bag = RNG.integers(0, 6, (2, 5, 1)), RNG.integers(0, 4, (2, 5, 3))
    bag[0, 0] = 0
    ids = [one.astype("int32"), bag.astype("int32")]
    model = Lookup()
    model(ids)
    first, second = (np.array(table, "float64") for table in model.tables)
    kernel = np.array(model.tokens.projections[0].kernel, "float64")
    weights = (bag != 0) / np.maximum((bag != 0).sum(-1, keepdims=True), 1)
    rows = np.concatenate([first[one[..., 0]], (second[bag] * weights[..., None]).sum(2)], -1)
    np.testing.assert_allclose(model(ids, training=training), rows @ kernel, atol=1e-5)

    upstream = RNG.normal(size=(2, 5, 4))
    found = gradients(
        model, ids, lambda tokens: keras.ops.sum(tokens * upstream.astype("float32")), training
    )
    of_rows = upstream @ kernel.T
    expected = [np.zeros_like(first), np.zeros_like(second)]
    np.add.at(expected[0], one[..., 0], of_rows[..., :3])
    np.add.at(expected[1], bag, weights[..., None] * of_rows[:, :, None, 3:])
    of_kernel = np.einsum("blr,bld->rd", rows, upstream)
    for path, gradient in found.items():
        index = {"t6": 0, "t4": 1}.get(path.rsplit("/", 1)[-1])
        reference = of_kernel if index is None else expected[index]
        np.testing.assert_allclose(gradient, reference, atol=1e-4)
    assert len(found) == 3


def test_without_projection_a_looked_up_event_is_its_row():
    table, ids = RNG.normal(size=(6, 4)).astype("float32"), RNG.integers(0, 6, (2, 5, 1))
    layer = HistoryTokenEmbedding(dim=4, use_projection=False)
    found = layer({"ids": [ids.astype("int32")], "tables": [table]}, training=True)
    np.testing.assert_array_equal(found, table[ids[..., 0]])
