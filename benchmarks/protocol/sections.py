"""Sections of the report besides the comparison of models."""

from collections.abc import Sequence

import pandas as pd

from protocol.ablations import ABLATIONS
from protocol.markdown import signed, spread, table, with_mean


def cost_section(cost: pd.DataFrame) -> str:
    """Parameters, and speed of training and inference."""
    if cost.empty:
        return ""
    relative = [column for column in cost.columns if "_relative_to_" in column]
    header = ["model", "setting", "parameters", "in tables", "compile, s", "train, examples/s"]
    header += ["inference, examples/s", *(c.replace("_", " ") for c in relative)]
    cells = [
        [
            row["model"],
            row["setting"],
            f"{row['parameters']:,}",
            f"{row['table_parameters']:,}",
            f"{row['compile_seconds']:.1f}",
            f"{row['train_examples_per_second']:,.0f}",
            f"{row['inference_examples_per_second']:,.0f}",
            *(f"{row[column]:.2f}" for column in relative),
        ]
        for row in cost.to_dict("records")
    ]
    machines = ", ".join(dict.fromkeys(cost["machine"]))
    return f"## Cost\n\nMeasured in one process: {machines}.\n\n" + table(header, cells)


def ablation_section(ablation: pd.DataFrame, tasks: Sequence[str]) -> str:
    """Validation AUC of each change, and its difference to the configuration that it changes."""
    if ablation.empty:
        return ""
    rows = with_mean(ablation[ablation["metric"] == "auc"])
    default = rows[(rows["ablation"] == "default") & (rows["task"] == "mean")]
    base = default.set_index("seed")["value"]
    groups = dict(list(rows.groupby(["ablation", "setting"], sort=False)))
    listed = [(ablation.name, ablation.setting) for ablation in ABLATIONS]
    cells = []
    for name, setting in dict.fromkeys([*(key for key in listed if key in groups), *groups]):
        found = groups[name, setting]
        by_task = dict(list(found.groupby("task")["value"]))
        means = found[found["task"] == "mean"].set_index("seed")["value"]
        gains = (means - base).dropna()
        error = gains.std(ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else None
        gain = signed(gains.mean(), error) if len(gains) else "not defined"
        cells.append([name, setting, *(spread(by_task[t]) for t in [*tasks, "mean"]), gain])
    header = ["change", "setting", *tasks, "mean", "less default, mean"]
    text = (
        "## Ablations\n\nOne change at a time of the chosen configuration of INFNet; AUC on "
        "validation rows, which chose that configuration too. The last column is paired by seed, "
        "± its standard error over the seeds.\n\n"
    )
    return text + table(header, cells)


def transfer_section(transfer: pd.DataFrame, tasks: Sequence[str]) -> str:
    """What each task gains or loses by being trained with the others."""
    if transfer.empty:
        return ""
    rows = transfer[(transfer["metric"] == "auc") & (transfer["split"] == "test")].copy()
    rows["gain"] = rows["together"] - rows["alone"]
    cells = []
    for (model, histories), found in rows.groupby(["model", "histories"], sort=False):
        for task in tasks:
            of_task = found[found["task"] == task].dropna(subset=["gain"])
            if len(of_task):
                alone, together = spread(of_task["alone"]), spread(of_task["together"])
                gain, verdict = spread(of_task["gain"]), _verdict(of_task["gain"])
                cells.append([model, histories, task, alone, together, gain, verdict])
    if not cells:
        return ""
    header = ["model", "histories", "task", "alone", "together", "together less alone", "verdict"]
    text = (
        "## Negative transfer\n\nTest AUC of each task, trained alone and together with the "
        "others, by the model's chosen configuration. A task gains or loses where the mean "
        "difference is beyond two standard errors of the seeds.\n\n"
    )
    return text + table(header, cells)


def _verdict(gains: pd.Series) -> str:
    if len(gains) < 2 or abs(gains.mean()) <= 2 * gains.sem():
        return "neither"
    return "gains" if gains.mean() > 0 else "loses"


def artefact_section(artefact: pd.DataFrame) -> str:
    """The one-feature score that shows what a gAUC is of."""
    if artefact.empty:
        return ""
    wide = artefact.pivot(index=["split", "score"], columns="metric", values="value")
    metrics = ["auc", "gauc", "gauc_frozen", "gauc_user_day"]
    cells = [
        [split, score, *(f"{row[metric]:.4f}" for metric in metrics)]
        for (split, score), row in wide.iterrows()
    ]
    header = ["split", "score", "AUC", "gAUC, rolling", "gAUC, frozen", "gAUC, user and day"]
    text = (
        "## What a gAUC is of\n\nA score that knows nothing of the video: with histories that roll "
        "on, the rate is lowest just before a positive and higher after it, so that its gAUC by "
        "user falls below a half although its AUC is good. Frozen at the user's first row of the "
        "split it is one number a user, hence a half. Models that read the user's state are "
        "punished in the same way.\n\n"
    )
    return text + table(header, cells)


def configuration_section(runs: pd.DataFrame) -> str:
    """The chosen configurations."""
    chosen = runs[runs["chosen"].astype("str") == "True"] if len(runs) else runs
    if chosen.empty:
        return ""
    kept = chosen.drop_duplicates(["model", "histories", "members"])
    cells = [
        [
            row["model"],
            row["histories"],
            row["members"],
            f"{row['learning_rate']:g}",
            f"`{row['arguments']}`",
            f"{int(row['parameters']):,}" if pd.notna(row["parameters"]) else "",
            row["hash"],
        ]
        for row in kept.to_dict("records")
    ]
    header = ["model", "histories", "members", "learning rate", "arguments", "parameters", "hash"]
    text = "## Chosen configurations\n\nArguments that differ from the library's defaults.\n\n"
    return text + table(header, cells)


def failure_section(runs: pd.DataFrame) -> str:
    """Runs without a number, and why."""
    failed = runs[runs["status"] == "failed"] if len(runs) else runs
    if failed.empty:
        return ""
    cells = [[row["run"], row["reason"]] for row in failed.to_dict("records")]
    return "## Failed runs\n\n" + table(["run", "reason"], cells)
