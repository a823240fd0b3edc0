"""The report of a search: figures, one self-contained HTML page, and the same as Markdown."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

TITLE = "Search for the number of proxies"
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
# File of a figure -> its title and what to know of it.
FIGURES = {
    "proxy_count.png": (
        "Quality against the number of proxies",
        "Mean over trials that saw all rows; bars are standard deviations over trials, whose other "
        "hyperparameters differ too; dots are trials.",
    ),
    "pareto_front.png": (
        "Quality against inference time",
        "No trial on the front is beaten in both quality and time. Times of several workers on one "
        "machine disturb each other.",
    ),
    "parallel_coordinates.png": (
        "All trials, from hyperparameters to score",
        "Colour by score, the thick line is the highest score.",
    ),
}
REBUILD = """import keras_infnet

config = keras_infnet.search.load_config("{folder}/best_config.json")
model = keras_infnet.INFNet(schema, **config["arguments"])"""
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
img { max-width: 100%; height: auto; background: #fff; }
img.panels { min-width: 40rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #8886; }
th { white-space: nowrap; }
.failures td { text-align: left; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .7rem; background: #8882; }
figcaption { font-size: .85rem; opacity: .8; } figure { margin: 0; }
"""


def write_report(
    folder: Path,
    trials: pd.DataFrame,
    about: Mapping[str, str],
    tasks: Sequence[str],
    metric: str,
) -> None:
    """Writes the figures, `report.md` and `report.html`, each whole.

    `about` is what was searched, title -> text; `metric` is `"auc"` or `"gauc"`.
    """
    if not (trials["status"] != "unfinished").any():
        return
    finished = trials[trials["status"] == "finished"]
    full = finished[finished["training_share"] == 1]
    drawn = {
        "proxy_count.png": proxy_count_plot(full, tasks, metric),
        "pareto_front.png": pareto_plot(finished, metric),
        "parallel_coordinates.png": parallel_coordinates(finished),
    }
    figures = {name: _png(figure) for name, figure in drawn.items() if figure is not None}
    lines = summary(trials, finished, full, about)
    tables = {"Trials": table(trials, [f"{task}_{metric}" for task in tasks])}
    if len(failures(trials)):
        tables["Failed and unfinished trials"] = failures(trials)
    rebuild = REBUILD.format(folder=folder)
    report = {
        **figures,
        "report.md": markdown(lines, list(figures), tables, rebuild).encode(),
        "report.html": page(lines, figures, tables, rebuild).encode(),
    }
    for name, content in report.items():
        # Renamed when it is whole, so that a reader never sees a part.
        unfinished = folder / f".{name}.unfinished"
        unfinished.write_bytes(content)
        unfinished.replace(folder / name)


def summary(
    trials: pd.DataFrame, finished: pd.DataFrame, full: pd.DataFrame, about: Mapping[str, str]
) -> list[str]:
    """What was searched and what was found, in sentences."""
    counts = trials["status"].value_counts()
    listed = ", ".join(f"{number} {status}" for status, number in counts.items())
    lines = [f"{listed}.", *(f"{title.capitalize()}: {text}." for title, text in about.items())]
    if finished.empty:
        return [*lines, "No trial has finished."]
    best = finished.sort_values(["training_share", "score"]).iloc[-1]
    settings = ", ".join(f"{name} {best[name]}" for name in HYPERPARAMETERS)
    lines.append(
        f"Best: trial {best['trial']} with score {best['score']:.4f}, "
        f"{best['milliseconds']:.2f} ms a batch: {settings}."
    )
    for count in varied(full, tuple(COUNTS)):
        means = count_table(full, count, "quality")
        highest, lowest = (
            f"{row.name} ({row['mean']:.4f}, trials: {row['count']:.0f})"
            for row in (means.loc[means["mean"].idxmax()], means.loc[means["mean"].idxmin()])
        )
        lines.append(
            f"Number of {COUNTS[count]}: mean quality is highest with {highest} and lowest with "
            f"{lowest}."
        )
    return lines


def table(trials: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """The trials as text, the best first."""
    first = ["trial", "status", "score", *metrics, "milliseconds", "parameters"]
    names = [*first, *(varied(trials) or list(COUNTS)), "training_share", "seconds", "attempts"]
    names = [name for name in names if name in trials]
    if (trials["training_share"].dropna() == 1).all():
        names.remove("training_share")
    rows = trials.sort_values("score", ascending=False)[names].copy()
    digits = {"score": 4, "milliseconds": 2, "seconds": 1, "training_share": 2}
    digits |= dict.fromkeys(metrics, 4)
    for name in names:
        rows[name] = [_text(value, digits.get(name)) for value in rows[name]]
    rows.insert(2, "front", trials["on_front"].map({True: "yes", False: ""}))
    return rows


def failures(trials: pd.DataFrame) -> pd.DataFrame:
    """Failed and unfinished trials and what is known of them."""
    rows = trials[trials["status"] != "finished"][["trial", "status", "error"]].copy()
    unfinished = "running, or interrupted and run again when the search goes on"
    rows["error"] = rows["error"].where(rows["error"].notna(), unfinished)
    return rows


def markdown(
    lines: Sequence[str], figures: Sequence[str], tables: Mapping[str, pd.DataFrame], rebuild: str
) -> str:
    """The report as Markdown, with the figures as files."""
    parts = [f"# {TITLE}", "\n".join(f"- {line}" for line in lines)]
    for name in figures:
        title, caption = FIGURES[name]
        parts += [f"## {title}", f"![{title}]({name})", caption]
    for title, rows in tables.items():
        cells = rows.astype(str).replace({r"\s*\n\s*": " ", r"\|": r"\\|"}, regex=True)
        grid = [rows.columns, ["---"] * rows.shape[1], *cells.to_numpy()]
        parts += [f"## {title}", "\n".join("| " + " | ".join(row) + " |" for row in grid)]
    parts += ["## The best model", f"```python\n{rebuild}\n```"]
    return "\n\n".join(parts) + "\n"


def page(
    lines: Sequence[str],
    figures: Mapping[str, bytes],
    tables: Mapping[str, pd.DataFrame],
    rebuild: str,
) -> str:
    """The report as one HTML page that needs no other file."""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    parts = [f"<h1>{TITLE}</h1><ul>{items}</ul>"]
    for name, content in figures.items():
        title, caption = FIGURES[name]
        panels = "" if name == "pareto_front.png" else ' class="panels"'
        image = base64.b64encode(content).decode()
        parts.append(
            f'<h2>{title}</h2><figure><div class="wide"><img{panels} alt="{title}" '
            f'src="data:image/png;base64,{image}"></div><figcaption>{caption}</figcaption></figure>'
        )
    with pd.option_context("display.max_colwidth", None):
        for title, rows in tables.items():
            kind = "failures" if "error" in rows else None
            text = rows.to_html(index=False, border=0, classes=kind)
            parts.append(f'<h2>{title}</h2><div class="wide">{text}</div>')
    parts.append(f"<h2>The best model</h2><pre>{html.escape(rebuild)}</pre>")
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Proxy search</title><style>{STYLE}</style></head><body>"
    )
    return head + "\n".join(parts) + "</body></html>\n"


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
    figure.legend(loc="outside upper center", ncols=2)
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


def _text(value: Any, digits: int | None) -> str:
    if pd.isna(value):
        return ""
    if digits is not None:
        return f"{value:.{digits}f}"
    return f"{value:,.0f}" if isinstance(value, int | float) and value >= 1000 else f"{value}"


def _png(figure: plt.Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, dpi=110, format="png", bbox_inches="tight")
    plt.close(figure)
    return content.getvalue()
