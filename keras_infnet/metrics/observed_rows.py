"""Observed rows: checked label, prediction and weight columns, from which metrics start."""

from typing import Any

import numpy as np


def observed_rows(
    labels: Any, predictions: Any, sample_weight: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, predictions and weights of the rows that count, those with a weight above 0.

    Args:
        labels: `(rows,)` or `(rows, 1)`. Where the weight is 0 anything may stand, NaN too.
        predictions: Like `labels`.
        sample_weight: Like `labels`, 0 or more, 0 where a label was not observed. Defaults to 1.

    Returns:
        Float64 labels, predictions and weights, `(observed rows,)` each, and the bool mask
        `(rows,)` of the observed.

    Raises:
        ValueError: The lengths differ, a weight is negative or NaN, an observed label or prediction
            is NaN, or two pandas columns have the same index in another order.
    """
    check_order(labels=labels, predictions=predictions, weights=sample_weight)
    labels = column("labels", labels)
    predictions = column("predictions", predictions)
    weights = np.ones(len(labels)) if sample_weight is None else column("weights", sample_weight)
    if not len(labels) == len(predictions) == len(weights):
        raise ValueError(
            "Labels, predictions and weights must have the same rows. Received: "
            f"{len(labels)} labels, {len(predictions)} predictions, {len(weights)} weights."
        )
    _refuse("weights", weights, ~(weights >= 0) | np.isinf(weights), "finite numbers, 0 or more")
    observed = weights > 0
    _refuse("labels", labels, np.isnan(labels) & observed, "numbers, or weight 0 in that row")
    _refuse("predictions", predictions, np.isnan(predictions) & observed, "numbers")
    return labels[observed], predictions[observed], weights[observed], observed


def observed_binary_rows(
    labels: Any, predictions: Any, sample_weight: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`observed_rows` that also refuses a label other than 0 and 1."""
    rows = observed_rows(labels, predictions, sample_weight)
    _refuse("labels", rows[0], (rows[0] != 0) & (rows[0] != 1), "0 or 1")
    return rows


def observed_probabilities(
    labels: Any, probabilities: Any, sample_weight: Any, needed_by: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and weights of `observed_binary_rows`; refused outside [0, 1]."""
    labels, p, weights, _ = observed_binary_rows(labels, probabilities, sample_weight)
    if len(p) and (p.min() < 0 or p.max() > 1):
        raise ValueError(
            f"{needed_by} needs probabilities in [0, 1]. Received: values from {p.min():g} to "
            f"{p.max():g}. Apply a sigmoid to logits first."
        )
    return labels, p, weights


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> float:
    """The weighted mean; NaN of no values."""
    return float(np.average(values, weights=weights)) if len(values) else float("nan")


def column(what: str, values: Any) -> np.ndarray:
    """`values` of shape `(rows,)` or `(rows, 1)` as a float64 column `(rows,)`."""
    try:
        if hasattr(values, "isna"):
            values = values.to_numpy("float64", na_value=np.nan)
        values = np.asarray(values).astype("float64")
    except (TypeError, ValueError) as error:
        raise ValueError(f"The {what} must be numbers. {error}") from error
    if values.ndim > 2 or values.ndim == 0 or (values.ndim == 2 and values.shape[1] != 1):
        raise ValueError(
            f"The {what} must have shape (rows,) or (rows, 1). Received: shape {values.shape}."
        )
    return values.reshape(-1)


def check_order(**columns: Any) -> None:
    """A ValueError for the same index in another order, by name of the column.

    Rows are matched by position.
    """
    indexed = {what: c.index for what, c in columns.items() if hasattr(c, "reindex")}
    if not indexed:
        return
    (first, index), *others = indexed.items()
    for what, other in others:
        if len(other) != len(index) or other.equals(index):
            continue
        if other.sort_values().equals(index.sort_values()):
            raise ValueError(
                f"The {first} and the {what} have the same index in another order, and rows are "
                f"matched by position. Align them: `{what}.loc[{first}.index]`."
            )


def _refuse(what: str, values: np.ndarray, bad: np.ndarray, expected: str) -> None:
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(
            f"The {what} must be {expected}. Received: {values[first]:g} "
            f"({int(bad.sum())} such values, the first at position {first})."
        )
