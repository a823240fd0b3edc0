import numpy as np
import pytest

from keras_infnet.models import RankMixer
from tests import tiny
from tests.reference import mixing, token_models
from tests.reference.textbook import Weights, layer_norm

SIZES = {"dim": 8, "num_tokens": 4, "num_layers": 2, "head_dim": 5}


@pytest.mark.parametrize(
    ("history", "options"),
    [
        ("exposures", {}),
        ("mixed", {"norm": "pre", "tokenizer": "chunk"}),
        ("none", {"tokenizer": "auto"}),
    ],
)
def test_outputs_equal_the_formula(history, options):
    schema = tiny.schema(history)
    model = tiny.randomise(RankMixer(schema, **SIZES, **options), scale=0.3)
    x, w = tiny.inputs(schema), Weights.of(model)
    norm, mode = options.get("norm", "post"), options.get("tokenizer", "group")
    expected = token_models.rank_mixer(w, schema, x, 4, 2, norm, mode)
    outputs = tiny.predict(model, x)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)


def test_without_feed_forward_a_layer_is_mixing_and_norms():
    model = RankMixer(tiny.schema(), **{**SIZES, "num_layers": 1})
    tiny.randomise(model.get_layer("tokens"), scale=0.5)
    feed = model.get_layer("feed_forward_0")
    feed.set_weights([np.zeros(w.shape) for w in feed.weights])
    tensors = [model.get_layer(name).output for name in ("tokens", "feed_forward_0_norm")]
    tokens, output = model.reading(tensors).predict_on_batch(tiny.inputs(model.schema))
    mixed = layer_norm(tokens + mixing.mix(tokens), mixing.PLAIN)
    np.testing.assert_allclose(output, layer_norm(mixed, mixing.PLAIN), atol=1e-5)


def test_tokens_that_do_not_divide_the_width_are_an_error():
    with pytest.raises(ValueError, match="RankMixer: num_tokens=8 does not divide dim=12"):
        RankMixer(tiny.schema("none"), dim=12)


def test_an_unknown_norm_is_an_error():
    with pytest.raises(ValueError, match='RankMixer: `norm` must be "post" or "pre"'):
        RankMixer(tiny.schema("none"), norm="batch")
