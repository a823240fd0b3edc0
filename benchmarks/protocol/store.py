"""What is known of all runs: their folders, and the tables that are made from them."""

import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from protocol.config import RunConfig
from protocol.folders import (
    FAILED,
    check_defaults,
    check_folder,
    fail_unfinished,
    read_json,
    remove_unfinished,
)
from protocol.pool import Job
from protocol.space import defaults_of
from protocol.tables import Tables, read_table, rows_where


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
