"""Shards of a prepared folder: names and columns of their files, and their writer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet.data.event_arrays import NO_TIME
from keras_infnet.data.histories import Histories, lacking_histories
from keras_infnet.data.notices import repeated_in_frame
from keras_infnet.data.whole_files import parquet_checksums, parquet_writer, whole_file, write_json
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.labels import read_labels
from keras_infnet.schema.canonical import column, user_codes

FORMAT = 2
MANIFEST, ENCODER, SHARDS = "manifest.json", "encoder", "shards"
# Of a folder that days are appended to: an encoder that knows all values, whose ids the shards
# hold, and what later days need of the past.
VALUES, PAST = "values", "past"
# Columns of rows and of events that are no features.
ROW, USER, TIME = "row", "#user", "#time"
# Inputs with one Parquet column for each id; all others have one column of fixed-size lists.
_COLUMNWISE = ("categorical", "numbers", "bags", "bag_weights")


def rows_file(folder: Path, split: str, shard: str) -> Path:
    """Where the rows of one split and one shard lie."""
    return folder / "rows" / split / f"{shard}.parquet"


def events_file(folder: Path, history: str, shard: str) -> Path:
    """Where the events of one history and one shard lie."""
    return folder / "events" / history / f"{shard}.parquet"


def shard_file(folder: Path, shard: str) -> Path:
    """What is known of a finished shard."""
    return folder / SHARDS / f"{shard}.json"


def input_columns(name: str, width: int) -> list[str]:
    """Parquet columns of a packed input that is `width` wide."""
    if name in _COLUMNWISE:
        return [f"x/{name}/{i}" for i in range(width)]
    return [f"x/{name}"]


def input_types(name: str, shape: tuple[int, ...], dtype: str) -> dict[str, pa.DataType]:
    """Parquet columns of a packed input, with their types."""
    value, width = pa.from_numpy_dtype(np.dtype(dtype)), int(np.prod(shape))
    kind = value if name in _COLUMNWISE else pa.list_(value, width)
    return dict.fromkeys(input_columns(name, width), kind)


def to_columns(name: str, array: np.ndarray) -> dict[str, pa.Array]:
    """Parquet columns of a packed input, `(rows, ...)`."""
    flat = array.reshape(len(array), -1)
    names = input_columns(name, flat.shape[1])
    if name in _COLUMNWISE:
        return {n: pa.array(np.ascontiguousarray(flat[:, i])) for i, n in enumerate(names)}
    lists = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    return {names[0]: lists}


def from_columns(name: str, shape: tuple[int, ...], table: pa.Table) -> np.ndarray:
    """The packed input, `(rows, *shape)`."""
    names = input_columns(name, int(np.prod(shape)))
    if name in _COLUMNWISE:
        return np.stack([table[n].to_numpy() for n in names], axis=1)
    flat = table[names[0]].combine_chunks().flatten()
    return np.asarray(flat).reshape(-1, *shape)


def event_columns(width: int) -> list[str]:
    """Parquet columns of the ids of an event."""
    return [f"event/{i}" for i in range(width)]


def window_columns(history: str) -> list[str]:
    """Parquet columns of where a row's history starts and ends among the events of its block."""
    return [f"{history}/start", f"{history}/end"]


class ShardHistories(Histories):
    """Histories of one shard, which count rows that are there twice: `prepare` says their sum."""

    repeated = 0

    def _repeated(self, repeated: int, rows: int) -> None:
        self.repeated = repeated


