import numpy as np
import pytest

from keras_infnet import FeatureSchema
from keras_infnet.data import FeatureEncoder
from keras_infnet.serving.client_inputs import fixed_width
from tests.logs import log_schema, make_log

pytestmark = pytest.mark.one_backend

SCHEMA: FeatureSchema = FeatureEncoder(log_schema(max_length=4)).fit(make_log()).schema
EVENTS = np.array([[-1, 3, -1, 4, 5, 6, 7, -1, 8, -1], [-1, 9, -1, -1, -1, -1, -1, -1, -1, 2]])


def history(events):
    """A history of events whose every column tells the event, and bags of two words."""
    words = np.array([f"{event}" for event in events.ravel()], object).reshape(events.shape)
    columns = {"video_id": events, "tag": np.stack([words, words], axis=-1), "page_id": events}
    columns |= {"length": events.astype("float32"), "ratio": events.astype("float32")}
    columns |= {name: events for name in ("is_click", "is_like", "age_seconds")}
    return {f"seen_{name}": values for name, values in columns.items()}


def test_histories_keep_their_newest_events():
    found = fixed_width(SCHEMA, history(EVENTS))
    assert found["seen_video_id"].tolist() == [[5, 6, 7, 8], [9, -1, -1, 2]]
    for name in ("page_id", "is_click", "is_like", "age_seconds", "length", "ratio"):
        np.testing.assert_array_equal(found[f"seen_{name}"], found["seen_video_id"])
    assert found["seen_tag"][0].tolist() == [[word, word, ""] for word in "5678"]


def test_short_histories_are_padded_with_what_means_missing():
    found = fixed_width(SCHEMA, history(EVENTS[:, 3:5]))
    assert found["seen_video_id"].tolist() == [[4, 5, -1, -1], [-1, -1, -1, -1]]
    assert found["seen_tag"][0, 2:].tolist() == [["", "", ""]] * 2
    np.testing.assert_array_equal(found["seen_ratio"][0], [4, 5, np.nan, np.nan])
    empty = fixed_width(SCHEMA, history(EVENTS[:, :0]))
    assert (empty["seen_video_id"] == -1).all() and empty["seen_video_id"].shape == (2, 4)


def test_bags_keep_their_first_values_and_padding_weighs_nothing():
    inputs = {"tag": np.array([["1", "2", "3", "4"]], object)}
    inputs |= {"word": np.array([["a"]], object), "word_weight": np.float32([[0.5]])}
    found = fixed_width(SCHEMA, inputs | {"fans": np.float32([3])})
    assert {name: values.tolist() for name, values in found.items()} == {
        "tag": [["1", "2", "3"]],
        "word": [["a", ""]],
        "word_weight": [[0.5, 0.0]],
        "fans": [3.0],
    }
