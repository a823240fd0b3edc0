"""The report of all comparisons, made from the tables alone."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.protocol.ablations import ABLATIONS, COMMIT_OF_OTHERS
from benchmarks.protocol.logs import METRICS
from benchmarks.protocol.plan import ABLATED
from benchmarks.protocol.space import (
    BLOCKS,
    DROPOUTS,
    EMBEDDING_BUDGET,
    LEARNING_RATES,
    VARIANTS,
    WIDTHS,
)
from benchmarks.protocol.tables import Tables
from benchmarks.protocol.trees import TREES

TITLES = {
    "auc": "AUC",
    "gauc": "gAUC, rolling histories, by user",
    "gauc_frozen": "gAUC, histories frozen at the user's first row of the split, by user",
    "gauc_user_day": "gAUC, rolling histories, by user and day",
    "gauc_list": "gAUC, by list",
    "log_loss": "Log loss (lower is better)",
}
_LOWER_IS_BETTER = ("log_loss",)


def write_report(
    tables: Tables, protocol: Mapping[str, Any], plots: Sequence[str], folder: Path
) -> None:
    """Writes `results.md`."""
    tasks = protocol["tasks"]
    parts = [
        "# Accuracy of all models",
        _protocol_text(protocol, tables["runs.csv"]),
        *_comparisons(tables, tasks),
        *(f"![{name.removesuffix('.png')}]({name})" for name in plots),
        cost_section(tables["cost.csv"]),
        ablation_section(tables["ablation.csv"], tasks),
        transfer_section(tables["transfer.csv"], tasks),
        artefact_section(tables["artefact.csv"]),
        configuration_section(tables["runs.csv"]),
        failure_section(tables["runs.csv"]),
    ]
    partial = folder / ".results.md.part"
    partial.write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")
    partial.replace(folder / "results.md")


def _protocol_text(protocol: Mapping[str, Any], runs: pd.DataFrame) -> str:
    rows = ", ".join(f"{count:,} {part}" for part, count in protocol["rows"].items())
    rates = ", ".join(f"{rate:g}" for rate in LEARNING_RATES)
    dropouts = ", ".join(f"{rate:g}" for rate in DROPOUTS)
    return (
        f"Data: {protocol['source']} (fingerprint {protocol['data']}); rows: {rows}. Tasks: "
        f"{', '.join(protocol['tasks'])}. Backend {protocol['backend']}, batch "
        f"{protocol['batch_size']} (a last, smaller one is left out), {protocol['epochs']} "
        "epoch(s), Adam with linear decay, weights of the best of "
        f"{protocol['evaluations_per_epoch']} validations an epoch by mean AUC.\n\n"
        f"Every model has the same inputs, {EMBEDDING_BUDGET} numbers an id in all its tables, and "
        f"the same trials from one space: learning rate {rates}; dropout {dropouts}; width "
        f"{', '.join(WIDTHS)}; depth {', '.join(f'+{b - 1}' for b in BLOCKS)} on the default. The "
        "first trial is the library's defaults. Trials have seed 0 and one member; the one of the "
        "highest mean validation AUC is run with all seeds, and with more members without further "
        "tuning. Test rows are scored by chosen configurations alone. Numbers are mean ± standard "
        f"deviation of the seeds.{_other_trials(runs)}"
    )


def _other_trials(runs: pd.DataFrame) -> str:
    """Which models had other trials than all: trees, and those whose configuration was given."""
    own = [model for model in TREES if model in set(runs.get("model", ()))]
    if not own:
        return ""
    tried = runs.groupby("model")[["arguments", "learning_rate"]].agg(lambda x: len(set(x)))
    given = [m for m in tried.index[tried.max(axis=1) == 1] if m not in (*TREES, *VARIANTS)]
    said = f" Trials from a space of their own: {', '.join(own)}."
    if given:
        said += f" In one configuration, without trials: {', '.join(given)}."
    return said


def _comparisons(tables: Tables, tasks: Sequence[str]) -> list[str]:
    """A section for each kind of histories, number of members and split."""
    results = tables["results.csv"]
    if results.empty:
        return ["No run of a chosen configuration is finished."]
    sections = []
    for (histories, members), rows in results.groupby(["histories", "members"], sort=False):
        for split in ("test", "validation"):
            of_split = rows[rows["split"] == split]
            if of_split.empty:
                continue
            heading = f"## {split.capitalize()} rows, {histories}, members {members}"
            sections += [heading, *_metric_tables(with_mean(of_split), tasks)]
            sections += _distances(of_split, tables["best.csv"], tasks)
            paired = tables["paired.csv"]
            if not paired.empty:
                same = (paired["histories"] == histories) & (paired["members"] == members)
                sections += _paired_tables(
                    paired[same & (paired["split"] == split)], with_mean(of_split), tasks
                )
    return sections


def _metric_tables(results: pd.DataFrame, tasks: Sequence[str]) -> list[str]:
    texts = []
    for metric in METRICS:
        rows = results[results["metric"] == metric]
        if rows.empty:
            continue
        means = rows[rows["task"] == "mean"].groupby("model")["value"].mean()
        order = means.sort_values(ascending=metric in _LOWER_IS_BETTER).index
        cells = [
            [m, *(spread(_values(rows, m, task)) for task in [*tasks, "mean"]), _seeds(rows, m)]
            for m in order
        ]
        texts.append(f"### {TITLES[metric]}\n\n" + table(["model", *tasks, "mean", "seeds"], cells))
    return texts


def _values(rows: pd.DataFrame, model: str, task: str) -> pd.Series:
    return rows.loc[(rows["model"] == model) & (rows["task"] == task), "value"]


def _seeds(rows: pd.DataFrame, model: str) -> int:
    return rows.loc[rows["model"] == model, "seed"].nunique()


def _distances(results: pd.DataFrame, best: pd.DataFrame, tasks: Sequence[str]) -> list[str]:
    """How far each model is from the best AUC that a simulated log allows."""
    if best.empty:
        return []
    split = results["split"].iloc[0]
    best = best[best["split"] == split].set_index("task")["best_auc"]
    rows = results[results["metric"] == "auc"]
    means = rows.groupby(["model", "task"])["value"].mean().unstack("task")[list(tasks)]
    distances = best[list(tasks)] - means
    distances["mean"] = distances.mean(axis=1)
    cells = [
        [model, *(f"{value:.4f}" for value in values)]
        for model, *values in distances.sort_values("mean").itertuples()
    ]
    known = ", ".join(f"{task} {best[task]:.4f}" for task in tasks)
    text = "### Distance to the best possible AUC\n\nThe AUC of the best that inputs allow: "
    return [f"{text}{known}.\n\n" + table(["model", *tasks, "mean"], cells)]


def _paired_tables(paired: pd.DataFrame, results: pd.DataFrame, tasks: Sequence[str]) -> list[str]:
    """INFNet against the best other model by task and metric, and against each in mean AUC."""
    if paired.empty:
        return []
    rivals = [name for name in results["model"].unique() if _is_rival(name)]
    cells = []
    for metric in METRICS:
        for task in [*tasks, "mean"]:
            rows = results[(results["metric"] == metric) & (results["task"] == task)]
            means = rows.groupby("model")["value"].mean()
            others = means[[name for name in rivals if name in means.index]].dropna()
            if others.empty or ABLATED not in means.index:
                continue
            best = others.idxmin() if metric in _LOWER_IS_BETTER else others.idxmax()
            same = (paired["metric"] == metric) & (paired["task"] == task)
            found = paired[same & (paired["other"] == best)].to_dict("records")
            verdict = _verdict(found[0]) if found else ["not paired", ""]
            values = [f"{means[ABLATED]:.4f}", best, f"{means[best]:.4f}"]
            cells.append([metric, task, *values, *verdict])
    header = ["metric", "task", ABLATED, "best other", "its value", "difference", "difference / se"]
    text = (
        f"### {ABLATED} against the best other model\n\nDifference over the seeds that both have, "
        "± standard error from a bootstrap over users, the same resamples for both. Below "
        "two standard errors a difference proves nothing; the best of many others is chosen on "
        "these same rows. Of log loss, less is better. Not paired: predictions of one of both are "
        "gone; `--again` with its name makes them anew."
    )
    mean = paired[(paired["task"] == "mean") & (paired["metric"] == "auc")]
    each = [[row["other"], *_verdict(row)] for row in mean.to_dict("records")]
    return [
        text + "\n\n" + table(header, cells),
        f"### {ABLATED} less each other model, mean AUC\n\n"
        + table(["other", "difference", "difference / se"], each),
    ]


def _is_rival(name: str) -> bool:
    """Whether a model is another than INFNet and its variants."""
    return name not in (ABLATED, *VARIANTS)


def _verdict(row: Mapping[str, Any]) -> list[str]:
    difference, error = float(row["difference"]), float(row["standard_error"])
    ratio = f"{difference / error:+.1f}" if error > 0 else "not defined"
    return [signed(difference, error), ratio]


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
        kept = setting if (name, setting) in listed else f"{setting} ({COMMIT_OF_OTHERS})"
        cells.append([name, kept, *(spread(by_task[t]) for t in [*tasks, "mean"]), gain])
    header = ["change", "setting", *tasks, "mean", "less default, mean"]
    text = (
        "## Ablations\n\nOne change at a time of the chosen configuration of INFNet; AUC on "
        "validation rows, which chose that configuration too. The last column is paired by seed, "
        "± its standard error over the seeds."
    )
    if set(groups) - set(listed):
        text += (
            " A setting that names a commit is of a switch that INFNet no longer has; that commit "
            "is the last one that has it."
        )
    return f"{text}\n\n" + table(header, cells)


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
                gain, verdict = spread(of_task["gain"]), _transfer_verdict(of_task["gain"])
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


def _transfer_verdict(gains: pd.Series) -> str:
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


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def spread(values: pd.Series) -> str:
    """Mean and standard deviation of the seeds."""
    values = values.dropna()
    if values.empty:
        return "not defined"
    deviation = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
    return f"{values.mean():.4f}{deviation}"


def signed(value: float, error: float | None = None) -> str:
    """A difference, and its standard error."""
    if math.isnan(value):
        return "not defined"
    return f"{value:+.4f}" + ("" if error is None else f" ± {error:.4f}")


def with_mean(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows, and for each seed the mean over the tasks as a task `mean`."""
    others = [c for c in frame.columns if c not in ("task", "value")]
    means = frame.groupby(others, sort=False, dropna=False)["value"].mean().reset_index()
    return pd.concat([frame, means.assign(task="mean")], ignore_index=True)
