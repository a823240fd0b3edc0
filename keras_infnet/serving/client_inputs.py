"""Inputs of a client's request: checked against the schema, padded, of fixed width if asked for."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet.encoding.events import has_list_columns
from keras_infnet.encoding.requests import owned_request
from keras_infnet.schema.canonical import MISSING_STRING
from keras_infnet.schema.feature import OWNERS, Owner
from keras_infnet.schema.frames import as_rows, is_frame, kind_of
from keras_infnet.schema.history import History
from keras_infnet.schema.schema import FeatureSchema

_LISTS = (list, tuple, np.ndarray)
# By dtype: how values are called, and what stands for a missing one.
_EXPECTED = {
    "string": ("strings", "None"),
    "int64": ("integers", "-1"),
    "float32": ("numbers", "NaN"),
}


def checked_inputs(
    schema: FeatureSchema, rows: Any, owners: Collection[Owner] = OWNERS
) -> dict[str, np.ndarray]:
    """Typed arrays, by name, of the raw inputs that belong to `owners`.

    Args:
        schema: The schema.
        rows: A frame as `frame_to_request` takes it, or a dict, input name -> values
            `(rows, ...)`: histories, oldest event first, and bags are padded there already, or
            lists of different lengths. A history that is left out wholly is empty.
        owners: Whose features are wanted; histories are the user's.

    Returns:
        Object (strings), int64 or float32 arrays with the same first dimension.

    Raises:
        ValueError: An input is missing or unknown, its values have the wrong type or shape, or
            events come newest first.
    """
    if is_frame(rows):
        frame = as_rows(rows, "Client")
        _check_attached(schema, frame, owners)
        return owned_request(schema, frame, owners)
    if not isinstance(rows, Mapping):
        raise ValueError(
            f"Client: found {kind_of(rows)}; expected a DataFrame, or a dict of input name "
            "-> values."
        )
    specs = schema.raw_inputs(owners)
    for name in rows:
        if name not in specs:
            of = "" if set(owners) == set(OWNERS) else f" of {' or '.join(owners)}"
            hint = did_you_mean(str(name), specs)
            raise ValueError(f"Client: `{name}` is not an input{of}.{hint}")
    histories = schema.histories if "user" in owners else ()
    empty = {n for h in histories if not {*h.list_columns} & {*rows} for n in h.list_columns}
    missing = [name for name in specs if name not in rows and name not in empty]
    if missing:
        raise ValueError(f"Client: inputs are missing: {', '.join(f'`{n}`' for n in missing)}.")
    fills = schema.raw_missing()
    inputs = {n: _typed(n, rows[n], *specs[n], fills[n]) for n in specs if n not in empty}
    for f in schema.features:
        of_events = (f"{h.name}_{f.name}" for h in schema.histories if f.name in h.fields)
        for name in {f.name, *of_events} & inputs.keys():
            inputs[name] = f.sent(inputs[name], f"Client: `{name}`")
    number = len(next(iter(inputs.values()), [0]))
    for name in empty:
        shape, dtype = specs[name]
        inputs[name] = _nothing((number, *shape), fills[name], dtype)
    first = next(iter(inputs), "")
    exact = {name for f in schema.features for name in f.finite_inputs}
    for name, values in inputs.items():
        if values.dtype.kind == "f":
            _check_finite(name, values, name in exact)
        if len(values) != len(inputs[first]):
            raise ValueError(
                f"Client: `{name}` has {len(values)} rows and `{first}` has {len(inputs[first])}; "
                "expected equally many."
            )
    _check_widths(schema, {name: rows[name] for name in inputs if name in rows}, inputs)
    _check_order(histories, inputs)
    return {name: inputs[name] for name in specs}


def fixed_width(schema: FeatureSchema, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Histories of `max_length` events and bags of `max_values` values, as the model reads them.

    Histories keep their newest events, bags their first values; what is shorter is padded on the
    right. TensorFlow Serving batches only requests that differ in the first dimension alone.

    Args:
        schema: The schema.
        inputs: Checked arrays of all or some inputs.

    Returns:
        The same arrays, with these widths.
    """
    fills, fixed = schema.raw_missing(), dict(inputs)
    of_bags = {f.name: f.raw_inputs(schema.dtype_of(f.name)) for f in schema.bags}
    widths: dict[str, tuple[int, ...]] = {
        name: (schema.feature(bag).width,) for bag in of_bags for name in of_bags[bag]
    }
    for h in schema.histories:
        if h.list_columns[0] not in inputs:
            continue
        fixed |= _newest(h, inputs, fills, h.max_length)
        widths |= dict.fromkeys(h.list_columns, (h.max_length,))
        for field in h.fields:
            widths[f"{h.name}_{field}"] += widths.get(field, ())
    for name in widths.keys() & fixed.keys():
        fixed[name] = _of_widths(fixed[name], widths[name], fills[name])
    return fixed


