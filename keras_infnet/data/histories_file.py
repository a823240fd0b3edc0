"""Histories on disk: events with the values of the log, so that any encoder can read them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.did_you_mean import check_known
from keras_infnet._base.whole_files import tidy, whole_folder
from keras_infnet.data.event_arrays import EventArrays
from keras_infnet.data.whole_files import (
    check_replaceable,
    read_parquet,
    read_state,
    write_json,
    write_parquet,
)
from keras_infnet.schema.schema import FeatureSchema

_FILE, _USERS, _FORMAT = "histories.json", "users", 1
_WHO = "Histories.load"
_USER, _TIME = "user", "time"


@dataclass(frozen=True)
class SavedHistories:
    """What `Histories` are made of, without an encoder.

    Attributes:
        until: Milliseconds of the newest row.
        time_unit: Unit of the log's times.
        user_dtype: `"int"`, `"string"` or `"mixed"`; `None` where no user is known.
        own: Names of the histories that come from logs of their own.
        users: The user of each code.
        events: Events by history; read from a file they are not encoded.
    """

    until: int
    time_unit: str | None
    user_dtype: str | None
    own: tuple[str, ...]
    users: pd.Index
    events: Mapping[str, EventArrays]

    def of_events_alone(self) -> "SavedHistories":
        """The same without users who have no event."""
        codes = [events.users for events in self.events.values()]
        present = np.unique(np.concatenate([np.zeros(0, "int64"), *codes]))
        events = {
            name: replace(some, users=np.searchsorted(present, some.users))
            for name, some in self.events.items()
        }
        return replace(self, users=self.users[present], events=events)

    def write(self, path: Path, schema: FeatureSchema, overwrite: bool) -> None:
        """Writes a folder; errors as `Histories.save`."""
        check_replaceable(path, "Histories.save", _FILE, overwrite)
        tables = {f"events/{name}": _table(events) for name, events in self.events.items()}
        tables[_USERS] = _users_table(self.users, self.user_dtype)
        checksums: dict[str, str] = {}
        with whole_folder(path, replace=overwrite) as new:
            (new / "events").mkdir()
            for name, table in tables.items():
                checksums[name] = write_parquet(new / f"{name}.parquet", table)
            known = {name: getattr(self, name) for name in ("until", "time_unit", "user_dtype")}
            known |= {"own": list(self.own), "schema": _described(schema), "checksums": checksums}
            write_json(new / _FILE, {"format": _FORMAT, **known})

    @classmethod
    def read(cls, path: Path, schema: FeatureSchema) -> "SavedHistories":
        """Reads a folder; errors as `Histories.load`."""
        tidy(path)
        known = read_state(path / _FILE, _WHO, _FORMAT)
        _check(known["schema"], _described(schema), path)
        tables = {
            name: read_parquet(path / f"{name}.parquet", checksums, _WHO)
            for name, checksums in known["checksums"].items()
        }
        return cls(
            known["until"],
            known["time_unit"],
            known["user_dtype"],
            tuple(known["own"]),
            _users_of(tables[_USERS], known["user_dtype"]),
            {h.name: _events(tables[f"events/{h.name}"]) for h in schema.histories},
        )


def _described(schema: FeatureSchema) -> dict[str, Any]:
    """What the saved values depend on, as JSON values."""
    fields = {f for history in schema.histories for f in history.fields}
    described = {
        "user_key": schema.user_key,
        "time_key": schema.time_key,
        "time_origin": schema.time_origin,
        "histories": {history.name: history.to_dict() for history in schema.histories},
        "fields": {
            name: [type(schema.feature(name)).__name__, schema.dtype_of(name)]
            for name in sorted(fields)
        },
    }
    return json.loads(json.dumps(described))


def _check(saved: Mapping[str, Any], expected: dict[str, Any], path: Path) -> None:
    """A ValueError unless saved histories have what those of a schema need."""
    for name, history in expected["histories"].items():
        check_known(name, saved["histories"], f"{_WHO}: {path} has no history `{name}`.")
        found = saved["histories"][name]
        # Of more events than are asked for, the newest are taken.
        if found["max_length"] >= history["max_length"]:
            found["max_length"] = history["max_length"]
    for name, value in expected.items():
        found, more = saved[name], name in ("histories", "fields")
        places = value if more else [None]
        for place in places:
            is_there, needed = (found.get(place), value[place]) if more else (found, value)
            if is_there != needed:
                what = name if place is None else f"{name}, `{place}`"
                raise ValueError(
                    f"{_WHO}: {path} was saved with other {what}: {is_there}; the encoder has "
                    f"{needed}. Make Histories of the log again."
                )


def _table(events: EventArrays) -> pa.Table:
    keys = {_USER: pa.array(events.users), _TIME: pa.array(events.times)}
    return pa.table(keys | {f"raw/{name}": values for name, values in events.raw.items()})


def _events(table: pa.Table) -> EventArrays:
    raw = {
        name.removeprefix("raw/"): pa.concat_arrays(table[name].chunks)
        if table[name].num_chunks
        else pa.array([], table[name].type)
        for name in table.column_names
        if name.startswith("raw/")
    }
    users, times = (table[name].to_numpy() for name in (_USER, _TIME))
    return EventArrays(np.zeros((len(users), 0), "int32"), users, times, raw)


def _users_table(users: pd.Index, dtype: str | None) -> pa.Table:
    """Users of numbers in one column, of texts in the other: a log may have both."""
    no_text = pa.nulls(len(users), pa.string())
    if dtype == "string":
        return pa.table({"number": pa.nulls(len(users), pa.int64()), "text": users.astype(str)})
    if dtype != "mixed":
        return pa.table({"number": users.astype("int64"), "text": no_text})
    values: list[Any] = users.tolist()
    texts = [value if isinstance(value, str) else None for value in values]
    numbers = [None if isinstance(value, str) else int(value) for value in values]
    return pa.table({"number": pa.array(numbers, pa.int64()), "text": pa.array(texts, pa.string())})


def _users_of(table: pa.Table, dtype: str | None) -> pd.Index:
    if dtype == "string":
        return pd.Index(table["text"].to_pandas())
    if dtype != "mixed":
        return pd.Index(table["number"].to_pandas())
    pairs = zip(table["text"].to_pylist(), table["number"].to_pylist(), strict=True)
    return pd.Index([number if text is None else text for text, number in pairs], dtype=object)
