"""Chart of what the task tokens read of the events of one request."""

from typing import Any

import pandas as pd

from keras_infnet.explain.figures import DARK, new_figure

_NAMED = 3


def plot_events(events: pd.DataFrame, first_fields: dict[str, str], title: str) -> Any:
    """Bars of the weights, a panel for each task token and history, newest event on the right.

    Args:
        events: Table of `Explanation.events`.
        first_fields: Field that names an event, by history.
        title: Title of the figure.
    """
    tokens, histories = list(events["attention"].columns), list(first_fields)
    lengths = [int((events["event", "history"] == name).sum()) for name in histories]
    figure, axes = new_figure(
        max(7.0, min(16.0, 2.0 + 0.2 * sum(lengths))),
        1.0 + 1.4 * len(tokens),
        rows=len(tokens),
        columns=len(histories),
        sharex="col",
        sharey="row",
        width_ratios=[max(6, length) for length in lengths],
    )
    for column, history in enumerate(histories):
        of_history = events[events["event", "history"] == history]
        for axis, token in zip(axes[:, column], tokens, strict=True):
            names = of_history["event", first_fields[history]]
            _bars(axis, of_history["event", "position"], of_history["attention", token], names)
        axes[0, column].set_title(history, fontsize=10)
        axes[-1, column].set_xlabel("position, 0 the newest")
    for axis, token in zip(axes[:, 0], tokens, strict=True):
        axis.set_ylabel(token, fontsize=9)
        # Room for the names above the bars.
        axis.set_ylim(0, 1.25 * max(events["attention", token].max(), 1e-6))
    figure.suptitle(title, fontsize=11)
    return figure


def _bars(axis: Any, positions: pd.Series, weights: pd.Series, names: pd.Series) -> None:
    axis.bar(positions, weights, color=DARK, width=0.8)
    largest = weights.nlargest(_NAMED)
    for i in largest.index[largest > largest.max() / 2]:
        axis.annotate(
            str(names[i]),
            (positions[i], weights[i]),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    axis.set_xlim(max(2.5, len(positions) - 0.5), -0.5)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.spines[["top", "right"]].set_visible(False)
