"""Gate: whether a new version is published, or the one before goes on serving."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.daily.config import GatePart
from keras_infnet.daily.measures import LabelledRows
from keras_infnet.metrics.block_jackknife import block_jackknife
from keras_infnet.metrics.direction import lower_is_better
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.training.policy import TaskPolicy


@dataclass(frozen=True)
class Decision:
    """What the gate says.

    Args:
        publish: Whether the new version is published.
        reason: Why, with the numbers.
        score: Score of the new version on the held-out rows, floors aside.
        before: That of the version before, on the same rows; `None` for the first version.
        difference: Score less that before.
        error: Standard error of the difference, over users, paired.
        values: The metric by task, of the new version and of the one before.
    """

    publish: bool
    reason: str
    score: float
    before: float | None = None
    difference: float | None = None
    error: float | None = None
    values: Mapping[str, Mapping[str, float]] = dataclasses.field(
        default_factory=dict[str, Mapping[str, float]]
    )


def decide(
    schema: FeatureSchema,
    part: GatePart,
    rows: LabelledRows,
    new: pd.DataFrame,
    before: pd.DataFrame | None,
) -> Decision:
    """Compares two models on the same rows, before calibration.

    Args:
        schema: The schema.
        part: What is required.
        rows: Rows that neither was trained on.
        new: Predictions of the new model.
        before: Those of the model before; `None` for the first version.
    """
    policy = part.policy(schema)
    plain = dataclasses.replace(policy, floors=None)
    everything = np.ones(len(rows), bool)
    values = {"new": _metric(policy, rows, new, everything)}
    score, found = _score(plain, values["new"]), None
    if before is not None:
        values["before"] = _metric(policy, rows, before, everything)
        found = _compared(plain, rows, new, before)
    numbers = (score, *found) if found is not None else (score,)
    for reason in (_undefined(policy, values["new"]), _below_floor(policy, values["new"])):
        if reason is not None:
            return Decision(False, reason, *numbers, values=values)
    if found is None:
        return Decision(
            True, f"the first version: {policy.metric} {score:.4f}.", score, values=values
        )
    publish, reason = _against(part, policy.metric, *found)
    return Decision(publish, reason, *numbers, values=values)


def _against(
    part: GatePart, metric: str, before: float, difference: float, error: float
) -> tuple[bool, str]:
    """Whether the difference is what is required of it."""
    needed = part.least + (part.errors * error if part.errors else 0.0)
    said = (
        f"{metric} differs by {difference:+.5f} (standard error {error:.5f}) from that of the "
        "version before on the same rows"
    )
    if math.isinf(before) and before < 0:
        return True, f"{said}, where its own is not defined."
    if math.isnan(needed):
        return False, (
            f"{said}; without some users {metric} is not defined, and gate.errors={part.errors:g} "
            "asks for the error. Hold out more rows (training.holdout), or set it to 0."
        )
    if difference >= needed:
        return True, f"{said}; {needed:+.5f} is required."
    return False, (
        f"{said}; {needed:+.5f} or more is required (gate.least={part.least:g}, "
        f"gate.errors={part.errors:g}). The next day trains on these rows too."
    )


def _compared(
    policy: TaskPolicy, rows: LabelledRows, new: pd.DataFrame, before: pd.DataFrame
) -> tuple[float, float, float]:
    """Score before, difference and its standard error."""

    def measure(kept: np.ndarray) -> list[float]:
        after, was = (_score(policy, _metric(policy, rows, p, kept)) for p in (new, before))
        return [was, after - was]

    with np.errstate(invalid="ignore"):
        values, errors = block_jackknife(measure, rows.blocks_of)
    return float(values[0]), float(values[1]), float(errors[1])


def _metric(
    policy: TaskPolicy, rows: LabelledRows, predicted: pd.DataFrame, kept: np.ndarray
) -> dict[str, float]:
    """The policy's metric on some rows by task, of the tasks that have it."""
    measured = rows.values(predicted, kept, gauc=policy.metric == "gauc")
    return {task: m[policy.metric] for task, m in measured.items() if policy.metric in m}


def _score(policy: TaskPolicy, values: Mapping[str, float]) -> float:
    # A task without weight does not tell, even where it has no number.
    counted = {task for task in values if policy.weights is None or policy.weights.get(task)}
    weights = None if policy.weights is None else {t: policy.weights[t] for t in counted}
    logs = {f"val_{task}_{policy.metric}": values[task] for task in counted}
    return dataclasses.replace(policy, weights=weights).score(logs)


def _undefined(policy: TaskPolicy, values: Mapping[str, float]) -> str | None:
    weights = dict.fromkeys(values, 1.0) if policy.weights is None else policy.weights
    asked = {*(task for task, weight in weights.items() if weight), *(policy.floors or ())}
    bad = [task for task, value in values.items() if task in asked and not math.isfinite(value)]
    if not bad:
        return None
    return (
        f"{policy.metric} of {', '.join(bad)} is not defined on the held-out rows, whose labels "
        "may be of one class alone. Hold out more rows (training.holdout), or give gate.weights "
        "and gate.floors without the task."
    )


def _below_floor(policy: TaskPolicy, values: Mapping[str, float]) -> str | None:
    sign = -1 if lower_is_better(policy.metric) else 1
    for task, floor in (policy.floors or {}).items():
        if sign * (values[task] - floor) < 0:
            return (
                f"{policy.metric} of task `{task}` is {values[task]:.5f}; its floor "
                f"(gate.floors) is {floor:g}."
            )
    return None


def plain(decision: Decision) -> dict[str, Any]:
    """As JSON has it: what is no number is null."""

    def finite(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: finite(part) for name, part in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {name: finite(value) for name, value in dataclasses.asdict(decision).items()}
