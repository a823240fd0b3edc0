import numpy as np
import pytest
from keras import ops

from keras_infnet.models import LONGER, OneTrans, TokenFormer
from keras_infnet.models.event_groups import EventGroups
from keras_infnet.models.one_stream import MergedByAge
from tests import tiny
from tests.gradients import gradients

ARGUMENTS = {"OneTrans": {}, "LONGER": {"num_queries": 3}, "TokenFormer": {"windows": (4,)}}
MODELS = {model.__name__: model for model in (OneTrans, LONGER, TokenFormer)}


def test_events_go_from_the_oldest_to_the_newest_behind_the_padding():
    # Events of three places, then of two; an age of 0 is unknown.
    ages = [[[9, 5, 1], [0, 4, 4]], [[7, 5], [4, 9]]]
    ages = [np.array(of_history, "int32") for of_history in ages]
    mask = np.array([[True, True, True, True, True], [True, True, True, True, False]])
    tokens = np.arange(10.0, dtype="float32").reshape(2, 5, 1)
    layer = MergedByAge()
    layer.build((2, 5, 1), [(2, 3), (2, 2)])
    layer.kinds.assign([[100], [200]])
    merged, there = layer(tokens, ages, mask)
    np.testing.assert_array_equal(merged[0, :, 0], [100, 203, 101, 204, 102])
    # One of padding; then unknown, and of equal ages the first history's first.
    np.testing.assert_array_equal(merged[1, 1:, 0], [105, 106, 107, 208])
    np.testing.assert_array_equal(there, [[True] * 5, [False] + [True] * 4])


@pytest.mark.parametrize("length", [1, 6, 7])
def test_groups_of_neighbours_count_from_the_newest(length):
    x = np.arange(2.0 * length, dtype="float32").reshape(2, length) + 1
    padded = np.concatenate([np.zeros((2, -length % 3)), x], 1).reshape(2, -1, 3)
    np.testing.assert_array_equal(EventGroups(3)(x), padded)
    np.testing.assert_array_equal(EventGroups(3, newest=1)(x), padded[:, -1:])
    mask = ops.convert_to_tensor(x > 2)
    np.testing.assert_array_equal(EventGroups(3)(mask), padded > 2)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", MODELS)
def test_what_stands_in_padding_changes_nothing_and_has_no_gradient(name):
    schema = tiny.schema("mixed", tasks=tiny.TASKS[:1])
    model = tiny.randomise(MODELS[name](schema, dim=8, **ARGUMENTS[name]), scale=0.3)
    x = tiny.inputs(schema)
    garbage = {key: a.copy() for key, a in x.items()}
    for history in schema.histories:
        padding = x[history.name][:, :, 0] == 0
        garbage[history.name][:, :, 1:][padding] = 1
        for quantity in history.of_row:
            garbage[f"{history.name}_{quantity.key}"][padding] = 2
    found = [
        gradients(model, given, lambda outputs: ops.sum(outputs["click"])) for given in (x, garbage)
    ]
    for path, gradient in found[0].items():
        np.testing.assert_allclose(found[1][path], gradient, atol=1e-6, err_msg=path)
    expected, outputs = (tiny.predict(model, given)["click"] for given in (x, garbage))
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
