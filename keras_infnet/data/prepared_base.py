"""Base: a prepared folder that rows of a further day are appended to."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from keras_infnet.data.histories import check_in_order, read_times
from keras_infnet.data.prepared_rows import read_manifest
from keras_infnet.data.shards import PAST, SHARDS
from keras_infnet.schema.frames import to_frame
from keras_infnet.schema.schema import FeatureSchema

_WHO = "prepare, append=True"
# What is not written anew with each day.
_STAYS = ("rows", "events", SHARDS, PAST)


@dataclass(frozen=True)
class Base:
    """A folder that `prepare(append=True)` wrote, as it is before rows are appended.

    Args:
        folder: The folder.
        manifest: What is in it.
    """

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "Base":
        """The folder; a ValueError if it was prepared without `append=True`, or is damaged."""
        manifest = read_manifest(folder)
        if "values" not in manifest:
            raise ValueError(
                f"{_WHO}: {folder} was prepared without append=True, and holds neither the values "
                "that its encoder does not know nor the past of users. Prepare all days with "
                "append=True once."
            )
        return cls(folder, manifest)

    @property
    def days(self) -> int:
        """How often rows were written to it."""
        return self.manifest["days"]

    @property
    def rows(self) -> int:
        """Rows of all days, also of none of the splits."""
        return sum(shard["log_rows"] for shard in self.manifest["shards"])

    @property
    def until(self) -> int:
        """Milliseconds of the newest row."""
        return max(shard["until"] for shard in self.manifest["shards"])

    def check_unchanged(self) -> None:
        """A ValueError if another process has appended rows since."""
        if read_manifest(self.folder)["days"] != self.days:
            raise ValueError(
                f"{_WHO}: another process has appended rows to {self.folder} in the meantime. Look "
                "whether they are these, and call prepare again if not."
            )

    def check_later(self, schema: FeatureSchema, table: pa.Table) -> None:
        """A ValueError if a row is older than the newest one here."""
        key = str(schema.time_key)
        names = [key] if key in table.column_names else []
        frame = to_frame(table.select(names), np.arange(len(table)))
        check_in_order(_WHO, read_times(schema, frame, _WHO), self.until, frame.index)

    def check_histories(self, from_log: list[str]) -> None:
        """A ValueError if histories are list columns here and not there, or the other way round."""
        known = {name for shard in self.manifest["shards"] for name in shard["events"]}
        if known != {*from_log}:
            other = sorted(known ^ {*from_log})
            raise ValueError(
                f"{_WHO}: the histories {', '.join(other)} are list columns of some days and come "
                "from the log on others. Give all days alike."
            )

    def link_into(self, work: Path) -> None:
        """Gives another folder all files that it lacks; they are not copied where that can be."""
        for top in _STAYS:
            for path in sorted((self.folder / top).rglob("*")):
                target = work / path.relative_to(self.folder)
                if path.is_dir() or target.exists():
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(path, target)
                except OSError:
                    # Some file systems know one name a file.
                    shutil.copy2(path, target)
