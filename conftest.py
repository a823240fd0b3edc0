import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # noqa: E402
import pytest  # noqa: E402

import keras_infnet  # noqa: E402

TESTS = Path(__file__).parent / "tests"
# All tests of these folders give the same result on any backend; elsewhere a file says it by
# `pytestmark = pytest.mark.one_backend`.
ONE_BACKEND = {"base", "benchmarks", "datasets", "encoding", "house", "schema", "tuning"}


# First, so that `-m` sees the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(TESTS) and item.path.relative_to(TESTS).parts[0] in ONE_BACKEND:
            item.add_marker(pytest.mark.one_backend)


@pytest.fixture(autouse=True)
def names_for_examples(doctest_namespace):
    """The names that the docstrings' examples take as imported."""
    doctest_namespace["keras"] = keras
    doctest_namespace["keras_infnet"] = keras_infnet
