from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keras_infnet.serving import export_version, versions


@pytest.fixture
def written(monkeypatch):
    """Exports are folders with one file: numbers and renaming are what is tested."""
    paths = []

    def export(model, encoder, path, verify, **options):
        if model == "bad":
            raise ValueError("task `click` differs")
        path.mkdir(parents=True)
        (path / "saved_model.pb").write_text(str(model))
        paths.append(path)

    monkeypatch.setattr(versions, "export_saved_model", export)
    return paths


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_versions_count_up_and_none_is_overwritten(written, tmp_path):
    folder = tmp_path / "models" / "ranker"
    assert export_version("a", None, folder) == folder / "1"
    (folder / "9").mkdir()
    (folder / "notes").mkdir()
    assert export_version("b", None, str(folder)) == folder / "10"
    assert names(folder) == ["1", "10", "9", "notes"]
    assert (folder / "1" / "saved_model.pb").read_text() == "a"


def test_an_export_knows_the_name_of_its_model(written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export_version("a", None, ".")
    export_version("b", None, "ranker")
    assert [path.parent.name for path in written] == [tmp_path.name, "ranker"]
    assert names(tmp_path) == ["1", "ranker"]


def test_exports_at_the_same_time_get_different_numbers(written, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda i: export_version(i, None, tmp_path), range(40)))
    assert sorted(int(path.name) for path in paths) == list(range(1, 41))
    for i, path in enumerate(paths):
        assert (path / "saved_model.pb").read_text() == str(i)
    assert len(names(tmp_path)) == 40


def test_a_failed_export_leaves_the_versions_as_they_were(written, tmp_path):
    export_version("a", None, tmp_path)
    with pytest.raises(ValueError, match="task `click` differs"):
        export_version("bad", None, tmp_path)
    assert names(tmp_path) == ["1"]
