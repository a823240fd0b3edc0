import keras
import numpy as np
import pytest

from keras_infnet.layers import ExpertGroup
from tests import tiny
from tests.reference.experts import experts
from tests.reference.textbook import Weights

INPUTS = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


@pytest.mark.parametrize("hidden_dims", [(3,), (3, 6, 2)])
def test_each_expert_is_an_mlp(hidden_dims):
    layer = tiny.randomise_after(ExpertGroup(2, hidden_dims, name="experts"), INPUTS)
    expected = experts(INPUTS, Weights.of(layer) / "experts", {"expert_dims": hidden_dims})
    np.testing.assert_allclose(layer(INPUTS), np.stack(expected, 1), atol=1e-5)


def test_kernels_start_as_those_of_one_expert():
    layer = ExpertGroup(10, (80, 40))
    layer.build((None, 120))
    first, _, second, _ = layer.get_weights()
    for kernel, rows, columns in ((first, 120, 80), (second, 80, 40)):
        np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (rows + columns)), rtol=0.05)


def test_dropout_is_only_in_training():
    keras.utils.set_random_seed(0)
    layer = tiny.randomise_after(ExpertGroup(2, (50,), dropout=0.5), INPUTS)
    kept, trained = np.array(layer(INPUTS)), np.array(layer(INPUTS, training=True))
    dropped = trained == 0
    assert 0.3 < dropped[kept > 0].mean() < 0.7
    np.testing.assert_allclose(trained[~dropped], 2 * kept[~dropped], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_experts": 0}, "1 or more.*num_experts=0"),
        ({"num_experts": 2, "hidden_dims": ()}, "at least one.*hidden_dims=\\(\\)"),
        ({"num_experts": 2, "hidden_dims": (4, 0)}, "hidden_dims=\\(4, 0\\)"),
        ({"num_experts": 2, "dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_arguments_out_of_range_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        ExpertGroup(**arguments)
