"""RateState: what is known of the past at one time, as a table for each feature."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.did_you_mean import check_known
from keras_infnet._base.paths import local_path
from keras_infnet._base.whole_files import tidy, whole_folder
from keras_infnet.data.past_rows import PastGroup
from keras_infnet.data.whole_files import (
    check_replaceable,
    read_parquet,
    read_state,
    write_json,
    write_parquet,
)
from keras_infnet.schema.frames import to_frame
from keras_infnet.schema.past import PastFeature
from keras_infnet.schema.schema import FeatureSchema

_STATE = "state.json"
_FORMAT = 2
_WHO = "RateState.load"


@dataclass(frozen=True)
class RateState:
    """The past at one time, from which values of that time and later are computed exactly.

    A table has a row for each combination of keys, with `last_time` (milliseconds of the newest row
    that counts), `rows` (how many count), `ones` (how many have the action) and, of a rate, `p` and
    `prior`: the rate is `(ones + prior * p) / (rows + prior)`. A window or a delay makes time tell:
    then combinations have a row for each millisecond that may still leave the window, or is not yet
    known; the sum over those with `last_time < t - delay` and, with a window, `last_time >= t -
    window` is exact at each time `t` from `until` on. Rows of the millisecond `until` itself lie
    apart alike.

    Args:
        until: Milliseconds of the newest row.
        counted: What each feature counts, by its name, as JSON values.
        tables: Table of each feature, by its name.
    """

    until: int
    counted: Mapping[str, Mapping[str, Any]]
    tables: Mapping[str, pd.DataFrame]

    def check(self, schema: FeatureSchema) -> None:
        """A ValueError unless the state has what the schema's features of the past count."""
        for name, counts in what_counts(schema).items():
            check_known(name, self.counted, f"RateState: it has no feature `{name}`.")
            found = self.counted[name]
            if other := [k for k, value in counts.items() if found[k] != value]:
                raise ValueError(
                    f"RateState: feature `{name}` has {other[0]}={counts[other[0]]!r}, but "
                    f"{found[other[0]]!r} when the state was made. Make it from the log again."
                )

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Writes a folder, whole or not at all: JSON, and a Parquet file for each feature.

        Args:
            folder: Folder to make.
            overwrite: Whether a state that was saved there is replaced.

        Raises:
            FileExistsError: `folder` exists, and `overwrite` is not set or it holds no state.
        """
        path = local_path(folder, "RateState.save", "folder", written=True)
        check_replaceable(path, "RateState.save", _STATE, overwrite)
        checksums: dict[str, str] = {}
        with whole_folder(path, replace=overwrite) as new:
            for name, frame in self.tables.items():
                table = pa.Table.from_pandas(frame, preserve_index=False)
                table = table.replace_schema_metadata(None)
                checksums[name] = write_parquet(new / f"{name}.parquet", table)
            known = {"until": self.until, "counted": self.counted, "checksums": checksums}
            write_json(new / _STATE, {"format": _FORMAT, **known})

    @classmethod
    def load(cls, folder: str | Path) -> "RateState":
        """Reads what `save` wrote.

        Raises:
            ValueError: A file is missing or damaged, or the folder is of another format.
        """
        path = local_path(folder, _WHO, "folder")
        tidy(path)
        known = read_state(path / _STATE, _WHO, _FORMAT)
        tables = {
            name: _frame(read_parquet(path / f"{name}.parquet", checksums, _WHO))
            for name, checksums in known["checksums"].items()
        }
        return cls(known["until"], known["counted"], tables)


def what_counts(schema: FeatureSchema) -> dict[str, dict[str, Any]]:
    """What each feature of the past counts, as JSON values."""
    counted: dict[str, dict[str, Any]] = {}
    for f in schema.past:
        counts = {name: getattr(f, name) for name in ("keys", "action", "window", "zone", "delay")}
        observed = [task.observed_when for task in schema.tasks if task.label == f.action]
        counted[f.name] = {"type": type(f).__name__, **counts, "observed_when": observed}
    return json.loads(json.dumps(counted))


def compacted(
    feature: PastFeature, group: PastGroup, known: np.ndarray, ones: np.ndarray, until: int
) -> pd.DataFrame:
    """Past rows of a feature in as few rows as values at `until` and later need."""
    times, codes = group.times, group.codes
    counts = feature.counts_of(known, ones) > 0
    since = feature.since(np.array([until]))
    # What is older is in no window any more, or in the past of every row to come.
    listed = times >= (until - feature.delay_ms if since is None else since[0])
    kept = np.flatnonzero(counts if since is None else counts & listed)
    codes, times, listed = codes[kept], times[kept], listed[kept]
    known, ones = known[kept].astype("int64"), ones[kept].astype("int64")
    begins = np.ones(len(kept), bool)
    same_time = ~listed[1:] | (times[1:] == times[:-1])
    begins[1:] = (codes[1:] != codes[:-1]) | (listed[1:] != listed[:-1]) | ~same_time
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(kept)) - 1 if len(first) else first
    keys = {name: values.to_pandas() for name, values in group.keys(codes[first]).items()}
    sums = (np.add.reduceat(some, first) if len(first) else some for some in (known, ones))
    rows, with_action = sums
    return pd.DataFrame({**keys, "last_time": times[last], "rows": rows, "ones": with_action})


def _frame(table: pa.Table) -> pd.DataFrame:
    return to_frame(table, np.arange(len(table)))
