"""Between what an exported model's answers must lie, given the Keras model's outputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_infnet.serving.calibration import Calibration


def answer_range(
    predicted: Mapping[str, Any], tolerance: float, calibration: Calibration | None = None
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Least, expected and greatest answer of each task.

    Without calibration `p -+ tolerance * max(1, |p|)`. A calibration may be steep, so that it
    enlarges differences of rounding: its range is that of its values between these ends, widened
    by `tolerance`.

    Args:
        predicted: Task name -> outputs of the Keras model.
        tolerance: Largest difference before calibration, relative to an output above 1.
        calibration: What the model was exported with.

    Returns:
        Task name -> three float64 arrays of the outputs' shape.
    """
    ranges = {}
    for task, values in predicted.items():
        p = np.asarray(values, "float64")
        allowed = tolerance * np.maximum(1, np.abs(p))
        ranges[task] = (p - allowed, p, p + allowed)
        if calibration is not None and task in calibration.tasks:
            one = Calibration({task: calibration.tasks[task]})
            ends = np.clip(ranges[task], 0, 1)
            low, middle, high = one.transform({task: ends})[task]
            ranges[task] = (low - tolerance, middle, high + tolerance)
    return ranges
