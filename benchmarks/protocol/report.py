"""The report of all comparisons, made from the tables alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from protocol.markdown import signed, spread, table, with_mean
from protocol.plan import ABLATED
from protocol.scores import METRICS
from protocol.sections import (
    ablation_section,
    artefact_section,
    configuration_section,
    cost_section,
    failure_section,
    transfer_section,
)
from protocol.space import BLOCKS, DROPOUTS, EMBEDDING_BUDGET, LEARNING_RATES, VARIANTS, WIDTHS
from protocol.tables import Tables

TITLES = {
    "auc": "AUC",
    "gauc": "gAUC, rolling histories, by user",
    "gauc_frozen": "gAUC, histories frozen at the user's first row of the split, by user",
    "gauc_user_day": "gAUC, rolling histories, by user and day",
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
        "deviation of the seeds."
    )


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
