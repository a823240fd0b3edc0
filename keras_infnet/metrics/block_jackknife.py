"""Block jackknife: the standard error of any measure of rows that are not independent."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd


def block_jackknife(
    measure: Callable[[np.ndarray], Any], groups: Any, blocks: int = 30
) -> tuple[np.ndarray, np.ndarray]:
    """A measure of all rows, and its standard error by leaving out blocks of whole groups.

    `error^2 = (B - 1) / B sum_b (m_b - mean(m))^2`, with `m_b` the measure without block `b`. Rows
    of one group, such as a user, are in one block: they may depend on each other. What is measured
    of two models at once, such as a difference, is paired.

    Args:
        measure: Takes the rows that count, bool `(rows,)`; returns one number or an array of them.
        groups: A key for each row, `(rows,)`. The same keys in the same order give the same blocks.
        blocks: Number of blocks `B`; as many as there are groups where they are fewer.

    Returns:
        The measure of all rows, and its standard error, float64 of the same shape. An error is NaN
        where the measure is not defined without some block, or there are fewer than two groups.

    Raises:
        ValueError: `blocks` is below 2, or there is no row.

    Example:
        >>> x = np.array([1.0, 2.0, 3.0])
        >>> mean, error = keras_infnet.metrics.block_jackknife(lambda rows: x[rows].mean(), x)
        >>> round(float(error), 4)
        0.5774

    Reference:
        Kott, The Delete-a-Group Jackknife, Journal of Official Statistics 17 (2001).
    """
    if not isinstance(blocks, int) or blocks < 2:
        raise ValueError(f"block_jackknife: blocks is {blocks!r}; expected 2 or more.")
    codes, known = pd.factorize(np.asarray(groups), use_na_sentinel=False)
    if not len(codes):
        raise ValueError("block_jackknife: there is no row; expected at least one.")
    value = np.asarray(measure(np.ones(len(codes), bool)), "float64")
    number = min(blocks, len(known))
    if number < 2:
        return value, np.full_like(value, np.nan)
    # Groups in a random order, so that their order in the log does not tell.
    block = np.random.default_rng(0).permutation(len(known))[codes] % number
    without = np.stack([np.asarray(measure(block != b), "float64") for b in range(number)])
    squares = ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    return value, np.sqrt((number - 1) / number * squares)
