"""Logs in stores: read like local files, by pyarrow or through fsspec, or refused by name."""

import json
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow.fs as pafs
import pytest

from keras_infnet.data import log_files
from keras_infnet.data.log_files import list_files
from tests.logs import log_schema
from tests.prepared import large_log, prepared

pytestmark = pytest.mark.one_backend

BUCKET = {"s3": "s3://bucket/logs", "memory": "memory://bucket/logs"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`bucket/logs` with one log twice, as Parquet and as CSV, and files that are no part of it."""
    log, root = large_log().iloc[:300], tmp_path_factory.mktemp("stores")
    logs = root / "bucket" / "logs"
    for name in ("parquet", "csv", "days/1", "days/2", "days/.3"):
        (logs / name).mkdir(parents=True)
    log.iloc[:200].to_parquet(logs / "parquet" / "a b.parquet", row_group_size=70)
    log.iloc[200:].to_parquet(logs / "parquet" / "c.parquet")
    log.iloc[:200].to_csv(logs / "csv" / "a.csv", index=False)
    log.iloc[200:].to_csv(logs / "csv" / "b.csv.gz", index=False)
    for name in (
        "parquet/_metadata",
        "csv/.hidden.csv",
        "csv/readme.txt",
        "days/.3/log.csv",
        "days/4",
    ):
        (logs / name).write_text("not,of,the,log")
    for day in ("1", "2"):
        (logs / "days" / day / "log.csv").write_bytes((logs / "csv" / "a.csv").read_bytes())
    return logs


@pytest.fixture(params=["s3", "memory"])
def store(request, folder, monkeypatch):
    """The address of the folder in a store: one of pyarrow's, which lies here, or of fsspec's."""
    if request.param == "memory":
        found = pytest.importorskip("fsspec").filesystem("memory")
        found.put(str(folder), "/bucket/logs", recursive=True)
        yield BUCKET["memory"]
        found.rm("/bucket", recursive=True)
        return

    def from_uri(uri):
        if "none" in uri:
            raise OSError("no route to s3://me:secret@bucket\nand why")
        assert uri in ("s3://bucket/", "s3://me:secret@bucket/?region=eu")
        here = pafs.SubTreeFileSystem(str(folder.parents[1]), pafs.LocalFileSystem())
        return here, "bucket"

    arrow = {**vars(pafs), "FileSystem": SimpleNamespace(from_uri=from_uri)}
    monkeypatch.setattr(log_files, "pafs", SimpleNamespace(**arrow))
    yield BUCKET["s3"]


def contents(folder):
    paths = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("parquet", ["parquet"]),
        ("csv", ["csv/a.csv", "csv/b.csv.gz"]),
        ("csv", ["csv/*.csv*"]),
    ],
)
def test_a_log_in_a_store_is_the_log_of_local_files(kind, named, store, folder, tmp_path):
    schema = log_schema()
    # A CSV file holds no lists.
    kept = [f for f in schema.features if f.name not in ("word", "image")]
    schema = type(schema)(kept, schema.tasks, schema.histories)
    rows = [f"{store}/{name}" for name in named]
    prepared(tmp_path / "store", rows if len(rows) > 1 else rows[0], schema)
    prepared(tmp_path / "local", folder / kind, schema)
    assert contents(tmp_path / "store") == contents(tmp_path / "local")


def test_folders_globs_and_lists_name_the_same_files(store, folder):
    def names(*given):
        files = list_files(list(given))
        assert pickle.loads(pickle.dumps(files)) == files  # Workers of Spark get them so.
        return [str(file) for file in files]

    for name, found in {
        "csv": ["csv/a.csv", "csv/b.csv.gz"],
        "parquet/": ["parquet/a b.parquet", "parquet/c.parquet"],
        "parquet/a b.parquet": ["parquet/a b.parquet"],
        "*/[bc].*": ["csv/b.csv.gz", "parquet/c.parquet"],
        "days/*/log.csv": ["days/1/log.csv", "days/2/log.csv"],
    }.items():
        assert names(f"{store}/{name}") == [f"{store}/{path}" for path in found]
        assert names(f"{folder}/{name}") == [f"{folder}/{path}" for path in found]
    assert names(f"{store}/csv/b.csv.gz", f"{store}/csv/a.csv")[0].endswith("b.csv.gz")


def test_names_of_local_files_stay_relative_and_folders_may_have_brackets(tmp_path, monkeypatch):
    (tmp_path / "of [1]" / "logs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "of [1]")
    Path("logs/a.csv").write_text("user_id\n1\n")
    for given in ("logs", "logs/*.csv", Path("logs") / "a.csv", "l*/a.csv"):
        (file,) = list_files(given)
        assert str(file) == "logs/a.csv" and file.open().read() == b"user_id\n1\n"
        stat = Path("logs/a.csv").stat()
        assert (file.size, file.version) == (stat.st_size, stat.st_mtime_ns)


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_a_changed_file_of_the_same_size_is_another(store):
    fsspec = pytest.importorskip("fsspec")
    (before,) = list_files(f"{store}/csv/a.csv")
    assert list_files(f"{store}/csv/a.csv") == [before]
    fsspec.filesystem("memory").pipe("/bucket/logs/csv/a.csv", before.open().read())
    (after,) = list_files(f"{store}/csv/a.csv")
    assert after.size == before.size and after.version != before.version
    assert json.loads(json.dumps(after.version)) == after.version


def test_what_is_wrong_in_a_store_is_named(store, folder, tmp_path):
    for name, text in {
        "none.csv": "prepare: no Parquet or CSV file {}; expected files or a folder",
        "csv/a.csv/*.csv": "prepare: no Parquet or CSV file {}; expected files or a folder",
        "none/*.csv": "prepare: no Parquet or CSV file {}; expected files or a folder",
        "days": "prepare: no Parquet or CSV file in {}.",
        "csv/readme.txt": "prepare: {} is neither .parquet nor .csv nor .csv.gz.",
        "day*": "prepare: {} is no file of a known size; expected files or one folder.",
    }.items():
        with pytest.raises(ValueError) as error:
            prepared(tmp_path / "out", f"{store}/{name}")
        address = f"{store}/{name}".replace("day*", "days")
        assert str(error.value).startswith(text.format(address))
    with pytest.raises(ValueError, match="Give it as text: a `Path` drops a slash"):
        prepared(tmp_path / "out", Path(store) / "csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_passwords_and_options_are_in_no_name(store):
    (file,) = list_files("s3://me:secret@bucket/logs/csv/a.csv?region=eu")
    assert str(file) == "s3://***@bucket/logs/csv/a.csv"


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_store_that_does_not_answer_is_named(store):
    with pytest.raises(
        ValueError, match="store can't be read: no route to s3://.*@bucket. Ch"
    ) as e:
        list_files("s3://me:secret@bucket/log.csv?region=none")
    assert str(e.value).startswith("prepare: rows is 's3://***@bucket/log.csv?region=none', and ")
    assert "secret" not in str(e.value)


def test_without_fsspec_its_stores_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImportError, match=r"^prepare: rows is 'memory://a.csv'.*install fsspec"):
        prepared(tmp_path / "out", "memory://a.csv")


def test_what_fsspec_does_not_know_is_named(tmp_path):
    pytest.importorskip("fsspec")
    with pytest.raises(ValueError, match="rows is 'nowhere://a.csv', and fsspec can't open `nowhe"):
        prepared(tmp_path / "out", ["nowhere://a.csv"])
    with pytest.raises(ImportError, match="fsspec can't open `dropbox`: .*[Ii]nstall"):
        prepared(tmp_path / "out", "dropbox://a.csv")
