import os
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_infnet.training.recipe import fit_ranker
from keras_infnet.training.seeds import set_seeds
from tests.training.tiny_ranker import batches_of, tiny_ranker, tiny_rows


def draw():
    return random.random(), np.random.rand(), float(keras.random.uniform(())), shuffled()


def shuffled():
    return list(tf.data.Dataset.range(50).shuffle(50).as_numpy_iterator())


def test_one_call_seeds_python_numpy_keras_and_tf_data():
    set_seeds(3)
    first = draw()
    set_seeds(3)
    again = draw()
    set_seeds(4)
    other = draw()
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_two_runs_with_one_seed_end_with_equal_weights():
    runs = []
    for _ in range(2):
        set_seeds(5)
        model = tiny_ranker()
        fit_ranker(model, batches_of(tiny_rows()).shuffle(6), verbose=0)
        runs.append(model.get_weights())
    for first, second in zip(*runs, strict=True):
        np.testing.assert_array_equal(first, second)


def test_deterministic_sets_the_switch_of_the_backend(monkeypatch):
    calls = []
    monkeypatch.setattr(
        tf.config.experimental, "enable_op_determinism", lambda: calls.append("tensorflow")
    )
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    set_seeds(1)
    assert not calls
    set_seeds(1, deterministic=True)
    set_seeds(1, deterministic=True)
    flag = "--xla_gpu_deterministic_ops=true"
    if keras.backend.backend() == "tensorflow":
        assert calls == ["tensorflow"] * 2
    else:
        assert os.environ["XLA_FLAGS"] == f"--xla_cpu_enable_fast_math=false {flag}"


@pytest.mark.parametrize("seed", [-1, 1.5, True, None])
def test_a_seed_that_is_no_integer_is_an_error_that_shows_it(seed):
    with pytest.raises(ValueError, match=f"integer from 0.*Received: {seed}"):
        set_seeds(seed)
