"""What a model loses when a feature or a history is shuffled between the rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.explain.ordered_index import ordered_index
from keras_infnet.metrics.task_metrics import task_metrics
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.schema.feature import Feature
from keras_infnet.schema.schema import FeatureSchema

# Of these, less is better.
_ERRORS = ("log_loss", "mse", "mae")


def permutation_importance(
    model: RankingModel,
    inputs: Mapping[str, np.ndarray],
    truth: Mapping[str, Any],
    *,
    repeats: int,
    seed: int,
    batch_size: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How much worse each measure of each task becomes without what a feature knows of its row.

    All features are shuffled in the same orders, one for each repeat.

    Args:
        model: Any model of the library.
        inputs: Packed inputs of the rows.
        truth: Arguments `labels`, `groups` and `sample_weight` of `task_metrics`.
        repeats: Number of orders, 2 or more.
        seed: Seed of the orders.
        batch_size: Rows a batch.

    Returns:
        Measures of the rows as they are, a row each task; and columns `importance` and
        `standard_error` by (task, metric, kind, name).
    """
    regression = [task.name for task in model.schema.tasks if task.kind == "regression"]

    def measure(rows: Mapping[str, np.ndarray]) -> dict[tuple[str, str], float]:
        predictions = _predictions(model, rows, batch_size)
        measured = task_metrics(predictions=predictions, regression=regression, **truth)
        return {(task, m): value for task, of in measured.items() for m, value in of.items()}

    baseline = measure(inputs)
    signs = np.array([1.0 if metric in _ERRORS else -1.0 for _, metric in baseline])
    before = np.array(list(baseline.values()))
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(next(iter(inputs.values())))) for _ in range(repeats)]
    parts, means, errors = permuted_parts(model.schema), [], []
    for columns in parts.values():
        after = [list(measure(shuffled(inputs, columns, order)).values()) for order in orders]
        losses = signs * (np.array(after) - before)
        means.append(losses.mean(0))
        errors.append(losses.std(0, ddof=1) / repeats**0.5)
    importance = pd.DataFrame(
        {"importance": np.transpose(means).ravel(), "standard_error": np.transpose(errors).ravel()},
        ordered_index(
            [(*measured, *part) for measured in baseline for part in parts],
            names=("task", "metric", "kind", "name"),
        ),
    )
    return pd.Series(baseline).unstack(sort=False), importance


def permuted_parts(schema: FeatureSchema) -> dict[tuple[str, str], dict[str, slice]]:
    """Columns of the packed inputs that belong together, by ("field" or "history", name)."""
    parts: dict[tuple[str, str], dict[str, slice]] = {}
    for names, features in (
        (("categorical",), schema.one_valued),
        (("bags", "bag_weights"), schema.bags),
        (("dense",), schema.dense),
    ):
        start = 0
        for feature in features:
            columns = slice(start, start + _width(feature))
            parts["field", feature.name] = dict.fromkeys(names, columns)
            start = columns.stop
    for s in schema.histories:
        names = (s.name, f"{s.name}_age") if s.ages else (s.name,)
        parts["history", s.name] = dict.fromkeys(names, slice(None))
    return parts


def shuffled(
    inputs: Mapping[str, np.ndarray], parts: Mapping[str, slice], order: np.ndarray
) -> dict[str, np.ndarray]:
    """The inputs with some columns taken from other rows."""
    changed = {}
    for name, columns in parts.items():
        changed[name] = inputs[name].copy()
        changed[name][:, columns] = inputs[name][order, columns]
    return {**inputs, **changed}


def _predictions(
    model: RankingModel, inputs: Mapping[str, np.ndarray], batch_size: int
) -> dict[str, np.ndarray]:
    """Outputs by task; `predict` would set up a pipeline each time, longer than it takes itself."""
    batches = [
        model.predict_on_batch({n: rows[start : start + batch_size] for n, rows in inputs.items()})
        for start in range(0, len(next(iter(inputs.values()))), batch_size)
    ]
    return {t: np.concatenate([b[t] for b in batches]) for t in model.schema.task_names}


def _width(feature: Feature) -> int:
    return getattr(feature, "dim", None) or getattr(feature, "max_values", 1)
