"""A preparation in this process: one chunk, then one partition after the other."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_infnet.data.prepare_plan import PreparePlan
from keras_infnet.data.prepare_steps import (
    ROWS,
    SPOOL,
    SPOOLED,
    count_chunk,
    finished_shard,
    named,
    spool_folder,
    wanted_columns,
    write_shard,
)
from keras_infnet.data.progress import Progress
from keras_infnet.data.row_source import (
    RowSource,
    count_rows,
    list_files,
    read_chunks,
    to_frame,
)
from keras_infnet.data.shard_layout import ENCODER, SHARDS
from keras_infnet.data.spool import Spool
from keras_infnet.data.whole_files import read_json, write_json
from keras_infnet.encoding.counts import EncoderCounts
from keras_infnet.encoding.encoder import FeatureEncoder


def prepare_locally(
    work: Path,
    plan: PreparePlan,
    given: FeatureEncoder,
    sources: Mapping[str, RowSource],
    verbose: bool,
) -> tuple[FeatureEncoder, list[dict[str, Any]]]:
    """Writes encoder and shards; tells what is known of each shard."""
    encoder, number = _spool(work, plan, given, sources, verbose)
    earlier = [name for name in sources if name != ROWS]
    progress, shards = Progress("prepare: writing shards", "rows", number, verbose), []
    for partition in range(plan.partitions):
        known = finished_shard(work, partition)
        if known is None:
            frame = _spool_of(work, plan, ROWS).partition(partition)
            if frame.empty:
                continue
            events = {name: _spool_of(work, plan, name).partition(partition) for name in earlier}
            known = write_shard(work, plan, encoder, partition, frame, events)
        shards.append(known)
        progress.add(known["log_rows"])
    progress.close()
    return encoder, shards


def _spool(
    work: Path,
    plan: PreparePlan,
    given: FeatureEncoder,
    sources: Mapping[str, RowSource],
    verbose: bool,
) -> tuple[FeatureEncoder, int]:
    """Writes the rows by user and learns the encoder; tells it and the number of rows."""
    done = work / SPOOL / SPOOLED
    # Files were found unchanged; frames can be compared only by reading them again.
    if done.exists() and all(list_files(rows) for rows in sources.values()):
        return FeatureEncoder.load(work / ENCODER), read_json(done, "prepare")["rows"]
    counts = None if given.schema.fitted else EncoderCounts(plan.schema)
    number, changed = 0, False
    for name, rows in sources.items():
        progress = Progress(f"prepare: reading {name}", "rows", count_rows(rows), verbose)
        spool, first = _spool_of(work, plan, name), 0
        for source, table in read_chunks(rows, wanted_columns(plan, name), plan.chunk_rows):
            new = spool.add(table, source)
            changed |= new
            with named(source):
                frame = to_frame(table, np.arange(first, first + len(table)))
                count_chunk(counts, plan, name, frame)
            first += len(table)
            progress.add(len(table), timed=new)
        progress.close()
        changed |= spool.close()
        number = first if name == ROWS else number
    if changed:
        shutil.rmtree(work / SHARDS, ignore_errors=True)
    if counts is not None:
        counts.fit(given)
    given.save(work / ENCODER)
    write_json(done, {"rows": number})
    return given, number


def _spool_of(work: Path, plan: PreparePlan, name: str) -> Spool:
    return Spool(spool_folder(work, name), plan.partitions, plan.schema.user_key)
