import errno
import os
import shutil
from pathlib import Path

import pytest

from keras_infnet._base import whole_files
from keras_infnet._base.whole_files import (
    put_in_place,
    read_json,
    remove_partial,
    tidy,
    whole_file,
    whole_folder,
    write_json,
)

WORDS = "save: can't write {path}: {error}. Make room."


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_a_file_replaces_what_was_there_at_the_end(tmp_path):
    path = tmp_path / "deep" / "model.weights.h5"
    for text in ("old", "new"):
        with whole_file(path) as temporary:
            temporary.write_text(text)
            assert temporary.name == "model.weights.h5"
            assert not path.exists() or path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["deep", "model.weights.h5"]


def test_after_an_error_all_is_as_it_was(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(KeyError), whole_file(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise KeyError
    with pytest.raises(KeyError), whole_folder(tmp_path / "folder") as temporary:
        (temporary / "part").write_text("half")
        raise KeyError
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("write", [whole_file, whole_folder])
def test_an_error_of_the_disk_has_the_words_of_the_caller(tmp_path, write):
    with pytest.raises(OSError, match=r"^save: can't write .*/a: .*No space left.*Make room.") as e:
        with write(tmp_path / "a", WORDS):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert e.value.errno == errno.ENOSPC and names(tmp_path) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        with write(tmp_path / "file" / "a"):
            pass


@pytest.mark.parametrize("durable", [False, True])
def test_a_folder_replaces_another_only_if_asked(tmp_path, durable):
    path = tmp_path / "folder"
    for name in ("first", "second"):
        with whole_folder(path, replace=True, durable=durable) as temporary:
            (temporary / name).write_text(name)
    assert names(tmp_path) == ["folder", "second"]
    with pytest.raises(OSError, match="folder"), whole_folder(path, durable=durable) as temporary:
        (temporary / "third").write_text("")
    assert names(tmp_path) == ["folder", "second"]


def test_what_can_not_be_put_in_place_leaves_what_was_there(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("")
    with pytest.raises(FileNotFoundError):
        put_in_place(tmp_path / "missing", tmp_path / "old")
    assert names(tmp_path) == ["file", "old"]


def test_what_a_killed_process_left_is_taken_away(tmp_path):
    (tmp_path / "deep" / ".step-3.12345678.partial").mkdir(parents=True)
    (tmp_path / "deep" / ".step-3.12345678.partial" / "step-3").write_text("half")
    (tmp_path / ".step-2.12345678.partial").write_text("half")
    (tmp_path / ".other.12345678.partial").mkdir()
    (tmp_path / ".hidden").write_text("kept")
    remove_partial(tmp_path, "step-*")
    there = sorted(path.name for path in tmp_path.iterdir())
    assert there == [".hidden", ".other.12345678.partial", "deep"]
    assert list((tmp_path / "deep").iterdir())
    remove_partial(tmp_path, deep=True)
    assert names(tmp_path) == [".hidden", "deep"]


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    with whole_file(tmp_path / "model") as temporary:
        temporary.write_text("first")
        remove_partial(tmp_path)
        with whole_file(tmp_path / "model") as other:
            other.write_text("second")
        assert (tmp_path / "model").read_text() == "second"
    assert names(tmp_path) == ["model"] and (tmp_path / "model").read_text() == "first"


@pytest.mark.parametrize("last", ["rename", "rmtree"])
def test_a_writer_that_is_killed_while_it_replaces_a_folder_loses_neither(tmp_path, last):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    child = os.fork()
    if not child:
        # It dies in the second renaming, or before what was there is taken away.
        renamed, rename = [], Path.rename

        def rename_once(new, target):
            renamed.append(target)
            return rename(new, target) if len(renamed) < 2 else os._exit(7)

        if last == "rename":
            Path.rename = rename_once
        else:
            shutil.rmtree = lambda *_, **__: os._exit(7)
        try:
            with whole_folder(path, replace=True) as new:
                (new / "new").touch()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert len(list(tmp_path.glob(".*"))) > 0
    tidy(path)
    assert names(tmp_path) == ["folder", "old" if last == "rename" else "new"]
    with whole_folder(path, replace=True) as new:
        (new / "newer").touch()
    assert names(tmp_path) == ["folder", "newer"]


def test_every_change_of_json_with_a_checksum_is_seen(tmp_path):
    write_json(tmp_path / "a.json", {"rows": {3: 4}, "ö": [1, None]}, checked=True)
    text = (tmp_path / "a.json").read_bytes()
    assert read_json(tmp_path / "a.json", checked=True) == {"rows": {"3": 4}, "ö": [1, None]}
    for bit in range(0, 8 * len(text), 3):
        changed = bytearray(text)
        changed[bit // 8] ^= 1 << bit % 8
        (tmp_path / "a.json").write_bytes(changed)
        try:
            found = read_json(tmp_path / "a.json", checked=True)
        except ValueError as error:
            assert "a.json can't be read: " in str(error)
        else:
            # Between values white space may change.
            assert found == {"rows": {"3": 4}, "ö": [1, None]}


def test_json(tmp_path):
    write_json(tmp_path / "a.json", {"é": [1, None]})
    assert read_json(tmp_path / "a.json") == {"é": [1, None]}
    (tmp_path / "a.json").write_text("{")
    for name in ("a.json", "b.json"):
        with pytest.raises(ValueError, match=f"^load: .*{name} is no record: "):
            read_json(tmp_path / name, "load: {path} is no record: {error}")


def test_a_folder_that_another_tidies_before_it_is_held_is_not_written_to(tmp_path, monkeypatch):
    hold, tidied = whole_files.hold, []

    def taken_at_first(path):
        # Another writer's `tidy` is quicker: it holds the new folder, and takes it away later.
        if not tidied:
            tidied.append((path, hold(path)))
        return hold(path)

    monkeypatch.setattr(whole_files, "hold", taken_at_first)
    with whole_folder(tmp_path / "a") as folder:
        ((left, held),) = tidied
        (folder / "part").write_text("whole")
        shutil.rmtree(left)
        os.close(held)
    assert names(tmp_path) == ["a", "part"]
