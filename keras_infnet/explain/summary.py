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
    agreed: Any = explanation.agreement if compare else pd.DataFrame()
    for task, (metric, importance) in by_task(explanation.importance, None).items():
        measures = explanation.baseline.loc[task].dropna()
        shown = ", ".join(f"{name} {value:.4f}" for name, value in measures.items())
        most = ", ".join(
            f"{name} ({row.importance:.4f} +- {row.standard_error:.4f})"
            for (_, name), row in importance.nlargest(_TOP, "importance").iterrows()
        )
        lines += [f"{task}: {shown}.", f"  Shuffled, it loses most {metric} by {most}."]
        if len(agreed):
            of_task = agreed.loc[task, metric]
            last = of_task.loc[of_task.index.get_level_values("block").max()]
            lines += [f"  {_verdict(row, str(memory))}" for memory, row in last.iterrows()]
    return "\n".join(lines)


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
