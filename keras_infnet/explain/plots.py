"""Figures of an explanation: heat maps of attention and gates, bars of events and importance."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from keras_infnet._base.figures import new_figure

# Okabe and Ito's colours, told apart by the colour-blind; these four differ in grey too.
DARK, MIDDLE, LIGHT, GREY = "#0072B2", "#D55E00", "#E69F00", "#999999"
# Grows in brightness alone, and is read in grey and by the colour-blind.
COLOUR_MAP = "cividis"

# By task, a metric and its importance by (kind, name).
Importance = Mapping[str, tuple[str, Any]]

_POSITIONS = "position, 0 the newest"
_KINDS = {"field": DARK, "history": LIGHT}
_NAMED_EVENTS = 3
_NAMED_FIELDS = 4
# Width of a letter and height of a line of names, at 7 points, in inches.
_LETTER, _LINE = 0.065, 0.13
# Least side of a panel of `plot_agreement`, in inches.
_PANEL = 3.0


def plot_attention(attention: pd.DataFrame) -> Any:
    """Task tokens against the fields, and below against the positions of each history."""
    memories = dict.fromkeys(attention.columns.get_level_values(0))
    return _heat_maps({memory: attention[memory] for memory in memories}, 0.3)


def plot_gates(gates: pd.DataFrame) -> Any:
    """Channels of each gated group of tokens, a line each."""
    members = gates.index.get_level_values("member").nunique()
    names = [
        f"block {block}, {tokens}" + (f", member {member}" if members > 1 else "")
        for member, block, tokens in gates.index
    ]
    figure, axes = new_figure(10, 1.5 + 0.35 * len(gates))
    _heat_map(figure, axes[0, 0], gates, list(gates.columns), names, "mean gate")
    axes[0, 0].set_xlabel("channel")
    return figure


def plot_proxies(fields: pd.DataFrame, events: pd.DataFrame) -> Any:
    """Field proxies against the fields, and sequence proxies against the events."""
    members = fields.index.get_level_values("member").nunique()
    names = [f"{p}, member {m}" if members > 1 else p for m, p in fields.index]
    histories = dict.fromkeys(events.columns.get_level_values(0))
    tables = {"fields": fields.set_axis(names)} | {name: events[name] for name in histories}
    return _heat_maps(tables, 0.25, of_fields="share")


def plot_events(events: pd.DataFrame, first_fields: dict[str, str], title: str) -> Any:
    """Bars of the weights, a panel for each task token and history, newest event on the right.

    Args:
        events: Table of `Explanation.events`.
        first_fields: Field that names an event, by history.
        title: Title of the figure.
    """
    tokens, histories = list(events["attention"].columns), list(first_fields)
    lengths = [int((events["event", "history"] == name).sum()) for name in histories]
    widths = _panel_widths(lengths)
    figure, axes = new_figure(
        1.0 + sum(widths),
        1.0 + 1.4 * len(tokens),
        rows=len(tokens),
        columns=len(histories),
        sharex="col",
        sharey="row",
        width_ratios=widths,
    )
    for column, (history, width) in enumerate(zip(histories, widths, strict=True)):
        of_history = events[events["event", "history"] == history]
        names = of_history["event", first_fields[history]]
        for axis, token in zip(axes[:, column], tokens, strict=True):
            weights = of_history["attention", token]
            _bars(axis, of_history["event", "position"], weights, names, width)
        axes[0, column].set_title(history, fontsize=10)
    for axis, token in zip(axes[:, 0], tokens, strict=True):
        axis.set_ylabel(token, fontsize=9)
        # Room for the names above the bars.
        axis.set_ylim(0, 1.25 * max(events["attention", token].max(), 1e-6))
    figure.suptitle(title, fontsize=11)
    figure.supxlabel(_POSITIONS, fontsize=9)
    return figure


def plot_importance(importance: Importance, top: int) -> Any:
    """Bars with standard errors, a panel each task, the most important on top.

    Args:
        importance: By task, a metric and its importance by (kind, name).
        top: Number of features and histories shown.
    """
    shown = min(top, max(len(table) for _, table in importance.values()))
    figure, panels = _panels(importance, 1.3 + 0.24 * shown, sharey=False)
    for axis, task, metric, table in panels:
        largest = table.nlargest(top, "importance").iloc[::-1]
        kinds = largest.index.get_level_values("kind")
        axis.barh(
            range(len(largest)),
            largest["importance"],
            xerr=largest["standard_error"],
            color=[_KINDS[kind] for kind in kinds],
            hatch=["//" if kind == "history" else "" for kind in kinds],
            error_kw={"elinewidth": 1, "capsize": 2},
        )
        axis.set_yticks(range(len(largest)), largest.index.get_level_values("name"), fontsize=8)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.locator_params(axis="x", nbins=4)
        axis.set_title(task, fontsize=10)
        axis.set_xlabel(f"{metric}: loss when shuffled", fontsize=9)
    return figure


def plot_agreement(attention: pd.DataFrame, importance: Importance, correlations: pd.Series) -> Any:
    """Attention over fields against their importance, a panel each task.

    Args:
        attention: Table of `task_attention`.
        importance: As in `plot_importance`.
        correlations: Rank correlation by (task, metric, memory).
    """
    figure, panels = _panels(importance, 3.8)
    for axis, task, metric, table in panels:
        losses = table.xs("field", level="kind")
        points = losses.assign(weight=attention["fields"].loc[task])
        axis.errorbar(
            points["weight"],
            points["importance"],
            yerr=points["standard_error"],
            fmt="o",
            color=DARK,
            markersize=4,
            elinewidth=0.8,
        )
        _name_points(axis, points)
        axis.axhline(0, color="black", linewidth=0.6)
        axis.locator_params(axis="x", nbins=5)
        found = correlations.get((task, metric, "fields"), float("nan"))
        axis.set_title(f"{task}: rank correlation {found:+.2f}", fontsize=9)
        axis.set_ylabel(f"{metric}: loss when shuffled", fontsize=9)
        axis.set_xlabel("attention, mean weight", fontsize=9)
    return figure


def _panels(importance: Importance, height: float, **options: Any) -> tuple[Any, Any]:
    """A figure, and of each task its panel, name, metric and importance."""
    figure, axes = new_figure(4.2 * len(importance), height, columns=len(importance), **options)
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
    found = zip(axes[0], importance.items(), strict=True)
    return figure, [(axis, task, *measured) for axis, (task, measured) in found]


def _heat_map(figure: Any, axis: Any, values: Any, columns: Any, rows: Any, label: str) -> None:
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


def _heat_maps(tables: dict[str, pd.DataFrame], row: float, of_fields: str = "mean weight") -> Any:
    """Heat map of the fields, and below of each history, as wide as these are long.

    Args:
        tables: Weights by memory; those of the histories have the same rows.
        row: Height of a row in inches.
        of_fields: What the colours of the fields mean.
    """
    histories = [memory for memory in tables if memory != "fields"]
    lines = [line for line in (["fields"], histories) if line]
    widths = [_panel_widths([tables[m].shape[1] for m in line]) for line in lines]
    height = (1.6 + row * max(len(table) for table in tables.values())) * len(lines)
    figure, _ = new_figure(1.0 + max(sum(of_line) for of_line in widths), height)
    figure.clear()
    parts = figure.subfigures(len(lines), 1, squeeze=False)[:, 0]
    for part, line, of_line in zip(parts, lines, widths, strict=True):
        axes = part.subplots(1, len(line), width_ratios=of_line, squeeze=False)[0]
        for axis, memory in zip(axes, line, strict=True):
            table, label = tables[memory], of_fields if memory == "fields" else "mean weight"
            names = list(table.index) if axis is axes[0] else [""] * len(table)
            _heat_map(part, axis, table, list(table.columns), names, label)
            axis.set_title(memory, fontsize=10)
        if line is histories:
            part.supxlabel(_POSITIONS, fontsize=9)
    return figure


def _panel_widths(lengths: Sequence[int]) -> list[float]:
    """Inches of the panels of a line, by their columns: room for a title and a scale in each."""
    widths = [max(2.2, 0.16 * length) for length in lengths]
    scale = min(max(6.0 / sum(widths), 1.0), max(15.0, 2.2 * len(lengths)) / sum(widths))
    return [max(2.2, scale * width) for width in widths]


def _bars(
    axis: Any, positions: pd.Series, weights: pd.Series, names: pd.Series, width: float
) -> None:
    """Bars of which the largest are named, where no larger one stands in the name's way."""
    axis.bar(positions, weights, color=DARK, width=0.8)
    largest = weights.nlargest(_NAMED_EVENTS)
    letter, longest = _LETTER * max(3, len(positions)) / width, max(2.5, len(positions) - 0.5)
    axis.set_xlim(longest, -0.5)
    for place, i in enumerate(largest.index[largest > largest.max() / 2]):
        name, larger = str(names[i]), positions[largest.index[:place]]
        half = letter * len(name) / 2
        middle = max(min(positions[i], longest - half), half - 0.5)
        if (abs(larger - middle) > 2 * half).all():
            above = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center"}
            axis.annotate(name, (middle, weights[i]), fontsize=7, **above)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.spines[["top", "right"]].set_visible(False)


