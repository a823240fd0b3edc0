"""Empty figures, from the optional matplotlib."""

from typing import Any

# Okabe and Ito's colours, told apart by the colour-blind; these four differ in grey too.
DARK, MIDDLE, LIGHT, GREY = "#0072B2", "#D55E00", "#E69F00", "#999999"
# Grows in brightness alone, and is read in grey and by the colour-blind.
COLOUR_MAP = "cividis"


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
        if error.name != "matplotlib":
            raise
        raise ImportError(
            'Figures need matplotlib: `pip install "keras-infnet[plots]"`. The tables are there '
            "without it."
        ) from error
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height), layout="constrained", squeeze=False, **options
    )
    plt.close(figure)
    return figure, axes


def heat_map(figure: Any, axis: Any, values: Any, columns: Any, rows: Any, label: str) -> None:
    """Draws a heat map with names at its sides and a scale of its own.

    Args:
        figure: The figure, or part of one.
        axis: Where to draw.
        values: `(rows, columns)`.
        columns: Names, or positions, of which a part is written where they are many.
        rows: Names.
        label: What the colours mean.
    """
    image = axis.imshow(values, aspect="auto", cmap=COLOUR_MAP, interpolation="nearest")
    figure.colorbar(image, ax=axis, fraction=0.04, pad=0.01, aspect=40, label=label)
    every = 1 if isinstance(columns[0], str) else max(1, 5 * round(len(columns) / 100))
    places = [i for i, name in enumerate(columns) if every == 1 or name % every == 0]
    names = [str(columns[i]) for i in places]
    vertical = max(len(name) for name in names) > 3
    axis.set_xticks(list(places), names, rotation=90 if vertical else 0)
    axis.tick_params(axis="x", labelsize=6 if vertical and len(names) > 50 else 8)
    axis.set_yticks(range(len(rows)), rows)
    axis.tick_params(axis="y", labelsize=8)
