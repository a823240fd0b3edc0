from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keras_infnet.serving.new_path import new_version

pytestmark = pytest.mark.one_backend


def next_version(text, folder, version=None):
    """A version is a folder with one file: numbers and renaming are what is tested."""

    def write(path):
        path.mkdir()
        if text == "bad":
            raise ValueError("task `click` differs")
        (path / "saved_model.pb").write_text(str(text))

    return new_version(folder, version, write)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_versions_count_up_and_none_is_overwritten(tmp_path):
    folder = tmp_path / "models" / "ranker"
    assert next_version("a", folder) == folder / "1"
    (folder / "9").mkdir()
    (folder / "notes").mkdir()
    assert next_version("b", folder) == folder / "10"
    assert next_version("c", folder, 4) == folder / "4"
    assert names(folder) == ["1", "10", "4", "9", "notes"]
    assert (folder / "1" / "saved_model.pb").read_text() == "a"
    with pytest.raises(FileExistsError, match="export: `.*1` exists. A version is never overw"):
        next_version("d", folder, 1)


def test_exports_at_the_same_time_get_different_numbers(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda i: next_version(i, tmp_path), range(40)))
    assert sorted(int(path.name) for path in paths) == list(range(1, 41))
    for i, path in enumerate(paths):
        assert (path / "saved_model.pb").read_text() == str(i)
    assert len(names(tmp_path)) == 40


def test_a_failed_export_leaves_the_versions_as_they_were(tmp_path):
    next_version("a", tmp_path)
    with pytest.raises(ValueError, match="task `click` differs"):
        next_version("bad", tmp_path)
    assert names(tmp_path) == ["1"]
