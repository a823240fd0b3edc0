"""Heat maps of attention, gates and proxies."""

from typing import Any

import pandas as pd

from keras_infnet.explain.figures import heat_map, new_figure

_POSITIONS = "position, 0 the newest"


def plot_attention(attention: pd.DataFrame) -> Any:
    """Task tokens against the fields, and below against the positions of each history."""
    memories = list(dict.fromkeys(attention.columns.get_level_values(0)))
    lines = [[m for m in memories if m == "fields"], [m for m in memories if m != "fields"]]
    lines = [line for line in lines if line]
    figure, axes = _lines_of_axes(lines, attention, 1.6 + 0.3 * len(attention))
    for axis, memory in axes:
        part = attention[memory]
        heat_map(figure, axis, part, list(part.columns), list(part.index), "mean weight")
        axis.set_title("fields" if memory == "fields" else f"{memory}: {_POSITIONS}", fontsize=10)
    return figure


def plot_gates(gates: pd.DataFrame) -> Any:
    """Channels of each gated group of tokens, a line each."""
    members = gates.index.get_level_values("member").nunique()
    names = [
        f"block {block}, {tokens}" + (f", member {member}" if members > 1 else "")
        for member, block, tokens in gates.index
    ]
    figure, axes = new_figure(10, 1.5 + 0.35 * len(gates))
    heat_map(figure, axes[0, 0], gates, list(gates.columns), names, "mean gate")
    axes[0, 0].set_xlabel("channel")
    return figure


def plot_proxies(fields: pd.DataFrame, events: pd.DataFrame) -> Any:
    """Field proxies against the fields, and sequence proxies against the events."""
    tables = {}
    if len(fields):
        members = fields.index.get_level_values("member").nunique()
        names = [f"{p}, member {m}" if members > 1 else p for m, p in fields.index]
        tables["fields"] = fields.set_axis(names)
    tables |= {name: events[name] for name in dict.fromkeys(events.columns.get_level_values(0))}
    lines = [[m for m in tables if m == "fields"], [m for m in tables if m != "fields"]]
    lines = [line for line in lines if line]
    joined = pd.concat(tables, axis=1)
    most = max(len(table) for table in tables.values())
    figure, axes = _lines_of_axes(lines, joined, 1.6 + 0.25 * most)
    for axis, memory in axes:
        part = tables[memory]
        label = "share" if memory == "fields" else "mean weight"
        heat_map(figure, axis, part, list(part.columns), list(part.index), label)
        axis.set_title("fields" if memory == "fields" else f"{memory}: {_POSITIONS}", fontsize=10)
    return figure


def _lines_of_axes(lines: list[list[str]], table: pd.DataFrame, height: float) -> Any:
    """A figure with a line of axes for each line of memories, as wide as these are long."""
    most = max(table[line].shape[1] for line in lines)
    figure, _ = new_figure(max(7.0, min(16.0, 2.5 + 0.16 * most)), height * len(lines))
    figure.clear()
    parts = figure.subfigures(len(lines), 1, squeeze=False)[:, 0]
    axes = []
    for part, line in zip(parts, lines, strict=True):
        widths = [max(8, table[memory].shape[1]) for memory in line]
        row = part.subplots(1, len(line), width_ratios=widths, squeeze=False)[0]
        axes += list(zip(row, line, strict=True))
    return figure, axes
