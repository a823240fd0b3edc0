"""Training: the recipe, seeds, several devices."""

from keras_infnet.training.data_parallel import data_parallel
from keras_infnet.training.policy import TaskPolicy
from keras_infnet.training.recipe import fit_ranker
from keras_infnet.training.seeds import set_seeds
from keras_infnet.training.table_shards import shard_tables

__all__ = [
    "TaskPolicy",
    "data_parallel",
    "fit_ranker",
    "set_seeds",
    "shard_tables",
]
