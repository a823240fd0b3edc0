"""Reads a Parquet file with declared column types; errors name the file and the column."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from keras_infnet._base.did_you_mean import check_known
from keras_infnet.schema.frames import decoded


def _is_text(kind: pa.DataType) -> bool:
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_number(kind: pa.DataType) -> bool:
    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


_KINDS: dict[str, tuple[str, Callable[[pa.DataType], bool]]] = {
    "int": ("integers", types.is_integer),
    "number": ("numbers", _is_number),
    "text": ("texts", _is_text),
    "time": ("datetimes", types.is_timestamp),
}


def read_parquet_table(
    path: Path, columns: Mapping[str, str] | None = None, filters: Any = None
) -> pa.Table:
    """The declared columns of a Parquet file.

    Column types: `"int"`, `"number"` (integers, floats or Booleans), `"text"`, `"time"`
    (datetimes), and `"ints"`, `"numbers"`, `"texts"`, `"times"` for lists of them. Categories are
    read as their values.

    Args:
        path: The file.
        columns: Column type by column name; others are passed over. Defaults to all columns, as
            they are.
        filters: As in `pyarrow.parquet.read_table`.

    Returns:
        The rows, in the order of the file.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: It can't be read as Parquet, or a column is missing or of another type.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a Parquet file.")
    try:
        found = pq.read_schema(path)
        for column, kind in (columns or {}).items():
            _check(path, found, column, kind)
        return decoded(pq.read_table(path, columns=columns and list(columns), filters=filters))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path}: can't be read as Parquet: {error}. It is cut short or damaged: fetch it "
            "again."
        ) from None


def _check(path: Path, found: pa.Schema, column: str, kind: str) -> None:
    expected = " Expected the columns of the original file."
    check_known(column, found.names, f"{path}: column `{column}` is missing.", expected)
    of_column, is_list = found.field(column).type, kind not in _KINDS
    what, is_kind = _KINDS[kind.removesuffix("s")]
    value = of_column
    if is_list and (types.is_list(value) or types.is_large_list(value)):
        value = value.value_type
    elif is_list:
        value = pa.null()
    if types.is_dictionary(value):
        value = value.value_type
    # Without any value the type is not known.
    if not is_kind(value) and not types.is_null(of_column):
        raise ValueError(
            f"{path}: column `{column}` holds {of_column}; expected "
            f"{'lists of ' if is_list else ''}{what}."
        )
