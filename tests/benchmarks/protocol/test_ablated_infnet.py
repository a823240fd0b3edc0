import keras
import numpy as np
import pytest

from benchmarks.protocol.ablated_infnet import AblatedINFNet
from keras_infnet.models.infnet import PAPER_V1, Form
from tests import tiny
from tests.gradients import gradients
from tests.reference import infnet as reference

SIZES = {"dim": 8, "head_dim": 6, "num_blocks": 2}
SWITCHES = {
    "all_to_all": {"all_to_all": True},
    "alternates": {"alternates": False, "num_own_proxies": 1},
    "own_dim": {"own_dim": 3},
    "num_recent_proxies": {"num_recent_proxies": 3},
    "per_token": {"feed_forward": "per_token"},
    "mixed": {"feed_forward": "mixed", "dim": 16},
    "events_per_token": {"events_per_token": 3, "num_raw_events": 3},
}


def made(history="exposures", scale=0.4, **arguments):
    schema = tiny.schema(history)
    model = AblatedINFNet(schema, **{**SIZES, **arguments})
    return tiny.randomise(model, scale=scale), tiny.inputs(schema)


@pytest.mark.parametrize("history", ["exposures", "mixed"])
@pytest.mark.parametrize("switch", SWITCHES)
def test_outputs_equal_the_textbook(switch, history):
    model, x = made(history, **SWITCHES[switch])
    variables = {v.path: np.array(v, "float64") for v in model.weights}
    expected = reference.predict(variables, model.schema, x, model.config)
    for task, p in tiny.predict(model, x).items():
        np.testing.assert_allclose(p, expected[task], atol=1e-5)


@pytest.mark.parametrize("switch", SWITCHES)
def test_no_weight_is_without_a_gradient(switch):
    # Mixed queries are larger: heads of larger weights would say 0 or 1, without a gradient.
    scale = 0.2 if switch == "mixed" else 0.4
    model, x = made("mixed", scale, **SWITCHES[switch], members=2, head_dim=16)
    y, _ = tiny.labels(model.schema)

    def loss(outputs):
        return sum(keras.ops.mean((outputs[task] - y[task]) ** 2) for task in y)

    found = gradients(model, x, loss)
    assert [path for path, g in found.items() if g is None or not np.any(g)] == []


def test_attention_of_all_to_all_is_that_of_fields_and_events():
    model, x = made(all_to_all=True)
    maps = model.attention_weights(x)
    assert maps["history"]["field_proxies"].shape == (6, len(model.schema.field_names), 8)
    assert maps["fields"]["sequence_proxies"].shape == (6, 8, len(model.schema.field_names))
    np.testing.assert_allclose(np.sum(maps["fields"]["sequence_proxies"], -1), 1, atol=1e-6)


def test_tables_of_a_task_are_read_by_its_own_head_alone():
    model, x = made(dim=4, own_dim=2, task_tokens=False)
    before = tiny.predict(model, x)
    tables = model.get_layer("fused_embedding").embeddings
    columns = np.arange(tables.shape[1])
    # `like` is the second task: its columns follow the shared ones and those of `click`.
    tables.assign(tables + np.where((columns >= 6) & (columns < 8), 1.0, 0.0))
    after = tiny.predict(model, x)
    assert {task for task, p in after.items() if np.any(p != before[task])} == {"like"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"own_dim": -1}, "`own_dim` must be 0 or more. Received: -1"),
        ({"beta": 0.1}, "beta=0.1; only INFNet itself has an objective for proxies"),
        ({"feed_forward": "mixed", "dim": 8}, "with 10 queries of width dim=8"),
        ({"num_recent_proxies": 4, "form": PAPER_V1}, "num_recent_proxies=4, which heads alone"),
        ({"all_to_all": True, "form": Form(own_group=True)}, "at a cost of its length squared"),
    ],
)
def test_arguments_out_of_range_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        AblatedINFNet(tiny.schema("none"), **arguments)