def _name_points(axis: Any, points: pd.DataFrame) -> None:
    """Names of the most important and the most read, where points and names leave room."""
    from matplotlib.transforms import Bbox

    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    inches_x, inches_y = _PANEL / (right - left), _PANEL / (high - low)
    x, y = (points["weight"] - left) * inches_x, (points["importance"] - low) * inches_y
    bars = (points["standard_error"] * inches_y).clip(lower=0.04)
    taken = [
        Bbox.from_extents(x[n] - 0.04, y[n] - bars[n], x[n] + 0.04, y[n] + bars[n]) for n in x.index
    ]
    largest = [points.nlargest(_NAMED_FIELDS, by).index for by in ("importance", "weight")]
    for name in dict.fromkeys([*largest[0], *largest[1]]):
        length = _LETTER * len(name)
        for side, start in (("left", x[name] + 0.07), ("right", x[name] - 0.07 - length)):
            box = Bbox.from_bounds(start, y[name] + 0.03, length, _LINE)
            if box.x1 > _PANEL or box.count_overlaps(taken):
                continue
            beside = {"xytext": (5 if side == "left" else -5, 3), "textcoords": "offset points"}
            point = (points.loc[name, "weight"], points.loc[name, "importance"])
            axis.annotate(name, point, **beside, ha=side, fontsize=7)
            taken.append(box)
            break
