"""Folder of a search: whose it is, a record of each trial, and the best configuration."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from keras_infnet._base.locks import locked
from keras_infnet._base.paths import local_path
from keras_infnet._base.whole_files import read_json, remove_partial, whole_file, write_json
from keras_infnet.search.latency_tradeoff import pareto_front

WEIGHTS = "model.weights.h5"
_ABOUT, _LOCK, _TRIALS, _RECORD = "search.json", ".search.lock", "trials", "record.json"
_HOPELESS = 3
_BEST = "best_config.json"
_BEST_KEYS = ("model", "arguments", "learning_rate", "table_rate_factor", "schema", "trial")
_COLUMNS = ["trial", "status", "score", "quality", "quality_std", "milliseconds", "parameters"]
_LAST = ["training_share", "seconds", "elapsed_seconds", "attempts", "error"]


class SearchFolder:
    """What a search has on disk; each file is there whole or not at all.

    `search.json` says what the search is of. A trial's `record.json` is `"unfinished"` from its
    beginning on, so that one whose process was killed is seen, then `"finished"`, or `"failed"`
    with the error's text. keras-tuner's state and the weights stand beside them.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = local_path(path, "ProxySearch", "folder", written=True)
        self.trials = self.path / _TRIALS

    def check(self, about: Mapping[str, Any]) -> None:
        """Raises a ValueError if it holds something else than this search; writes nothing."""
        # Hidden files are the lock, and what another worker is about to rename.
        if not any(self.path.glob("[!.]*")):
            return
        if not (self.path / _ABOUT).is_file():
            raise ValueError(
                f"ProxySearch: `{self.path}` holds files, and none is a search's. Choose another "
                "folder."
            )
        found, wanted = _by_dotted_name(read_json(self.path / _ABOUT)), _by_dotted_name(about)
        differences = [
            f"its {name} is {found.get(name)}, yours {wanted.get(name)}"
            for name in {**found, **wanted}
            if found.get(name) != wanted.get(name)
        ]
        if differences:
            raise ValueError(
                f"ProxySearch: `{self.path}` holds another search ({'; '.join(differences)}). "
                "Nothing was changed there. Choose another folder, or search with what that one "
                "had."
            )

    def open(self, about: Mapping[str, Any]) -> None:
        """Makes the folder of a search, or checks that it is this one's."""
        self.check(about)
        self.trials.mkdir(parents=True, exist_ok=True)
        if not (self.path / _ABOUT).is_file():
            write_json(self.path / _ABOUT, about)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder; the system lets go of it when the process ends, however it ends."""
        taken = (
            f"ProxySearch: another process searches in `{self.path}`. Wait for its end, or choose "
            "another folder."
        )
        with locked(self.path / _LOCK, taken):
            yield

    def of_trial(self, trial: str) -> Path:
        """Folder of a trial."""
        return self.trials / f"trial_{trial}"

    def begin(self, trial: str, values: Mapping[str, Any]) -> None:
        """Notes that a trial begins, once more if it was interrupted."""
        remove_partial(self.of_trial(trial))
        attempts = self.read(trial).get("attempts", 0) + 1
        begun = {"trial": trial, "status": "unfinished", "attempts": attempts}
        self.note(trial, {**begun, "values": dict(values)})

    def note(self, trial: str, found: Mapping[str, Any]) -> None:
        """Adds to the record of a trial."""
        write_json(self.of_trial(trial) / _RECORD, {**self.read(trial), **found})

    def read(self, trial: str) -> dict[str, Any]:
        """The record of a trial; empty if there is none."""
        path = self.of_trial(trial) / _RECORD
        return read_json(path) if path.is_file() else {}

    def ended(self) -> list[dict[str, Any]]:
        """Records of finished and failed trials, in the order of the trials."""
        return [record for record in self._records() if record["status"] != "unfinished"]

    def is_hopeless(self) -> bool:
        """Whether the first trials all failed, so that the rest is not worth its time."""
        ended = self.ended()
        return len(ended) >= _HOPELESS and all(r["status"] == "failed" for r in ended)

    def best(self) -> dict[str, Any] | None:
        """The record of the highest score among the trials on the most training rows."""
        finished = [record for record in self._records() if record["status"] == "finished"]
        return max(finished, key=lambda r: (r["training_share"], r["score"]), default=None)

    def frame(self) -> pd.DataFrame:
        """One row a trial; `on_front` marks the Pareto front of quality and milliseconds."""
        records = self._records()
        values = pd.DataFrame([record["values"] for record in records])
        metrics = pd.DataFrame([record.get("metrics", {}) for record in records])
        first, last = (pd.DataFrame(records, columns=names) for names in (_COLUMNS, _LAST))
        frame = pd.concat([first, values, metrics, last], axis=1)
        numbers = frame[["quality", "milliseconds"]].astype("float64")
        frame["on_front"] = pareto_front(numbers["quality"], numbers["milliseconds"])
        return frame

    def publish(self, schema: str) -> None:
        """Writes the table and the best configuration, and removes weights that nobody asks for.

        Args:
            schema: The schema's fingerprint.
        """
        frame, best = self.frame(), self.best()
        with whole_file(self.path / "trials.csv") as temporary:
            frame.to_csv(temporary, index=False)
        if best is None:
            return
        values = {n: best["values"][n] for n in ("learning_rate", "table_rate_factor", "form")}
        numbers = ("trial", "score", "quality", "milliseconds", "parameters", "metrics")
        config = {"model": "INFNet", "arguments": best["arguments"], **values, "schema": schema}
        write_json(self.path / _BEST, {**config, **{name: best[name] for name in numbers}})
        beaten = (frame["status"] == "finished") & ~frame["on_front"]
        for trial in frame.loc[beaten & (frame["trial"] != best["trial"]), "trial"]:
            (self.of_trial(trial) / WEIGHTS).unlink(missing_ok=True)

    def _records(self) -> list[dict[str, Any]]:
        records = map(read_json, self.trials.glob(f"trial_*/{_RECORD}"))
        return sorted(records, key=lambda record: int(record["trial"]))


def search_trials(folder: Path | str) -> pd.DataFrame:
    """The table of a search's trials, read from its folder; the search may be running.

    Args:
        folder: Folder of a `ProxySearch`.

    Returns:
        One row a trial: `trial`, `status` (`"finished"`, `"failed"`, or `"unfinished"`: running or
        interrupted), `score`, `quality` (the policy's, a mean over seeds, with `quality_std`),
        `milliseconds` of a batch, `parameters`, the hyperparameters, metrics by task,
        `training_share` of the rows, `seconds`, `attempts`, `error`, and `on_front`.

    Raises:
        ValueError: There is no search in the folder.

    Example:
        ```python
        trials = keras_infnet.search.search_trials("runs/search")
        trials.groupby("num_field_proxies")["quality"].agg(["mean", "std"])
        ```
    """
    folder = local_path(folder, "search_trials", "folder")
    if not (folder / _TRIALS).is_dir():
        raise ValueError(f"search_trials: `{folder}` holds no search. Run `ProxySearch` there.")
    return SearchFolder(folder).frame()


def load_config(path: Path | str) -> dict[str, Any]:
    """The configuration that a search found best, from its `best_config.json`.

    Args:
        path: The file, or the folder of the search.

    Returns:
        `arguments` of `INFNet`, `learning_rate` of `fit_ranker` with `table_rate_factor`, the
        fingerprint of the `schema`, and the numbers of the trial.

    Raises:
        ValueError: There is no such file, or it is of something else.

    Example:
        ```python
        config = keras_infnet.search.load_config("runs/search/best_config.json")
        model = keras_infnet.INFNet(data.schema, **config["arguments"])
        keras_infnet.fit_ranker(model, train, validation, learning_rate=config["learning_rate"])
        ```
    """
    path = local_path(path, "load_config", "path")
    path = path / _BEST if path.is_dir() else path
    config = read_json(path, "load_config: there is no file `{path}`, or it is not JSON: {error}")
    missing = [key for key in _BEST_KEYS if not isinstance(config, dict) or key not in config]
    if missing:
        raise ValueError(
            f"load_config: `{path}` lacks {', '.join(missing)}; expected a `{_BEST}` of a search."
        )
    return config


def _by_dotted_name(about: Mapping[str, Any]) -> dict[Any, Any]:
    """What a search is of, without its nesting, as JSON has it."""
    return pd.json_normalize(json.loads(json.dumps(about))).to_dict("records")[0]
