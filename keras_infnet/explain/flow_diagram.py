"""The information flow as a diagram: bands as wide as the weights."""

from typing import Any

import pandas as pd

from keras_infnet.explain.figures import DARK, GREY, MIDDLE, new_figure

_COLOURS = {"made of": GREY, "attention": DARK, "head": MIDDLE}
_COLUMNS = (0.0, 1.0, 2.0)
_BAR = 0.03
_GAP = 0.35


def plot_flow(flow: pd.DataFrame) -> Any:
    """Three columns: what is read, who reads it, and the heads.

    Args:
        flow: Table of `Explanation.flow`.
    """
    nodes = _nodes(flow)
    height = max(bottom + size for column in nodes for bottom, size in column.values())
    figure, axes = new_figure(10, max(4.0, 0.45 * height + 1.0))
    axis = axes[0, 0]
    used = [dict.fromkeys(column, (0.0, 0.0)) for column in nodes]
    for edge in _drawn_order(flow, nodes).itertuples():
        left = int(edge.kind == "head")
        starts = nodes[left][edge.source][0] + used[left][edge.source][1]
        ends = nodes[left + 1][edge.target][0] + used[left + 1][edge.target][0]
        _band(axis, left, starts, ends, edge.width, _COLOURS[edge.kind])
        incoming, outgoing = used[left][edge.source]
        used[left][edge.source] = incoming, outgoing + edge.width
        incoming, outgoing = used[left + 1][edge.target]
        used[left + 1][edge.target] = incoming + edge.width, outgoing
    for x, column, side in zip(_COLUMNS, nodes, ("right", "left", "left"), strict=True):
        for name, (bottom, size) in column.items():
            axis.bar(x, size, bottom=bottom, width=2 * _BAR, color="black")
            shift = -0.05 if side == "right" else 0.05
            axis.text(
                x + shift, bottom + size / 2, name, ha=side, va="center", fontsize=9, zorder=5
            )
    _finish(axis, height, set(flow["kind"]))
    return figure


def _nodes(flow: pd.DataFrame) -> list[dict[str, tuple[float, float]]]:
    """Bottom and height of each node, by column, the first on top."""
    to_heads = flow["kind"] == "head"
    reads, heads = flow[~to_heads], flow[to_heads]
    middle = dict.fromkeys([*reads["target"], *heads["source"]])
    sizes = [
        reads.groupby("source", sort=False)["width"].sum(),
        pd.Series(
            {
                name: max(
                    reads.loc[reads["target"] == name, "width"].sum(),
                    heads.loc[heads["source"] == name, "width"].sum(),
                )
                for name in middle
            }
        ),
        heads.groupby("target", sort=False)["width"].sum(),
    ]
    highest = max(part.sum() + _GAP * len(part) for part in sizes)
    nodes = []
    for part in sizes:
        gap = (highest - part.sum()) / len(part)
        top, column = highest - gap / 2, {}
        for name, size in part.items():
            column[name] = (top - size, size)
            top -= size + gap
        nodes.append(column)
    return nodes


def _drawn_order(flow: pd.DataFrame, nodes: list[dict[str, tuple[float, float]]]) -> pd.DataFrame:
    """From the bottom up, so that bands of a node don't cross beside it."""
    at = {}
    for left, kinds in ((0, ("made of", "attention")), (1, ("head",))):
        for edge in flow[flow["kind"].isin(kinds)].itertuples():
            at[edge.Index] = nodes[left][edge.source][0], nodes[left + 1][edge.target][0]
    return flow.loc[sorted(at, key=at.get)]


def _band(axis: Any, column: int, start: float, end: float, width: float, colour: str) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    left, right = _COLUMNS[column] + _BAR, _COLUMNS[column + 1] - _BAR
    middle = (left + right) / 2
    points = [
        (left, start),
        (middle, start),
        (middle, end),
        (right, end),
        (right, end + width),
        (middle, end + width),
        (middle, start + width),
        (left, start + width),
        (left, start),
    ]
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    axis.add_patch(PathPatch(Path(points, codes), facecolor=colour, alpha=0.45, linewidth=0))


def _finish(axis: Any, height: float, kinds: set[str]) -> None:
    from matplotlib.patches import Patch

    labels = {"made of": "made of", "attention": "mean attention", "head": "share in the head"}
    shown = [
        Patch(facecolor=_COLOURS[k], alpha=0.45, label=labels[k]) for k in labels if k in kinds
    ]
    axis.legend(handles=shown, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, frameon=False)
    axis.set_xlim(-0.6, 2.4)
    axis.set_ylim(0, height)
    axis.axis("off")
