"""Calibration: probabilities that keep their word, fitted and applied."""

from keras_infnet.calibration.calibration import Calibration
from keras_infnet.calibration.fit import fit_calibration
from keras_infnet.calibration.negative_sampling import correct_negative_sampling

__all__ = [
    "Calibration",
    "correct_negative_sampling",
    "fit_calibration",
]
