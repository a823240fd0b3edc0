import keras
import numpy as np
import pytest
from keras import ops

from keras_infnet._backend.project import project

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 5), (3, 1, 5), (2, 3, 4, 5)])
def test_it_is_the_product_over_the_last_axis(shape):
    x, kernel = RNG.normal(size=shape).astype("f4"), RNG.normal(size=(5, 6)).astype("f4")
    found = project(ops.convert_to_tensor(x), ops.convert_to_tensor(kernel))
    np.testing.assert_allclose(found, np.einsum("...i,ij->...j", x, kernel), atol=1e-5)


@pytest.mark.parametrize("shape", [(None, 4, 5), (None, None, 5)])
def test_lengths_may_be_unknown(shape):
    kernel = RNG.normal(size=(5, 6)).astype("f4")
    inputs = keras.Input(shape[1:])
    outputs = keras.layers.Lambda(lambda x: project(x, kernel), lambda _: (*shape[1:-1], 6))(inputs)
    x = RNG.normal(size=(2, 4, 5)).astype("f4")
    found = keras.Model(inputs, outputs).predict(x, verbose=0)
    np.testing.assert_allclose(found, np.einsum("bni,ij->bnj", x, kernel), atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX has one operation for it")
def test_tensorflow_traces_three_operations():
    import tensorflow as tf

    def traced(function):
        x, kernel = tf.TensorSpec((None, 4, 5)), tf.TensorSpec((5, 6))
        graph = tf.function(function).get_concrete_function(x, kernel).graph
        left_out = ("Const", "Placeholder", "Identity")
        return [op.type for op in graph.get_operations() if op.type not in left_out]

    assert traced(project) == ["Reshape", "MatMul", "Reshape"]
    assert len(traced(ops.matmul)) > 3
