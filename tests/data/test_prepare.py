import errno
import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, RateFeature
from keras_infnet.data import Batches, FeatureEncoder, Histories, prepare, prepare_steps
from keras_infnet.data.row_source import WantedColumns, read_chunks
from keras_infnet.data.shards import ShardWriter
from tests.logs import log_schema, make_log
from tests.prepared import (
    SMALL,
    SPLITS,
    collect,
    expected,
    large_log,
    prepared,
    row_numbers,
    train_rows,
)

pytestmark = pytest.mark.one_backend

RATE = RateFeature("ctr", "item", keys=("page",), action="is_click")
EARLIER = pd.DataFrame(
    {"user_id": [3, 3, 77], "video_id": [5, 6, 400], "tag": ["1", None, "2"]}
).assign(length=np.nan, page_id=4, is_like=[1, 0, 1])


@pytest.fixture(scope="module")
def log():
    return large_log()


def check_rows(path, encoder, log, earlier=None, splits=tuple(SPLITS)):
    """All splits together are the log, and each row is what it is by the way through memory."""
    seen, wanted = [], expected(encoder, log, earlier)
    for split in splits:
        rows = row_numbers(path, split)
        found = collect(Batches.from_folder(encoder, path, split, batch_size=64, mix_blocks=2))
        assert set(found) == set(wanted)
        for name, array in found.items():
            np.testing.assert_array_equal(array, wanted[name][rows], err_msg=name)
            assert array.dtype == wanted[name].dtype
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(log)))


def parquet_folder(log, path):
    path.mkdir()
    log.iloc[:300].to_parquet(path / "a.parquet")
    log.iloc[300:].to_parquet(path / "b.parquet", row_group_size=100)
    return path


@pytest.mark.parametrize("kind", ["frame", "arrow", "iterator", "folder", "files"])
def test_encoder_and_rows_are_those_of_the_way_through_memory(kind, log, tmp_path):
    folder = parquet_folder(log, tmp_path / "log")
    rows = {
        "frame": log,
        "arrow": pa.Table.from_pandas(log),
        "iterator": (log.iloc[i : i + 100] for i in range(0, 900, 100)),
        "folder": folder,
        "files": [folder / "a.parquet", str(folder / "b.parquet")],
    }[kind]
    encoder = prepared(tmp_path / "out", rows)
    assert encoder.schema == FeatureEncoder(log_schema()).fit(train_rows(log)).schema
    assert FeatureEncoder.load(tmp_path / "out" / "encoder").schema == encoder.schema
    check_rows(tmp_path / "out", encoder, log)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "out"]
    found = {p.name for p in (tmp_path / "out").iterdir()}
    assert found == {"encoder", "events", "manifest.json", "rows", "shards"}


def test_csv_files_are_read_like_frames(log, tmp_path):
    schema = log_schema()
    kept = [f for f in schema.features if f.name not in ("word", "image", "country")]
    schema = type(schema)(
        [*kept, CategoricalFeature("country", "user")], schema.tasks, schema.histories
    )
    log = log.drop(columns=["word", "word_weight", "image"]).assign(note="not read")
    log.loc[:, "country"] = "0" + (log.index % 7).astype(str)
    log.iloc[:400].to_csv(tmp_path / "a.csv", index=False)
    log.iloc[400:].to_csv(tmp_path / "b.csv.gz", index=False)
    encoder = prepared(tmp_path / "out", str(tmp_path / "*.csv*"), schema)
    read = pd.concat(
        [pd.read_csv(tmp_path / n, dtype={"country": str}) for n in ("a.csv", "b.csv.gz")],
        ignore_index=True,
    )
    assert encoder.schema == FeatureEncoder(schema).fit(train_rows(read)).schema
    check_rows(tmp_path / "out", encoder, read)


def test_a_csv_file_says_which_ids_are_numbers(tmp_path):
    rows = "1,1650000005,07,7.0,0\n2,1650000006,70,,1\n"
    (tmp_path / "log.csv").write_text(f"user_id,time_ms,zip,gaps,click\n{rows}")
    features = [CategoricalFeature(name, "user") for name in ("user_id", "zip", "gaps")]
    schema = FeatureSchema(features, [BinaryTask("click")])
    encoder = prepare(schema, tmp_path / "log.csv", tmp_path / "out", verbose=False)
    assert encoder.schema.layout.dtypes == {"user_id": "int", "zip": "string", "gaps": "int"}