def newest_events(
    schema: FeatureSchema, inputs: Mapping[str, np.ndarray], number: int
) -> dict[str, np.ndarray]:
    """Checked arrays with at most so many events of each history, the newest."""
    fills, cut = schema.raw_missing(), dict(inputs)
    for h in schema.histories:
        cut |= _newest(h, inputs, fills, number)
    return cut


def _newest(
    history: History, inputs: Mapping[str, np.ndarray], fills: Mapping[str, Any], number: int
) -> dict[str, np.ndarray]:
    first = history.list_columns[0]
    # The model drops missing events first: the newest are the last of those that are there.
    there = inputs[first] != fills[first]
    newest = np.sort(np.argsort(there, axis=1, kind="stable")[:, -number:], axis=1)
    cut: dict[str, np.ndarray] = {}
    for name in history.list_columns:
        index = newest[(..., *[None] * (inputs[name].ndim - 2))]
        cut[name] = np.take_along_axis(inputs[name], index, axis=1)
    return cut


def _check_attached(schema: FeatureSchema, frame: pd.DataFrame, owners: Collection[Owner]) -> None:
    """A frame that lacks histories may have been meant to have them."""
    histories = schema.histories if "user" in owners else ()
    lacking = [history.name for history in histories if not has_list_columns(history, frame)]
    if lacking:
        raise ValueError(
            f"Client: the frame lacks the histories {', '.join(f'`{n}`' for n in lacking)} as list "
            "columns. Attach them (`RankingData.attach`); a user without events has None there."
        )


def _check_widths(
    schema: FeatureSchema, given: Mapping[str, Any], inputs: Mapping[str, np.ndarray]
) -> None:
    """A ValueError if what belongs to one event, or value of a bag, differs in length."""
    lengths = {n: _lengths(values) for n, values in given.items() if inputs[n].ndim > 1}
    for first, *others in schema.same_width():
        for other in others:
            if not {first, other} <= {*lengths} or lengths[first] == lengths[other]:
                continue
            one, two = (np.resize(lengths[n], len(given[n])) for n in (first, other))
            if not len(one):
                continue
            row = int(np.flatnonzero(one != two)[0])
            raise ValueError(
                f"Client: `{first}` and `{other}` differ in length in row {row}: {one[row]} and "
                f"{two[row]}."
            )


def _lengths(values: Any) -> list[int]:
    """Length of each list; that of one, if all are alike."""
    if isinstance(values, np.ndarray) and values.ndim > 1:
        return [values.shape[1]]
    lengths = [0 if one is None else len(one) for one in values]
    return lengths[:1] if len(set(lengths)) == 1 else lengths


def _check_order(histories: Sequence[History], inputs: Mapping[str, np.ndarray]) -> None:
    """A ValueError where ages tell that events come newest first."""
    for history in histories:
        for suffix, quantity in history.read_by.items():
            name = f"{history.name}_{suffix}"
            rows, width = inputs[name].shape
            bounds = np.arange(rows + 1) * width
            values = pa.array(inputs[name].ravel())
            quantity.check_order(values, bounds, pd.RangeIndex(rows), f"Client: `{name}`")


def _typed(
    name: str, values: Any, shape: tuple[int | None, ...], dtype: str, fill: Any
) -> np.ndarray:
    array = np.zeros(0)
    try:
        array = np.asarray(values)
        ragged = array.dtype == object and any(isinstance(v, _LISTS) for v in array.ravel())
        if None in shape and 0 < array.ndim <= len(shape):
            # Lists that are all empty, or None, make an array of too few dimensions.
            ragged |= all(v is None for v in array.ravel())
    except ValueError:
        ragged = True
    if ragged:
        array = _padded(name, values, shape, dtype, fill)
    else:
        array = _values(name, values, array, dtype)
    sizes = zip((None, *shape), array.shape, strict=False)
    fits = array.ndim == 1 + len(shape) and all(n in (None, found) for n, found in sizes)
    if not fits:
        wanted = ", ".join(["rows", *("any" if size is None else str(size) for size in shape)])
        raise ValueError(f"Client: `{name}` has shape {array.shape}; expected ({wanted}).")
    return array


