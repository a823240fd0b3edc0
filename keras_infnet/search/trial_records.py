"""What is known of each trial, one file a trial, and the table of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet._base.whole_files import write_json
from keras_infnet.search.pareto import pareto_front

TRIALS = "trials"
WEIGHTS = "model.weights.h5"
_RECORD = "record.json"
_COLUMNS = ("trial", "status", "score", "quality", "quality_std", "milliseconds", "parameters")
_LAST = ("training_share", "seconds", "elapsed_seconds", "attempts", "error")


class TrialRecords:
    """Records in a search's folder: `trials/trial_*/record.json`, beside keras-tuner's own files.

    A record is `"unfinished"` from the trial's beginning on, so that one whose process was killed
    is seen, then `"finished"`, or `"failed"` with the error's text.

    Args:
        folder: Folder of the search.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder) / TRIALS

    def trial_folder(self, trial: str) -> Path:
        """Folder of a trial."""
        return self.folder / f"trial_{trial}"

    def begin(self, trial: str, values: Mapping[str, Any]) -> None:
        """Notes that a trial begins, once more if it was interrupted."""
        attempts = (self.read(trial) or {}).get("attempts", 0) + 1
        begun = {"trial": trial, "status": "unfinished", "attempts": attempts}
        self._write(trial, {**begun, "values": dict(values)})

    def end(self, trial: str, found: Mapping[str, Any]) -> None:
        """Notes what came out of a trial."""
        self._write(trial, {**(self.read(trial) or {}), **found})

    def read(self, trial: str) -> dict[str, Any] | None:
        """The record of a trial."""
        path = self.trial_folder(trial) / _RECORD
        return json.loads(path.read_text("utf-8")) if path.is_file() else None

    def all(self) -> list[dict[str, Any]]:
        """All records, in the order of the trials."""
        paths = sorted(self.folder.glob(f"trial_*/{_RECORD}"))
        records = [json.loads(path.read_text("utf-8")) for path in paths]
        return sorted(records, key=lambda record: int(record["trial"]))

    def ended(self) -> list[dict[str, Any]]:
        """Records of finished and failed trials."""
        return [record for record in self.all() if record["status"] != "unfinished"]

    def best(self) -> dict[str, Any] | None:
        """The record of the highest score among the trials on the most training rows."""
        finished = [record for record in self.all() if record["status"] == "finished"]
        return max(finished, key=lambda r: (r["training_share"], r["score"]), default=None)

    def frame(self) -> pd.DataFrame:
        """One row a trial; `on_front` marks the Pareto front of quality and milliseconds."""
        rows = [
            {
                **{name: record.get(name) for name in _COLUMNS},
                **record["values"],
                **record.get("metrics", {}),
                **{name: record.get(name) for name in _LAST},
            }
            for record in self.all()
        ]
        frame = pd.DataFrame(rows, columns=None if rows else [*_COLUMNS, *_LAST])
        numbers = frame[["quality", "milliseconds"]].astype("float64")
        frame["on_front"] = pareto_front(numbers["quality"], numbers["milliseconds"])
        return frame

    def remove_weights(self) -> None:
        """Removes weights that neither the best trial nor one on the front has."""
        frame, best = self.frame(), self.best()
        kept = set(frame.loc[frame["on_front"], "trial"]) | {best["trial"] if best else None}
        ended = frame["status"] == "finished"
        for trial in frame.loc[ended & ~frame["trial"].isin(kept), "trial"]:
            (self.trial_folder(trial) / WEIGHTS).unlink(missing_ok=True)

    def _write(self, trial: str, record: Mapping[str, Any]) -> None:
        self.trial_folder(trial).mkdir(parents=True, exist_ok=True)
        write_json(self.trial_folder(trial) / _RECORD, record)


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
    if not (Path(folder) / TRIALS).is_dir():
        raise ValueError(f"search_trials: `{folder}` holds no search. Run `ProxySearch` there.")
    return TrialRecords(folder).frame()


def mean_and_std(runs: list[Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and standard deviation over seeds of each number; NaN deviation of one seed."""
    table = pd.DataFrame(runs)
    deviations = table.std() if len(runs) > 1 else table.iloc[0] * np.nan
    return table.mean().to_dict(), deviations.to_dict()