def test_rows_that_are_there_twice_are_said_once(log, tmp_path):
    twice = pd.concat([log, log[:30]], ignore_index=True)
    with pytest.warns(UserWarning, match="prepare: 30 of 930 rows equal an earlier row") as found:
        prepared(tmp_path / "out", twice)
    assert len(found) == 1
    schema = FeatureSchema(log_schema().features, log_schema().tasks)
    with pytest.warns(UserWarning, match="prepare: 30 of 930 rows equal an earlier row"):
        prepared(tmp_path / "other", twice, schema)


def test_a_shuffled_frame_without_times_is_said(log, tmp_path):
    with pytest.warns(UserWarning, match="prepare: .* of 900 rows have a smaller index than"):
        shuffled = log.sample(frac=1, random_state=0)
        prepared(tmp_path / "out", shuffled, log_schema(time_key=None), splits=None)


@pytest.mark.parametrize("nobody", [None, np.nan, -1, ""])
def test_rows_of_nobody_have_no_order(log, tmp_path, nobody):
    """A row of nobody is a visitor of its own; the one other user's rows are in order."""
    users = pd.Series([nobody] * 6, dtype=object)
    users[[0, 1]] = "ann" if nobody == "" or nobody is None else 7
    rows = pd.DataFrame({"user_id": users.infer_objects(), "a": 1, "click": [0, 1] * 3})
    rows.index = [0, 1, 5, 4, 3, 2]
    schema = FeatureSchema([CategoricalFeature("a", "item")], [BinaryTask("click")], time_key=None)
    prepare(schema, rows, tmp_path / "out", verbose=False)
    rows.index = [1, 0, 5, 4, 3, 2]
    with pytest.warns(UserWarning, match="prepare: 1 of 6 rows have a smaller index"):
        prepare(schema, rows, tmp_path / "out", verbose=False, overwrite=True)


def test_events_from_before_the_log_come_first(log, tmp_path):
    encoder = prepared(tmp_path / "out", log, earlier={"seen": EARLIER})
    fitted = FeatureEncoder(log_schema()).fit(train_rows(log), {"seen": EARLIER})
    assert encoder.schema == fitted.schema
    check_rows(tmp_path / "out", encoder, log, {"seen": EARLIER})


def test_rows_may_hold_their_histories_as_lists(log, tmp_path):
    listed = Histories(FeatureEncoder(log_schema()).fit(log), log).attach(log)
    encoder = prepared(tmp_path / "out", listed, splits=None)
    assert encoder.schema == FeatureEncoder(log_schema()).fit(listed).schema
    wanted = collect(Batches.from_rows(encoder, listed))
    found = collect(Batches.from_folder(encoder, tmp_path / "out"))
    rows = row_numbers(tmp_path / "out", "train")
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array[rows], err_msg=name)


def test_without_times_the_order_of_rows_counts(log, tmp_path):
    schema = log_schema(time_key=None)
    encoder = prepared(tmp_path / "out", log, schema, splits=None)
    check_rows(tmp_path / "out", encoder, log, splits=["train"])
    with pytest.raises(ValueError, match="no time_key to split by. Pass `split_by`"):
        prepared(tmp_path / "other", log, schema)


def test_a_fitted_encoder_is_used_as_it_is(log, tmp_path):
    encoder = FeatureEncoder(log_schema()).fit(make_log(seed=5))
    assert prepared(tmp_path / "out", log, encoder).schema == encoder.schema
    check_rows(tmp_path / "out", encoder, log)


