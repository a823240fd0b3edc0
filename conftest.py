import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # noqa: E402
import pytest  # noqa: E402

import keras_infnet  # noqa: E402


@pytest.fixture(autouse=True)
def names_for_examples(doctest_namespace):
    """The names that the docstrings' examples take as imported."""
    doctest_namespace["keras"] = keras
    doctest_namespace["keras_infnet"] = keras_infnet
