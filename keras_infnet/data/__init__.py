"""From logs to batches: encoders, histories, and logs larger than memory."""

from keras_infnet.data.dataset import make_dataset
from keras_infnet.data.histories import Histories
from keras_infnet.data.predict import predict_frame
from keras_infnet.data.prepare import prepare
from keras_infnet.data.stream import stream_dataset
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.requests import frame_to_request
from keras_infnet.schema.layout import Layout
from keras_infnet.schema.vocabulary import Vocabulary

__all__ = [
    "FeatureEncoder",
    "Histories",
    "Layout",
    "Vocabulary",
    "frame_to_request",
    "make_dataset",
    "predict_frame",
    "prepare",
    "stream_dataset",
]
