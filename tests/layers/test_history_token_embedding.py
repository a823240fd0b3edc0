import numpy as np
import pytest

from keras_infnet import HistoryTokenEmbedding
from tests import tiny

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
    layer = HistoryTokenEmbedding(dim=4, num_buckets={"age": 5}, lengths=(5,))
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
