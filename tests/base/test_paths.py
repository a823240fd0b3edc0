from pathlib import Path

import pytest

from keras_infnet._base.paths import local_path


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("models/ranker", "models/ranker"),
        (Path("models"), "models"),
        ("~", "/homes/me"),
        ("~/a b", "/homes/me/a b"),
        (Path("~/a"), "/homes/me/a"),
        ("a/~", "a/~"),
        ("file:///a/b%20c", "/a/b c"),
        ("file://localhost/a", "/a"),
        ("c:/windows", "c:/windows"),
        ("10:30", "10:30"),
    ],
)
def test_local_paths(given, found, monkeypatch):
    monkeypatch.setenv("HOME", "/homes/me")
    assert local_path(given, "load", "path") == Path(found)


@pytest.mark.parametrize(
    "given",
    [
        "s3://b/a",
        Path("s3://b/a"),
        "gs://b",
        "hdfs://h:1/a",
        "dbfs:/a",
        "https://h/a",
        "file://h/a",
    ],
)
def test_addresses_of_stores_are_refused(given):
    with pytest.raises(ValueError, match=r"^load: path is '.*', an address of `\w+`; .* a local"):
        local_path(given, "load", "path")


@pytest.mark.parametrize("given", [None, 3, b"a", "", "a\0b", "~no-such-user/a"])
def test_what_is_no_path_is_named(given):
    with pytest.raises(ValueError, match=r"^load: path is .*; expected a path"):
        local_path(given, "load", "path")
