"""Figures: matplotlib is an extra, and a figure is shown once."""

from typing import Any


def new_figure(
    width: float, height: float, *, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Any, Any]:
    """A figure and its axes `(rows, columns)`.

    It is closed for pyplot: a notebook shows what a cell returns, and would show an open one twice.

    Args:
        width: Inches.
        height: Inches.
        rows: Rows of axes.
        columns: Columns of axes.
        **options: Further arguments of `matplotlib.pyplot.subplots`.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("matplotlib"):
            raise
        raise ImportError(
            'Figures need matplotlib: `pip install "keras-infnet[plots]"`. The numbers are there '
            "without it."
        ) from error
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height), layout="constrained", squeeze=False, **options
    )
    plt.close(figure)
    return figure, axes
