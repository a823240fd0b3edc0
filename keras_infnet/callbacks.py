"""Callbacks of training: checkpoints, divergence, group AUC, scores, shares of experts."""

from keras_infnet._base.divergence_check import DivergenceCheck
from keras_infnet.training.checkpoints import Checkpoints
from keras_infnet.training.expert_shares_callback import ExpertSharesCallback
from keras_infnet.training.group_auc_callback import GroupAUCCallback
from keras_infnet.training.policy import PolicyScore

__all__ = [
    "Checkpoints",
    "DivergenceCheck",
    "ExpertSharesCallback",
    "GroupAUCCallback",
    "PolicyScore",
]
