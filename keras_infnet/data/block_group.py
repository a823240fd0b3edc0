"""Blocks below one another, whose pointers still point at their own events."""

from collections.abc import Sequence

import numpy as np

from keras_infnet.data.prepared_rows import Arrays


def join_blocks(blocks: Sequence[Arrays]) -> Arrays:
    """Rows and events of all blocks, in their order."""
    joined = {}
    for name in blocks[0]:
        parts = [block[name] for block in blocks]
        if name.startswith("window/"):
            events = [len(block[f"events/{name.removeprefix('window/')}"]) for block in blocks]
            firsts = np.cumsum([0, *events[:-1]])
            parts = [p + [first, first, 0] for p, first in zip(parts, firsts, strict=True)]
        joined[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return joined


def take_rows(block: Arrays, rows: np.ndarray) -> Arrays:
    """Some rows with the events that they point to, and no others."""
    taken = {}
    for name, array in block.items():
        kind, _, history = name.partition("/")
        if kind == "window":
            starts, ends, times = array[rows].T
            lengths = ends - starts
            new_ends = np.cumsum(lengths)
            index = np.repeat(starts - (new_ends - lengths), lengths) + np.arange(lengths.sum())
            taken[name] = np.stack([new_ends - lengths, new_ends, times], axis=1)
            taken[f"events/{history}"] = block[f"events/{history}"][index]
            taken[f"times/{history}"] = block[f"times/{history}"][index]
        elif kind not in ("events", "times"):
            taken[name] = array[rows]
    return {name: taken[name] for name in block}
