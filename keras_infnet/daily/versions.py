"""Versions: numbered versions of a model on disk, each whole or absent, and the one that serves."""

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_infnet._base.paths import local_path
from keras_infnet._base.whole_files import (
    read_json,
    remove_partial,
    whole_file,
    whole_folder,
    write_json,
)

RECORD, REPORT, METRICS, SAVED_MODEL = "version.json", "report.html", "metrics.json", "saved_model"
_VERSIONS, _RUNS, _SERVING = "versions", "runs", "serving"
_POINTER, _NUMBERS = "serving.json", "numbers.json"
_FORMAT = 1
_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Version:
    """What is on record of a version.

    Args:
        number: Its number, which no other version ever has.
        day: The last day that it has seen.
        decision: `"published"`, or `"kept"`: the gate kept the version before.
        reason: Why.
        base: Number of the version that it goes on from; `None` for the first.
        parent: Number of the version that served before; `None` for the first.
        restores: Number of the version that a rollback published again.
        data: Fingerprint of the rows of each day that it was trained on.
        config: Digest of the configuration.
        until: Milliseconds of its newest row.
        rows: Number of rows by use, such as `train` and `holdout`.
        measured: What the version before measured on the day, before training: by rows (`"all"`,
            or `"new"`: with ids that it did not know), task and measure a value and its standard
            error.
        files: Digest of each of its files.
    """

    number: int
    day: str
    decision: str
    reason: str
    base: int | None = None
    parent: int | None = None
    restores: int | None = None
    data: Mapping[str, str] = field(default_factory=dict[str, str])
    config: str = ""
    until: int = 0
    rows: Mapping[str, int] = field(default_factory=dict[str, int])
    measured: Mapping[str, Any] = field(default_factory=dict[str, Any])
    files: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def published(self) -> bool:
        """Whether it was published."""
        return self.decision == "published"


