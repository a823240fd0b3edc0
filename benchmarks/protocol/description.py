"""What all numbers of a folder have in common, and what is measured of its rows without a model.

A folder never holds two data sets or protocols.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

import keras_infnet
from benchmarks.protocol.data import SPLITS, fingerprint, open_log, split_rows
from benchmarks.protocol.logs import LOGS
from benchmarks.protocol.runs import BATCH_SIZE, EVALUATIONS_PER_EPOCH, read_json, write_json
from benchmarks.protocol.tables import Tables

_FILE = "protocol.json"


def protocol_of(
    path: Path, source: str, tasks: Iterable[str], epochs: int, log: str = "kuairand"
) -> dict[str, Any]:
    """The protocol; a folder without logs and an unknown task are errors."""
    data = open_log(log, path, tasks)
    return {
        "data": fingerprint(data),
        "source": source,
        "log": log,
        "tasks": list(data.tasks),
        "epochs": epochs,
        "batch_size": BATCH_SIZE,
        "evaluations_per_epoch": EVALUATIONS_PER_EPOCH,
        "backend": keras.backend.backend(),
        "past": [feature.name for feature in LOGS[log].past(_labels(data))],
    }


def check_protocol(folders: Iterable[Path], protocol: Mapping[str, Any]) -> dict[str, Any] | None:
    """The protocol that a folder holds already; another than this is an error."""
    found = None
    for folder in folders:
        if not (folder / _FILE).is_file():
            continue
        found = read_json(folder / _FILE)
        differ = [key for key, value in protocol.items() if found.get(key) != value]
        if differ:
            listed = ", ".join(f"{k} {found.get(k)!r}, not {protocol[k]!r}" for k in differ)
            raise ValueError(
                f"{folder} holds runs of another protocol ({listed}). Numbers are never mixed: "
                "choose another folder."
            )
    return found


def begin(folders: Iterable[Path], protocol: dict[str, Any], path: Path, tables: Tables) -> dict:
    """Reads the rows once, measures what needs no model, and writes the protocol."""
    folders = list(folders)
    found = check_protocol(folders, protocol)
    if found is None:
        data, log = open_log(protocol["log"], path, protocol["tasks"]), LOGS[protocol["log"]]
        frame, warm = data.frame(), log.warm_events(data)
        split = split_rows(data, frame)
        found = {**protocol, "rows": {p: len(getattr(split, p)) for p in ("train", *SPLITS)}}
        if log.day is not None:
            tables.put("artefact.csv", artefact_rows(frame, split, _labels(data)[0], warm))
        best = best_possible(data, frame, split, protocol["tasks"])
        if best is not None:
            tables.put("best.csv", best)
    write_protocol(folders, found, tables)
    return found


def write_protocol(folders: Iterable[Path], protocol: dict[str, Any], tables: Tables) -> None:
    """Writes protocol and tables: a folder that is new beside an older one gets what that has."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _FILE, protocol)
    tables.write()


def _labels(data: Any) -> list[str]:
    return [task.label for task in data.schema().tasks]


def artefact_rows(
    frame: pd.DataFrame, split: object, label: str, warm: pd.DataFrame | None
) -> pd.DataFrame:
    """AUC of a score without any model, and its gAUC in three ways, for each split.

    The user's own past rate of the task rises just after a positive, so inside one user it is
    lowest before one: a good AUC, and a gAUC far below a half.
    """
    rates, counts = past_rates(frame, label, warm)
    rows = []
    for part in SPLITS:
        of_part = getattr(split, part)
        rolling, users = rates.loc[of_part.index], of_part["user_id"]
        # The rate at the user's first row of the split, for all rows of the user.
        first = of_part.sort_values("time_ms", kind="stable").drop_duplicates("user_id")
        frozen = users.map(pd.Series(rates.loc[first.index].to_numpy(), first["user_id"]))
        labels, days = of_part[label], of_part["date"]
        measured = {
            "auc": keras_infnet.metrics.auc(labels, rolling),
            "gauc": keras_infnet.metrics.group_auc(labels, rolling, users),
            "gauc_frozen": keras_infnet.metrics.group_auc(labels, frozen, users),
            "gauc_user_day": keras_infnet.metrics.group_auc(labels, rolling, [users, days]),
            "mean_past_rows": float(counts.loc[of_part.index].mean()),
        }
        score = f"the user's past rate of {label}"
        rows += [
            {"split": part, "score": score, "metric": m, "value": v} for m, v in measured.items()
        ]
    return pd.DataFrame(rows)


def past_rates(
    frame: pd.DataFrame, label: str, warm: pd.DataFrame | None
) -> tuple[pd.Series, pd.Series]:
    """The share of positives among the user's strictly earlier rows, and how many these are.

    One row at the overall rate is added, so that a user without a past has that rate.
    """
    events = frame[["user_id", "time_ms", label]]
    if warm is not None and label in warm:
        known = warm.loc[warm[label] >= 0, ["user_id", label]]
        events = pd.concat([known.assign(time_ms=np.iinfo("int64").min), events])
    in_log = np.arange(len(events)) >= len(events) - len(frame)
    order = np.lexsort((events["time_ms"], events["user_id"]))
    events = events.iloc[order].reset_index(drop=True)
    by_user = events.groupby("user_id", sort=False)
    events["rows"] = by_user.cumcount()
    events["positives"] = by_user[label].cumsum() - events[label]
    # Rows of one millisecond don't see each other.
    before = events.groupby(["user_id", "time_ms"], sort=False)[["rows", "positives"]]
    before = before.transform("first")
    restored = before.set_axis(order).sort_index()[in_log].set_axis(frame.index)
    overall = frame[label].mean()
    rates = (restored["positives"] + overall) / (restored["rows"] + 1)
    return rates, restored["rows"]


def best_possible(data: Any, frame: pd.DataFrame, split: Any, tasks: Sequence[str]) -> Any:
    """AUC by split and task of the best and of the true probabilities; None for a real log."""
    truth = data.truth()
    if truth is None:
        return None
    truth, schema = truth.set_index(frame.index), data.schema()
    found = []
    for part in SPLITS:
        rows = getattr(split, part)
        known = truth.loc[rows.index]
        for task in tasks:
            labels = rows[schema.task(task).label]
            best = keras_infnet.metrics.auc(labels, known[f"{task}_best"])
            true = keras_infnet.metrics.auc(labels, known[f"{task}_true"])
            found.append({"task": task, "split": part, "best_auc": best, "true_auc": true})
    return pd.DataFrame(found)