def test_other_columns_can_split_and_be_carried_along(log, tmp_path):
    log = log.assign(date=20220401 + log.index // 300, tab=log.index % 5)
    splits = {"train": 20220402, "test": 20220403}
    prepared(tmp_path / "out", log, splits=splits, split_by="date", keep=["tab"])
    for split, first in [("train", 0), ("test", 300)]:
        frame = pd.read_parquet(tmp_path / "out" / "rows" / split).sort_values("row")
        assert frame["row"].tolist() == list(range(first, first + 300))
        assert frame["raw/tab"].tolist() == log.tab[first : first + 300].tolist()
        assert frame["raw/user_id"].tolist() == log.user_id[first : first + 300].tolist()


def test_users_of_any_type_find_their_events(log, tmp_path):
    schema = log_schema(user_key="name")
    log = log.assign(name="user " + log.user_id.astype(str))
    encoder = prepared(tmp_path / "out", log, schema)
    check_rows(tmp_path / "out", encoder, log)


def test_the_manifest_says_what_is_there(log, tmp_path):
    encoder = prepared(tmp_path / "out", log)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["schema"] == encoder.schema.fingerprint
    assert manifest["partitions"] == len(manifest["shards"]) == 3
    assert sum(manifest["rows"].values()) == 900
    assert manifest["rows"]["train"] == len(train_rows(log))
    assert manifest["columns"]["seen"] == [[5, 10], "int32"]
    assert set(manifest["versions"]) == {"numpy", "pandas", "pyarrow"}
    likes = sum(sum(shard["events"]["liked"]) for shard in manifest["shards"])
    assert likes == log.is_like.sum()


class Stopped(Exception):
    pass


def stop_after(monkeypatch, number, error):
    """Lets `number` shards be written, then fails."""
    write, written = ShardWriter.write, []

    def stopping(self, shard, *args):
        if len(written) == number:
            raise error
        written.append(shard)
        return write(self, shard, *args)

    monkeypatch.setattr(ShardWriter, "write", stopping)
    return written


def test_a_stopped_run_goes_on_and_finished_shards_stay(log, tmp_path, monkeypatch):
    folder = parquet_folder(log, tmp_path / "log")
    with monkeypatch.context() as patch:
        stop_after(patch, 2, Stopped())
        with pytest.raises(Stopped):
            prepared(tmp_path / "out", folder)
    assert not (tmp_path / "out").exists()
    with monkeypatch.context() as patch:
        written = stop_after(patch, 9, Stopped())
        # The files were read wholly and are the same, so they aren't read again.
        patch.setattr(sys.modules["keras_infnet.data.prepare"], "read_chunks", None)
        encoder = prepared(tmp_path / "out", folder)
    assert written == ["shard-00002"]
    check_rows(tmp_path / "out", encoder, log)


def test_a_run_stopped_while_reading_goes_on(log, tmp_path):
    def failing():
        yield from (log.iloc[:170], log.iloc[170:340])
        raise Stopped

    with pytest.raises(Stopped):
        prepared(tmp_path / "out", failing())
    unfinished = tmp_path / ".out.unfinished" / "spool" / "rows"
    before = {p: p.stat().st_mtime_ns for p in unfinished.iterdir()}
    assert len(before) == 2
    seen = []

    def watched():
        for start in range(0, 900, 170):
            seen.append({p: p.stat().st_mtime_ns for p in before})
            yield log.iloc[start : start + 170]

    encoder = prepared(tmp_path / "out", watched())
    assert len(seen) == 6 and all(times == before for times in seen)
    check_rows(tmp_path / "out", encoder, log)


class RemovedInPart:
    """`shutil` whose `rmtree` dies when it has taken away one file."""

    @staticmethod
    def rmtree(path, **_):
        for file in (p for p in path.rglob("*") if p.is_file()):
            file.unlink()
            os._exit(7)


@pytest.mark.parametrize("moment", ["clearing", "before publishing", "swapping", "after"])
def test_a_preparation_that_is_killed_while_it_overwrites_goes_on(
    log, tmp_path, monkeypatch, moment
):
    out, few = tmp_path / "out", log.iloc[:500]
    prepared(out, log)
    if moment == "clearing":
        # An unfinished run of other rows is being cleared.
        with monkeypatch.context() as patch:
            stop_after(patch, 1, Stopped())
            with pytest.raises(Stopped):
                prepared(out, log.iloc[:700], overwrite=True)
    child = os.fork()
    if not child:
        if moment == "before publishing":
            prepare_steps.put_in_place = lambda *_: os._exit(7)
        elif moment == "swapping":
            rename = Path.rename
            Path.rename = lambda *a: rename(*a) if a[0] == out else os._exit(7)
        else:
            prepare_steps.shutil = RemovedInPart
        try:
            prepared(out, few, overwrite=True)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    encoder = prepared(out, few, overwrite=True)
    check_rows(out, encoder, few)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    there = {p.name for p in out.iterdir()}
    assert there == {"encoder", "events", "manifest.json", "rows", "shards"}


def test_two_preparations_of_one_folder_do_not_meet(log, tmp_path):
    def frames():
        yield log.iloc[:300]
        with pytest.raises(ValueError, match="another process prepares .*out. Wait for its end"):
            prepared(tmp_path / "out", log)
        yield log.iloc[300:]

    encoder = prepared(tmp_path / "out", frames())
    check_rows(tmp_path / "out", encoder, log)


def test_rows_that_have_changed_are_written_anew(log, tmp_path, monkeypatch):
    longer = pd.concat([log, log.iloc[:100]], ignore_index=True)
    for first, stops in [(longer, 2), (log.assign(video_id=1), 2)]:
        with monkeypatch.context() as patch:
            stop_after(patch, stops, Stopped())
            with pytest.raises(Stopped):
                prepared(tmp_path / "out", iter([first]))
    encoder = prepared(tmp_path / "out", iter([log]))
    check_rows(tmp_path / "out", encoder, log)


def test_other_arguments_do_not_go_on_with_an_unfinished_run(log, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 1, Stopped())
        with pytest.raises(Stopped):
            prepared(tmp_path / "out", log)
    with pytest.raises(ValueError, match="unfinished run with other block_rows, rows"):
        prepared(tmp_path / "out", log.iloc[:800], block_rows=10)
    prepared(tmp_path / "out", log.iloc[:800], block_rows=10, overwrite=True)
    assert not (tmp_path / ".out.unfinished").exists()


def test_a_full_disk_is_said_and_the_run_goes_on(log, tmp_path, monkeypatch):
    write, calls = pq.ParquetWriter.write_table, []

    def full(self, *args, **kwargs):
        calls.append(1)
        if len(calls) > 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetWriter, "write_table", full)
        with pytest.raises(OSError, match="can't write .*No space left.*is kept: make room") as e:
            prepared(tmp_path / "out", log)
    assert e.value.errno == errno.ENOSPC
    work = tmp_path / ".out.unfinished"
    assert not list(work.rglob("*.partial"))
    finished = {p.name: p.stat().st_mtime_ns for p in (work / "shards").iterdir()}
    assert 1 <= len(finished) < 3
    # What a killed process was writing.
    (work / "rows" / ".shard-00002.parquet.12345678.partial").write_text("half")
    check_rows(tmp_path / "out", prepared(tmp_path / "out", log), log)
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out" / "shards").iterdir()}
    assert {name: after[name] for name in finished} == finished
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_a_folder_that_cannot_be_written_is_an_error(log, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="can't write .*or the folder writable"):
        prepared(tmp_path / "file" / "out", log)


