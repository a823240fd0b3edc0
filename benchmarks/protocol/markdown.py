"""Markdown tables, and numbers as they stand in them."""

import math
from collections.abc import Iterable, Sequence

import pandas as pd


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def spread(values: pd.Series) -> str:
    """Mean and standard deviation of the seeds."""
    values = values.dropna()
    if values.empty:
        return "not defined"
    deviation = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
    return f"{values.mean():.4f}{deviation}"


def signed(value: float, error: float | None = None) -> str:
    """A difference, and its standard error."""
    if math.isnan(value):
        return "not defined"
    return f"{value:+.4f}" + ("" if error is None else f" ± {error:.4f}")


def with_mean(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows, and for each seed the mean over the tasks as a task `mean`."""
    others = [c for c in frame.columns if c not in ("task", "value")]
    means = frame.groupby(others, sort=False, dropna=False)["value"].mean().reset_index()
    return pd.concat([frame, means.assign(task="mean")], ignore_index=True)
