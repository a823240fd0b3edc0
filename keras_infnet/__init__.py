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

from keras_infnet.features.encoder import FeatureEncoder
from keras_infnet.features.feature import (
    CategoricalFeature,
    DenseFeature,
    HistoryGroup,
    NumericFeature,
    SequenceFeature,
    Task,
)
from keras_infnet.features.schema import FeatureSchema
from keras_infnet.features.vocabulary import Vocabulary
from keras_infnet.pipelines.dataset import make_dataset
from keras_infnet.pipelines.histories import Histories
from keras_infnet.pipelines.predict import predict_frame

__version__ = "0.1.0"

__all__ = [
    "CategoricalFeature",
    "DenseFeature",
    "FeatureEncoder",
    "FeatureSchema",
    "Histories",
    "HistoryGroup",
    "NumericFeature",
    "SequenceFeature",
    "Task",
    "Vocabulary",
    "make_dataset",
    "predict_frame",
]
