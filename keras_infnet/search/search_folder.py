"""The folder of a search: whose it is, and that one process at a time works on it."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_infnet._base.whole_files import write_json

_ABOUT = "search.json"
_LOCK = ".search.lock"


def check_folder(folder: Path, about: Mapping[str, Any]) -> None:
    """Raises a ValueError if the folder holds something else than this search; writes nothing."""
    # Hidden files are the lock, and what another worker is about to rename.
    if not folder.exists() or all(path.name.startswith(".") for path in folder.iterdir()):
        return
    if not (folder / _ABOUT).is_file():
        raise ValueError(
            f"ProxySearch: `{folder}` holds files, and none is a search's. Choose another folder."
        )
    found = json.loads((folder / _ABOUT).read_text("utf-8"))
    wanted = json.loads(json.dumps(about))
    differing = [name for name in wanted if found.get(name) != wanted[name]]
    if differing:
        shown = "; ".join(_difference(name, found.get(name), wanted[name]) for name in differing)
        raise ValueError(
            f"ProxySearch: `{folder}` holds another search ({shown}). Nothing was changed there. "
            "Choose another folder, or search with what that one had."
        )


def open_folder(folder: Path, about: Mapping[str, Any]) -> None:
    """Makes the folder of a search."""
    check_folder(folder, about)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / _ABOUT).is_file():
        write_json(folder / _ABOUT, about)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder; the system lets go of it when the process ends, however it ends."""
    import fcntl

    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(
                f"ProxySearch: another process searches in `{folder}`. Wait for its end, or choose "
                "another folder."
            ) from error
        yield


def _difference(name: str, found: Any, wanted: Any) -> str:
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        parts = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
        return "; ".join(_difference(f"{name}.{k}", found.get(k), wanted.get(k)) for k in parts)
    return f"its {name} is {found}, yours {wanted}"
