import keras
import numpy as np
import pytest

from keras_infnet.layers import AUGRU, BiInteraction, HSTULayer, SequenceEncoder

IDS = np.random.default_rng(0).integers(1, 50, (4, 6))
IDS[:, :2] = 0
LONGER = np.pad(IDS, ((0, 0), (4, 0)))
LAYERS = {
    "bi_interaction": lambda: BiInteraction(),
    "sequence_encoder": lambda: SequenceEncoder(1, 2),
    "augru": lambda: AUGRU(8),
    "hstu_layer": lambda: HSTULayer(2),
}


def last(y):
    y = np.asarray(y)
    return y[:, -1] if y.ndim == 3 else y


@pytest.mark.parametrize("made", LAYERS.values(), ids=LAYERS)
def test_padding_behind_an_embedding_counts_nothing(made):
    embed, layer = keras.layers.Embedding(50, 8, mask_zero=True), made()
    short, long = embed(IDS), embed(LONGER)
    by_hand = last(layer(short, tokens_mask=IDS > 0))
    np.testing.assert_allclose(last(layer(short)), by_hand, atol=1e-6)
    np.testing.assert_allclose(last(layer(long)), by_hand, atol=1e-6)
    np.testing.assert_allclose(last(layer(long, mask=LONGER > 0)), by_hand, atol=1e-6)


@pytest.mark.parametrize("made", LAYERS.values(), ids=LAYERS)
def test_a_model_predicts_histories_of_a_second_length(made):
    ids = keras.Input((None,), dtype="int32")
    model = keras.Model(ids, made()(keras.layers.Embedding(50, 8, mask_zero=True)(ids)))
    expected = last(model.predict(IDS, verbose=0))
    np.testing.assert_allclose(last(model.predict(LONGER, verbose=0)), expected, atol=1e-6)
