import dataclasses
import errno
import os
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from keras_infnet import RateFeature
from keras_infnet.data import FeatureEncoder
from keras_infnet.data.whole_files import write_json
from tests.house.source import ROOT
from tests.logs import log_schema
from tests.prepared import SPLITS, large_log, prepared

HAS_JAVA = shutil.which("java") or os.environ.get("JAVA_HOME")
needs_java = pytest.mark.skipif(not HAS_JAVA, reason="Spark needs Java 17, and there is no `java`")
pytestmark = [
    pytest.mark.one_backend,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:ResourceWarning"),
]

EARLIER = pd.DataFrame(
    {"user_id": [3, 3, 77], "video_id": [5, 6, 400], "tag": ["1", None, "2"]}
).assign(length=np.nan, page_id=4, is_like=[1, 0, 1])


@pytest.fixture(scope="module")
def session():
    from pyspark.sql import SparkSession

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        # A worker that fails is replaced by one that has imported all that it needs.
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        # Workers import Keras; with JAX that is quicker.
        builder = builder.config("spark.executorEnv.KERAS_BACKEND", "jax")
        builder = builder.config("spark.python.daemon.module", "tests.data.spark_daemon")
        # Java compiles for longer than it runs.
        quick = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        builder = builder.config("spark.driver.extraJavaOptions", quick)
        found = builder.config("spark.sql.shuffle.partitions", "2").getOrCreate()
        found.sparkContext.setLogLevel("OFF")
        yield found
        found.stop()


@pytest.fixture(scope="module")
def log():
    return large_log()


@pytest.fixture(scope="module")
def files(log, tmp_path_factory):
    """Two files of one log; the path has a space in it."""
    path = tmp_path_factory.mktemp("files") / "my log"
    path.mkdir()
    log.iloc[:300].to_parquet(path / "a.parquet", index=False)
    log.iloc[300:].to_parquet(path / "b.parquet", row_group_size=100, index=False)
    return path


@pytest.fixture(scope="module")
def local(files, tmp_path_factory):
    """What the local engine makes of the files, with events from before them."""
    path = tmp_path_factory.mktemp("local") / "out"
    prepared(path, files, earlier={"seen": EARLIER})
    return path


def check_same(found, wanted):
    """Every file of shards and the manifest are the same, byte for byte."""
    contents = []
    for folder in (found, wanted):
        parts = ("rows", "events", "shards")
        paths = [p for part in parts for p in (folder / part).rglob("*") if p.is_file()]
        paths.append(folder / "manifest.json")
        contents.append({p.relative_to(folder).as_posix(): p.read_bytes() for p in paths})
    assert set(contents[0]) == set(contents[1])
    assert not [name for name, content in contents[0].items() if content != contents[1][name]]
    encoders = [FeatureEncoder.load(folder / "encoder") for folder in (found, wanted)]
    assert encoders[0].schema == encoders[1].schema


def on_spark(path, rows, session, **kwargs):
    return prepared(path, rows, **{"engine": "spark", "spark": session, **kwargs})


@pytest.fixture(scope="module")
def unfinished(session, files, tmp_path_factory):
    """A run with everything written but the folder's name."""
    path = tmp_path_factory.mktemp("spark")
    EARLIER.to_parquet(path / "earlier.parquet")

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_infnet.data.prepare_steps.Preparation.publish", full)
        with pytest.raises(OSError, match="No space left"):
            on_spark(path / "out", files, session, earlier={"seen": str(path / "earlier.parquet")})
    return path / ".out.unfinished"


@needs_java
def test_shards_of_parquet_files_are_those_of_the_local_engine(unfinished, local):
    check_same(unfinished, local)


@needs_java
def test_frames_and_spark_frames_are_read_too(session, log, local, tmp_path, capsys):
    rows = [log.iloc[i : i + 100] for i in range(0, 900, 100)]
    EARLIER.to_parquet(tmp_path / "earlier.parquet")
    earlier = {"seen": session.read.parquet(f"file://{tmp_path}/earlier.parquet")}
    # The active session is taken where none is given.
    on_spark(tmp_path / "out", iter(rows), None, earlier=earlier, verbose=True)
    check_same(tmp_path / "out", local)
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("prepare: reading rows: 900 rows, ") for line in lines)
    assert any(line.startswith("prepare: writing shards: 900 of 900 rows, ") for line in lines)


