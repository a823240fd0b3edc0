"""Balance between tasks: how much each counts in the weights that tasks share."""

from keras_infnet.balances.balance import Balance, Measured
from keras_infnet.balances.cagrad import CAGrad
from keras_infnet.balances.dwa import DWA
from keras_infnet.balances.famo import FAMO
from keras_infnet.balances.grad_norm import GradNorm
from keras_infnet.balances.pcgrad import PCGrad
from keras_infnet.balances.uncertainty import Uncertainty

__all__ = [
    "Balance",
    "CAGrad",
    "DWA",
    "FAMO",
    "GradNorm",
    "Measured",
    "PCGrad",
    "Uncertainty",
]
