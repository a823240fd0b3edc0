"""Predictions of a split as a table, and the metrics of such a table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

import keras_infnet
from protocol.data import ROW_KEY, RankingData

METRICS = ("auc", "gauc", "gauc_frozen", "gauc_user_day", "log_loss")


def predicted_rows(model: Any, data: RankingData, part: str) -> pd.DataFrame:
    """Row key, labels, and probabilities with rolling and with frozen histories.

    Columns `{task}_label`, `{task}` and `{task}_frozen`; frozen histories end at the user's first
    row of the split.
    """
    rows = getattr(data.split, part)
    given = (model, data.encoder, rows, data.histories)
    rolling = keras_infnet.data.predict_frame(*given)
    frozen = keras_infnet.data.predict_frame(*given, freeze_at="first_row")
    labels = {f"{t.name}_label": rows[t.label].astype("int8") for t in data.encoder.schema.tasks}
    found = rows[list(ROW_KEY)].assign(**labels)
    found[list(rolling.columns)] = rolling.astype("float32")
    found[[f"{task}_frozen" for task in frozen.columns]] = frozen.astype("float32")
    return found.reset_index(drop=True)


def count_nan(predictions: pd.DataFrame, tasks: Sequence[str]) -> int:
    """Rows with a prediction that is NaN."""
    columns = [*tasks, *(f"{task}_frozen" for task in tasks)]
    return int(predictions[columns].isna().any(axis=1).sum())


def split_metrics(predictions: pd.DataFrame, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
    """Metrics by task; a gAUC says in its name which histories and groups it is of."""
    users, days = predictions["user_id"], predictions["date"]
    labels = {task: predictions[f"{task}_label"] for task in tasks}
    rolling = keras_infnet.metrics.task_metrics(
        labels, predictions[list(tasks)], {"user": users, "user_day": [users, days]}
    )
    frozen = keras_infnet.metrics.task_metrics(
        labels, {task: predictions[f"{task}_frozen"] for task in tasks}, users
    )
    return {
        task: {
            "auc": numbers["auc"],
            "gauc": numbers["gauc_user"],
            "gauc_frozen": frozen[task]["gauc"],
            "gauc_user_day": numbers["gauc_user_day"],
            "log_loss": numbers["log_loss"],
        }
        for task, numbers in rolling.items()
    }


def mean_auc(metrics: dict[str, dict[str, float]]) -> float:
    """Mean AUC of the tasks: what trials are chosen by."""
    return float(np.mean([numbers["auc"] for numbers in metrics.values()]))
