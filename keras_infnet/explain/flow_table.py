"""How information flows through INFNet: tokens -> proxies and task tokens -> heads."""

from collections.abc import Mapping

import pandas as pd

from keras_infnet.schema.schema import FeatureSchema

_TOKENS = {
    "field_proxies": "field proxies",
    "sequence_proxies": "sequence proxies",
    "task_proxies": "shared task tokens",
    "candidate_proxy": "candidate",
    "recent_proxies": "newest events",
    "own": "own tables",
}


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
    parts = [
        _attention(schema, tables["attention"].xs(block, level="block")),
        _made_of(schema, tables),
        _heads(tables["heads"]),
    ]
    flow = pd.concat(parts, ignore_index=True)
    return flow[flow["width"] > 0].reset_index(drop=True)


def _attention(schema: FeatureSchema, attention: pd.DataFrame) -> pd.DataFrame:
    sources = [_source(schema, *column) for column in attention.columns]
    targets = [
        f"{token} token" if group == "tasks" else _TOKENS[group]
        for _, group, token in attention.index
    ]
    masses = attention.T.groupby(sources, sort=False).sum().T
    return _edges(masses.groupby(targets, sort=False).mean().T, "attention")


def _made_of(schema: FeatureSchema, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    parts = []
    if len(tables["field_proxies"]):
        shares = tables["field_proxies"].mean()
        owners = [_source(schema, "fields", name) for name in shares.index]
        by_owner = shares.groupby(owners, sort=False).sum()
        parts.append(by_owner.to_frame("field proxies"))
    if len(tables["sequence_proxies"]):
        groups = {f"history {s.name}": len(s.groups) or 1 for s in schema.histories}
        shares = pd.Series(groups) / sum(groups.values())
        parts.append(shares.to_frame("sequence proxies"))
    return pd.concat([_edges(part, "made of") for part in parts]) if parts else pd.DataFrame()


def _heads(heads: pd.DataFrame) -> pd.DataFrame:
    by_group = heads.T.groupby(level="group", sort=False).sum().T
    by_task = by_group.groupby(level="task", sort=False).mean()
    edges = [
        {
            "source": f"{task} token" if group == "tasks" else _TOKENS[group],
            "target": task,
            "kind": "head",
            "width": width,
        }
        for task, shares in by_task.iterrows()
        for group, width in shares.items()
    ]
    return pd.DataFrame(edges)


def _edges(widths: pd.DataFrame, kind: str) -> pd.DataFrame:
    """A row for each cell of a table of sources by targets."""
    edges = [
        {"source": source, "target": target, "kind": kind, "width": float(width)}
        for target, of_target in widths.items()
        for source, width in of_target.items()
    ]
    return pd.DataFrame(edges)


def _source(schema: FeatureSchema, memory: str, name: str | int) -> str:
    if memory == "fields":
        return f"{schema.feature(name).owner} fields"
    return {"tasks": "task tokens", "proxies": "proxies"}.get(memory, f"history {memory}")
