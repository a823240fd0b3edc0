"""What the streaming metrics share: rows as flat tensors, and cells of the logit."""

from typing import Any

from keras import ops

# Cells have equal widths of the logit: this range holds probabilities from 4.5e-5 to 1 - 4.5e-5.
_LOGIT_RANGE = 10.0


def flat_rows(dtype: str, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """Labels, predictions and weights `(batch,)`; a label is 0 where its weight is 0.

    The weight is NaN where an observed prediction is not finite: so are all sums that it enters.
    """
    labels, predictions = (ops.reshape(ops.cast(y, dtype), (-1,)) for y in (y_true, y_pred))
    weights = ops.ones_like(labels)
    if sample_weight is not None:
        weights = ops.reshape(ops.cast(sample_weight, dtype), (-1,))
    # An unobserved label may be NaN.
    labels = ops.where(weights > 0, labels, 0.0)
    bad = ops.logical_and(weights > 0, ops.logical_not(ops.isfinite(predictions)))
    return labels, predictions, ops.where(bad, float("nan"), weights)


def logit_cells(probabilities: Any, count: int) -> Any:
    """Index of the cell of each probability, 0 to `count - 1`."""
    p = ops.clip(probabilities, 1e-7, 1 - 1e-7)
    logits = ops.log(p) - ops.log1p(-p)
    return cells_of((logits + _LOGIT_RANGE) / (2 * _LOGIT_RANGE), count)


def cells_of(share: Any, count: int) -> Any:
    """Index of the cell, of `count` equal ones that cut [0, 1]; what lies beyond is in the last."""
    return ops.clip(ops.cast(ops.floor(share * count), "int32"), 0, count - 1)
