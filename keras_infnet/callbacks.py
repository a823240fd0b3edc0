"""Callbacks of training: checkpoints, group AUC, scores of policies, shares of experts."""

from keras_infnet.training.checkpoints import Checkpoints
from keras_infnet.training.expert_shares_callback import ExpertSharesCallback
from keras_infnet.training.group_auc_callback import GroupAUCCallback
from keras_infnet.training.policy import PolicyScore

__all__ = [
    "Checkpoints",
    "ExpertSharesCallback",
    "GroupAUCCallback",
    "PolicyScore",
]
