"""Tables and figures of the demo."""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

METRICS = ("auc", "gauc", "gauc_frozen", "log_loss")
COLUMNS = {
    "auc": "AUC",
    "gauc": "gAUC, rolling histories",
    "gauc_frozen": "gAUC, frozen histories",
    "log_loss": "log loss",
    "best_auc": "best possible AUC",
    "true_auc": "AUC of the true probabilities",
}


def metric_table(report: dict[str, Any], split: str) -> str:
    """A Markdown table: one row for each task and model."""
    models = report["models"]
    known = [c for c in COLUMNS if all(c in t for m in models.values() for t in m[split].values())]
    lines = ["| task | model | " + " | ".join(COLUMNS[c] for c in known) + " |"]
    lines.append("|---" * (len(known) + 2) + "|")
    for task in next(iter(models.values()))[split]:
        for name, splits in models.items():
            values = " | ".join(f"{splits[split][task][c]:.4f}" for c in known)
            lines.append(f"| {task} | {name} | {values} |")
    return "\n".join(lines)


def comparison(report: dict[str, Any], split: str = "test") -> str:
    """One sentence on which of INFNet and SharedBottom has the higher AUC, by task."""
    ours, other = report["models"]["INFNet"][split], report["models"]["SharedBottom"][split]
    gains = {task: ours[task]["auc"] - other[task]["auc"] for task in ours}
    listed = ", ".join(f"{task} {gain:+.4f}" for task, gain in gains.items())
    worse = [task for task, gain in gains.items() if gain <= 0]
    verdict = f"not above on {', '.join(worse)}" if worse else "above on every task"
    return f"AUC of INFNet less that of SharedBottom, {split}: {listed}: {verdict} (one seed)."


def write_report(report: dict[str, Any], out: Path) -> None:
    """Writes `report.json` and `report.md`."""
    (out / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    rows, data = report["rows"], report["data"]
    text = [
        "# INFNet and a shared bottom on the same rows",
        f"Data: {data['name']} ({data['source']}). Rows: {rows['train']:,} train, "
        f"{rows['validation']:,} validation, {rows['test']:,} test. Seed {report['seeds'][0]}, "
        f"backend {report['versions']['backend']}.",
        "Histories roll on through the evaluated days unless a column says frozen; frozen "
        "histories end where the evaluated period begins. gAUC groups by user.",
        *(f"## {s.capitalize()}\n\n{metric_table(report, s)}" for s in ("validation", "test")),
        comparison(report),
        f"The exported model differs from Keras by at most {report['served_max_abs_diff']:.1e} on "
        f"{report['verified_rows']:,} rows.",
        "## Candidates of one user, as served\n\n" + served_table(report["served"]),
        "## Cost\n\n" + cost_table(report),
        "![Training](training.png)\n\n![Attention of the task tokens](attention.png)",
    ]
    (out / "report.md").write_text("\n\n".join(text) + "\n", encoding="utf-8")


def served_table(served: dict[str, Any]) -> str:
    """The first candidates by the first task's score."""
    scores = pd.DataFrame(served["scores"], index=served["candidates"])
    top = scores.sort_values(scores.columns[0], ascending=False).head(5)
    lines = ["| video | " + " | ".join(top.columns) + " |", "|---" * (top.shape[1] + 1) + "|"]
    for video, *values in top.itertuples():
        lines.append(f"| {video} | " + " | ".join(f"{value:.4f}" for value in values) + " |")
    head = f"User {served['user']}, {len(scores)} candidates, the best five:"
    return head + "\n\n" + "\n".join(lines)


def cost_table(report: dict[str, Any]) -> str:
    """Parameters, and seconds of each stage."""
    lines = ["| stage | seconds |", "|---|---|"]
    lines += [f"| {stage} | {seconds:.1f} |" for stage, seconds in report["seconds"].items()]
    parameters = ", ".join(f"{name} {n:,}" for name, n in report["parameters"].items())
    return f"Parameters: {parameters}.\n\n" + "\n".join(lines)


def plot_training(curves: dict[str, Any], path: Path) -> None:
    """Running loss by step, and validation AUC at each evaluation."""
    tasks = next(iter(curves.values()))["auc"]
    figure, axes = plt.subplots(1, 1 + len(tasks), figsize=(4 * (1 + len(tasks)), 3.2))
    for name, curve in curves.items():
        axes[0].plot(curve["step"], curve["loss"], label=name)
        for axis, task in zip(axes[1:], tasks, strict=True):
            axis.plot(curve["evaluated"], curve["auc"][task], marker="o", label=name)
            axis.set_title(f"{task}: validation AUC")
    axes[0].set_title("training loss, running mean")
    for axis in axes:
        axis.set_xlabel("step")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_attention(attention: pd.DataFrame, path: Path) -> None:
    """Heat map: task queries against fields and history positions, each with its own scale."""
    memories = list(dict.fromkeys(attention.columns.get_level_values(0)))
    widths = [max(8, attention[m].shape[1]) for m in memories]
    figure, axes = plt.subplots(
        1, len(memories), figsize=(15, 4.6), width_ratios=widths, squeeze=False
    )
    for axis, memory in zip(axes[0], memories, strict=True):
        part = attention[memory]
        image = axis.imshow(part.to_numpy(), aspect="auto", cmap="viridis")
        figure.colorbar(image, ax=axis, fraction=0.03, label="mean weight")
        every = 1 if part.shape[1] <= 60 else 10
        axis.set_xticks(np.arange(0, part.shape[1], every), part.columns[::every], rotation=90)
        axis.tick_params(axis="x", labelsize=6 if every == 1 else 8)
        axis.set_yticks(np.arange(len(part)), part.index)
        axis.set_title(memory if memory == "fields" else f"{memory}: position, 0 the newest")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