@dataclass(frozen=True)
class ShardWriter:
    """Writes partitions.

    A block is a run of whole users with about `block_rows` rows: row group `b` of every file of a
    shard. A row's pointers count from the first event of its block, so that a block can be read
    without any other.

    Args:
        folder: The folder that is being prepared.
        encoder: A fitted encoder.
        splits: Names of the splits.
        keep: Raw columns that are carried along.
        block_rows: Rows of a block.
        first_row: Number of the first row in the log.
    """

    folder: Path
    encoder: FeatureEncoder
    splits: Sequence[str]
    keep: Sequence[str]
    block_rows: int
    first_row: int = 0

    def write(
        self,
        shard: str,
        frame: pd.DataFrame,
        split_codes: np.ndarray,
        histories: ShardHistories | None,
    ) -> dict[str, Any]:
        """Writes the files of a shard and, last, what is known of it.

        Args:
            shard: Name of the shard.
            frame: Raw rows, whose index is their number from `first_row` on.
            split_codes: Index of each row's split; -1: in none.
            histories: The histories of their users; `None`: the rows hold them as list columns.

        Returns:
            Rows of each block by split, and events of each block by history.
        """
        schema = self.encoder.schema
        from_log = [] if histories is None else lacking_histories(schema, frame)
        if histories is not None:
            users = histories.user_codes(frame)
            last = max(events.users.max(initial=-1) for events in histories.events.values())
        else:
            users, last = user_codes(column(frame, schema.user_key, "user key"), "user key"), -1
        # Each row of nobody is a user of its own, without events.
        nobody = users < 0
        users[nobody] = 1 + max(last, users.max()) + np.arange(int(nobody.sum()))
        block_of_user = _blocks(users, self.block_rows)
        columns = self._rows(frame, users)
        events: dict[str, list[int]] = {}
        for name in from_log:
            assert histories is not None
            starts, ends, times = histories.windows(name, frame)
            columns[TIME] = pa.array(times)
            of_events: np.ndarray = histories.events[name].users
            first_users = np.searchsorted(block_of_user, np.arange(int(block_of_user[-1]) + 2))
            of_block = np.searchsorted(of_events, first_users)
            first = of_block[block_of_user[users]]
            for pointer, values in zip(window_columns(name), (starts, ends), strict=True):
                of_row = np.where(nobody, 0, values - first)
                columns[pointer] = pa.array(of_row.astype("int32"))
            events[name] = self._write_events(shard, name, histories, of_block)
        order = np.argsort(users, kind="stable")
        table = pa.table(columns).take(pa.array(order))
        blocks, codes = block_of_user[users[order]], split_codes[order]
        rows = {
            split: self._write_rows(shard, split, table, blocks, codes == code)
            for code, split in enumerate(self.splits)
        }
        files = [rows_file(self.folder, split, shard) for split in rows if rows[split]]
        files += [events_file(self.folder, name, shard) for name in events if events[name]]
        checksums = {str(file.relative_to(self.folder)): parquet_checksums(file) for file in files}
        repeated = histories.repeated if histories else repeated_in_frame(schema, frame)
        known: dict[str, Any] = {"name": shard, "log_rows": len(frame), "rows": rows}
        known |= {"events": events, "repeated": repeated, "checksums": checksums}
        known |= {"schema": schema.fingerprint, "until": None}
        known["since"] = None if histories is None else histories.since
        if schema.time_key is not None:
            known["until"] = int(np.asarray(columns[TIME]).max())
        write_json(shard_file(self.folder, shard), known)
        return known

    def _rows(self, frame: pd.DataFrame, users: np.ndarray) -> dict[str, pa.Array]:
        schema = self.encoder.schema
        keys = (schema.user_key, schema.time_key, *(schema.list_key or ()))
        raw = [c for c in (*keys, *self.keep) if c is not None]
        columns = {
            ROW: pa.array(frame.index.to_numpy() + self.first_row),
            USER: pa.array(users.astype("int32")),
            TIME: pa.array(np.full(len(frame), NO_TIME)),
        }
        if schema.time_key is not None:
            times, label = frame[schema.time_key], f"column `{schema.time_key}`"
            columns[TIME] = pa.array(schema.instants.of_column(times, label))
        columns |= {f"raw/{c}": pa.array(frame[c], from_pandas=True) for c in dict.fromkeys(raw)}
        for name, array in self.encoder.transform(frame).items():
            columns |= to_columns(name, array)
        for kind, values in zip(("label", "weight"), read_labels(schema, frame), strict=True):
            columns |= {f"{kind}/{task}": pa.array(array) for task, array in values.items()}
        return columns

    def _write_rows(
        self, shard: str, split: str, table: pa.Table, blocks: np.ndarray, inside: np.ndarray
    ) -> list[int]:
        table, blocks = table.filter(pa.array(inside)), blocks[inside]
        last = int(blocks.max(initial=-1))
        bounds = np.searchsorted(blocks, np.arange(last + 2))
        return self._write_blocks(rows_file(self.folder, split, shard), table, bounds)

    def _write_events(
        self, shard: str, name: str, histories: Histories, bounds: np.ndarray
    ) -> list[int]:
        events = histories.events[name]
        names = event_columns(events.columns.shape[1])
        columns = {n: pa.array(events.columns[:, i]) for i, n in enumerate(names)}
        columns |= {USER: pa.array(events.users.astype("int32")), TIME: pa.array(events.times)}
        table = pa.table(columns)
        return self._write_blocks(events_file(self.folder, name, shard), table, bounds)

    def _write_blocks(self, path: Path, table: pa.Table, bounds: np.ndarray) -> list[int]:
        schema = table.schema.with_metadata({"fingerprint": self.encoder.schema.fingerprint})
        sizes = np.diff(bounds).tolist()
        if not sizes:
            return []
        with (
            whole_file(path) as temporary,
            parquet_writer(temporary, schema) as writer,
        ):
            for start, size in zip(bounds, sizes, strict=False):
                part = table.slice(start, size).replace_schema_metadata(schema.metadata)
                writer.write_table(part, row_group_size=max(1, size))
        return sizes


def _blocks(users: np.ndarray, block_rows: int) -> np.ndarray:
    """Block of each user code, increasing."""
    rows = np.bincount(users)
    blocks = (np.cumsum(rows) - rows) // block_rows
    return np.unique(blocks, return_inverse=True)[1]