def _padded(
    name: str, lists: Any, shape: tuple[int | None, ...], dtype: str, fill: Any
) -> np.ndarray:
    """Lists of different lengths, or None for an empty one, as an array, padded on the right."""
    lists = [() if one is None else one for one in lists]
    if None not in shape or not all(isinstance(one, _LISTS) for one in lists):
        wanted = ", ".join(["rows", *("any" if size is None else str(size) for size in shape)])
        raise ValueError(
            f"Client: `{name}` has lists of different lengths, or what is no list among lists; "
            f"expected ({wanted})."
        )
    flat = list(itertools.chain.from_iterable(lists))
    if None in shape[1:]:
        inner = _padded(name, flat, shape[1:], dtype, fill)
    else:
        inner = _values(name, flat, np.asarray(flat), dtype)
    lengths = np.array([len(one) for one in lists])
    inside = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
    padded = np.full(inside.shape + inner.shape[1:], fill, inner.dtype)
    padded[inside] = inner
    return padded


def _nothing(shape: tuple[int | None, ...], fill: Any, dtype: str) -> np.ndarray:
    """Histories without an event, which are one missing event wide: JSON has no empty shapes."""
    sizes = [1 if size is None else size for size in shape]
    return np.full(sizes, fill, "O" if dtype == "string" else dtype)


def _values(name: str, values: Any, array: np.ndarray, dtype: str) -> np.ndarray:
    """Values, which are `array` too, as an array of the dtype; other types are a ValueError."""
    if array.dtype.kind == "U" and not hasattr(values, "dtype"):
        # A list of strings and numbers would have become strings.
        array = np.asarray(values, "O")
    if array.size == 0:
        array = array.astype("O" if dtype == "string" else dtype)
    return _strings(name, array) if dtype == "string" else _numbers(name, array, dtype)


def _strings(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "OUST":
        raise _wrong_type(name, array, "string")
    try:
        flat = pa.array(array.ravel().tolist(), pa.string(), from_pandas=True)
        flat = pc.fill_null(flat, MISSING_STRING).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeError) as error:
        raise _wrong_type(name, array, "string") from error
    return flat.astype("O").reshape(array.shape)


def _numbers(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    if array.dtype.kind not in ("biu" if dtype == "int64" else "biuf"):
        raise _wrong_type(name, array, dtype)
    if array.dtype == "uint64" and array.size and array.max() > np.iinfo("int64").max:
        raise ValueError(f"Client: `{name}` has {array.max()}; expected integers below 2^63.")
    if dtype == "int64":
        return array.astype("int64")
    with np.errstate(over="ignore"):
        return array.astype("float32")


def _check_finite(name: str, values: np.ndarray, exact: bool) -> None:
    bad = ~np.isfinite(values) if exact else np.isinf(values)
    if bad.any():
        or_missing = "" if exact else ", or NaN if unknown"
        raise ValueError(
            f"Client: `{name}` has {int(bad.sum())} values such as {values[bad][0]}; expected "
            f"finite numbers{or_missing}."
        )


def _wrong_type(name: str, array: np.ndarray, dtype: str) -> ValueError:
    found = str(array.dtype)
    if array.dtype == object:
        found = ", ".join(sorted({type(value).__name__ for value in array.ravel()[:1000]}))
    kind, missing = _EXPECTED[dtype]
    return ValueError(
        f"Client: `{name}` has values of type {found}; expected {kind}, with {missing} where a "
        "value is missing."
    )


def _of_widths(values: np.ndarray, widths: tuple[int, ...], fill: Any) -> np.ndarray:
    """Values cut and padded on the right, in the axes after the first."""
    values = values[(slice(None), *map(slice, widths))]
    room = [(0, width - n) for width, n in zip(widths, values.shape[1:], strict=False)]
    untouched = [(0, 0)] * (values.ndim - 1 - len(widths))
    return np.pad(values, [(0, 0), *room, *untouched], constant_values=fill)
