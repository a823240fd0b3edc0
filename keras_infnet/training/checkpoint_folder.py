"""Checkpoints on disk: written whole or not at all, and checked before they are read."""

import contextlib
import hashlib
import json
import os
import shutil
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_infnet._base.arrays import open_arrays
from keras_infnet._base.locks import take
from keras_infnet._base.whole_files import remove_partial, whole_folder

STATE, ARRAYS, CHECKSUMS = "state.json", "variables.npz", "checksums.json"
_LOCK = ".lock"
# Folders that this process holds: the lock's descriptor, and who has it.
_HELD: dict[Path, tuple[int, "CheckpointFolder"]] = {}


@dataclass(frozen=True, eq=False)
class CheckpointFolder:
    """A folder of checkpoints, `step-0000000500` and so on.

    Each is a folder with `state.json`, `variables.npz` and the SHA-256 of both in `checksums.json`.

    Args:
        path: The folder; it is made when it is missing.
    """

    path: Path

    def take(self) -> None:
        """Holds the folder until `release`, and takes away what a killed run left.

        In this process the last that takes it has it: one that was interrupted never lets go.

        Raises:
            ValueError: Another process trains in it.
            OSError: Nothing can be written.
        """
        with self._explained("write to it"):
            self.path.mkdir(parents=True, exist_ok=True)
            key = self.path.resolve()
            if key not in _HELD:
                _HELD[key] = take(self.path / _LOCK, self._taken("another process")), self
            _HELD[key] = _HELD[key][0], self
            remove_partial(self.path, "step-*")
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()

    def release(self) -> None:
        """Lets go of the folder, if this one has it."""
        key = self.path.resolve()
        if key in _HELD and _HELD[key][1] is self:
            os.close(_HELD.pop(key)[0])

    def _taken(self, by: str) -> str:
        return (
            f"Checkpoints: {by} trains with the checkpoints in {self.path}. Wait for its end, or "
            "give this training a folder of its own."
        )

    def newest(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest whole checkpoint and its state; `None` where there is no checkpoint.

        A damaged one gives a warning, and gets `.damaged` after its name.

        Raises:
            ValueError: There are checkpoints, and all are damaged.
        """
        damaged = []
        for path in sorted(self.path.glob("step-*[0-9]"), reverse=True):
            why = _damage(path)
            if why is None:
                for bad, reason in damaged:
                    _set_aside(bad, reason, path)
                return path, json.loads((path / STATE).read_text("utf-8"))
            damaged.append((path, why))
        if damaged:
            found = "; ".join(f"{path.name}: {why}" for path, why in damaged)
            raise ValueError(
                f"Checkpoints: every checkpoint in {self.path} is damaged ({found}). Take the "
                "folder away to train from the start."
            )
        return None

    def write(
        self,
        step: int,
        state: Mapping[str, Any],
        arrays: Iterable[tuple[str, np.ndarray]],
        keep: int,
    ) -> None:
        """Adds a checkpoint, and takes away all but the newest `keep`.

        Raises:
            ValueError: Another training has taken the folder.
            OSError: It can't be written; those before it stay as they are.
        """
        if _HELD.get(self.path.resolve(), (0, None))[1] is not self:
            raise ValueError(self._taken("another callback of this process"))
        path = self.path / f"step-{step:010d}"
        with self._explained(f"write the checkpoint of step {step}"):
            with whole_folder(path, replace=True, durable=True) as temporary:
                _write_files(temporary, state, arrays)
            for old in sorted(self.path.glob("step-*[0-9]"))[:-keep]:
                shutil.rmtree(old)

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            there = sorted(path.name for path in self.path.glob("step-*[0-9]"))
            intact = f"What was there is intact: {', '.join(there)}." if there else ""
            raise OSError(
                error.errno,
                f"Checkpoints: folder {self.path}: can't {what}: {error.strerror}. Free disk "
                f"space, or give a folder that can be written to, and start again. {intact}",
            ) from error


def read_arrays(path: Path) -> np.lib.npyio.NpzFile:
    """Arrays of a checkpoint by name, open; each is read when it is asked for."""
    return open_arrays(path / ARRAYS)


def _write_files(
    folder: Path, state: Mapping[str, Any], arrays: Iterable[tuple[str, np.ndarray]]
) -> None:
    # One array at a time: tables may be as large as the memory that is left.
    with zipfile.ZipFile(folder / ARRAYS, "w", zipfile.ZIP_STORED) as file:
        for name, array in arrays:
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    (folder / STATE).write_text(json.dumps(state, indent=1), "utf-8")
    sums = {name: _checksum(folder / name) for name in (STATE, ARRAYS)}
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=1), "utf-8")


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, if anything is."""
    try:
        sums = json.loads((path / CHECKSUMS).read_text("utf-8"))
        for name in (STATE, ARRAYS):
            if sums[name] != _checksum(path / name):
                return f"{name} has another checksum"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (ValueError, KeyError, TypeError):
        return f"{CHECKSUMS} can't be read"
    return None


def _set_aside(path: Path, why: str, instead: Path) -> None:
    renamed = path.with_name(f"{path.name}.damaged")
    if renamed.exists():
        shutil.rmtree(renamed)
    os.rename(path, renamed)
    warnings.warn(
        f"Checkpoints: {path} is damaged ({why}); training goes on from {instead.name}. The "
        f"damaged one is kept as {renamed.name}.",
        stacklevel=2,
    )


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
