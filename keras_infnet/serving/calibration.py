"""Calibration of served probabilities: one monotone map a task."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import pandas as pd
from keras import ops

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.negative_sampling import check_array
from keras_infnet.serving.task_calibration import (
    TaskCalibration,
    calibrate_array,
    calibrate_tensor,
)


class Calibration:
    """Calibrated probabilities of tasks, from a model's.

    For each task, with `p` its output `(batch, 1)`:

    - `negative_sampling_rate=w`: `p <- p / (p + (1 - p) / w)`, for a model trained on a share `w`
      of the negatives;
    - `"platt"`: `sigmoid(a logit(p) + b)`, `"temperature"`: `sigmoid(logit(p) / T)`, with `p`
      clipped to [1e-7, 1 - 1e-7];
    - `"isotonic"`: linear between the points `(inputs, outputs)`, constant beyond them.

    Slopes are above 0, so that a task's order of candidates stays; an isotonic map may tie some.
    `fit_calibration` makes one, and `export_saved_model(..., calibration=...)` builds it into the
    graph.

    Args:
        tasks: Task name -> its map: `method`, `slope`, `intercept`, `inputs`, `outputs` and
            `negative_sampling_rate`, as in `to_dict`. Outputs of other tasks stay as they are.

    Call arguments:
        outputs: Task name -> tensor of probabilities, of any shape.

    Returns:
        Dict with the names of `outputs`, and float32 tensors of their shapes.

    Raises:
        ValueError: A map's argument is unknown or out of range, or a task is not among the outputs.

    Example:
        >>> calibration = keras_infnet.calibration.Calibration({"click": {"method": "platt", "intercept": -1}})
        >>> calibration.transform({"click": [0.5]})["click"].round(3).tolist()
        [0.269]

    Reference:
        He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, ADKDD 2014
        (sampling); Guo et al., arXiv:1706.04599 (Platt scaling, temperature, isotonic regression).
    """

    def __init__(self, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        self.tasks = {name: _task_calibration(name, given) for name, given in tasks.items()}

    def __call__(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        self._check_known(outputs)
        calibrated = dict(outputs)
        for name, task in self.tasks.items():
            calibrated[name] = calibrate_tensor(task, ops.cast(outputs[name], "float32"))
        return calibrated

    def transform(self, predictions: Any) -> Any:
        """Calibrates a dict of arrays, or the columns of a DataFrame, in float64.

        Raises:
            ValueError: A task is not among the predictions, or a prediction is NaN or outside
                [0, 1].
        """
        self._check_known(predictions)
        calibrated = {
            name: calibrate_array(task, check_array(name, predictions[name]))
            for name, task in self.tasks.items()
        }
        if isinstance(predictions, pd.DataFrame):
            return predictions.assign(**calibrated)
        return {**predictions, **calibrated}

    def to_dict(self) -> dict[str, Any]:
        """The maps as JSON values; `from_dict` reads them."""
        plain = {name: asdict(task) for name, task in self.tasks.items()}
        return {
            name: {k: list(v) if isinstance(v, tuple) else v for k, v in task.items()}
            for name, task in plain.items()
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Mapping[str, Any]]) -> "Calibration":
        """The calibration that `to_dict` wrote."""
        return cls(plain)

    def check_schema(self, schema: FeatureSchema) -> None:
        """A ValueError for a task that the schema lacks, or that is a regression."""
        for name in self.tasks:
            if schema.task(name).kind != "binary":
                raise ValueError(
                    f"Calibration: task `{name}` is a regression; expected tasks of probabilities."
                )

    def _check_known(self, outputs: Any) -> None:
        for name in self.tasks:
            if name not in outputs:
                raise ValueError(
                    f"Calibration: task `{name}` is not among the outputs."
                    + did_you_mean(name, map(str, outputs))
                )


def _task_calibration(name: str, given: Any) -> TaskCalibration:
    if isinstance(given, TaskCalibration):
        return given
    known = [field.name for field in fields(TaskCalibration)]
    for argument in given:
        if argument not in known:
            raise ValueError(
                f"Calibration of task `{name}`: `{argument}` is unknown."
                + did_you_mean(argument, known)
            )
    try:
        return TaskCalibration(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Calibration of task `{name}`: {error}") from error
