"""What is known of all runs: their folders, and the tables that are made from them."""

import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.protocol.plan import ABLATED, Plan
from benchmarks.protocol.pool import Job
from benchmarks.protocol.runs import (
    FAILED,
    RunConfig,
    check_defaults,
    check_folder,
    fail_unfinished,
    read_json,
    remove_unfinished,
)
from benchmarks.protocol.space import defaults_of
from benchmarks.protocol.tables import KEYS, Tables, number_rows, read_table, rows_where


class RunStore:
    """Records of finished and failed runs by name, kept in `runs.csv`.

    A record comes from the run's folder, or from a table that an earlier command wrote, so that
    runs whose folders are gone are not repeated.

    Args:
        out: Folder of the command; runs lie in `runs`.
        tables: The tables.
    """

    def __init__(self, out: Path, tables: Tables) -> None:
        self.runs, self.tables = out / "runs", tables
        self.runs.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self.runs)
        for folder in tables.folders:
            self._check_defaults(folder / "defaults.csv")
        known = tables["runs.csv"].astype("object")
        self.records = {row["run"]: row for row in known.to_dict("records")}
        for folder in sorted(self.runs.iterdir()):
            self._read(folder)
        self.write()

    def retry_failed(self) -> None:
        """Forgets the runs that have failed."""
        failed = [n for n, record in self.records.items() if record["status"] == "failed"]
        for name in failed:
            shutil.rmtree(self.runs / f"{name}{FAILED}", ignore_errors=True)
        self._forget(failed)

    def train_again(self, models: Collection[str], members: Collection[int]) -> int:
        """Forgets the reported runs of models whose folders are gone; returns their number."""
        gone = [
            name
            for name, record in self.records.items()
            if record["model"] in models
            and record["members"] in members
            and record["chosen"]
            and not (self.runs / name).exists()
        ]
        again = {self.records[name]["model"] for name in gone}
        self._forget(gone)
        paired = self.tables["paired.csv"]
        stale = paired["model"].isin(again) | paired["other"].isin(again)
        self.tables.put("paired.csv", [], instead=stale & paired["members"].isin(members))
        return len(gone)

    def finish(self, job: Job, answer: Mapping[str, Any]) -> None:
        """Takes note of a job that has ended."""
        name, failed = job.config.name, self.runs / f"{job.config.name}{FAILED}"
        if "ended" in answer and job.kind == "train":
            fail_unfinished(self.runs, job.config, answer["failed"])
        if "failed" in answer and not failed.exists():
            # Its test rows could not be predicted; training again may not change that.
            self.records[name] |= {"status": "failed", "reason": answer["failed"]}
        else:
            self._read(failed if "failed" in answer else self.runs / name)
        self.write(name)

    def write(self, *names: str) -> None:
        """Writes the records of these runs, or of all, to `runs.csv`."""
        rows = [self.records[name] for name in names or self.records]
        if rows:
            self.tables.put("runs.csv", rows)
            self.tables.put("defaults.csv", _default_rows({row["model"] for row in rows}))

    def metrics(self, config: RunConfig) -> dict[str, Any]:
        """`{split: {task: {metric: value}}}` from the run's folder; empty without one."""
        folder = self.runs / config.name
        if not (folder / "result.json").is_file():
            return {}
        found = {"validation": read_json(folder / "result.json")["metrics"]}
        if (folder / "test.json").is_file():
            found["test"] = read_json(folder / "test.json")
        return found

    def is_chosen(self, run: RunConfig) -> bool:
        """Whether a command has chosen this run's configuration."""
        return bool(self.records.get(run.name, {}).get("chosen"))

    def reported_metrics(self, run: RunConfig) -> dict[str, Any]:
        """As `metrics`; of a chosen configuration's run without a folder, from the table."""
        found = self.metrics(run)
        if found or not self.is_chosen(run):
            return found
        known = {"model": run.model, "members": run.members, "histories": run.histories}
        table = self.tables["results.csv"]
        for row in table[rows_where(table, {**known, "seed": run.seed})].to_dict("records"):
            by_task = found.setdefault(row["split"], {})
            by_task.setdefault(row["task"], {})[row["metric"]] = row["value"]
        return found

    def mark_chosen(self, chosen: Iterable[RunConfig]) -> None:
        """Notes which runs are of these configurations, in place of earlier choices."""
        hashes = {_group(run.to_dict()): run.hash for run in chosen}
        for record in self.records.values():
            if _group(record) in hashes:
                record["chosen"] = record["hash"] == hashes[_group(record)]
        self.write()

    def _check_defaults(self, path: Path) -> None:
        """A record from a table has no folder that tells the defaults it was made with."""
        for model, rows in read_table(path).groupby("model"):
            kept = zip(rows["argument"], rows["default"], strict=True)
            check_defaults(path, model, {name: json.loads(value) for name, value in kept})

    def _forget(self, names: Collection[str]) -> None:
        for name in names:
            del self.records[name]
        table = self.tables["runs.csv"]
        self.tables.put("runs.csv", [], instead=table["run"].isin(names))

    def _read(self, folder: Path) -> None:
        """Makes the record of a run's folder."""
        if folder.name.startswith(".") or not folder.is_dir():
            return
        failed = folder.name.endswith(FAILED)
        kept = read_json(folder / "config.json")
        config = RunConfig.from_dict(kept["config"])
        if folder.name.removesuffix(FAILED) != config.name:
            raise ValueError(
                f"{folder}: its config.json is of {config.name}. Runs are never mixed: remove the "
                "folder, or choose another `--out`."
            )
        if not failed:
            check_folder(self.runs, config)
        record = {
            "run": config.name,
            "model": config.model,
            "members": config.members,
            "histories": config.histories,
            "tasks": " ".join(config.tasks),
            "seed": config.seed,
            "hash": config.hash,
            "learning_rate": config.learning_rate,
            "arguments": json.dumps(config.to_dict()["arguments"], sort_keys=True),
            "status": "failed" if failed else "finished",
            "tested": (folder / "test.json").is_file(),
            "chosen": self.records.get(config.name, {}).get("chosen", False),
            "versions": _short_versions(folder),
        }
        name = "error.json" if failed else "result.json"
        found = read_json(folder / name)
        wanted = ("reason",) if failed else _RESULT_COLUMNS
        self.records[config.name] = {**record, **{key: found[key] for key in wanted}}


