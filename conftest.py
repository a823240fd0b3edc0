import gc
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Tests leave the user's cache alone.
os.environ.setdefault("KERAS_INFNET_CACHE", "off")

import keras  # noqa: E402
import pytest  # noqa: E402

import keras_infnet  # noqa: E402

TESTS = Path(__file__).parent / "tests"
ROOTS = TESTS, Path(keras_infnet.__file__).parent
# All tests and examples of these folders give the same result on any backend; elsewhere a file says
# it by `pytestmark = pytest.mark.one_backend`.
ONE_BACKEND = {"_base", "base", "benchmarks", "datasets", "encoding", "house", "schema", "tuning"}
# What takes longest begins first, so that no process is busy alone at the end.
LONG = (
    "examples",
    "benchmarks",
    "tuning",
    "house/test_documentation.py",
    "contracts/test_models.py",
    "data/test_prepare_spark.py",
    "daily",
    "serving",
    "training",
    "search",
)


# First, so that `-m` sees the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if any(item.path.is_relative_to(root / name) for root in ROOTS for name in ONE_BACKEND):
            item.add_marker(pytest.mark.one_backend)
    items.sort(key=begins)


def begins(item):
    """The place of a test's file or folder in `LONG`; others come after."""
    places = (i for i, name in enumerate(LONG) if item.path.is_relative_to(TESTS / name))
    return next(places, len(LONG))


def pytest_collection_finish():
    """Tests trace many graphs, which makes many objects, and run each a few times.

    Python looks for garbage less often, and on JAX never through all: to free what each model has
    compiled takes half a minute, and the space is small. TensorFlow runs graphs as they are.
    """
    gc.collect()
    gc.freeze()
    on_tensorflow = keras.backend.backend() == "tensorflow"
    gc.set_threshold(50_000, 20, 5 if on_tensorflow else 10_000)
    if on_tensorflow:
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def pytest_sessionfinish():
    """The end of the process is not for looking for garbage."""
    gc.freeze()


@pytest.fixture(autouse=True)
def names_for_examples(doctest_namespace):
    """The names that the docstrings' examples take as imported."""
    doctest_namespace["keras"] = keras
    doctest_namespace["keras_infnet"] = keras_infnet
