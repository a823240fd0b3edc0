"""From logs to batches: encoders, histories, and logs larger than memory."""

from keras_infnet.data.batches import Batches
from keras_infnet.data.histories import Histories
from keras_infnet.data.prepare import prepare
from keras_infnet.data.ranking_data import RankingData
from keras_infnet.data.rate_state import RateState
from keras_infnet.data.rates import Rates
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.requests import frame_to_request
from keras_infnet.schema.layout import Layout
from keras_infnet.schema.vocabulary import Vocabulary

__all__ = [
    "Batches",
    "FeatureEncoder",
    "Histories",
    "Layout",
    "RankingData",
    "RateState",
    "Rates",
    "Vocabulary",
    "frame_to_request",
    "prepare",
]
