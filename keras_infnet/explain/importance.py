"""Permutation importance, and whether attention agrees with it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.explain.reading import stacked
from keras_infnet.metrics.direction import lower_is_better
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.schema.schema import FeatureSchema


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
        truth: `labels`, and if there are some `sample_weight`, both by task, and `groups`, as in
            `group_auc`.
        repeats: Number of orders, 2 or more.
        seed: Seed of the orders.
        batch_size: Rows a batch.

    Returns:
        Measures of the rows as they are, a row each task; and columns `importance` and
        `standard_error` by (task, metric, kind, name).
    """
    labels, weights = truth["labels"], truth.get("sample_weight") or {}
    groups = {} if truth.get("groups") is None else {"gauc": truth["groups"]}

    def measure(rows: Mapping[str, np.ndarray]) -> pd.Series:
        predictions = _predictions(model, rows, batch_size)
        found = {}
        for task in model.schema.tasks:
            of_task, predicted = np.asarray(labels[task.name]), predictions[task.name]
            weight = weights.get(task.name, np.ones(len(of_task)))
            measured = task.measures(of_task, predicted, weight, groups)
            found |= {(task.name, metric): value for metric, value in measured.items()}
        return pd.Series(found)

    baseline = measure(inputs)
    signs = [1.0 if lower_is_better(metric) else -1.0 for _, metric in baseline.index]
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(next(iter(inputs.values())))) for _ in range(repeats)]
    means, errors = {}, {}
    for part, columns in permuted_parts(model.schema).items():
        after = pd.DataFrame([measure(shuffled(inputs, columns, order)) for order in orders])
        losses = signs * (after - baseline)
        means[part], errors[part] = losses.mean(), losses.sem()
    columns = {"importance": pd.DataFrame(means), "standard_error": pd.DataFrame(errors)}
    tables = {
        measured: pd.DataFrame({name: values.loc[measured] for name, values in columns.items()})
        for measured in baseline.index
    }
    names = ["task", "metric", "kind", "name"]
    return baseline.unstack(sort=False), stacked(tables, names)


def by_task(importance: pd.DataFrame, metric: str | None) -> dict[str, tuple[str, Any]]:
    """A metric and its importance by (kind, name), of each task that has the metric.

    Args:
        importance: Table of `permutation_importance`.
        metric: Name of the metric; None: the first of each task.

    Returns:
        Dict by task.

    Raises:
        ValueError: No task has the metric.
    """
    found: dict[Any, tuple[Any, Any]] = {}
    for (task, name), table in importance.groupby(["task", "metric"], sort=False):
        if metric in (None, name):
            found.setdefault(task, (name, table.droplevel(["task", "metric"])))
    if not found:
        known = ", ".join(dict.fromkeys(importance.index.get_level_values("metric")))
        raise ValueError(f"Explanation: no task has the metric `{metric}`. Known: {known}.")
    return found


def agreement(attention: pd.DataFrame, importance: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of attention with permutation importance.

    Spearman's, ties averaged, among the fields and, if there are three or more, among the
    histories: each is a softmax of its own, so their weights don't compare.

    Args:
        attention: Table of `InfnetReader.attention`, with real task tokens.
        importance: Table of `permutation_importance`.

    Returns:
        Index `(task, metric, block, memory)`; columns `correlation`, `compared` (their number `n`),
        `chance` (`1.96 / sqrt(n - 1)`: 19 of 20 random orders stay below it in absolute value) and
        `above_noise` (how many have an importance above twice its standard error).
    """
    tasks: Any = attention.xs("tasks", level="group").groupby(["block", "token"], sort=False).mean()
    tables = {}
    for (task, metric), of_metric in importance.groupby(["task", "metric"], sort=False):
        rows = {}
        for (block, _), weights in tasks.xs(task, level="token", drop_level=False).iterrows():
            masses = attention_masses(weights)
            for kind, memory in (("field", "fields"), ("history", "histories")):
                if kind not in masses.index or len(masses[kind]) < 3:
                    continue
                ranked: Any = of_metric.xs((task, metric, kind)).reindex(masses[kind].index)
                noise = 2 * ranked["standard_error"]
                rows[block, memory] = {
                    "correlation": spearman(masses[kind], ranked["importance"]),
                    "chance": 1.96 / (len(ranked) - 1) ** 0.5,
                    "compared": len(ranked),
                    "above_noise": int((ranked["importance"] > noise).sum()),
                }
        index = pd.MultiIndex.from_tuples(rows, names=("block", "memory")) if rows else None
        tables[task, metric] = pd.DataFrame(list(rows.values()), index)
    return stacked(tables, ["task", "metric"])


def attention_masses(weights: pd.Series) -> pd.Series:
    """Attention of one token by ("field" or "history", name); a history's positions summed."""
    # Task tokens are no input that could be permuted.
    kept = weights[[memory != "tasks" for memory, _ in weights.index]]
    names = [
        ("field", name) if memory == "fields" else ("history", memory)
        for memory, name in kept.index
    ]
    index = pd.MultiIndex.from_tuples(names, names=("kind", "name"))
    return kept.set_axis(index).groupby(level=[0, 1], sort=False).sum()


def spearman(first: pd.Series, second: pd.Series) -> float:
    """Spearman's rank correlation; NaN where one is constant or holds a NaN."""
    with np.errstate(invalid="ignore"):
        return float(np.corrcoef(first.rank(), second.rank())[0, 1])


def permuted_parts(schema: FeatureSchema) -> dict[tuple[str, str], dict[str, slice]]:
    """Columns of the packed inputs that belong together, by ("field" or "history", name).

    Features that share a token are there one by one, and the token as a whole.
    """
    parts: dict[tuple[str, str], dict[str, slice]] = {}
    for name in ("categorical", "bags", "dense"):
        inputs = ("bags", "bag_weights") if name == "bags" else (name,)
        for field, columns in schema.packed_columns(name).items():
            parts["field", field] = dict.fromkeys(inputs, columns)
    for field, columns in schema.packed_columns("numbers").items():
        parts["field", field]["numbers"] = columns
    for token in schema.shared_tokens():
        # Their columns stand side by side.
        members = [parts["field", f.name] for f in schema.features if f.token_name == token]
        parts["field", token] = {
            name: slice(min(part.start for part in of_input), max(part.stop for part in of_input))
            for name in ("categorical", "numbers")
            if (of_input := [part[name] for part in members if name in part])
        }
    for h in schema.histories:
        names = (h.name, *(f"{h.name}_{quantity.key}" for quantity in h.of_row))
        parts["history", h.name] = dict.fromkeys(names, slice(None))
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
