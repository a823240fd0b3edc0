"""INFNet, a task-aware information flow network for multi-task ranking, in Keras 3."""

try:
    import keras as _keras  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("tensorflow", "jax"):
        raise
    raise ImportError(
        f"keras_infnet: Keras's backend is `{error.name}`, which is not installed. Install "
        'TensorFlow with `pip install "keras-infnet[tensorflow-cpu]"` (`[tensorflow]` on a GPU), or'
        ' JAX with `pip install "keras-infnet[jax]"`. The environment variable KERAS_BACKEND '
        "(`tensorflow` or `jax`) chooses between them."
    ) from error

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from keras_infnet import (
    balances,
    calibration,
    callbacks,
    data,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    training,
)
from keras_infnet._backend.compilation_cache import keep_compiled_programs as _keep_compiled
from keras_infnet.data.ranking_data import RankingData
from keras_infnet.models.infnet import INFNet
from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.count_feature import CountFeature
from keras_infnet.schema.count_task import CountTask
from keras_infnet.schema.date_time import DateTimeFeature
from keras_infnet.schema.dense import DenseFeature
from keras_infnet.schema.event_number import EventNumber
from keras_infnet.schema.event_quantity import Age, Ratio
from keras_infnet.schema.history import History, HistoryGroup
from keras_infnet.schema.multiclass_task import MulticlassTask
from keras_infnet.schema.numeric import NumericFeature
from keras_infnet.schema.rate import RateFeature
from keras_infnet.schema.regression_task import RegressionTask
from keras_infnet.schema.relative import RelativeFeature
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.schema.seconds_since import SecondsSinceFeature
from keras_infnet.schema.since_previous import SincePrevious
from keras_infnet.training.recipe import fit_ranker

if _TYPE_CHECKING:
    from keras_infnet import daily, datasets, explain, search, serving

__version__ = "0.1.0"

_keep_compiled()

__all__ = [
    "Age",
    "BinaryTask",
    "CategoricalFeature",
    "CountFeature",
    "CountTask",
    "DateTimeFeature",
    "DenseFeature",
    "EventNumber",
    "FeatureSchema",
    "History",
    "HistoryGroup",
    "INFNet",
    "MulticlassTask",
    "NumericFeature",
    "RankingData",
    "RateFeature",
    "Ratio",
    "RegressionTask",
    "RelativeFeature",
    "SecondsSinceFeature",
    "SincePrevious",
    "balances",
    "calibration",
    "callbacks",
    "daily",
    "data",
    "datasets",
    "explain",
    "fit_ranker",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "search",
    "serving",
    "training",
]

# Not read before somebody asks for one: training needs none of them.
_WHEN_NAMED = ("daily", "datasets", "explain", "search", "serving")


def __getattr__(name: str) -> _Any:
    if name not in _WHEN_NAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHEN_NAMED})