@needs_java
def test_rates_of_the_past_are_those_of_the_local_engine(session, files, tmp_path):
    schema = log_schema()
    past = [
        RateFeature("user_ctr", "user", action="is_click", window="10s"),
        RateFeature("video_ctr", "item", keys=("video_id", "user_id"), action="is_click"),
    ]
    schema = type(schema)((*schema.features, *past), schema.tasks, schema.histories)
    prepared(tmp_path / "local", files, schema)
    on_spark(tmp_path / "spark", files, session, schema=schema)
    check_same(tmp_path / "spark", tmp_path / "local")


@needs_java
def test_appended_days_are_those_of_the_local_engine(session, log, tmp_path):
    """With features of the past, and an encoder that each day's rows extend."""
    schema = log_schema()
    rate = RateFeature("ctr", "item", keys=("video_id",), action="is_click")
    schema = dataclasses.replace(schema, features=(*schema.features, rate))
    ordered = log.sort_values("time_ms", kind="stable", ignore_index=True)
    days = [ordered[:600], ordered[600:].assign(video_id=ordered.video_id[600:] + 9)]
    for number, day in enumerate(days):
        file = tmp_path / f"{number}.parquet"
        day.to_parquet(file, index=False)
        arguments = {"append": True, "splits": {f"day{number}": None}}
        prepared(tmp_path / "local", file, schema, **arguments)
        on_spark(tmp_path / "spark", file, session, schema=schema, **arguments)
    check_same(tmp_path / "spark", tmp_path / "local")
    found, wanted = (FeatureEncoder.load(tmp_path / n / "values") for n in ("spark", "local"))
    assert found.schema == wanted.schema


def test_rows_that_are_there_twice_are_said(session, log, tmp_path):
    """Workers count them; rows of nobody are not of one user."""
    twice = pd.concat([log, log[:30]])
    twice["user_id"] = twice.user_id.mask(twice.index == 0, -1)
    twice.to_parquet(tmp_path / "log.parquet", index=False)
    with pytest.warns(UserWarning, match="prepare: 29 of 930 rows equal an earlier row"):
        on_spark(tmp_path / "out", str(tmp_path / "log.parquet"), session)


@needs_java
@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_times_may_be_timestamps(session, log, tmp_path, zone):
    times = pd.to_datetime(log.time_ms, unit="ms", utc=True).dt.tz_convert(zone)
    log.assign(time_ms=times).to_parquet(tmp_path / "log.parquet")
    on_spark(tmp_path / "out", session.read.parquet(f"file://{tmp_path}/log.parquet"), session)
    for split, end in SPLITS.items():
        found = pd.read_parquet(tmp_path / "out" / "rows" / split)
        numbered = found.set_index("row").sort_index()
        np.testing.assert_array_equal(numbered["#time"], log.time_ms[numbered.index])
        assert end is None or numbered["#time"].max() < end


@needs_java
def test_csv_files_have_the_values_that_pandas_reads(session, log, tmp_path):
    schema = log_schema()
    kept = [f for f in schema.features if f.name not in ("word", "image")]
    schema = type(schema)(kept, schema.tasks, schema.histories)
    log = log.drop(columns=["word", "word_weight", "image"]).assign(note="not read")
    # Leading zeros, quotes, commas and line breaks are part of a text.
    log["country"] = pd.Series(['0"1"', "02", "NA", "a,b", "line\nbreak"])[log.index % 5].array
    log.iloc[:400].to_csv(tmp_path / "a.csv", index=False)
    log.iloc[400:].to_csv(tmp_path / "b.csv.gz", index=False)
    for engine in ("local", "spark"):
        arguments = {"engine": engine, "spark": session if engine == "spark" else None}
        prepared(tmp_path / engine, str(tmp_path / "*.csv*"), schema, **arguments)
    check_same(tmp_path / "spark", tmp_path / "local")


