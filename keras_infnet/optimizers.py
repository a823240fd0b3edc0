"""Optimizers that update large embedding tables by rows."""

from keras_infnet.training.lazy_adam import LazyAdam, LazyAdamW
from keras_infnet.training.optimizers import split_optimizer
from keras_infnet.training.sparse_adagrad import SparseAdagrad

__all__ = [
    "LazyAdam",
    "LazyAdamW",
    "SparseAdagrad",
    "split_optimizer",
]
