"""Figures of a search."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

COUNTS = {
    "num_field_proxies": "categorical proxies",
    "num_task_proxies": "shared task tokens",
}
HYPERPARAMETERS = (
    *COUNTS,
    "num_blocks",
    "dim",
    "learning_rate",
    "table_rate_factor",
    "dropout",
    "form",
)


def draw_plots(trials: pd.DataFrame, folder: Path, tasks: Sequence[str], metric: str) -> list[str]:
    """Draws what there are trials for; returns the names of the files."""
    full = trials[(trials["status"] == "finished") & (trials["training_share"] == 1)]
    finished = trials[trials["status"] == "finished"]
    drawn = {
        "proxy_count.png": proxy_count_plot(full, tasks, metric),
        "pareto_front.png": pareto_plot(finished, metric),
        "parallel_coordinates.png": parallel_coordinates(finished),
    }
    for name, figure in drawn.items():
        if figure is not None:
            temporary = folder / f".{name}.unfinished"
            figure.savefig(temporary, dpi=110, format="png", bbox_inches="tight")
            temporary.replace(folder / name)
            plt.close(figure)
    return [name for name, figure in drawn.items() if figure is not None]


def varied(trials: pd.DataFrame, names: Sequence[str] = HYPERPARAMETERS) -> list[str]:
    """Hyperparameters that differ between trials."""
    return [name for name in names if trials[name].nunique() > 1]


def count_table(trials: pd.DataFrame, count: str, column: str) -> pd.DataFrame:
    """Mean, standard deviation and number of trials for each value of a hyperparameter."""
    return trials.groupby(count)[column].agg(["mean", "std", "count"])


def proxy_count_plot(trials: pd.DataFrame, tasks: Sequence[str], metric: str) -> plt.Figure | None:
    """Each task's metric against the numbers of proxies: the paper's Figure 4."""
    counts, columns = varied(trials, tuple(COUNTS)), [f"{task}_{metric}" for task in tasks]
    if not counts:
        return None
    size = (1 + 3.1 * len(tasks), 3.1 * len(counts))
    figure, axes = plt.subplots(
        len(counts), len(tasks), figsize=size, squeeze=False, layout="constrained"
    )
    for row, count in zip(axes, counts, strict=True):
        for axis, column, task in zip(row, columns, tasks, strict=True):
            table = count_table(trials, count, column)
            places = {value: place for place, value in enumerate(table.index)}
            axis.scatter(trials[count].map(places), trials[column], s=14, alpha=0.35, color="C0")
            deviation = table["std"].fillna(0)
            axis.errorbar(range(len(table)), table["mean"], deviation, marker="o", capsize=4)
            axis.set_xticks(range(len(table)), table.index)
            axis.set_xlabel(COUNTS[count])
            axis.set_title(task, fontsize=10)
            axis.grid(alpha=0.3)
        row[0].set_ylabel(f"validation {_name(metric)}")
    return figure


def pareto_plot(trials: pd.DataFrame, metric: str) -> plt.Figure | None:
    """Quality against inference time, with the Pareto front."""
    if trials.empty:
        return None
    figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
    front = trials[trials["on_front"]].sort_values("milliseconds")
    axis.scatter(trials["milliseconds"], trials["quality"], s=24, alpha=0.5, label="trial")
    axis.plot(
        front["milliseconds"],
        front["quality"],
        drawstyle="steps-post",
        marker="o",
        color="C3",
        label="Pareto front",
    )
    for row in front.itertuples():
        place = {"xytext": (4, 5), "textcoords": "offset points", "fontsize": 8}
        axis.annotate(row.trial, (row.milliseconds, row.quality), **place)
    axis.set_xlabel("inference, milliseconds a batch")
    axis.set_ylabel(f"quality (validation {_name(metric)})")
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def parallel_coordinates(trials: pd.DataFrame) -> plt.Figure | None:
    """A line for each trial through its hyperparameters, time and score."""
    names = [*varied(trials), "milliseconds", "score"]
    if len(trials) < 2:
        return None
    figure, axis = plt.subplots(figsize=(1.5 + 1.1 * len(names), 4), layout="constrained")
    heights, ticks = zip(*(_scaled(trials[name], name) for name in names), strict=True)
    lines, colors = np.stack(heights, axis=1), plt.colormaps["viridis"](heights[-1])
    best = int(np.argmax(trials["score"]))
    for i in np.argsort(heights[-1]):
        axis.plot(lines[i], color=colors[i], alpha=0.8, linewidth=3.5 if i == best else 1.3)
    for place, labels in enumerate(ticks):
        axis.axvline(place, color="0.4", linewidth=0.8)
        for height, text in labels:
            box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1}
            axis.text(place + 0.03, height, text, fontsize=8, va="center", bbox=box)
    axis.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names], fontsize=9)
    axis.set_yticks([])
    axis.set_xlim(-0.1, len(names) - 0.6)
    for side in axis.spines.values():
        side.set_visible(False)
    return figure


def _scaled(values: pd.Series, name: str) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Places on an axis from 0 to 1, and the axis's labels: of each value of a hyperparameter."""
    if name in HYPERPARAMETERS:
        codes, known = pd.factorize(values, sort=True)
        places = codes / max(1, len(known) - 1)
        step = 1 / max(1, len(known) - 1)
        return places, [(i * step, f"{value}") for i, value in enumerate(known)]
    low, high = values.min(), values.max()
    places = (values - low) / ((high - low) or 1.0)
    ends = [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")]
    return places.to_numpy("float64"), ends if high > low else ends[:1]


def _name(metric: str) -> str:
    return {"auc": "AUC", "gauc": "gAUC"}[metric]
