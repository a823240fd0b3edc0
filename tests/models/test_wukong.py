import numpy as np
import pytest

from keras_infnet.models import WuKong
from tests import tiny
from tests.reference import interactions
from tests.reference.textbook import Weights, dense, relu, sigmoid
from tests.reference.tokens import interaction_tokens, log_counts

SIZES = {
    "dim": 8,
    "num_layers": 2,
    "num_fmb_tokens": 3,
    "num_lcb_tokens": 2,
    "projection_dim": 4,
    "fmb_hidden_dims": (7,),
    "hidden_dims": (10,),
    "head_dim": 5,
}


@pytest.mark.parametrize("history", ["exposures", "positives", "none"])
def test_outputs_equal_the_formula(history):
    schema = tiny.schema(history)
    model = tiny.randomise(WuKong(schema, **SIZES), scale=0.4)
    x, w = tiny.inputs(schema), Weights.of(model)
    tokens = interaction_tokens(w, schema, x)
    if schema.histories:
        counts = dense(log_counts(w, schema, x), w / "count_token")
        tokens = np.concatenate([tokens, counts[:, None]], 1)
    for i in range(2):
        tokens = interactions.wukong(w / f"wukong_{i}", tokens)
    assert tokens.shape == (6, 5, 8)
    shared = relu(dense(tokens.reshape(6, -1), w / "shared_0"))
    outputs = tiny.predict(model, x)
    for task in schema.task_names:
        head = w / f"{task}_head"
        expected = sigmoid(dense(relu(dense(shared, head / "hidden")), head / "output"))
        np.testing.assert_allclose(outputs[task], expected, atol=1e-5)


@pytest.mark.parametrize("size", ["num_layers", "num_fmb_tokens", "fmb_hidden_dims"])
def test_sizes_below_one_are_errors(size):
    given = (0,) if size == "fmb_hidden_dims" else 0
    with pytest.raises(ValueError, match=f"WuKong: `{size}` must be 1 or more"):
        WuKong(tiny.schema("none"), **{size: given})
