"""Is a difference between two models more than chance? A bootstrap over users, paired.

Every resample draws as many users as there are, with replacement, and counts a user's rows as often
as the user was drawn. Both models are measured on the same resamples, and the standard deviation of
their difference is its standard error.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.protocol.data import SPLITS
from benchmarks.protocol.logs import LOGS, Log
from benchmarks.protocol.plan import ABLATED, Plan, Records
from benchmarks.protocol.tables import Tables
from benchmarks.protocol.train import groups_of

RESAMPLES = 500
MEAN = "mean"
# Resamples measured together: larger blocks leave the processor's cache.
_BLOCK = 20
_EPSILON = 1e-7


def update_paired(tables: Tables, plan: Plan, records: Records, runs: Path) -> None:
    """INFNet less every other model of the plan, where the predictions of both are there."""
    for histories in plan.histories:
        chosen = {model: plan.chosen(model, histories, records) for model in plan.models}
        for members in plan.members:
            of_model = {
                model: [r.name for r in plan.seed_runs(run, members)]
                for model, run in chosen.items()
                if run is not None
            }
            if ABLATED not in of_model:
                continue
            for split in SPLITS:
                known = {"members": members, "histories": histories, "split": split}
                _update_split(tables, known, of_model, plan, runs)


def _update_split(
    tables: Tables,
    known: dict[str, Any],
    of_model: dict[str, list[str]],
    plan: Plan,
    runs: Path,
) -> None:
    table, split = tables["paired.csv"], known["split"]
    samples: dict[str, dict] = {}
    rows: list[dict[str, Any]] = []
    for other in of_model:
        pairs = zip(of_model[ABLATED], of_model[other], strict=True)
        both = [
            pair for pair in pairs if all((runs / r / f"{split}.parquet").exists() for r in pair)
        ]
        digest = hashlib.sha256(repr((both, RESAMPLES)).encode()).hexdigest()[:8]
        done = (
            not table.empty
            and (
                (table["runs"].astype("str") == digest)
                & (table["other"] == other)
                & (table["split"] == split)
            ).any()
        )
        if other == ABLATED or not both or done:
            continue
        for name in {name for pair in both for name in pair} - set(samples):
            frame = pd.read_parquet(runs / name / f"{split}.parquet")
            samples[name] = resampled_metrics(frame, plan.tasks, LOGS[plan.log])
        for key, differences in _differences(both, samples).items():
            rows.append(
                {**known, "task": key[0], "metric": key[1], "model": ABLATED, "other": other}
                | summary(differences)
                | {"seeds": len(both), "resamples": RESAMPLES, "runs": digest}
            )
    if rows:
        tables.put("paired.csv", rows)


def _differences(
    pairs: list[tuple[str, str]], samples: dict[str, dict]
) -> dict[tuple[str, str], np.ndarray]:
    keys = samples[pairs[0][0]]
    return {
        key: np.mean([samples[ours][key] - samples[other][key] for ours, other in pairs], axis=0)
        for key in keys
    }


def summary(differences: np.ndarray) -> dict[str, float]:
    """The difference itself, which is the first, and the standard error from all others."""
    finite = differences[1:][np.isfinite(differences[1:])]
    error = float(np.std(finite, ddof=1)) if len(finite) > 1 else float("nan")
    return {"difference": float(differences[0]), "standard_error": error}


def resampled_metrics(
    predictions: pd.DataFrame,
    tasks: Sequence[str],
    log: Log,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[tuple[str, str], np.ndarray]:
    """(task, metric) -> the metric of the rows themselves, then of each resample of users.

    The task `mean` is the mean of all tasks. The same users give the same resamples.
    """
    users, codes = np.unique(predictions[log.row_key[0]], return_inverse=True)
    counts = user_counts(len(users), resamples, seed)
    groups = {name: _within_users(predictions, c, codes) for name, c in groups_of(log).items()}
    found = {}
    for task in tasks:
        labels = predictions[f"{task}_label"].to_numpy("float64")
        scores = predictions[task].to_numpy("float64")
        found[task, "auc"] = resampled_auc(labels, scores, codes, counts)
        for name, of_group in groups.items():
            metric = "gauc" if name == "user" else f"gauc_{name}"
            found[task, metric] = resampled_group_auc(labels, scores, of_group, codes, counts)
        if log.has_users:
            frozen = predictions[f"{task}_frozen"].to_numpy("float64")
            found[task, "gauc_frozen"] = resampled_group_auc(labels, frozen, codes, codes, counts)
        found[task, "log_loss"] = resampled_log_loss(labels, scores, codes, counts)
    for metric in log.metrics:
        found[MEAN, metric] = np.mean([found[task, metric] for task in tasks], axis=0)
    return found


def _within_users(
    predictions: pd.DataFrame, columns: Sequence[str], users: np.ndarray
) -> np.ndarray:
    """A number for each group of a user's: one that several users share is a group of each."""
    keys = predictions[list(columns)].assign(user=users)
    return keys.groupby([*columns, "user"], sort=False).ngroup().to_numpy()


def user_counts(users: int, resamples: int, seed: int) -> np.ndarray:
    """How often each user was drawn, `(1 + resamples, users)`; once each in the first row."""
    drawn = np.random.default_rng(seed).multinomial(users, np.full(users, 1 / users), resamples)
    return np.concatenate([np.ones((1, users)), drawn])


def resampled_auc(
    labels: np.ndarray, scores: np.ndarray, users: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """AUC of each row of counts, by one sort."""
    order = np.argsort(scores, kind="stable")
    labels, scores, users = labels[order], scores[order], users[order]
    ties = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))
    values = []
    for start in range(0, len(counts), _BLOCK):
        weights = counts[start : start + _BLOCK][:, users]
        positive = np.add.reduceat(weights * labels, ties, axis=1)
        negative = np.add.reduceat(weights * (1 - labels), ties, axis=1)
        below = np.cumsum(negative, axis=1) - negative
        won = np.sum(positive * (below + negative / 2), axis=1)
        with np.errstate(invalid="ignore"):
            values.append(won / (positive.sum(axis=1) * negative.sum(axis=1)))
    return np.concatenate(values)


def resampled_group_auc(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    users: np.ndarray,
    counts: np.ndarray,
) -> np.ndarray:
    """Group AUC, weighted by impressions, of each row of counts; a group is within a user."""
    rows = pd.DataFrame({"group": groups, "user": users, "label": labels, "score": scores})
    rows["won"] = rows.groupby("group")["score"].rank() * rows["label"]
    by_group = rows.groupby("group").agg(
        user=("user", "first"),
        rows=("label", "size"),
        positives=("label", "sum"),
        won=("won", "sum"),
    )
    positives, negatives = by_group["positives"], by_group["rows"] - by_group["positives"]
    both = by_group[(positives > 0) & (negatives > 0)]
    positives, negatives = positives[both.index], negatives[both.index]
    values = (both["won"] - positives * (positives + 1) / 2) / (positives * negatives)
    size = counts.shape[1]
    weighted = np.bincount(both["user"], both["rows"] * values, size)
    return _ratio(counts, weighted, np.bincount(both["user"], both["rows"], size))


def resampled_log_loss(
    labels: np.ndarray, probabilities: np.ndarray, users: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Log loss of each row of counts."""
    p = np.clip(probabilities, _EPSILON, 1 - _EPSILON)
    losses = -np.log(np.where(labels == 1, p, 1 - p))
    size = counts.shape[1]
    return _ratio(counts, np.bincount(users, losses, size), np.bincount(users, minlength=size))


def _ratio(counts: np.ndarray, numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return (counts @ numerators) / (counts @ denominators)
