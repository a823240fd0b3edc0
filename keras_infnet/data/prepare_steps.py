"""Steps of a preparation that are the same on every engine: plan, work folder, counts, shards."""

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.data.row_source import RowSource, WantedColumns, describe
from keras_infnet.data.shards import MANIFEST, SHARDS, ShardWriter, shard_file
from keras_infnet.data.whole_files import read_json, write_json
from keras_infnet.encoding.counts import EncoderCounts
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.schema.canonical import column
from keras_infnet.schema.schema import FeatureSchema

SPOOL, SPOOLED = "spool", "spooled.json"
# Name of the log among the sources; all others are events from before it.
ROWS = "rows"
_REQUEST = "request.json"


@dataclass(frozen=True)
class PreparePlan:
    """What `prepare` was asked for; its arguments have the same names.

    Raises:
        ValueError: An argument is out of range.
    """

    schema: FeatureSchema
    splits: Mapping[str, int | None]
    split_by: str | None
    keep: tuple[str, ...]
    partitions: int
    chunk_rows: int
    block_rows: int

    def __post_init__(self) -> None:
        for name in ("partitions", "chunk_rows", "block_rows"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"prepare: {name} is {value!r}; expected 1 or more.")
        names, ends = list(self.splits), list(self.splits.values())
        if not names or not all(re.fullmatch(r"\w+", name) for name in names):
            raise ValueError(f"prepare: splits are {names}; expected names such as `train`.")
        known = ends[:-1] if ends[-1] is None else ends
        if None in known or sorted(set(known)) != known:
            raise ValueError(
                f"prepare: splits end at {ends}; expected ends that grow, and None for no end "
                "in the last one alone."
            )
        if known and self.split_by is None:
            raise ValueError(
                "prepare: the schema has no time_key to split by. Pass `split_by`, a column of "
                "numbers that grow with time."
            )

    def split_codes(self, frame: pd.DataFrame) -> np.ndarray:
        """Index of each row's split; -1 for rows after the end of the last."""
        ends = [end for end in self.splits.values() if end is not None]
        if not ends:
            return np.zeros(len(frame), "int64")
        values = column(frame, self.split_by, "prepare, split_by")
        if not pd.api.types.is_numeric_dtype(values.dtype) or values.isna().any():
            raise ValueError(
                f"column `{self.split_by}` holds {values.dtype}; to split by it, it must hold "
                "numbers in every row."
            )
        codes = np.searchsorted(ends, values.to_numpy(), side="right")
        return np.where(codes < len(self.splits), codes, -1)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return {
            "schema": self.schema.fingerprint,
            "splits": dict(self.splits),
            "split_by": self.split_by,
            "keep": list(self.keep),
            "partitions": self.partitions,
            "chunk_rows": self.chunk_rows,
            "block_rows": self.block_rows,
        }


def open_work_folder(
    out: Path,
    plan: PreparePlan,
    sources: Mapping[str, RowSource],
    overwrite: bool,
    engine: str = "local",
) -> Path:
    """The folder beside `out` in which an earlier run may have finished something.

    Raises:
        FileExistsError: `out` is there already.
        ValueError: The earlier run had other arguments or other rows.
        OSError: The folder can't be written.
    """
    if out.exists() and not (overwrite and (out / MANIFEST).is_file()):
        hint = "pass overwrite=True to replace it" if (out / MANIFEST).is_file() else ""
        raise FileExistsError(
            f"prepare: {out} exists. Choose another folder{hint and ', or ' + hint}."
        )
    work = out.with_name(f".{out.name}.unfinished")
    described = {name: describe(rows) for name, rows in sources.items()}
    request = {**plan.to_dict(), "rows": described, "engine": engine}
    # Where nothing was finished there is nothing to go on with.
    if any(any(work.rglob(name)) for name in ("*.arrow", "spooled.json", SHARDS)):
        earlier = read_json(work / _REQUEST, "prepare")
        other = sorted(key for key in request if request[key] != earlier.get(key))
        if other and not overwrite:
            raise ValueError(
                f"prepare: {work} holds an unfinished run with other {', '.join(other)}. Repeat "
                "its arguments to go on, or pass overwrite=True to start again."
            )
        if not other:
            _remove_partial_files(work)
            return work
    shutil.rmtree(work, ignore_errors=True)
    write_json(work / _REQUEST, request)
    return work


def publish(work: Path, out: Path) -> None:
    """Renames the finished folder to `out`; what was there goes when the new one is in place."""
    _remove_partial_files(work)
    before = work.with_name(f"{work.name}.before")
    if out.exists():
        out.rename(before)
    work.rename(out)
    (out / _REQUEST).unlink()
    shutil.rmtree(before, ignore_errors=True)


def _remove_partial_files(work: Path) -> None:
    """What a process that was killed was writing."""
    for partial in work.rglob(".*.partial"):
        partial.unlink()


def spool_folder(work: Path, name: str) -> Path:
    """Where the rows of a source lie by user."""
    return work / SPOOL / (ROWS if name == ROWS else f"earlier-{name}")


def wanted_columns(plan: PreparePlan, name: str) -> WantedColumns:
    """The columns that are read of a source."""
    if name != ROWS:
        return WantedColumns.of(plan.schema)
    ends = any(end is not None for end in plan.splits.values())
    return WantedColumns.of(plan.schema, (*plan.keep, *([plan.split_by] if ends else [])))


def count_chunk(
    counts: EncoderCounts | None, plan: PreparePlan, name: str, frame: pd.DataFrame
) -> None:
    """Counts a chunk for the encoder: of the log, the rows of the first split."""
    if name == ROWS:
        frame = frame[plan.split_codes(frame) == 0]
    if counts is None or not len(frame):
        return
    counts.add_rows(frame) if name == ROWS else counts.add_events(name, frame)


def shard_name(number: int) -> str:
    """Name of the shard of a partition."""
    return f"shard-{number:05d}"


def finished_shard(work: Path, number: int) -> dict[str, Any] | None:
    """What is known of a shard that is written; `None` before."""
    file = shard_file(work, shard_name(number))
    return read_json(file, "prepare") if file.exists() else None


def write_shard(
    work: Path,
    plan: PreparePlan,
    encoder: FeatureEncoder,
    number: int,
    frame: pd.DataFrame,
    earlier: Mapping[str, pd.DataFrame],
) -> dict[str, Any]:
    """Encodes a partition and writes it; tells what is known of it."""
    writer = ShardWriter(work, encoder, list(plan.splits), plan.keep, plan.block_rows)
    shard = shard_name(number)
    with named(shard):
        return writer.write(shard, frame, plan.split_codes(frame), earlier)


@contextlib.contextmanager
def named(source: str) -> Iterator[None]:
    """Says in every error where the rows come from."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"prepare: {source}: {error}") from error
