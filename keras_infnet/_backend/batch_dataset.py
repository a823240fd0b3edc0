"""Dataset class: a `tf.data.Dataset` with methods of our own."""

import functools
from typing import Any


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