@needs_java
def test_a_full_disk_is_said_and_finished_shards_stay(
    session, files, local, unfinished, monkeypatch
):
    out = unfinished.parent / "out"
    arguments = {"earlier": {"seen": str(unfinished.parent / "earlier.parquet")}}
    (unfinished / "shards" / "shard-00001.json").unlink()
    lost = unfinished / "rows" / "train" / "shard-00001.parquet"
    lost.unlink()
    # The files were read wholly and are the same, so they aren't read again.
    monkeypatch.setattr("keras_infnet.data.spark.write_spool", None)
    # A worker can't write this file.
    (lost / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="can't write .*shard-00001.parquet.*is kept: make room") as e:
        on_spark(out, files, session, **arguments)
    assert e.value.errno == errno.EISDIR
    shutil.rmtree(lost)
    times = {p.name: p.stat().st_mtime_ns for p in (unfinished / "shards").iterdir()}
    on_spark(out, files, session, **arguments)
    after = {p.name: p.stat().st_mtime_ns for p in (out / "shards").iterdir()}
    assert set(after) - set(times) == {"shard-00001.json"}
    assert {name: after[name] for name in times} == times
    check_same(out, local)
    assert {p.name for p in out.parent.iterdir()} == {"earlier.parquet", "out"}


def damaged(path, frame):
    frame.to_parquet(path, compression=None)
    content = path.read_bytes()
    path.write_bytes(content[:2000] + bytes(8000) + content[10_000:])


@needs_java
@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda path, f: f.drop(columns="tag").to_parquet(path),
            r"b.parquet, rows 300 to 469: other columns .*missing: \['tag'\]",
        ),
        (
            lambda path, f: f.assign(user_id=pd.to_datetime(f.user_id)).to_parquet(path),
            "b.parquet: user key `user_id`: found values of type timestamp.*expected integers",
        ),
        (
            lambda path, f: f.assign(is_click=f.is_click.where(f.index >= 470, 7)).to_parquet(path),
            "b.parquet, rows 300 to 469: Task `click`.* labels are neither 0 nor 1",
        ),
        (
            lambda path, f: f.assign(time_ms=7).to_parquet(path),
            "b.parquet: column `time_ms`: found 7, which is no time from 1990 to 2100",
        ),
        (damaged, "b.parquet can't be read. It is cut short or damaged: write it again"),
    ],
)
def test_what_workers_find_is_said_in_the_local_engines_words(
    session, log, tmp_path, write, message
):
    log.iloc[:300].to_parquet(tmp_path / "a.parquet")
    write(tmp_path / "b.parquet", log.iloc[300:])
    with pytest.raises(ValueError, match=f"^prepare: .*{message}"):
        on_spark(tmp_path / "out", str(tmp_path / "*.parquet"), session)


class SparkFrame:
    __module__ = "pyspark.sql.classic.dataframe"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "dask"}, "engine is 'dask'; expected 'local' or 'spark'"),
        ({"spark": object()}, "`spark` is given; pass engine='spark'"),
        ({"earlier": {"seen": SparkFrame()}}, "seen is a Spark DataFrame; pass engine='spark'"),
    ],
)
def test_arguments_that_do_not_fit_the_engine_are_refused(log, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        prepared(tmp_path / "out", log, **arguments)


def test_a_run_of_the_other_engine_is_not_gone_on_with(log, tmp_path):
    work = tmp_path / ".out.unfinished"
    (work / "shards").mkdir(parents=True)
    write_json(work / "request.json", {"engine": "local"})
    with pytest.raises(ValueError, match="unfinished run with other .*engine"):
        prepared(tmp_path / "out", log, engine="spark")


def test_without_pyspark_the_error_names_the_extra(log, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(ImportError, match=r'pip install "keras-infnet\[spark\]"'):
        on_spark(tmp_path / "out", log, None)


@pytest.mark.parametrize("home", [None, "/nowhere"])
def test_without_java_the_error_says_which(log, tmp_path, monkeypatch, home):
    from pyspark.sql import SparkSession

    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("JAVA_HOME", home)
    where = "on the path" if home is None else "JAVA_HOME is /nowhere"
    with pytest.raises(RuntimeError, match=f"needs Java 17 or newer, .*{where}.*set JAVA_HOME"):
        on_spark(tmp_path / "out", log, None)
