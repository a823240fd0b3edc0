"""What an exported model answers, beside what its Keras model does."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.serving.answer_range import answer_range
from keras_infnet.serving.calibration import Calibration


def ask(signature: Any, request: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of a loaded signature for raw features by name."""
    import tensorflow as tf

    outputs = signature(**{name: tf.constant(values) for name, values in request.items()})
    return {name: output.numpy() for name, output in outputs.items()}


def largest_difference(
    served: Mapping[str, np.ndarray],
    frame: pd.DataFrame,
    model: Any,
    encoder: FeatureEncoder,
    tolerance: float,
    calibration: Calibration | None = None,
    signature: str = "",
    who: str = "verify_saved_model",
) -> float:
    """Largest absolute difference of answers to a frame's rows from those of the Keras model.

    Args:
        served: Answers by task, `(rows, 1)`.
        frame: Rows with feature columns, and histories as list columns.
        model: The Keras model.
        encoder: Its encoder.
        tolerance: What a difference may be, relative to an output above 1.
        calibration: What the model was exported with.
        signature: Whose answers they are, for the message.
        who: Function that compares, for the message.

    Returns:
        The difference.

    Raises:
        ValueError: A difference is above the tolerance, or an answer is not a number.
    """
    predicted = model.predict(encoder.transform(frame), verbose=0)
    ranges, largest = answer_range(predicted, tolerance, calibration), 0.0
    for task in encoder.schema.task_names:
        answer, (low, right, high) = served[task], ranges[task]
        difference = np.abs(answer - right)
        if not ((low <= answer) & (answer <= high)).all():
            excess = np.maximum(low - answer, answer - high)
            row = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)[:, 0]))
            raise ValueError(
                f"{who}: task `{task}`{signature} differs by "
                f"{difference[row, 0]:.2e} in row {frame.index[row]} (served "
                f"{served[task][row, 0]:.6f}, Keras {right[row, 0]:.6f}); expected at most "
                f"{tolerance:g}."
            )
        largest = max(largest, float(difference.max()))
    return largest
