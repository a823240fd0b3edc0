"""What all numbers of a folder have in common: an OUT never holds two data sets or protocols."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras

import keras_infnet
from protocol.artefact import artefact_rows
from protocol.config import BATCH_SIZE, EVALUATIONS_PER_EPOCH
from protocol.data import SPLITS, best_possible, fingerprint, split_rows
from protocol.folders import read_json, write_json
from protocol.tables import Tables

_FILE = "protocol.json"


def protocol_of(path: Path, source: str, tasks: Iterable[str], epochs: int) -> dict[str, Any]:
    """The protocol; a folder without logs and an unknown task are errors."""
    data = keras_infnet.datasets.KuaiRand(path, tasks=tasks)
    return {
        "data": fingerprint(data.found.folder),
        "source": source,
        "tasks": list(data.tasks),
        "epochs": epochs,
        "batch_size": BATCH_SIZE,
        "evaluations_per_epoch": EVALUATIONS_PER_EPOCH,
        "backend": keras.backend.backend(),
    }


def check_protocol(folders: Iterable[Path], protocol: Mapping[str, Any]) -> dict[str, Any] | None:
    """The protocol that a folder holds already; another than this is an error."""
    found = None
    for folder in folders:
        if not (folder / _FILE).is_file():
            continue
        found = read_json(folder / _FILE)
        differ = [key for key, value in protocol.items() if found.get(key) != value]
        if differ:
            listed = ", ".join(f"{k} {found.get(k)!r}, not {protocol[k]!r}" for k in differ)
            raise ValueError(
                f"{folder} holds runs of another protocol ({listed}). Numbers are never mixed: "
                "choose another folder."
            )
    return found


def begin(folders: Iterable[Path], protocol: dict[str, Any], path: Path, tables: Tables) -> dict:
    """Reads the rows once, measures what needs no model, and writes the protocol."""
    folders = list(folders)
    found = check_protocol(folders, protocol)
    if found is None:
        data = keras_infnet.datasets.KuaiRand(path, tasks=protocol["tasks"])
        frame, warm = data.frame(), data.warm()
        split = split_rows(data, frame)
        found = {**protocol, "rows": {p: len(getattr(split, p)) for p in ("train", *SPLITS)}}
        label = data.schema().tasks[0].label
        tables.put("artefact.csv", artefact_rows(frame, split, label, warm))
        best = best_possible(data, frame, split, protocol["tasks"])
        if best is not None:
            tables.put("best.csv", best)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _FILE, found)
    # A folder that is new beside an older one gets what that one has.
    tables.write()
    return found
