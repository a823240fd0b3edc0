"""Dataset class: a `tf.data.Dataset` with methods of our own, and the schema of its batches."""

import functools
from collections.abc import Iterator
from typing import Any

from keras_infnet._backend.tensorflow_internals import inputs_of


@functools.cache
def dataset_class(methods: type) -> type:
    """The class that is both `methods` and a `tf.data.Dataset`; its object wraps another dataset.

    tensorflow is imported here and not with the class of the methods.

    Args:
        methods: Class whose methods come first.

    Returns:
        A class that is made of a dataset, and gives the same elements.
    """
    import tensorflow as tf

    class Dataset(methods, tf.data.Dataset):
        def __init__(self, dataset: Any) -> None:
            self._dataset = dataset
            tf.data.Dataset.__init__(self, dataset._variant_tensor)

        def _inputs(self) -> list[Any]:
            return [self._dataset]

        @property
        def element_spec(self) -> Any:
            return self._dataset.element_spec

    Dataset.__name__ = Dataset.__qualname__ = methods.__name__
    return Dataset


def without_autotuning(dataset: Any) -> Any:
    """The dataset, which TensorFlow runs as it is told to, without tuning it meanwhile.

    The end of an iterator waits for the thread that tunes it, and that thread sleeps: ten
    milliseconds at first, then twice as long each time, up to a minute.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def encoded_by(dataset: Any, schema: Any) -> Any:
    """The dataset itself, which now says the schema whose encoder made its batches."""
    dataset.schema = schema
    return dataset


def schemas_of(dataset: Any) -> Iterator[Any]:
    """The schemas of the batches that a dataset is made of, through `map`, `repeat` and all else.

    Args:
        dataset: A `tf.data.Dataset`, or anything else, which has none.

    Yields:
        What `encoded_by` was given.
    """
    schema = getattr(dataset, "schema", None)
    if schema is not None:
        yield schema
        return
    for source in inputs_of(dataset):
        yield from schemas_of(source)
