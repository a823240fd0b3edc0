"""Explanations: attention and gates of INFNet, permutation importance of every model."""

from keras_infnet.explain.explain import Explanation, explain
from keras_infnet.explain.task_attention import task_attention

__all__ = [
    "Explanation",
    "explain",
    "task_attention",
]
