"""Search of hyperparameters with keras-tuner."""

from keras_infnet.search.folder import load_config, search_trials
from keras_infnet.search.hyper_model import INFNetHyperModel
from keras_infnet.search.latency_tradeoff import LatencyTradeoff, pareto_front
from keras_infnet.search.proxy_search import ProxySearch
from keras_infnet.search.space import SearchSpace

__all__ = [
    "INFNetHyperModel",
    "LatencyTradeoff",
    "ProxySearch",
    "SearchSpace",
    "load_config",
    "pareto_front",
    "search_trials",
]
