"""Training runs: what their numbers depend on, their names, and their folders.

A folder is there whole or not at all, and never of another configuration.
"""

import hashlib
import json
import os
import platform
import shutil
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.protocol.space import defaults_of

BATCH_SIZE = 256
EVALUATIONS_PER_EPOCH = 2


@dataclass(frozen=True)
class RunConfig:
    """What a run is made from; `data` is the fingerprint of the log's files.

    `arguments` are those of the model's constructor that differ from its defaults; `dims` is the
    schema's.
    """

    model: str
    arguments: Mapping[str, Any]
    learning_rate: float
    members: int
    histories: str
    tasks: tuple[str, ...]
    data: str
    epochs: int = 1
    batch_size: int = BATCH_SIZE
    evaluations_per_epoch: int = EVALUATIONS_PER_EPOCH
    seed: int = 0
    log: str = "kuairand"
    dims: str | None = None

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits, the same for all seeds."""
        known = {key: value for key, value in self.to_dict().items() if key != "seed"}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.model}-m{self.members}-{self.histories}-{self.hash}-s{self.seed}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` reads them."""
        plain = asdict(self)
        if self.dims is None:
            # Runs of tables of one width keep the names that they had before.
            del plain["dims"]
        return json.loads(json.dumps(plain))

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "RunConfig":
        """The configuration that `to_dict` wrote."""
        return cls(**{**plain, "tasks": tuple(plain["tasks"])})

    def with_seed(self, seed: int) -> "RunConfig":
        """The same with another seed."""
        return replace(self, seed=seed)


FAILED = ".failed"
_UNFINISHED = ".unfinished"
_PACKAGES = (
    "lightgbm",
    "keras",
    "tensorflow-cpu",
    "tensorflow",
    "jax",
    "numpy",
    "pandas",
    "keras-infnet",
)


@contextmanager
def new_folder(root: Path, config: RunConfig) -> Iterator[Path]:
    """A folder for the run's files, renamed to the run's name at the end.

    An error is kept in it as `error.json`, and the name then ends in `.failed`.
    """
    folder = root / f".{config.name}{_UNFINISHED}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    _begin(folder, config)
    try:
        yield folder
    except Exception as error:
        write_json(folder / "error.json", described(error))
        _take_place(folder, root / f"{config.name}{FAILED}")
        raise
    folder.rename(root / config.name)


def fail_unfinished(root: Path, config: RunConfig, reason: str) -> None:
    """Records the failure of a run whose process ended before it could do so."""
    left = sorted(root.glob(f".{config.name}{_UNFINISHED}-*"))
    folder = left[0] if left else root / f".{config.name}{_UNFINISHED}-{os.getpid()}"
    _begin(folder, config)
    write_json(folder / "error.json", {"type": "ProcessEnded", "reason": reason})
    _take_place(folder, root / f"{config.name}{FAILED}")


def remove_unfinished(root: Path) -> None:
    """Removes what a killed command left; its finished runs stay."""
    for folder in root.glob(f".*{_UNFINISHED}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def check_folder(root: Path, config: RunConfig) -> None:
    """An error if the run's folder holds another configuration than its name says."""
    folder = root / config.name
    if not folder.exists():
        return
    kept = read_json(folder / "config.json")
    if kept.get("config") != config.to_dict() or kept.get("hash") != config.hash:
        raise ValueError(
            f"{folder}: its config.json is of another configuration than its name says. Runs are "
            "never mixed: remove the folder, or choose another `--out`."
        )
    check_defaults(folder, config.model, kept.get("defaults", {}))


def check_defaults(place: Path, model: str, kept: Mapping[str, Any]) -> None:
    """An error if a model's defaults, which no configuration spells out, have changed since."""
    now = defaults_of(model)
    changed = {k: v for k, v in kept.items() if k in now and now[k] != v}
    if changed:
        listed = ", ".join(f"{key} was {old!r}, is {now[key]!r}" for key, old in changed.items())
        raise ValueError(
            f"{place}: defaults of {model} have changed since ({listed}). Runs are never mixed: "
            "remove it, or choose another `--out` and `--results`."
        )


def described(error: Exception) -> dict[str, Any]:
    """An error as JSON: its kind, the reason in one line, the step where it has one, the trace."""
    kind = type(error).__name__
    no_memory = isinstance(error, MemoryError) or kind == "ResourceExhaustedError"
    first = (str(error).strip() or kind).splitlines()[0]
    return {
        "type": kind,
        "reason": f"out of memory: {first}" if no_memory else first,
        "step": getattr(error, "step", None),
        "traceback": "".join(traceback.format_exception(error)),
    }


def read_json(path: Path) -> dict[str, Any]:
    """The file's content; a missing or broken one is an error that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: can't be read ({error}). Remove its folder.") from error


def write_json(path: Path, value: Any) -> None:
    """Writes under a temporary name, then renames."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _begin(folder: Path, config: RunConfig) -> None:
    """Makes the folder, and writes what the run is made from."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"config": config.to_dict(), "hash": config.hash, "defaults": defaults_of(config.model)}
    write_json(folder / "config.json", kept)
    write_json(folder / "versions.json", versions())


def _take_place(folder: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    folder.rename(target)
