"""Search of hyperparameters with keras-tuner."""

from keras_infnet.search.infnet_hyper_model import INFNetHyperModel
from keras_infnet.search.latency_tradeoff import LatencyTradeoff
from keras_infnet.search.pareto import pareto_front
from keras_infnet.search.proxy_search import ProxySearch
from keras_infnet.search.search_config import load_config
from keras_infnet.search.search_space import SearchSpace
from keras_infnet.search.trial_records import search_trials

__all__ = [
    "INFNetHyperModel",
    "LatencyTradeoff",
    "ProxySearch",
    "SearchSpace",
    "load_config",
    "pareto_front",
    "search_trials",
]
