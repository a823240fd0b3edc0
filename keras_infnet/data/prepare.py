"""Logs of any size to a folder of encoded Parquet shards, in bounded memory."""

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_infnet._base.paths import local_path
from keras_infnet._base.whole_files import tidy
from keras_infnet.data.notices import warn_of_repeated_rows, warn_of_shuffled_frame
from keras_infnet.data.prepare_steps import ROWS, Preparation, named, split_ends
from keras_infnet.data.prepared_base import Base
from keras_infnet.data.progress import Progress
from keras_infnet.data.row_source import RowSource, count_rows, read_chunks
from keras_infnet.data.shards import ENCODER, MANIFEST, VALUES
from keras_infnet.data.spark import check_engine, prepare_on_spark
from keras_infnet.data.spool import unify
from keras_infnet.data.whole_files import write_json
from keras_infnet.encoding.counts import EncoderCounts
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.schema.frames import to_frame
from keras_infnet.schema.instants import Time
from keras_infnet.schema.schema import FeatureSchema

_ROWS_OF_A_PARTITION = 500_000
# Of an iterator, whose length is not known.
_PARTITIONS_OF_UNKNOWN = 64


def prepare(
    schema: FeatureSchema | FeatureEncoder,
    rows: RowSource,
    out: str | Path,
    *,
    earlier: Mapping[str, RowSource] | None = None,
    splits: Mapping[str, Time | None] | None = None,
    split_by: str | None = None,
    keep: Sequence[str] = (),
    partitions: int | None = None,
    chunk_rows: int = 500_000,
    block_rows: int = 16_384,
    overwrite: bool = False,
    append: bool = False,
    verbose: bool = True,
    engine: str = "local",
    spark: Any = None,
) -> FeatureEncoder:
    """Encodes a log that need not fit in memory, once; `Batches.from_folder` then reads it.

    First the rows are read in chunks, counted for the encoder and written to disk by user; then one
    partition of users after the other is encoded, its events sorted by (user, time), and written.
    Encoder, ids and histories are those of `FeatureEncoder.fit`, `Histories` and
    `Batches.from_rows`.

    Features of the past are computed by partitions of their keys, with the values of `RankingData`.

    Memory is that of a chunk, of a partition, of the distinct values of each field (numbers
    included: edges are exact quantiles) and, of features of the past, of the keys, times and
    actions of all rows that have one combination of keys. The disk holds the rows a second time
    until the end. A run that was stopped goes on where it was when it is called again with the same
    arguments, and `out` appears only when all is finished.

    With `append=True` days can be added to `out`: the first call makes it, each later one adds its
    rows, and neither reads nor writes the shards of the days before. Rows, ids and histories are
    those of all days prepared at once with the encoder that is used to read them. To that end the
    shards hold ids of an encoder of their own, `out/values`, which knows every value that has
    occurred and is only ever extended; `Batches.from_folder` translates its ids to those of the
    encoder that it is given. `out/past` holds each user's newest `max_length` events, and what
    features of the past have counted. A call that is killed leaves the folder as it was.

    Args:
        schema: A schema, or a fitted encoder, which is used as it is. Where rows are appended, the
            folder's encoder is extended by a schema's rows of the first split, by each feature's
            own `min_frequency`; an encoder takes its place.
        rows: The log: a frame, an iterable of frames, or Parquet and CSV files (a folder, a glob, a
            list). Of files only the columns that are needed are read. They may lie in a store that
            pyarrow reads, such as `s3://bucket/logs/*.parquet`, or fsspec, where it is installed.
            With `engine="spark"` also a Spark DataFrame, whose rows are numbered in the order of
            its partitions.
        out: Local folder to make. Its Parquet files `rows/{split}/*.parquet` are encoded rows with
            `row`, their number in the log, and `raw/{column}`.
        earlier: Events from before the log by history name, as in `Histories`; they are counted for
            the encoder too. Defaults to none. Histories from a log of their own (`events` of
            `RankingData`) it takes as list columns: the rows of `RankingData.attach`.
        splits: Where each split ends, in the order of time: `{"train": "2026-11-20", "test":
            None}`. Rows before that day train, all others test; the encoder learns from the first
            split alone, and histories reach over all of them. Defaults to one split `train`;
            where rows are appended, to the splits that the folder has. Further ones may be new, or
            get further rows.
        split_by: Column of numbers that `splits` are values of. Defaults to the schema's
            `time_key`, whose splits end at times as `RankingData` takes them.
        keep: Raw columns to carry along, besides user, time and the columns of the list key.
        partitions: Number of partitions, which is that of the shards; one must fit in memory.
            Defaults to one for each 500,000 rows, or 64 where the number of rows is not known. A
            folder that rows are appended to keeps its own: choose it for the users of all days,
            `max_length` events each.
        chunk_rows: Rows of a chunk.
        block_rows: Rows of a block, the least that is read at once, in whole users.
        overwrite: Whether an earlier prepared folder, or an unfinished one of other arguments, is
            replaced.
        append: Whether rows are added to `out`, if it is there, and can be later. All must be of
            the time of the newest row before or later.
        verbose: Whether progress is shown.
        engine: `"local"`: in this process. `"spark"`: on Apache Spark (extra `spark`, Java 17 or
            newer), with the same shards. Files and `out` must then lie where driver and executors
            both have or reach them, and executors must have this package.
        spark: The `SparkSession` to use with `engine="spark"`. Defaults to the active session, or a
            new one of Spark's own settings, `local[*]` if they say nothing else, that is stopped at
            the end.

    Returns:
        The fitted encoder, which is saved in `out/encoder` too.

    Raises:
        ValueError: A file or store can't be read, files differ in columns or types, a column is
            missing or holds what it must not, an argument is out of range, or an unfinished run had
            others. Where rows are appended also: one is older than the newest before, as of a day
            that comes twice; the folder was prepared without `append`, or with other `partitions`,
            `keep` or `split_by`; or the encoder has other columns, dtypes, edges or hashes.
        FileExistsError: `out` exists, and `overwrite` is not set or it is no prepared folder.
        OSError: The folder can't be written, or the disk is full; what is finished is kept.
        ImportError: `engine="spark"`, and pyspark is not installed; or a package that reads the
            store of `rows` is not.
        RuntimeError: `engine="spark"`, and there is no Java.

    Example:
        >>> import tempfile
        >>> import pandas as pd
        >>> schema = keras_infnet.FeatureSchema(
        ...     features=[keras_infnet.CategoricalFeature("video_id", "item", dtype="int")],
        ...     histories=[keras_infnet.History("seen", ("video_id",), max_length=3)],
        ...     tasks=[keras_infnet.BinaryTask("click")],
        ... )
        >>> log = pd.DataFrame(
        ...     {"user_id": 1, "time_ms": [10, 20, 30], "video_id": [7, 8, 9], "click": [0, 1, 1]}
        ... )
        >>> log["time_ms"] += 1_790_000_000_000
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     encoder = keras_infnet.data.prepare(schema, log, f"{folder}/log", verbose=False)
        ...     data = keras_infnet.data.Batches.from_folder(encoder, f"{folder}/log", batch_size=2)
        ...     [x["seen"][:, :, 0].tolist() for x, y, weight in data.as_numpy_iterator()]
        [[[0, 0, 0], [0, 0, 2]], [[0, 2, 3]]]
    """
    given = schema if isinstance(schema, FeatureEncoder) else FeatureEncoder(schema)
    sources = {ROWS: rows, **(earlier or {})}
    check_engine(engine, spark, sources)
    for name in earlier or {}:
        given.schema.history(name)
    warn_of_shuffled_frame(given.schema, rows, "prepare")
    folder = local_path(out, "prepare", "out", written=True).absolute()
    base = None
    if append:
        base = _base(folder, given.schema, overwrite, bool(earlier))
    if base is not None:
        same = _of_base(base.manifest, partitions, tuple(keep), split_by)
        partitions, keep, split_by = same
    if partitions is None:
        known = count_rows(rows)
        partitions = _PARTITIONS_OF_UNKNOWN
        if known is not None:
            partitions = max(1, -(-known // _ROWS_OF_A_PARTITION))
    grows = base is not None and not given.schema.fitted
    if base is not None and grows:
        given = _its_encoder(base, given.schema)
    by = split_by or given.schema.time_key
    ends = base.manifest["splits"] if base is not None and splits is None else None
    plan = Preparation(
        folder,
        given.schema,
        tuple(earlier or ()),
        ends or split_ends(given.schema, splits or {"train": None}, by),
        by,
        tuple(keep),
        partitions,
        chunk_rows,
        block_rows,
        append,
        base,
        grows,
    )
    with plan.open(sources, overwrite, engine):
        if engine == "spark":
            encoder, shards = prepare_on_spark(plan, given, sources, verbose, spark)
        else:
            encoder, shards = _prepare_locally(plan, given, sources, verbose)
        write_json(plan.work / MANIFEST, _manifest(plan, encoder, shards))
        plan.publish()
    repeated, known = (sum(shard[key] for shard in shards) for key in ("repeated", "log_rows"))
    warn_of_repeated_rows(repeated, known, "prepare", 3)
    return encoder


def _base(folder: Path, schema: FeatureSchema, overwrite: bool, has_earlier: bool) -> Base | None:
    """The folder that rows are appended to; `None` where it is still to be made."""
    if overwrite:
        raise ValueError(
            "prepare: append=True adds to what is there, and overwrite=True replaces it. Leave one "
            "of them out."
        )
    if schema.time_key is None:
        raise ValueError(
            "prepare: append=True, and the schema has no time_key that tells which rows are later."
        )
    tidy(folder)
    if not folder.exists():
        return None
    if has_earlier:
        raise ValueError(
            "prepare: append=True, and `earlier` gives events from before the log, which begins "
            "with rows that the folder holds already. Give them with the first rows."
        )
    return Base.open(folder)


def _of_base(
    manifest: Mapping[str, Any],
    partitions: int | None,
    keep: tuple[str, ...],
    split_by: str | None,
) -> tuple[int, tuple[str, ...], str | None]:
    """What later days have in common with the first."""
    given = {"partitions": partitions, "keep": list(keep), "split_by": split_by}
    for name, value in given.items():
        if value not in (None, [], manifest[name]):
            raise ValueError(
                f"prepare: append=True, and `{name}` is {value!r}; the folder has "
                f"{manifest[name]!r}, which all its rows must have. Leave it out."
            )
    return manifest["partitions"], tuple(manifest["keep"]), manifest["split_by"]


def _its_encoder(base: Base, schema: FeatureSchema) -> FeatureEncoder:
    """The encoder of the folder, which the rows extend."""
    encoder = FeatureEncoder.load(base.folder / ENCODER)
    if encoder.schema.with_layout(None) != schema:
        raise ValueError(
            f"prepare: append=True, and {base.folder} was prepared with another schema. Give the "
            "one of its first rows, or prepare all days again."
        )
    return encoder


def _manifest(
    plan: Preparation, encoder: FeatureEncoder, shards: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    packages = ("numpy", "pandas", "pyarrow")
    shards = [{**shard, "day": plan.day} for shard in shards]
    splits: dict[str, Any] = dict(plan.splits)
    of_appended: dict[str, Any] = {}
    if plan.base is not None:
        shards = [*plan.base.manifest["shards"], *shards]
        splits = {**plan.base.manifest["splits"], **splits}
    if plan.append:
        values = FeatureEncoder.load(plan.work / VALUES).schema.fingerprint
        of_appended = {"values": values, "days": plan.day + 1}
    rows = {split: sum(sum(shard["rows"].get(split, [])) for shard in shards) for split in splits}
    return {
        **plan.to_dict(),
        "schema": encoder.schema.fingerprint,
        "splits": splits,
        "rows": rows,
        "shards": shards,
        "columns": {name: [list(s), d] for name, (s, d) in encoder.schema.packed_inputs().items()},
        "versions": {name: importlib.metadata.version(name) for name in packages},
        **of_appended,
    }


def _prepare_locally(
    plan: Preparation, given: FeatureEncoder, sources: Mapping[str, RowSource], verbose: bool
) -> tuple[FeatureEncoder, list[dict[str, Any]]]:
    """Writes encoder and shards; tells what is known of each shard."""

    def read(counts: EncoderCounts | None) -> None:
        for name, rows in sources.items():
            progress = Progress(f"prepare: reading {name}", "rows", count_rows(rows), verbose)
            spool, columns, unit = plan.spool(name), None, None
            chunks: set[str] = set()
            for place, table in read_chunks(rows, plan.wanted_columns(name), plan.chunk_rows):
                chunk = f"{len(chunks):06d}"
                chunks.add(chunk)
                with named(place):
                    columns = unify(columns, table.schema)
                    unit = plan.time_unit(table, unit)
                    new = plan.write(name, chunk, table, place.source)
                    numbers = np.arange(place.first, place.first + len(table))
                    plan.count(counts, name, to_frame(table, numbers))
                progress.add(len(table), timed=new)
            progress.close()
            spool.keep(chunks)
            if name == ROWS:
                plan.past.keep(chunks)

    def recount(counts: EncoderCounts) -> None:
        for name in sources:
            for chunk in plan.spool(name).chunks():
                with named(chunk.place):
                    plan.count(counts, name, plan.spool(name).rows_of(chunk))

    encoder, number = plan.learn(given, sources, read, recount, _run)
    progress = Progress("prepare: writing shards", "rows", number, verbose)
    writes = FeatureEncoder.load(plan.encoder_of_shards) if plan.append else encoder
    shards: list[dict[str, Any]] = []
    for partition in range(plan.partitions):
        known = plan.shard(writes, partition)
        if known is not None:
            shards.append(known)
            progress.add(known["log_rows"])
    progress.close()
    return encoder, shards


def _run(work: Callable[[int], None], times: int) -> None:
    for number in range(times):
        work(number)
