import keras
import numpy as np
import pytest

from keras_infnet import INFNet
from tests import tiny
from tests.gradients import gradients

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize(
    ("history", "switches"),
    [
        ("exposures", {"flow": False}),
        ("exposures", {"homogeneous_flow": False, "num_blocks": 2}),
        ("positives", {"read_proxies": False, "num_blocks": 2}),
        ("positives", {"num_encoder_layers": 1, "event_context": ()}),
        ("mixed", {"gate": "interpolate", "num_blocks": 2, "pooling": "sum"}),
        ("mixed", {"heterogeneous_flow": False}),
        ("none", {"read_proxies": False, "homogeneous_flow": False}),
        ("none", {"task_tokens": False, "num_blocks": 2, "event_context": ("match",)}),
        ("exposures", {"read_proxies": False, "heterogeneous_flow": False, "own_dim": 2}),
        ("positives", {"read_proxies": False, "attend_own_group": True, "gate_input": "old"}),
        ("mixed", {"read_proxies": False, "all_to_all": True, "num_blocks": 2}),
        ("exposures", {"proxy_memory": True, "attend_own_group": True, "layer_norm": True}),
        ("mixed", {"own_dim": 2, "num_recent_proxies": 3, "flow": False, "members": 2}),
    ],
)
def test_switches_build_no_weight_without_a_gradient(history, switches):
    schema = tiny.schema(history)
    x, (y, _) = tiny.inputs(schema, batch=8), tiny.labels(schema, batch=8)
    model = tiny.randomise(INFNet(schema, dim=4, head_dim=16, **switches))
    found = gradients(model, x, lambda outputs: squared_error(outputs, y))
    assert [path for path, g in found.items() if g is None or not np.any(g)] == []


def squared_error(outputs, labels):
    return sum(keras.ops.mean((outputs[t] - labels[t]) ** 2) for t in labels)
