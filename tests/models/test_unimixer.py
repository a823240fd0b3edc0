import numpy as np
import pytest

from keras_infnet.models import UniMixer
from tests import tiny
from tests.reference import token_models
from tests.reference.textbook import Weights, divided_by_rms

SIZES = {"dim": 8, "num_layers": 2, "head_dim": 5}


@pytest.mark.parametrize(
    ("history", "options"),
    [
        ("exposures", {}),
        ("mixed", {"lite": True, "block_dim": 4}),
        ("positives", {"history": "flat"}),
        ("none", {"num_tokens": 2}),
    ],
)
def test_outputs_equal_the_formula(history, options):
    schema = tiny.schema(history)
    model = tiny.randomise(UniMixer(schema, **SIZES, **options), scale=0.3)
    x, w = tiny.inputs(schema), Weights.of(model)
    number, block = options.get("num_tokens", 4), model.config.block
    reads = options.get("history", "pooled")
    expected = token_models.uni_mixer(w, schema, x, number, 2, block, reads)
    outputs = tiny.predict(model, x)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)


def test_layers_that_add_nothing_leave_two_normalised_streams():
    model = UniMixer(tiny.schema(), **SIZES)
    tiny.randomise(model.get_layer("tokens"), scale=0.5)
    for i in range(2):
        feed = model.get_layer(f"feed_forward_{i}")
        feed.set_weights([np.zeros(w.shape) for w in feed.weights])
    tensors = [model.get_layer("tokens").output, model.get_layer("click_head").input]
    tokens, output = model.reading(tensors).predict_on_batch(tiny.inputs(model.schema))
    expected = 2 * divided_by_rms(tokens)
    np.testing.assert_allclose(output, expected.reshape(len(output), -1), atol=1e-4)


def test_the_temperature_is_that_of_the_steps_that_were_trained():
    schema = tiny.schema("none", tasks=tiny.TASKS[:1])
    model = UniMixer(schema, **SIZES, hold_steps=1, cooling_steps=4, last_tau=0.2)
    model.compile("sgd", **tiny.quick())
    x, (y, _) = tiny.inputs(schema), tiny.labels(schema)
    model.fit(x, y, batch_size=2, epochs=1, verbose=0)
    for i in range(2):
        layer = model.get_layer(f"mixing_{i}")
        assert float(layer.steps) == 3
        assert float(layer.temperature()) == pytest.approx(0.6)


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_tokens": 8},
        {"num_tokens": 3},
        {"num_tokens": 1},
        {"block_dim": 5},
        {"block_dim": 32},
    ],
    ids=str,
)
def test_tokens_that_are_no_blocks_are_an_error(sizes):
    with pytest.raises(ValueError, match="UniMixer: .* tokens of width 8 .*two or more blocks"):
        UniMixer(tiny.schema("none"), dim=8, **sizes)


def test_a_temperature_that_would_rise_is_an_error():
    with pytest.raises(ValueError, match="UniMixer: last_tau=2.0; expected 1 or less"):
        UniMixer(tiny.schema("none"), last_tau=2.0)