def _default_rows(models: Collection[str]) -> list[dict[str, str]]:
    return [
        {"model": model, "argument": argument, "default": json.dumps(value)}
        for model in sorted(models)
        for argument, value in defaults_of(model).items()
    ]


_RESULT_COLUMNS = ("mean_auc", "seconds", "parameters", "table_parameters")


def _group(record: Mapping[str, Any]) -> tuple:
    """What a choice is made for: model, members, histories and tasks."""
    tasks = record["tasks"]
    joined = tasks if isinstance(tasks, str) else " ".join(tasks)
    return (record["model"], int(record["members"]), record["histories"], joined)


def _short_versions(folder: Path) -> str:
    found = read_json(folder / "versions.json")
    return " ".join(f"{package}={number}" for package, number in found.items())


def update_numbers(store: RunStore, plan: Plan) -> None:
    """Fills the tables of numbers from the plan's runs, and marks the chosen configurations."""
    base, first_runs = None, []
    for histories in plan.histories:
        for model in plan.models:
            chosen = plan.chosen(model, histories, store.records)
            if chosen is None:
                continue
            for members in plan.members:
                runs = plan.seed_runs(chosen, members)
                first_runs.append(runs[0])
                _put_results(store, runs)
            if plan.alone:
                _put_transfer(store, plan, chosen)
            if (model, histories) == (ABLATED, plan.histories[0]):
                base = chosen
    if plan.ablations and base is not None:
        _put_ablations(store, plan, base)
    store.mark_chosen(first_runs)


def _put_results(store: RunStore, runs: list[RunConfig]) -> None:
    """Rows of a chosen configuration's seeds, in the place of those of an earlier choice."""
    run, table, rows, stale_seeds = runs[0], store.tables["results.csv"], [], []
    known = {"model": run.model, "members": run.members, "histories": run.histories}
    same = rows_where(table, known)
    # An earlier command may have asked for more seeds.
    for seed in sorted({run.seed for run in runs} | set(table.loc[same, "seed"])):
        of_seed = run.with_seed(int(seed))
        found = store.metrics(of_seed)
        rows += number_rows({**known, "seed": seed}, found)
        # Without a folder, the rows of an earlier command hold, if it chose this run too.
        if found or not store.is_chosen(of_seed):
            stale_seeds.append(seed)
    _replace(store, "results.csv", rows, same & table["seed"].isin(stale_seeds))


def _put_transfer(store: RunStore, plan: Plan, chosen: RunConfig) -> None:
    table, rows = store.tables["transfer.csv"], []
    stale = pd.Series(False, table.index)
    for task in plan.tasks:
        pairs = zip(plan.alone_runs(chosen, task), plan.seed_runs(chosen, 1), strict=True)
        for alone, together in pairs:
            first = {"model": chosen.model, "histories": chosen.histories, "seed": alone.seed}
            if alone.name not in store.records:
                stale |= rows_where(table, {**first, "task": task})
            both = store.reported_metrics(together)
            for row in number_rows(first, store.metrics(alone)):
                other = both.get(row["split"], {}).get(task, {}).get(row["metric"])
                alone_value = row.pop("value")
                rows.append({**row, "alone": alone_value, "together": other})
    _replace(store, "transfer.csv", rows, stale)


def _put_ablations(store: RunStore, plan: Plan, chosen: RunConfig) -> None:
    table, rows = store.tables["ablation.csv"], []
    stale = pd.Series(False, table.index)
    for ablation, setting, run in plan.ablation_runs(chosen):
        metrics = {k: v for k, v in store.reported_metrics(run).items() if k == "validation"}
        first = {"ablation": ablation, "setting": setting, "seed": run.seed}
        rows += number_rows(first, metrics)
        if run.name not in store.records:
            stale |= rows_where(table, first)
    _replace(store, "ablation.csv", rows, stale)


def _replace(store: RunStore, name: str, rows: list[dict[str, Any]], stale: pd.Series) -> None:
    """Puts rows into a table, and takes stale ones out of it."""
    if not rows and not stale.any():
        return
    columns = [*KEYS[name], *(c for c in (rows[0] if rows else ()) if c not in KEYS[name])]
    frame = pd.DataFrame(rows, columns=columns).replace({None: np.nan})
    store.tables.put(name, frame, instead=stale)
