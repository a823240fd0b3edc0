"""The paper's Figures 4 and 6 from the tables."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.text import Text

from benchmarks.protocol.ablations import FIELD_PROXIES, TASK_PROXIES
from benchmarks.protocol.report import with_mean
from benchmarks.protocol.tables import Tables

# Points of area of a model with a million parameters.
_AREA = 120.0
# Where a name may stand, in points from its circle's middle, the best first.
_LABEL_OFFSETS = [
    (x, y)
    for r in (14, 26, 40, 56)
    for x, y in ((0, r), (0, -r), (3 * r, r), (-3 * r, r), (3 * r, -r), (-3 * r, -r))
]


def draw_plots(tables: Tables, folder: Path) -> list[str]:
    """Draws what the tables have numbers for; returns the files' names."""
    drawn = {
        "auc_and_inference_time.png": _cost_plot(tables["results.csv"], tables["cost.csv"]),
        "number_of_proxies.png": _proxy_plot(tables["ablation.csv"]),
    }
    for name, figure in drawn.items():
        if figure is not None:
            figure.tight_layout()
            figure.savefig(folder / name, dpi=120)
            plt.close(figure)
    return [name for name, figure in drawn.items() if figure is not None]


def _cost_plot(results: pd.DataFrame, cost: pd.DataFrame) -> plt.Figure | None:
    """Mean test AUC against inference time, one circle a model, its area by parameters."""
    if results.empty or cost.empty:
        return None
    rows = with_mean(results[(results["metric"] == "auc") & (results["split"] == "test")])
    rows = rows[(rows["task"] == "mean") & (rows["members"] == 1)]
    rows = rows[rows["histories"] == cost["histories"].iloc[0]]
    means = rows.groupby("model")["value"].mean()
    # The chosen setting where it differs from the default.
    cost = cost[cost["members"] == 1].sort_values("setting").drop_duplicates("model")
    cost = cost[cost["model"].isin(means.index)]
    if cost.empty:
        return None
    figure, axis = plt.subplots(figsize=(8, 5))
    microseconds = 1e6 / cost["inference_examples_per_second"]
    values = means[cost["model"]]
    axis.scatter(microseconds, values, _AREA * cost["parameters"] / 1e6, alpha=0.4)
    axis.set_xlabel("inference, microseconds an example")
    axis.set_ylabel("mean test AUC of the tasks")
    axis.set_title("area: number of parameters")
    axis.margins(0.15)
    figure.tight_layout()
    _label_points(axis, list(cost["model"]), list(zip(microseconds, values, strict=True)))
    return figure


def _label_points(axis: plt.Axes, names: list[str], points: list[tuple[float, float]]) -> None:
    """Names beside their points, each at the first place where it covers no earlier one."""
    taken = []
    for name, point in sorted(zip(names, points, strict=True), key=lambda pair: -pair[1][1]):
        for offset in _LABEL_OFFSETS:
            label = axis.annotate(
                name,
                point,
                offset,
                textcoords="offset points",
                fontsize=8,
                ha="center",
                va="center",
                arrowprops={"arrowstyle": "-", "color": "grey", "linewidth": 0.5},
            )
            label.set_in_layout(False)
            label.update_positions(axis.figure.canvas.get_renderer())
            # Of the name alone, without its line.
            box = Text.get_window_extent(label).padded(2)
            if axis.bbox.containsx(box.x0) and not any(box.overlaps(other) for other in taken):
                break
            if offset != _LABEL_OFFSETS[-1]:
                label.remove()
        taken.append(box)


def _proxy_plot(ablation: pd.DataFrame) -> plt.Figure | None:
    """Mean validation AUC against the number of categorical proxies and shared task tokens."""
    if ablation.empty:
        return None
    rows = with_mean(ablation[ablation["metric"] == "auc"])
    rows = rows[(rows["task"] == "mean") & rows["ablation"].isin([FIELD_PROXIES, TASK_PROXIES])]
    if rows.empty:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axis, name in zip(axes, (FIELD_PROXIES, TASK_PROXIES), strict=True):
        found = rows[rows["ablation"] == name]
        by_number = found.groupby(found["setting"].astype("int64"))["value"]
        means, deviations = by_number.mean(), by_number.std(ddof=1).fillna(0.0)
        places = range(len(means))
        axis.errorbar(places, means, deviations, marker="o", capsize=3)
        axis.set_xticks(places, means.index)
        axis.set_xlabel(f"number of {name}")
    axes[0].set_ylabel("mean validation AUC, ± deviation of seeds")
    return figure
