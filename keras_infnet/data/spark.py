"""A preparation on Apache Spark, by the functions that prepare in one process."""

import contextlib
import functools
import os
import pickle
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pandas as pd

from keras_infnet.data.prepare_steps import (
    ROWS,
    SPOOL,
    SPOOLED,
    PreparePlan,
    count_chunk,
    finished_shard,
    named,
    write_shard,
)
from keras_infnet.data.progress import Progress
from keras_infnet.data.row_source import RowSource, list_files
from keras_infnet.data.shards import ENCODER, SHARDS
from keras_infnet.data.spark_spool import (
    CHUNK,
    SparkSpool,
    is_spark_frame,
    list_spool,
    unpack,
    write_spool,
)
from keras_infnet.data.whole_files import read_json, write_json
from keras_infnet.encoding.counts import EncoderCounts
from keras_infnet.encoding.encoder import FeatureEncoder

_OURS = re.compile(
    r"^(?P<kind>ValueError|OSError): (?P<text>prepare: .*?)(?=\n\s+at |\n\w+(\.\w+)+: |\n File |"
    r"\s+SQLSTATE|\nDriver stacktrace|\Z)",
    re.MULTILINE | re.DOTALL,
)
_UNREADABLE = re.compile(r"Encountered error while reading file (?:file:/*(?=/))?(.*?)\.\s+[A-Z]")
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_SECONDS_BETWEEN_LOOKS = 0.5


def prepare_on_spark(
    work: Path,
    plan: PreparePlan,
    given: FeatureEncoder,
    sources: Mapping[str, RowSource],
    verbose: bool,
    spark: Any,
) -> tuple[FeatureEncoder, list[dict[str, Any]]]:
    """Writes encoder and shards; tells what is known of each shard."""
    work = work.resolve()
    with spark_session(spark) as session, plain_errors():
        spools = _spool(session, work, plan, sources, verbose)
        encoder = _learn(session, work, plan, given, spools)
        _write_shards(session, work, plan, spools, encoder.digest(), verbose)
    shards = [finished_shard(work, number) for number in range(plan.partitions)]
    return encoder, [shard for shard in shards if shard is not None]


def _spool(
    session: Any,
    work: Path,
    plan: PreparePlan,
    sources: Mapping[str, RowSource],
    verbose: bool,
) -> dict[str, SparkSpool]:
    """Writes the rows of all sources by user, unless an earlier run read the same."""
    done = work / SPOOL / SPOOLED
    earlier = read_json(done, "prepare") if done.exists() else {}
    unchanged = earlier and all(list_files(rows) for rows in sources.values())
    spools = {}
    for name, rows in sources.items():
        progress = Progress(f"prepare: reading {name}", "rows", None, verbose)
        if not unchanged:
            write_spool(session, work, plan, name, rows)
        spools[name] = list_spool(session, work, name, rows)
        progress.add(spools[name].rows, timed=not unchanged)
        progress.close()
    found = {name: spool.digest for name, spool in spools.items()}
    if earlier.get("digests") != found:
        shutil.rmtree(work / SHARDS, ignore_errors=True)
        write_json(done, {"rows": spools[ROWS].rows, "digests": found})
    return spools


def _learn(
    session: Any,
    work: Path,
    plan: PreparePlan,
    given: FeatureEncoder,
    spools: Mapping[str, SparkSpool],
) -> FeatureEncoder:
    """Fits the encoder on what all workers have counted."""
    if not given.schema.fitted:
        counts = EncoderCounts(plan.schema)
        for spool in spools.values():
            for row in _counted(session, plan, spool).collect():
                counts.merge(pickle.loads(row["counts"]))
        counts.fit(given)
    given.save(work / ENCODER)
    return given


def _counted(session: Any, plan: PreparePlan, spool: SparkSpool) -> Any:
    """What workers have counted, merged by one of them: the driver gets each value once."""
    kind = "counts binary"
    packed = session.read.parquet(spool.uri)
    counted = packed.mapInPandas(lambda frames: _count(plan, spool, frames), kind)
    return counted.repartition(1).mapInPandas(lambda frames: _merge(plan, frames), kind)


def _count(
    plan: PreparePlan, spool: SparkSpool, packed: Iterator[pd.DataFrame]
) -> Iterator[pd.DataFrame]:
    counts = EncoderCounts(plan.schema)
    for frame in packed:
        for place, chunk in frame.groupby(CHUNK, sort=False):
            with named(spool.source(place, chunk["rows"].iloc[0])):
                rows = unpack(chunk, spool.firsts, spool.columns)
                count_chunk(counts, plan, spool.name, rows)
    yield pd.DataFrame({"counts": [pickle.dumps(counts)]})


