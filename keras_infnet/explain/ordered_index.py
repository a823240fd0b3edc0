"""An index of several levels in the order in which its names appear."""

from collections.abc import Sequence

import pandas as pd


def ordered_index(rows: Sequence[tuple], names: Sequence[str]) -> pd.MultiIndex:
    """Index whose levels keep the order of appearance: pandas then looks up parts without a search.

    Args:
        rows: A tuple each row.
        names: Names of the levels.

    Returns:
        The index; empty without rows.
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    levels = [list(dict.fromkeys(column)) for column in columns]
    places = [{name: i for i, name in enumerate(level)} for level in levels]
    codes = [
        [place[name] for name in column] for place, column in zip(places, columns, strict=True)
    ]
    return pd.MultiIndex(levels, codes, names=names)
