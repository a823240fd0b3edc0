"""Shards of a prepared folder: names and columns of their files, and their writer."""

from pathlib import Path

import numpy as np
import pyarrow as pa

FORMAT = 1
MANIFEST, ENCODER, SHARDS = "manifest.json", "encoder", "shards"
# Columns of rows and of events that are no features.
ROW, USER, TIME = "row", "#user", "#time"
# Inputs with one Parquet column for each id; all others have one column of fixed-size lists.
_COLUMNWISE = ("categorical", "bags", "bag_weights")


def rows_file(folder: Path, split: str, shard: str) -> Path:
    """Where the rows of one split and one shard lie."""
    return folder / "rows" / split / f"{shard}.parquet"


def events_file(folder: Path, history: str, shard: str) -> Path:
    """Where the events of one history and one shard lie."""
    return folder / "events" / history / f"{shard}.parquet"


def shard_file(folder: Path, shard: str) -> Path:
    """What is known of a finished shard."""
    return folder / SHARDS / f"{shard}.json"


def input_columns(name: str, width: int) -> list[str]:
    """Parquet columns of a packed input that is `width` wide."""
    if name in _COLUMNWISE:
        return [f"x/{name}/{i}" for i in range(width)]
    return [f"x/{name}"]


def input_types(name: str, shape: tuple[int, ...], dtype: str) -> dict[str, pa.DataType]:
    """Parquet columns of a packed input, with their types."""
    value, width = pa.from_numpy_dtype(np.dtype(dtype)), int(np.prod(shape))
    kind = value if name in _COLUMNWISE else pa.list_(value, width)
    return dict.fromkeys(input_columns(name, width), kind)


def to_columns(name: str, array: np.ndarray) -> dict[str, pa.Array]:
    """Parquet columns of a packed input, `(rows, ...)`."""
    flat = array.reshape(len(array), -1)
    names = input_columns(name, flat.shape[1])
    if name in _COLUMNWISE:
        return {n: pa.array(np.ascontiguousarray(flat[:, i])) for i, n in enumerate(names)}
    lists = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    return {names[0]: lists}


def from_columns(name: str, shape: tuple[int, ...], table: pa.Table) -> np.ndarray:
    """The packed input, `(rows, *shape)`."""
    names = input_columns(name, int(np.prod(shape)))
    if name in _COLUMNWISE:
        return np.stack([table[n].to_numpy() for n in names], axis=1)
    flat = table[names[0]].combine_chunks().flatten()
    return np.asarray(flat).reshape(-1, *shape)


def event_columns(width: int) -> list[str]:
    """Parquet columns of the ids of an event."""
    return [f"event/{i}" for i in range(width)]


def window_columns(history: str) -> list[str]:
    """Parquet columns of where a row's history starts and ends among the events of its block."""
    return [f"{history}/start", f"{history}/end"]


def _blocks(users: np.ndarray, block_rows: int) -> np.ndarray:
    """Block of each user code, increasing."""
    rows = np.bincount(users)
    blocks = (np.cumsum(rows) - rows) // block_rows
    return np.unique(blocks, return_inverse=True)[1]
