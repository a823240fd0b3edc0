"""The paper's Figures 4 and 6 from the tables."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from benchmarks.protocol.ablations import FIELD_PROXIES, TASK_PROXIES
from benchmarks.protocol.report import with_mean
from benchmarks.protocol.tables import Tables

# Points of area of a model with a million parameters.
_AREA = 120.0


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
    for name, x, y in zip(cost["model"], microseconds, values, strict=True):
        offset = {"xytext": (0, 10), "textcoords": "offset points"}
        axis.annotate(name, (x, y), fontsize=8, ha="center", **offset)
    axis.set_xlabel("inference, microseconds an example")
    axis.set_ylabel("mean test AUC of the tasks")
    axis.set_title("area: number of parameters")
    axis.margins(0.15)
    return figure


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
