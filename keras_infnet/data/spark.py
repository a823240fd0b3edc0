"""A preparation on Apache Spark, whose workers call the functions that prepare in one process."""

import contextlib
import functools
import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from keras_infnet.data.log_files import list_files
from keras_infnet.data.prepare_steps import ROWS, Preparation, named
from keras_infnet.data.progress import Progress
from keras_infnet.data.row_source import RowSource, file_parts, no_row, read_chunks, read_file
from keras_infnet.data.spool import unify
from keras_infnet.encoding.counts import EncoderCounts
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.schema.frames import decoded

_OURS = re.compile(
    r"^(?P<kind>ValueError|OSError): (?P<text>prepare: .*?)(?=\n\s+at |\n\w+(\.\w+)+: |\n File |"
    r"\s+SQLSTATE|\nDriver stacktrace|\Z)",
    re.MULTILINE | re.DOTALL,
)
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_SECONDS_BETWEEN_LOOKS = 0.5


def prepare_on_spark(
    plan: Preparation,
    given: FeatureEncoder,
    sources: Mapping[str, RowSource],
    verbose: bool,
    spark: Any,
) -> tuple[FeatureEncoder, list[dict[str, Any]]]:
    """Writes encoder and shards; tells what is known of each shard."""

    def read(counts: EncoderCounts | None) -> None:
        for name, rows in sources.items():
            progress = Progress(f"prepare: reading {name}", "rows", None, verbose)
            write_spool(session, plan, name, rows)
            progress.add(_check_spool(plan, name))
            progress.close()
        if counts is not None:
            recount(counts)

    def recount(counts: EncoderCounts) -> None:
        for name in sources:
            counts.merge(_counted(session, plan, name))

    with spark_session(spark) as session, plain_errors():
        run = functools.partial(_on_workers, session)
        encoder, number = plan.learn(given, sources, read, recount, run)
        writes = FeatureEncoder.load(plan.encoder_of_shards)
        _write_shards(session, plan, writes.digest(), number, verbose)
    shards = [plan.finished_shard(number) for number in range(plan.partitions)]
    return encoder, [shard for shard in shards if shard is not None]


def write_spool(session: Any, plan: Preparation, name: str, rows: Any) -> None:
    """Reads a source and writes its chunks by user.

    Raises:
        ValueError: A file can't be read, or a row has no user.
    """
    columns = plan.wanted_columns(name)
    shutil.rmtree(plan.spool(name).folder, ignore_errors=True)
    if name == ROWS:
        shutil.rmtree(plan.past.folder, ignore_errors=True)

    def write(part: int, tables: Iterable[pa.Table], source: str) -> None:
        for number, table in enumerate(tables):
            with named(source):
                plan.time_unit(table)
                plan.write(name, f"{part:06d}-{number:06d}", table, source)

    if is_spark_frame(rows):

        def write_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            from pyspark import TaskContext

            task: Any = TaskContext.get()
            part: int = task.partitionId()
            write(part, _tables(batches, plan.chunk_rows), "Spark DataFrame")
            yield from ()

        names = [f"`{name}`" for name in columns.among(rows.columns)]
        rows.selectExpr(*names).mapInArrow(write_batches, "none int").collect()
    elif files := list_files(rows):
        parts = file_parts(files, plan.chunk_rows)

        def write_part(part: int) -> None:
            file, groups = parts[part]
            write(part, read_file(file, columns, plan.chunk_rows, groups), str(file))

        _on_workers(session, write_part, len(parts))
    else:
        for number, (place, table) in enumerate(read_chunks(rows, columns, plan.chunk_rows)):
            write(number, [table], place.source)


def _tables(batches: Iterable[pa.RecordBatch], chunk_rows: int) -> Iterator[pa.Table]:
    """Rows in tables of at most `chunk_rows`."""
    waiting: list[pa.Table] = []
    for batch in batches:
        waiting.append(decoded(pa.Table.from_batches([batch])))
        while sum(map(len, waiting)) >= chunk_rows:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, chunk_rows)
            waiting = [whole.slice(chunk_rows)]
    if sum(map(len, waiting)):
        yield pa.concat_tables(waiting)


def _check_spool(plan: Preparation, name: str) -> int:
    """Number of rows of a source, whose chunks must have the same columns."""
    columns, rows = None, 0
    for chunk in plan.spool(name).chunks():
        with named(chunk.place):
            columns = unify(columns, chunk.columns)
        rows += chunk.place.rows
    if not rows:
        raise no_row()
    return rows


def _counted(session: Any, plan: Preparation, name: str) -> EncoderCounts:
    """What workers have counted, merged by one of them: the driver gets each value once."""
    spool, kind = plan.spool(name), "counts binary"
    chunks = spool.chunks()

    def count(numbers: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        counts = plan.new_counts()
        for frame in numbers:
            for chunk in (chunks[int(number)] for number in frame["id"]):
                with named(chunk.place):
                    plan.count(counts, name, spool.rows_of(chunk))
        yield pd.DataFrame({"counts": [pickle.dumps(counts)]})

    def merge(counted: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        counts = plan.new_counts()
        for frame in counted:
            for other in frame["counts"]:
                counts.merge(pickle.loads(other))
        yield pd.DataFrame({"counts": [pickle.dumps(counts)]})

    counted = session.range(len(chunks)).mapInPandas(count, kind).repartition(1)
    return pickle.loads(counted.mapInPandas(merge, kind).collect()[0]["counts"])


def _write_shards(
    session: Any, plan: Preparation, digest: str, number_of_rows: int, verbose: bool
) -> None:
    """Writes one shard a partition, but those that an earlier run finished."""
    progress = Progress("prepare: writing shards", "rows", number_of_rows, verbose)
    waiting = set(range(plan.partitions))

    def add_finished(timed: bool = True) -> None:
        for number in sorted(waiting):
            if (shard := plan.finished_shard(number)) is not None:
                waiting.remove(number)
                progress.add(shard["log_rows"], timed)

    add_finished(timed=False)
    left = sorted(waiting)

    def write(place: int) -> None:
        plan.shard(_encoder(plan.encoder_of_shards, digest), left[place])

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(_on_workers, session, write, len(left))
        while wait([job], _SECONDS_BETWEEN_LOOKS).not_done:
            add_finished()
        job.result()
    add_finished()
    progress.close()


def _on_workers(session: Any, work: Callable[[int], None], number: int) -> None:
    """Calls a function with each of so many numbers, each in a task of its own."""

    def task(numbers: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in numbers:
            for place in frame["id"]:
                work(int(place))
        yield from ()

    if number:
        session.range(0, number, 1, number).mapInPandas(task, "none int").collect()


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


def is_spark_frame(rows: Any) -> bool:
    """Whether rows are a DataFrame of Spark, of whichever kind of session."""
    return any(kind.__module__.startswith("pyspark.sql") for kind in type(rows).__mro__)


@contextlib.contextmanager
def spark_session(given: Any) -> Generator[Any, None, None]:
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
def plain_errors() -> Generator[None, None, None]:
    """Errors of workers and of Spark's readers as the local engine has them."""
    try:
        yield
    except Exception as error:
        text = str(error)
        ours = _OURS.search(text)
        if ours is not None and ours["kind"] == "OSError":
            refused = OSError(ours["text"])
            refused.errno = int(number[1]) if (number := _ERRNO.search(text)) else None
            raise refused from error
        if ours is not None:
            raise ValueError(ours["text"]) from error
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