def _merge(plan: PreparePlan, counted: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    counts = EncoderCounts(plan.schema)
    for frame in counted:
        for other in frame["counts"]:
            counts.merge(pickle.loads(other))
    yield pd.DataFrame({"counts": [pickle.dumps(counts)]})


def _write_shards(
    session: Any,
    work: Path,
    plan: PreparePlan,
    spools: Mapping[str, SparkSpool],
    digest: str,
    verbose: bool,
) -> None:
    """Writes one shard a partition, but those that an earlier run finished."""
    rows_of = {
        number: shard["log_rows"]
        for number in range(plan.partitions)
        if (shard := finished_shard(work, number)) is not None
    }
    progress = Progress("prepare: writing shards", "rows", spools[ROWS].rows, verbose)
    progress.add(sum(rows_of.values()), timed=False)
    parts = [
        session.read.parquet(spool.uri).selectExpr("*", f"'{name}' AS source")
        for name, spool in spools.items()
    ]
    packed = functools.reduce(lambda a, b: a.unionByName(b), parts)
    packed = packed.where(~packed["partition"].isin(list(rows_of))) if rows_of else packed

    def write(frame: pd.DataFrame) -> pd.DataFrame:
        return _write_partition(work, plan, spools, digest, frame)

    written = (
        packed.repartition(plan.partitions, "partition")
        .groupBy("partition")
        .applyInPandas(write, "partition int, rows long")
    )
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(written.collect)
        while wait([job], _SECONDS_BETWEEN_LOOKS).not_done:
            _add_finished(progress, work, plan, rows_of)
        job.result()
    _add_finished(progress, work, plan, rows_of)
    progress.close()


def _add_finished(
    progress: Progress, work: Path, plan: PreparePlan, rows_of: dict[int, int]
) -> None:
    for number in set(range(plan.partitions)) - set(rows_of):
        shard = finished_shard(work, number)
        if shard is not None:
            rows_of[number] = shard["log_rows"]
            progress.add(shard["log_rows"])


def _write_partition(
    work: Path,
    plan: PreparePlan,
    spools: Mapping[str, SparkSpool],
    digest: str,
    packed: pd.DataFrame,
) -> pd.DataFrame:
    number = int(packed["partition"].iloc[0])
    frames = {
        name: unpack(packed[packed["source"] == name], spool.firsts, spool.columns)
        for name, spool in spools.items()
    }
    rows = frames.pop(ROWS)
    if len(rows) and finished_shard(work, number) is None:
        write_shard(work, plan, _encoder(work / ENCODER, digest), number, rows, frames)
    return pd.DataFrame({"partition": [number], "rows": [len(rows)]})


@functools.lru_cache(1)
def _encoder(path: Path, digest: str) -> FeatureEncoder:
    """The encoder, read once by each worker."""
    return FeatureEncoder.load(path)


def check_engine(engine: str, spark: Any, sources: Mapping[str, Any]) -> None:
    """A ValueError unless the engine is known and takes these sources."""
    if engine not in ("local", "spark"):
        raise ValueError(f"prepare: engine is {engine!r}; expected 'local' or 'spark'.")
    if engine == "spark":
        return
    if spark is not None:
        raise ValueError("prepare: `spark` is given; pass engine='spark' to use it.")
    for name, rows in sources.items():
        if is_spark_frame(rows):
            raise ValueError(f"prepare: {name} is a Spark DataFrame; pass engine='spark'.")


@contextlib.contextmanager
def spark_session(given: Any) -> Iterator[Any]:
    """The session that was given, the active one, or one that is stopped at the end.

    Raises:
        ImportError: pyspark is not installed.
        RuntimeError: There is no Java to start a session with.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ImportError(
            "prepare: engine='spark' needs pyspark, which is not installed. Install it with "
            '`pip install "keras-infnet[spark]"`.'
        ) from error
    session = given or SparkSession.getActiveSession()
    if session is not None:
        yield session
        return
    _require_java()
    # Workers run the interpreter that has this package, unless the user says which.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    session = SparkSession.builder.appName("keras_infnet.data.prepare").getOrCreate()
    try:
        yield session
    finally:
        session.stop()


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Errors of workers and of Spark's readers as the local engine has them."""
    try:
        yield
    except Exception as error:
        text = str(error)
        ours, unreadable = _OURS.search(text), _UNREADABLE.search(text)
        if ours is not None and ours["kind"] == "OSError":
            refused = OSError(ours["text"])
            refused.errno = int(number[1]) if (number := _ERRNO.search(text)) else None
            raise refused from error
        if ours is not None:
            raise ValueError(ours["text"]) from error
        if unreadable is not None:
            raise ValueError(
                f"prepare: {unreadable[1]} can't be read. It is cut short or damaged: write it "
                "again."
            ) from error
        raise


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    found = Path(home, "bin", "java").is_file() if home else shutil.which("java")
    if not found and "SPARK_REMOTE" not in os.environ:
        raise RuntimeError(
            "prepare: engine='spark' needs Java 17 or newer, and there is no `java` "
            f"({f'JAVA_HOME is {home}' if home else 'on the path'}). Install it, such as Debian's "
            "openjdk-17-jre-headless, or set JAVA_HOME."
        )
