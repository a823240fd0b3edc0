"""The smallest case that fails like a given one, and how it looks."""

import time
import warnings
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from keras_infnet import FeatureSchema
from tests.fuzz.cases import Case, size
from tests.fuzz.ways import Outcome, run

_SECONDS = 15


def shrink(case: Case, outcome: Outcome, *how: bool) -> Case:
    """Takes away rows, features and histories as long as the case fails in the same way."""
    end, goes_on = time.monotonic() + _SECONDS, True
    while goes_on:
        goes_on = False
        for smaller in _smaller(case):
            if time.monotonic() > end:
                return case
            if _alike(run(smaller, *how), outcome):
                case, goes_on = smaller, True
                break
    return case


def describe(case: Case) -> str:
    """Schema, dtypes and values."""
    wide = ("display.max_columns", None, "display.width", 200, "display.max_rows", 12)
    with pd.option_context(*wide), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _described(case)


def _described(case: Case) -> str:
    lines = [repr(case.schema)]
    for side, held in case.sides.items():
        meant = pd.DataFrame({name: pd.Series(c.means, dtype=object) for name, c in held.items()})
        lines.append(f"{side} ({case.forms[side]}), what its values mean:\n{meant}")
        lines.append(", ".join(f"{name}: {column.look}" for name, column in held.items()))
        try:
            lines.append(f"as held:\n{case.frame(side)}")
        except Exception as error:
            lines.append(f"which can't be shown ({error})")
    if case.boundary is not None or case.freeze_at is not None or case.places is not None:
        lines.append(f"{case.boundary=} {case.freeze_at=} {case.places=}")
    return "\n".join(lines)


def _alike(found: Outcome, outcome: Outcome) -> bool:
    """Whether both fail by the same kind of error."""
    return found.kind == "failed" and found.what[:18] == outcome.what[:18]


def _smaller(case: Case) -> Iterator[Case]:
    """Cases with less, those first that have much less."""
    rows = size(case.log)
    if case.places is None:
        for part in (2, 4, 8, rows):
            step = max(1, rows // part) if rows else 0
            for start in range(0, rows, step or 1):
                kept = [i for i in range(rows) if not start <= i < start + step]
                if kept:
                    yield case.take(kept)
        if case.rows is not None and size(case.rows) > 1:
            for i in range(size(case.rows)):
                yield replace(case, rows={n: c.take([i]) for n, c in case.rows.items()})
    if case.warm is not None:
        yield replace(case, warm=None)
    if case.events is not None:
        yield replace(case, events=None, events_of=None)
    if case.unknown is not None:
        yield replace(case, unknown=None)
    if case.schema.list_key is not None and not case.relative:
        yield replace(case, schema=replace(case.schema, list_key=None))
    for schema in _schemas(case.schema):
        yield replace(case, schema=schema)


def _schemas(schema: FeatureSchema) -> Iterator[FeatureSchema]:
    for name in ("histories", "tasks", "features"):
        parts = getattr(schema, name)
        for i in range(len(parts)):
            less = [part for k, part in enumerate(parts) if k != i]
            try:
                yield replace(schema, **{name: less})
            except ValueError:
                continue
    for k, history in enumerate(schema.histories):
        for change in (
            {"fields": history.fields[:1]},
            {"quantities": history.quantities[:1]},
            {"groups": ()},
        ):
            smaller = replace(history, **change)
            if smaller != history:
                histories = list(schema.histories)
                histories[k] = smaller
                yield replace(schema, histories=histories)
