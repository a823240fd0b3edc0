"""Inputs of a client's request: checked against the schema, and of fixed width if asked for."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet.encoding.requests import owned_request
from keras_infnet.schema.canonical import MISSING_INT, MISSING_STRING
from keras_infnet.schema.feature import OWNERS, Owner
from keras_infnet.schema.frames import as_rows, is_frame, kind_of
from keras_infnet.schema.schema import FeatureSchema

# By dtype: how values are called, what stands for a missing one, and with what lists are padded.
_EXPECTED = {
    "string": ("strings", "None", MISSING_STRING),
    "int64": ("integers", "-1", MISSING_INT),
    "float32": ("numbers", "NaN", float("nan")),
}


def checked_inputs(
    schema: FeatureSchema, rows: Any, owners: Collection[Owner] = OWNERS
) -> dict[str, np.ndarray]:
    """Typed arrays, by name, of the raw inputs that belong to `owners`.

    Args:
        schema: The schema.
        rows: A frame as `frame_to_request` takes it, or a dict, input name -> values
            `(rows, ...)`; histories and bags are padded there already.
        owners: Whose features are wanted; histories are the user's.

    Returns:
        Object (strings), int64 or float32 arrays with the same first dimension.

    Raises:
        ValueError: An input is missing or unknown, or its values have the wrong type or shape.
    """
    if is_frame(rows):
        return owned_request(schema, as_rows(rows, "Client"), owners)
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
    missing = [name for name in specs if name not in rows]
    if missing:
        raise ValueError(f"Client: inputs are missing: {', '.join(f'`{n}`' for n in missing)}.")
    inputs = {name: _typed(name, rows[name], *spec) for name, spec in specs.items()}
    for f in schema.features:
        of_events = (f"{h.name}_{f.name}" for h in schema.histories if f.name in h.fields)
        for name in {f.name, *of_events} & inputs.keys():
            inputs[name] = f.sent(inputs[name], f"Client: `{name}`")
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
    return inputs


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
        first = h.list_columns[0]
        if first not in inputs:
            continue
        # The model drops missing events first: the newest are the last of those that are there.
        there = inputs[first] != fills[first]
        newest = np.sort(np.argsort(there, axis=1, kind="stable")[:, -h.max_length :], axis=1)
        widths |= dict.fromkeys(h.list_columns, (h.max_length,))
        for field in h.fields:
            widths[f"{h.name}_{field}"] += widths.get(field, ())
        for name in h.list_columns:
            index = newest[(..., *[None] * (inputs[name].ndim - 2))]
            fixed[name] = np.take_along_axis(inputs[name], index, axis=1)
    for name in widths.keys() & fixed.keys():
        fixed[name] = _of_widths(fixed[name], widths[name], fills[name])
    return fixed


def _typed(name: str, values: Any, shape: tuple[int | None, ...], dtype: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"Client: `{name}` has lists of different lengths. Pad them on the right with "
            f"{_EXPECTED[dtype][2]!r}, or give a DataFrame."
        ) from error
    if array.dtype.kind == "U" and not hasattr(values, "dtype"):
        # A list of strings and numbers would have become strings.
        array = np.asarray(values, "O")
    if array.size == 0:
        array = array.astype("O" if dtype == "string" else dtype)
    array = _strings(name, array) if dtype == "string" else _numbers(name, array, dtype)
    sizes = zip((None, *shape), array.shape, strict=False)
    fits = array.ndim == 1 + len(shape) and all(n in (None, found) for n, found in sizes)
    if not fits:
        wanted = ", ".join(["rows", *("any" if size is None else str(size) for size in shape)])
        raise ValueError(f"Client: `{name}` has shape {array.shape}; expected ({wanted}).")
    return array


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
    kind, missing, _ = _EXPECTED[dtype]
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
