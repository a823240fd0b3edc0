"""Frames: rows of pandas, Polars or Arrow as a pandas frame that keeps whole numbers and lists."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

# A pandas frame, or what gives its rows as an Arrow stream: frames of Polars, tables of Arrow.
Frame = Any


class _ListDtype(pd.ArrowDtype):
    """Arrow's lists, whose own name pandas can't read back from Parquet (pandas #57411)."""

    def __str__(self) -> str:
        return "object"

    def construct_array_type(self) -> type["_Lists"]:
        return _Lists


class _Lists(pd.arrays.ArrowExtensionArray):
    def __init__(self, values: Any) -> None:
        super().__init__(values)
        self._dtype = _ListDtype(values.type)


def list_series(lists: pa.Array | pa.ChunkedArray, index: Any) -> pd.Series:
    """A column of lists, not copied; `to_parquet` writes it so that all can read it."""
    chunks = lists if isinstance(lists, pa.ChunkedArray) else pa.chunked_array([lists])
    return pd.Series(_Lists(chunks), index=index)


def as_frame(rows: Frame, who: str, other: str = "") -> pd.DataFrame:
    """The rows as a pandas frame; those of Polars or Arrow are numbered from 0.

    Args:
        rows: A pandas frame, or anything with an Arrow stream.
        who: Who asks, for the error message.
        other: What else would do, for the error message.

    Raises:
        ValueError: It is neither, or has a column twice or of a type that Arrow lacks.
    """
    if isinstance(rows, pd.DataFrame):
        return rows
    table = None
    try:
        table = decoded(pa.table(rows)) if is_frame(rows) else None
    except (pa.ArrowException, TypeError, ValueError) as error:
        if hasattr(rows, "columns"):
            raise ValueError(
                f"{who}: the {kind_of(rows)} holds what Arrow can't: {error}. Cast it to plain "
                "types, or leave out columns that no schema names."
            ) from error
    if table is None:
        collect = " Collect it first." if hasattr(rows, "collect") else ""
        raise ValueError(
            f"{who}: found {kind_of(rows)}; expected a pandas DataFrame, a Polars or Arrow "
            f"table{f', {other}' if other else ''}.{collect}"
        )
    names = table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{who}: the table has several columns named {', '.join(twice)}.")
    return to_frame(table, np.arange(len(table)))


def as_rows(rows: Frame, who: str) -> pd.DataFrame:
    """`as_frame` of one row or more; none is a ValueError."""
    frame = as_frame(rows, who)
    if len(frame) == 0:
        raise ValueError(f"{who}: the frame is empty; expected at least one row.")
    return frame


def is_frame(rows: Any) -> bool:
    """Whether it is a frame of pandas, or gives its rows as an Arrow stream."""
    is_series = isinstance(rows, pd.Series)
    return isinstance(rows, pd.DataFrame) or (hasattr(rows, "__arrow_c_stream__") and not is_series)


def kind_of(value: Any) -> str:
    """What errors call a value: `list`, `polars.DataFrame`."""
    package = type(value).__module__.partition(".")[0]
    return type(value).__name__ if package == "builtins" else f"{package}.{type(value).__name__}"


def decoded(table: pa.Table) -> pa.Table:
    """Columns of plain types: dictionaries of two chunks need not agree."""
    for i, field in enumerate(table.schema):
        values, kind = table[i], _without_views(field.type)
        values = values if kind == field.type else values.cast(kind)
        if pa.types.is_dictionary(kind):
            values = values.cast(kind.value_type)
        if values.type != field.type:
            table = table.set_column(i, field.name, values)
    return table.replace_schema_metadata(None)


def _without_views(kind: pa.DataType) -> pa.DataType:
    """Polars has strings of a kind that many functions of Arrow lack."""
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _without_views(kind.value_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_without_views(kind.value_type))
    return kind


def below_another(tables: Sequence[pa.Table]) -> pa.Table:
    """One table; whole numbers of a chunk that those of another can't hold are a ValueError."""
    try:
        return pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    except pa.ArrowInvalid as error:
        for name in tables[0].column_names:
            columns = [table.select([name]) for table in tables]
            kinds = sorted({str(column.schema.field(0).type) for column in columns})
            try:
                pa.concat_tables(columns, promote_options="permissive")
            except pa.ArrowInvalid:
                raise ValueError(
                    f"column `{name}` holds {' in some chunks and '.join(kinds)} in others, which "
                    "can't be one type without merging values. Give all files and frames one type: "
                    "`Int64` knows missing values."
                ) from error
        raise


def to_frame(table: pa.Table, index: np.ndarray) -> pd.DataFrame:
    """A frame as pandas reads it, but with lists and whole numbers with gaps kept as they are."""
    kept = {
        field.name: list_series(table[field.name], index)
        for field in table.schema
        if is_list(field.type)
    } | {
        field.name: pd.array(table[field.name], dtype=pd.ArrowDtype(field.type))
        for field in table.schema
        if pa.types.is_integer(field.type) and table[field.name].null_count
    }
    frame = table.drop_columns(list(kept)).to_pandas().set_axis(index)
    return frame.assign(**kept)[table.column_names]


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is one of Arrow's lists."""
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
