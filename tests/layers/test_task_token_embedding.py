import numpy as np
import pytest

from keras_infnet.layers import TaskTokenEmbedding


def test_every_example_gets_the_same_tokens():
    weight = np.array([[0, 1], [2, 3], [4, 5]], "float32")
    layer = TaskTokenEmbedding(num_tokens=3, dim=2)
    layer.build((4, 7))
    layer.set_weights([weight])
    np.testing.assert_array_equal(layer(np.zeros((4, 7))), [weight] * 4)


def test_zero_tokens_is_an_error_that_shows_the_value():
    with pytest.raises(ValueError, match="1 or more.*num_tokens=0"):
        TaskTokenEmbedding(num_tokens=0, dim=2)
