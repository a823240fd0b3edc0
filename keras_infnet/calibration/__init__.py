"""Calibration of probabilities: fitted on validation rows, applied in numpy and as a graph."""

from keras_infnet.calibration.calibration import Calibration
from keras_infnet.calibration.fit import fit_calibration
from keras_infnet.calibration.negative_sampling import correct_negative_sampling

__all__ = [
    "Calibration",
    "correct_negative_sampling",
    "fit_calibration",
]
