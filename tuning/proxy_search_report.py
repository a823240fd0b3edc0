"""The report of a search: one self-contained HTML page, and the same as Markdown."""

import base64
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from proxy_search_plots import COUNTS, HYPERPARAMETERS, count_table, draw_plots, varied

TITLES = {
    "proxy_count.png": "Quality against the number of proxies",
    "pareto_front.png": "Quality against inference time",
    "parallel_coordinates.png": "All trials, from hyperparameters to score",
}
CAPTIONS = {
    "proxy_count.png": "Mean over trials that saw all rows; bars are standard deviations over "
    "trials, whose other hyperparameters differ too; dots are trials.",
    "pareto_front.png": "No trial on the front is beaten in both quality and time. Times of "
    "several workers on one machine disturb each other.",
    "parallel_coordinates.png": "Colour by score, the thick line is the highest score.",
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
td.text { text-align: left; min-width: 16rem; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .7rem; background: #8882; }
figcaption { font-size: .85rem; opacity: .8; } figure { margin: 0; }
"""


def write_report(folder: Path, trials: pd.DataFrame, about: Mapping[str, Any]) -> None:
    """Writes the figures, `report.md` and `report.html`, each whole."""
    if not (trials["status"] != "unfinished").any():
        return
    plots = draw_plots(trials, folder, about["tasks"], about["metric"])
    _write(folder / "report.md", markdown(folder, trials, about, plots))
    _write(folder / "report.html", page(folder, trials, about, plots))


def summary(trials: pd.DataFrame, about: Mapping[str, Any]) -> list[str]:
    """What was searched and what was found, in sentences."""
    counts = trials["status"].value_counts()
    listed = ", ".join(f"{number} {status}" for status, number in counts.items())
    shown = ("data", "objective", "oracle", "seeds", "timed batch")
    lines = [f"{listed.capitalize()}.", *(f"{n.capitalize()}: {about[n]}." for n in shown)]
    finished = trials[trials["status"] == "finished"]
    if finished.empty:
        return [*lines, "No trial has finished."]
    best = finished.sort_values(["training_share", "score"]).iloc[-1]
    settings = ", ".join(f"{name} {best[name]}" for name in HYPERPARAMETERS)
    lines.append(
        f"Best: trial {best['trial']} with score {best['score']:.4f}, "
        f"{best['milliseconds']:.2f} ms a batch: {settings}."
    )
    return [*lines, *_count_sentences(finished, about)]


def table(trials: pd.DataFrame, about: Mapping[str, Any]) -> pd.DataFrame:
    """The trials as text, the best first."""
    metrics = [f"{task}_{about['metric']}" for task in about["tasks"]]
    first = ["trial", "status", "score", *metrics, "milliseconds", "parameters"]
    names = [*first, *(varied(trials) or list(COUNTS)), "training_share", "seconds", "attempts"]
    names = [name for name in names if name in trials]
    if (trials["training_share"].dropna() == 1).all():
        names.remove("training_share")
    rows = trials.sort_values("score", ascending=False)[names].copy()
    for name in names:
        digits = {"score": 4, "milliseconds": 2, "seconds": 1, "training_share": 2}.get(name)
        digits = 4 if name in metrics else digits
        rows[name] = [_text(value, digits) for value in rows[name]]
    rows.insert(2, "front", trials["on_front"].map({True: "yes", False: ""}))
    return rows


def failures(trials: pd.DataFrame) -> pd.DataFrame:
    """Failed and unfinished trials and what is known of them."""
    rows = trials[trials["status"] != "finished"][["trial", "status", "error"]].copy()
    unfinished = "running, or interrupted and run again when the search goes on"
    rows["error"] = rows["error"].where(rows["error"].notna(), unfinished)
    return rows


def markdown(folder: Path, trials: pd.DataFrame, about: Mapping[str, Any], plots: list[str]) -> str:
    """The report as Markdown, with the figures as files."""
    parts = ["# Search for the number of proxies", *_bullets(summary(trials, about))]
    for name in plots:
        parts += [f"## {TITLES[name]}", f"![{TITLES[name]}]({name})", CAPTIONS[name]]
    parts += ["## Trials", _markdown_table(table(trials, about))]
    if len(failures(trials)):
        parts += ["## Failed and unfinished trials", _markdown_table(failures(trials))]
    parts += ["## The best model", f"```python\n{REBUILD.format(folder=folder)}\n```"]
    return "\n\n".join(parts) + "\n"


def page(folder: Path, trials: pd.DataFrame, about: Mapping[str, Any], plots: list[str]) -> str:
    """The report as one HTML page that needs no other file."""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in summary(trials, about))
    parts = [f"<h1>Search for the number of proxies</h1><ul>{items}</ul>"]
    for name in plots:
        panels = "" if name == "pareto_front.png" else ' class="panels"'
        image = base64.b64encode((folder / name).read_bytes()).decode()
        parts.append(
            f'<h2>{TITLES[name]}</h2><figure><div class="wide"><img{panels} alt="{TITLES[name]}" '
            f'src="data:image/png;base64,{image}"></div>'
            f"<figcaption>{CAPTIONS[name]}</figcaption></figure>"
        )
    parts.append(f"<h2>Trials</h2>{_html_table(table(trials, about))}")
    if len(failures(trials)):
        parts.append(f"<h2>Failed and unfinished trials</h2>{_html_table(failures(trials))}")
    rebuild = html.escape(REBUILD.format(folder=folder))
    parts.append(f"<h2>The best model</h2><pre>{rebuild}</pre>")
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Proxy search</title><style>{STYLE}</style></head><body>"
    )
    return head + "\n".join(parts) + "</body></html>\n"


def _count_sentences(finished: pd.DataFrame, about: Mapping[str, Any]) -> list[str]:
    full = finished[finished["training_share"] == 1]
    lines = []
    for count in varied(full, tuple(COUNTS)):
        means = count_table(full, count, "quality")
        best, worst = means["mean"].idxmax(), means["mean"].idxmin()
        shown = [
            f"{value} ({means.loc[value, 'mean']:.4f}, trials: {means.loc[value, 'count']:.0f})"
            for value in (best, worst)
        ]
        lines.append(
            f"Number of {COUNTS[count]}: mean quality is highest with {shown[0]} and lowest with "
            f"{shown[1]}."
        )
    return lines


def _bullets(lines: list[str]) -> list[str]:
    return ["\n".join(f"- {line}" for line in lines)]


def _markdown_table(rows: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(rows.columns) + " |", "|---" * rows.shape[1] + "|"]
    cells = rows.astype(str).replace(r"\s*\n\s*", " ", regex=True)
    cells = cells.replace(r"\|", r"\\|", regex=True)
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in cells.to_numpy())])


def _html_table(rows: pd.DataFrame) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in rows.columns)
    kinds = ['<td class="text">' if name == "error" else "<td>" for name in rows.columns]
    body = "".join(
        "<tr>" + "".join(k + html.escape(str(v)) + "</td>" for k, v in zip(kinds, row, strict=True))
        for row in rows.to_numpy()
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _text(value: Any, digits: int | None) -> str:
    if pd.isna(value):
        return ""
    if digits is not None:
        return f"{value:.{digits}f}"
    return f"{value:,.0f}" if isinstance(value, int | float) and value >= 1000 else f"{value}"


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.unfinished")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)
