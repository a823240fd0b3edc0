"""Steps of a preparation that are the same wherever they run."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from keras_infnet.data.prepare_plan import PreparePlan
from keras_infnet.data.row_source import WantedColumns
from keras_infnet.data.shard_layout import shard_file
from keras_infnet.data.shard_writer import ShardWriter
from keras_infnet.data.whole_files import read_json
from keras_infnet.encoding.counts import EncoderCounts
from keras_infnet.encoding.encoder import FeatureEncoder

SPOOL, SPOOLED = "spool", "spooled.json"
# Name of the log among the sources; all others are events from before it.
ROWS = "rows"


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