def test_a_folder_that_may_only_be_read_is_an_error(log, tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(OSError, match="can't write .*Read-only file system.*folder writable") as e:
        prepared(tmp_path / "out", log)
    assert e.value.errno == errno.EROFS
    assert not list(tmp_path.iterdir())


def test_a_file_without_rows_adds_none(log, tmp_path):
    folder = parquet_folder(log, tmp_path / "log")
    log.iloc[:0].to_parquet(folder / "aa.parquet")
    encoder = prepared(tmp_path / "out", folder)
    check_rows(tmp_path / "out", encoder, log)


def test_what_is_there_is_replaced_only_when_asked(log, tmp_path):
    out = tmp_path / "out"
    prepared(out, log)
    with pytest.raises(FileExistsError, match="out exists.*pass overwrite=True to replace it"):
        prepared(out, log)
    prepared(out, log.iloc[:500], overwrite=True)
    assert sum(json.loads((out / "manifest.json").read_text())["rows"].values()) == 500
    (out / "manifest.json").unlink()
    with pytest.raises(FileExistsError, match="exists. Choose another folder.$"):
        prepared(out, log, overwrite=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"partitions": -1}, "partitions is -1"),
        ({"chunk_rows": 0}, "chunk_rows is 0"),
        ({"splits": {"../x": None}}, "splits are ..../x.*expected names such as `train`"),
        ({"splits": {"a": None, "b": "2026-01-01"}}, r"splits end at \[None, 1767225600000\]"),
        ({"splits": {"a": "2026-01-01", "b": 1_767_225_600}}, "expected ends that grow"),
        ({"earlier": {"sen": EARLIER}}, "no history `sen`. Did you mean `seen`"),
        ({"split_by": "tab"}, "rows 0 to 169: .*no column `tab`.*Did you mean `tag`"),
        ({"split_by": "country"}, "column `country` holds str; to split by it"),
    ],
)
def test_arguments_out_of_range_are_refused(log, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        prepared(tmp_path / "out", log, **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="video_id"), "frame 1, rows 300 .*other columns .*video_id"),
        (lambda f: f.assign(fans="many"), "frame 1, .*column `fans` holds .*string, but int64 in"),
        (
            lambda f: f.assign(user_id=f.user_id + 0.5),
            "frame 1, .*user key `user_id`: expected",
        ),
        (lambda f: f.assign(is_click=7), "frame 1, rows 300 to 469: Task `click`.* row 300"),
        (lambda f: f.assign(country=[{1: 2}, 3] * 300), "frame 1: .*country"),
        (lambda f: f.assign(fans=2**70), "frame 1: column `fans`: found .* beyond 64 bits: make"),
        (lambda f: f.assign(fans=1j), "frame 1: column `fans`: found values of type complex; exp"),
        (lambda f: [1, 2], "frame 1: found list; expected a pandas DataFrame"),
    ],
)
def test_bad_rows_are_named_by_where_they_come_from(log, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        prepared(tmp_path / "out", [log.iloc[:300], change(log.iloc[300:])])


def test_sparse_columns_are_read():
    frame = pd.DataFrame({"a": pd.arrays.SparseArray([0.0, 5.0, np.nan])})
    wanted = WantedColumns(frozenset("a"), frozenset("a"), {})
    [(_, table)] = read_chunks(frame, wanted, 10)
    assert table["a"].to_pylist() == [0, 5, None]


def test_bad_files_are_named(log, tmp_path):
    folder = parquet_folder(log, tmp_path / "log")
    whole = (folder / "b.parquet").read_bytes()
    for content, message in [
        (b"", "b.parquet is empty"),
        (whole[: len(whole) // 2], "b.parquet can't be read as Parquet .*cut short or damaged"),
        (whole[:2000] + bytes(3000) + whole[5000:], "b.parquet can't be read"),
    ]:
        (folder / "b.parquet").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            prepared(tmp_path / "out", folder, overwrite=True)
    (folder / "b.parquet").unlink()
    log.iloc[300:].drop(columns="tag").to_parquet(folder / "b.parquet")
    with pytest.raises(ValueError, match="b.parquet, rows 300 .*other columns.*missing: .*tag"):
        prepared(tmp_path / "out", folder, overwrite=True)
    (tmp_path / "broken.csv").write_text('user_id,time_ms\n1,"2\n')
    with pytest.raises(ValueError, match="broken.csv can't be read as CSV"):
        prepared(tmp_path / "other", tmp_path / "broken.csv")
    for path, message in [
        (tmp_path / "nowhere", "no Parquet or CSV file .*nowhere"),
        (tmp_path / "*.parquet", "no Parquet or CSV file"),
        ([], "no Parquet or CSV file in an empty list"),
        (__file__, "is neither .parquet nor .csv"),
    ]:
        with pytest.raises(ValueError, match=message):
            prepared(tmp_path / "other", path)
    with pytest.raises(ValueError, match="there is no row"):
        prepared(tmp_path / "other", log.iloc[:0])


def test_a_misspelt_column_has_a_suggestion(log, tmp_path):
    renamed = log.rename(columns={"video_id": "vidio_id"})
    with pytest.raises(ValueError, match="rows 0 to 169: .*`video_id`.*Did you mean `vidio_id`"):
        prepared(tmp_path / "out", renamed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": ("page", "pge_id")}, "no column `page`. Did you mean `page_id`"),
        ({"schema": {"list_key": "page"}}, "no column `page`. Did you mean `page_id`"),
        ({"schema": {"time_key": "time"}}, "no column `time`. Did you mean `time_ms`"),
        ({"schema": {"features": (RATE,)}}, "no column `page`. Did you mean `page_id`"),
    ],
)
def test_a_column_that_is_asked_for_late_is_missed_at_once(log, tmp_path, arguments, message):
    features = [CategoricalFeature("video_id", "item")]
    given = {"features": (), **arguments.pop("schema", {})}
    given["features"] = (*features, *given["features"])
    schema = FeatureSchema(tasks=[BinaryTask("is_click")], **given)
    with pytest.raises(ValueError, match=f"prepare: frame 0, rows 0 to 899: {message}"):
        prepare(schema, log, tmp_path / "out", verbose=False, **arguments)


def test_rows_that_are_nothing_are_called_by_their_name(tmp_path):
    schema = FeatureSchema([CategoricalFeature("video_id", "item")], [BinaryTask("is_click")])
    with pytest.raises(ValueError, match="prepare: frame 0: found NoneType; expected a pandas"):
        prepare(schema, None, tmp_path / "out", verbose=False)


def test_progress_is_shown_with_rates(log, tmp_path, capsys):
    prepare(log_schema(), log, tmp_path / "out", **{**SMALL, "verbose": True})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("prepare: reading rows: 900 of 900 rows, ")
    assert lines[1].startswith("prepare: writing shards: 900 of 900 rows, ")
    assert " a second, " in lines[1]
