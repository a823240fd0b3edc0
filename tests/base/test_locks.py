import errno
import os

import pytest

from keras_infnet._base import locks


def test_a_file_is_held_by_one_at_a_time(tmp_path):
    file = tmp_path / ".lock"
    with locks.locked(file, "taken"):
        with pytest.raises(ValueError, match="^taken$"), locks.locked(file, "taken"):
            pass
    with locks.locked(file, "taken"):
        pass


def test_the_system_lets_go_of_a_dead_process(tmp_path):
    child = os.fork()
    if not child:
        locks.take(tmp_path / ".lock", "taken")
        os._exit(0)
    os.waitpid(child, 0)
    with locks.locked(tmp_path / ".lock", "taken"):
        pass


def test_a_file_system_without_locks_gives_a_warning(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="can't be locked .No locks available.. See to it that"):
        with locks.locked(tmp_path / ".lock", "taken"):
            pass
