"""The search space of hyperparameters, and the search."""

from keras_infnet.search.folder import load_config, search_trials
from keras_infnet.search.hyper_model import INFNetHyperModel
from keras_infnet.search.latency_tradeoff import LatencyTradeoff, pareto_front
from keras_infnet.search.proxy_search import ProxySearch
from keras_infnet.search.space import SearchSpace
from keras_infnet.training.policy import TaskPolicy

__all__ = [
    "INFNetHyperModel",
    "LatencyTradeoff",
    "ProxySearch",
    "SearchSpace",
    "TaskPolicy",
    "load_config",
    "pareto_front",
    "search_trials",
]