class Versions:
    """The versions of a daily job, numbered from 1, and a pointer to the one that serves.

    - `versions/5`: a version: encoder, model, calibration, past, metrics, report and, where it was
      published, the SavedModel; `version.json` has a digest of each file;
    - `serving/name/5`: its SavedModel, for TensorFlow Serving, which takes the highest number;
    - `runs/5.json` and `runs/5.html`: record and report, which stay when the version goes;
    - `serving.json`: the number of the version that serves.

    Each appears by one renaming. Numbers are never used again.

    Args:
        folder: The folder; it is made when something is written.
        name: Name of the model in requests. Defaults to `"ranker"`.

    Example:
        ```python
        versions = keras_infnet.daily.Versions("ranker")
        print(versions.serving)  # The Version that serves; None before the first.
        ```
    """

    def __init__(self, folder: str | Path, name: str = "ranker") -> None:
        self.folder = local_path(folder, "Versions", "folder", written=True)
        self.name = name

    @property
    def serving_folder(self) -> Path:
        """What TensorFlow Serving watches."""
        return self.folder / _SERVING / self.name

    @property
    def serving(self) -> Version | None:
        """The version that serves; `None` before the first.

        Raises:
            ValueError: The pointer, or the record, is damaged.
        """
        path = self.folder / _POINTER
        if not path.is_file():
            return None
        words = (
            "daily: {path}, which says what serves, can't be read: {error}. Take it away, and roll "
            "back to the version that is to serve."
        )
        return self.record(read_json(path, words, checked=True)["number"])

    def path(self, number: int) -> Path:
        """Folder of a version."""
        return self.folder / _VERSIONS / str(number)

    def numbers(self) -> list[int]:
        """Numbers of the versions on disk, ascending."""
        return _numbers_in(self.folder / _VERSIONS)

    def records(self) -> list[Version]:
        """All versions that ever were, ascending by number."""
        there = (self.folder / _RUNS).glob("*.json")
        numbers = {int(path.stem) for path in there if path.stem.isdecimal()}
        return [self._entered(number) for number in sorted(numbers | {*self.numbers()})]

    def record(self, number: int) -> Version:
        """What is on record of a version.

        Raises:
            ValueError: There is no such version, or its record is damaged.
        """
        path = self.path(number) / RECORD
        return self._read(number, path) if path.is_file() else self._entered(number)

    def metrics(self, number: int) -> dict[str, Any]:
        """What was measured of a version that is on disk."""
        return read_json(self.path(number) / METRICS)

    def lineage(self, version: Version | None) -> Iterator[Version]:
        """A version, the one that it goes on from, and so on to the first."""
        while version is not None:
            yield version
            version = None if version.base is None else self.record(version.base)

    def reserve(self) -> int:
        """A number that no version has, had or will have but the one it is for."""
        path, last = self.folder / _NUMBERS, 0
        if path.is_file():
            last = read_json(path, checked=True)["last"]
        seen = (*self.numbers(), *(v.number for v in self.records()), *self._served())
        number = 1 + max((last, *seen))
        write_json(path, {"last": number}, checked=True)
        return number

    def add(self, version: Version, write: Callable[[Path], None]) -> Version:
        """Writes a version, whole or not at all.

        Args:
            version: Its record, but for the digests of its files.
            write: Fills the folder of the path that it is given.

        Returns:
            The record with the digests.

        Raises:
            OSError: It can't be written; nothing is left of it.
        """
        path, made = self.path(version.number), [version]
        words = f"daily: version {version.number} can't be written: {{error}}. Nothing is left."
        with whole_folder(path, words, durable=True) as new:
            write(new)
            made[0] = dataclasses.replace(version, files=_digests(new))
            plain = {"format": _FORMAT, **dataclasses.asdict(made[0])}
            write_json(new / RECORD, plain, checked=True)
        return made[0]

    def check(self, number: int) -> Version:
        """The record of a version all of whose files are as they were written.

        Raises:
            ValueError: A file is missing, or is another.
        """
        version, path = self.record(number), self.path(number)
        if not path.is_dir():
            raise ValueError(
                f"daily: version {number} is not on disk any more; there are {self._known()}."
            )
        self._check_files(version, path, version.files)
        served = self.serving_folder / str(number)
        if served.is_dir():
            start = f"{SAVED_MODEL}/"
            files = {
                f.removeprefix(start): d for f, d in version.files.items() if f.startswith(start)
            }
            self._check_files(version, served, files)
        return version

    def publish(self, version: Version) -> None:
        """Puts a version where TensorFlow Serving finds it, and points to it; again is no harm.

        Raises:
            ValueError: A file of it is damaged; what served goes on.
        """
        self.check(version.number)
        path = self.serving_folder / str(version.number)
        if not path.exists():
            with whole_folder(path, durable=True) as new:
                source = self.path(version.number) / SAVED_MODEL
                shutil.copytree(source, new, dirs_exist_ok=True)
        write_json(self.folder / _POINTER, {"number": version.number}, checked=True)

    def enter(self, version: Version) -> None:
        """Puts record and report among those that stay; again is no harm."""
        source, runs = self.path(version.number), self.folder / _RUNS
        for name, kept in ((REPORT, f"{version.number}.html"), (RECORD, f"{version.number}.json")):
            if (source / name).is_file():
                with whole_file(runs / kept) as temporary:
                    shutil.copyfile(source / name, temporary)

    def recover(self, publish: bool = True) -> bool:
        """Takes away what killed jobs left, and ends what they had begun to publish.

        Args:
            publish: Whether a version that was about to be published is.

        Returns:
            Whether a version was there that a killed job had not entered or published.
        """
        for folder in (self.folder, self.folder / _VERSIONS, self.folder / _RUNS):
            if folder.is_dir():
                remove_partial(folder)
        if self.serving_folder.is_dir():
            remove_partial(self.serving_folder)
        serving, found = self.serving, False
        for number in self.numbers():
            is_entered = (self.folder / _RUNS / f"{number}.json").is_file()
            is_newer = number > (0 if serving is None else serving.number)
            if not is_entered:
                self.enter(self.record(number))
            if publish and is_newer and self._entered(number).published:
                self.publish(self.record(number))
                found = True
            found |= not is_entered
        return found

    def clean(self, keep: int) -> list[int]:
        """Takes away all but the newest versions, that which serves and the one it goes on from.

        Returns:
            Numbers of those that went.
        """
        serving, numbers = self.serving, self.numbers()
        stay = {*numbers[-keep:]}
        if serving is not None:
            stay |= {serving.number, serving.base or serving.number}
        gone = [number for number in numbers if number not in stay]
        for number in gone:
            # The record goes first of all: what is half there is no version.
            shutil.rmtree(_hidden(self.path(number)))
        for number in self._served():
            if number not in stay:
                shutil.rmtree(_hidden(self.serving_folder / str(number)))
        return gone

    def _entered(self, number: int) -> Version:
        """The record of a version that stays, or its own before it was entered."""
        path = self.folder / _RUNS / f"{number}.json"
        return self._read(number, path if path.is_file() else self.path(number) / RECORD)

    def _read(self, number: int, path: Path) -> Version:
        words = (
            f"daily: version {number} can't be read: {{path}}: {{error}}. Roll back to another: "
            f"{self._known()}."
        )
        plain = read_json(path, words, checked=True)
        plain.pop("format", None)
        return Version(**plain)

    def _served(self) -> list[int]:
        return _numbers_in(self.serving_folder)

    def _known(self) -> str:
        return ", ".join(map(str, self.numbers())) or "none"

    def _check_files(self, version: Version, path: Path, files: Mapping[str, str]) -> None:
        for name, expected in files.items():
            file = path / name
            found = _digest(file) if file.is_file() else None
            if found != expected:
                what = "is missing" if found is None else "is not as it was written"
                raise ValueError(
                    f"daily: version {version.number} is damaged: {file} {what}. It is not used: "
                    f"copy the file again, or roll back to another of {self._known()}."
                )


def _hidden(path: Path) -> Path:
    """A folder under a name that `remove_partial` takes away, should the process be killed."""
    hidden = path.with_name(f".{path.name}.gone.partial")
    if hidden.exists():
        shutil.rmtree(hidden)
    return path.rename(hidden)


def _numbers_in(folder: Path) -> list[int]:
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in there if path.name.isdecimal())


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def _digest(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_BYTES):
            state.update(part)
    return state.hexdigest()[:32]
