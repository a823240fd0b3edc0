"""Widths of embedding tables: by the number of a table's ids, and by how often they occur."""

import math
from collections.abc import Sequence

# Width and number of ids, of ids that follow each other.
TablePart = tuple[int, int]

# Smaller tables are not cut: their memory is small, and all of their ids are trained.
_CUT_FROM = 1024
# The ids that cover this share of the values keep the width of their table.
MOST_FREQUENT = 0.5
# How many times narrower those are that follow, and the rest.
_NARROWER = (2, 4)


def table_parts(rows: int, frequent: Sequence[int], dim: int) -> tuple[TablePart, ...]:
    """The parts of a table, in the order of its ids.

    `w = min(dim, ceil(6 n^(1/4)))`, below `dim` rounded down to a power of two, is the width of all
    `n` ids of a small table, and of the most frequent ones of a table from 1,024 ids on. There the
    ids up to `frequent[1]` have `w / 2`, and the rest `w / 4`, rounded down to powers of two. Ids
    that an encoder was extended by belong to the last part.

    Args:
        rows: Number of its ids.
        frequent: How many of the first ids are the most frequent, how many are frequent, and how
            many there were when that was learned, `n`; empty where nothing is known of it.
        dim: Width of a token.

    Returns:
        `(width, ids)` of each part; of neighbours of the same width there is one.
    """
    ends = tuple(frequent) or (rows,)
    learned = ends[-1]
    width = min(dim, math.ceil(6 * learned**0.25))
    width = width if width == dim else _power_of_two(width)
    if not frequent or learned < _CUT_FROM:
        return ((width, rows),)
    widths, parts = (width, *(_power_of_two(width // n) for n in _NARROWER)), dict[int, int]()
    for part, start, end in zip(widths, (0, *ends), ends, strict=False):
        if end > start:
            parts[part] = parts.get(part, 0) + end - start
    last = next(reversed(parts))
    parts[last] += rows - learned
    return tuple(parts.items())


def _power_of_two(width: int) -> int:
    """The largest that is not above a width; 1 at least."""
    return 1 << max(0, width.bit_length() - 1)
