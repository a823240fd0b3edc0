"""Information flow of INFNet, tokens -> proxies and task tokens -> heads: table and diagram."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from keras_infnet._base.figures import new_figure
from keras_infnet.explain.plots import DARK, GREY, MIDDLE
from keras_infnet.schema.schema import FeatureSchema

_TOKENS = {
    "field_proxies": "field proxies",
    "sequence_proxies": "sequence proxies",
    "task_proxies": "shared task tokens",
    "candidate_proxy": "candidate",
}
_COLOURS = {"made of": GREY, "attention": DARK, "head": MIDDLE}
_COLUMNS = (0.0, 1.0, 2.0)
_BAR = 0.03
_GAP = 0.35


def flow_table(
    schema: FeatureSchema, tables: Mapping[str, pd.DataFrame], block: int
) -> pd.DataFrame:
    """The table that `Explanation.flow` describes.

    Args:
        schema: The model's schema.
        tables: Tables of `InfnetReader.tables`.
        block: Index of the block, from 0.

    Returns:
        Columns `source`, `target`, `kind` and `width`, without flows of width 0.
    """
    attention = cast(pd.DataFrame, tables["attention"].xs(block, level="block"))
    widths = [
        ("attention", _attention(schema, attention)),
        *(("made of", shares) for shares in _made_of(schema, tables)),
        *(("head", shares) for shares in _heads(schema, tables["heads"])),
    ]
    flow = pd.concat([_edges(of_kind, kind) for kind, of_kind in widths], ignore_index=True)
    return flow[flow["width"] > 0].reset_index(drop=True)


def plot_flow(flow: pd.DataFrame) -> Any:
    """Three columns: what is read, who reads it, and the heads.

    Args:
        flow: Table of `Explanation.flow`.
    """
    nodes = _nodes(flow)
    height = max(bottom + size for column in nodes for bottom, size in column.values())
    figure, axes = new_figure(10, max(4.0, 0.45 * height + 1.0))
    axis = axes[0, 0]
    for band in _bands(flow, nodes).itertuples():
        _draw(axis, band)
    for x, column, side in zip(_COLUMNS, nodes, ("right", "left", "left"), strict=True):
        for name, (bottom, size) in column.items():
            axis.bar(x, size, bottom=bottom, width=2 * _BAR, color="black")
            shift = -0.05 if side == "right" else 0.05
            # Bands pass behind the names.
            behind = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
            placed = {"ha": side, "va": "center", "fontsize": 9, "zorder": 5, "bbox": behind}
            axis.text(x + shift, bottom + size / 2, name, **placed)
    _finish(axis, height, set(flow["kind"]))
    return figure


def _attention(schema: FeatureSchema, attention: pd.DataFrame) -> pd.DataFrame:
    sources = [_source(schema, *column) for column in attention.columns]
    targets = [_token(group, token) for _, group, token in attention.index]
    masses = attention.T.groupby(sources, sort=False).sum().T
    return masses.groupby(targets, sort=False).mean().T


def _made_of(schema: FeatureSchema, tables: Mapping[str, pd.DataFrame]) -> Iterator[pd.DataFrame]:
    if len(tables["field_proxies"]):
        shares = tables["field_proxies"].mean()
        owners = [_source(schema, "fields", name) for name in shares.index]
        yield shares.groupby(owners, sort=False).sum().to_frame("field proxies")
    if len(tables["sequence_proxies"]):
        groups = pd.Series({f"history {s.name}": len(s.groups) or 1 for s in schema.histories})
        yield (groups / groups.sum()).to_frame("sequence proxies")


def _heads(schema: FeatureSchema, heads: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for task, shares in heads.groupby(level="task", sort=False).mean().iterrows():
        # Fields that reach a head by its crosses are one source for each owner.
        sources = [
            _source(schema, group, name) if group == "fields" else _token(group, task)
            for group, name in shares.index
        ]
        yield shares.groupby(sources, sort=False).sum().to_frame(task)


def _edges(widths: pd.DataFrame, kind: str) -> pd.DataFrame:
    """A row for each cell of a table of sources by targets."""
    cells = cast(pd.Series, widths.astype("float64").unstack())
    edges = cells.rename_axis(["target", "source"]).reset_index(name="width").assign(kind=kind)
    return edges[["source", "target", "kind", "width"]]


def _token(group: str, name: Any) -> str:
    if group == "own_proxies":
        # Of the task `click` they are `click 0`, `click 1`, ...
        return f"own proxies of {re.sub(' [0-9]+$', '', name)}"
    return f"{name} token" if group == "tasks" else _TOKENS[group]


def _source(schema: FeatureSchema, memory: str, name: str | int) -> str:
    if memory == "fields":
        return f"{schema.feature(str(name)).owner} fields"
    return "task tokens" if memory == "tasks" else f"history {memory}"


def _nodes(flow: pd.DataFrame) -> list[dict[str, tuple[float, float]]]:
    """Bottom and height of each node, by column, the first on top."""
    to_heads = flow["kind"] == "head"
    reads, heads = flow[~to_heads], flow[to_heads]

    def total(edges: pd.DataFrame, end: str) -> pd.Series:
        return edges.groupby(end, sort=False)["width"].sum()

    middle = pd.concat([total(reads, "target"), total(heads, "source")], axis=1).max(axis=1)
    sizes = [total(reads, "source"), middle, total(heads, "target")]
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


def _bands(flow: pd.DataFrame, nodes: list[dict[str, tuple[float, float]]]) -> pd.DataFrame:
    """Where each band starts and ends, from the bottom up, so that none cross beside a node."""
    bands: Any = flow.assign(left=(flow["kind"] == "head").astype(int))
    bands["start"] = [nodes[band.left][band.source][0] for band in bands.itertuples()]
    bands["end"] = [nodes[band.left + 1][band.target][0] for band in bands.itertuples()]
    bands = bands.sort_values(["start", "end"])
    for place, node in (("start", "source"), ("end", "target")):
        below = bands.groupby(["left", node])["width"].cumsum() - bands["width"]
        bands[place] += below
    return bands


def _draw(axis: Any, band: Any) -> None:
    left, right = _COLUMNS[band.left] + _BAR, _COLUMNS[band.left + 1] - _BAR
    along = np.linspace(0, 1, 50)
    bottom = band.start + (band.end - band.start) * along**2 * (3 - 2 * along)
    x = left + (right - left) * along
    style = {"color": _COLOURS[band.kind], "alpha": 0.45, "linewidth": 0}
    axis.fill_between(x, bottom, bottom + band.width, **style)


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
