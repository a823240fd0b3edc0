"""Summary: an explanation in words."""

from typing import Any

import pandas as pd

from keras_infnet.explain.importance import by_task
from keras_infnet.explain.task_attention import query_groups, why_no_attention

_TOP = 3


def summary(explanation: Any) -> str:
    """Measures, most important features and agreement of each task, a line each."""
    model, attention = explanation.model, explanation.tables.get("attention")
    reason = why_no_attention(model, attention)
    lines = [f"{type(model).__name__} on {len(explanation.frame):,} rows."]
    if reason:
        lines.append(f"No attention: {reason}.")
    if "importance" not in explanation.tables:
        return "\n".join([*lines, "No permutation importance: repeats=0."])
    compare = not reason and "tasks" in query_groups(attention)
    agreed = explanation.agreement if compare else pd.DataFrame()
    _, metrics = by_task(explanation.importance, None)
    for task, measures in explanation.baseline.iterrows():
        shown = ", ".join(f"{name} {value:.4f}" for name, value in measures.dropna().items())
        lines.append(f"{task}: {shown}.")
        metric = metrics[task]
        lines.append(f"  Shuffled, it loses most {metric} by {_most(explanation, task, metric)}.")
        lines += [f"  {_verdict(row, memory)}" for memory, row in _last(agreed, task, metric)]
    return "\n".join(lines)


def _most(explanation: Any, task: str, metric: str) -> str:
    of_metric = explanation.importance.xs((task, metric), level=("task", "metric"))
    largest = of_metric.nlargest(_TOP, "importance")
    return ", ".join(
        f"{name} ({row.importance:.4f} +- {row.standard_error:.4f})"
        for (_, name), row in largest.iterrows()
    )


def _last(agreed: pd.DataFrame, task: str, metric: str) -> list[tuple[str, pd.Series]]:
    """What is known of a task's agreement in the last block, by memory."""
    if not len(agreed):
        return []
    of_metric = agreed.xs((task, metric), level=("task", "metric"))
    last = of_metric.xs(of_metric.index.get_level_values("block").max(), level="block")
    return [(str(memory), row) for memory, row in last.iterrows()]


def _verdict(row: pd.Series, memory: str) -> str:
    """The agreement in words: attention that importance does not bear out explains nothing."""
    if pd.isna(row["correlation"]):
        return f"Attention over {memory}: no rank correlation with it, one of them is constant."
    found = (
        f"Attention over {row['compared']:.0f} {memory}: rank correlation with it "
        f"{row['correlation']:+.2f} (chance: up to {row['chance']:.2f} either way; "
        f"{row['above_noise']:.0f} of {row['compared']:.0f} matter above noise): "
    )
    if abs(row["correlation"]) <= row["chance"]:
        return found + "no better than chance, so don't read attention as importance."
    if row["correlation"] < 0:
        return found + "attention goes where little is lost: it is not importance."
    return found + "attention tends to go where much is lost."
