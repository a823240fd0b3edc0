"""Losses within lists, beside a task's own: the formula and the Keras object, one a file."""

from keras_infnet.losses.combined_pair import CombinedPair
from keras_infnet.losses.jrc import JRC
from keras_infnet.losses.list_loss import ListLoss, ListRows
from keras_infnet.losses.rcr import RCR

__all__ = ["CombinedPair", "JRC", "ListLoss", "ListRows", "RCR"]
