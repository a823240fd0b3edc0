"""Permutation importance with its error, and attention against it."""

from typing import Any

import pandas as pd

from keras_infnet.explain.figures import DARK, LIGHT, new_figure

_KINDS = {"field": DARK, "history": LIGHT}
_NAMED = 4


def by_task(
    importance: pd.DataFrame, metric: str | None
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Importance by (kind, name) and metric of each task that has the metric.

    Args:
        importance: Table of `permutation_importance`.
        metric: Name of the metric; None: the first of each task.

    Returns:
        Two dicts by task.

    Raises:
        ValueError: No task has the metric.
    """
    metrics: dict[str, str] = {}
    for task, name in dict.fromkeys(importance.index.droplevel(["kind", "name"])):
        if metric in (None, name):
            metrics.setdefault(task, name)
    if not metrics:
        known = ", ".join(dict.fromkeys(importance.index.get_level_values("metric")))
        raise ValueError(f"Explanation: no task has the metric `{metric}`. Known: {known}.")
    tables = {t: importance.xs((t, name), level=("task", "metric")) for t, name in metrics.items()}
    return tables, metrics


def plot_importance(importance: dict[str, pd.DataFrame], metrics: dict[str, str], top: int) -> Any:
    """Bars with standard errors, a panel each task, the most important on top.

    Args:
        importance: Importance by (kind, name), for each task.
        metrics: Metric of each task.
        top: Number of features and histories shown.
    """
    shown = min(top, max(len(table) for table in importance.values()))
    figure, axes = new_figure(
        4.2 * len(importance), 1.3 + 0.24 * shown, columns=len(importance), sharey=False
    )
    for axis, (task, table) in zip(axes[0], importance.items(), strict=True):
        largest = table.nlargest(top, "importance").iloc[::-1]
        kinds = largest.index.get_level_values("kind")
        bars = axis.barh(
            range(len(largest)),
            largest["importance"],
            xerr=largest["standard_error"],
            color=[_KINDS[kind] for kind in kinds],
            error_kw={"elinewidth": 1, "capsize": 2},
        )
        for bar, kind in zip(bars, kinds, strict=True):
            bar.set_hatch("//" if kind == "history" else None)
        axis.set_yticks(range(len(largest)), largest.index.get_level_values("name"), fontsize=8)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.locator_params(axis="x", nbins=4)
        axis.set_title(task, fontsize=10)
        axis.set_xlabel(f"{metrics[task]}: loss when shuffled", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def plot_agreement(
    attention: pd.DataFrame,
    importance: dict[str, pd.DataFrame],
    metrics: dict[str, str],
    correlations: pd.Series,
) -> Any:
    """Attention over fields against their importance, a panel each task.

    Args:
        attention: Table of `task_attention`.
        importance: Importance by (kind, name), for each task.
        metrics: Metric of each task.
        correlations: Rank correlation by (task, metric, memory).
    """
    figure, axes = new_figure(4.2 * len(importance), 3.8, columns=len(importance))
    for axis, (task, table) in zip(axes[0], importance.items(), strict=True):
        losses = table.xs("field", level="kind")
        weights = attention["fields"].loc[task].reindex(losses.index)
        axis.errorbar(
            weights,
            losses["importance"],
            yerr=losses["standard_error"],
            fmt="o",
            color=DARK,
            markersize=4,
            elinewidth=0.8,
        )
        _name_points(axis, weights, losses["importance"])
        axis.axhline(0, color="black", linewidth=0.6)
        axis.locator_params(axis="x", nbins=5)
        found = correlations.get((task, metrics[task], "fields"), float("nan"))
        axis.set_title(f"{task}: rank correlation {found:+.2f}", fontsize=9)
        axis.set_ylabel(f"{metrics[task]}: loss when shuffled", fontsize=9)
        axis.set_xlabel("attention, mean weight", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _name_points(axis: Any, weights: pd.Series, losses: pd.Series) -> None:
    """Names of the most important and the most read, where another name leaves room."""
    x, y = ((s - s.min()) / max(s.max() - s.min(), 1e-12) for s in (weights, losses))
    named: list[str] = []
    for name in [*losses.nlargest(_NAMED).index, *weights.nlargest(_NAMED).index]:
        if any(abs(x[name] - x[n]) < 0.4 and abs(y[name] - y[n]) < 0.06 for n in named):
            continue
        named.append(name)
        right = x[name] > 0.6
        axis.annotate(
            name,
            (weights[name], losses[name]),
            xytext=(-5 if right else 5, 3),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize=7,
        )
