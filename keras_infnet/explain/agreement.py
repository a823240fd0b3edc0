"""Whether attention says what permutation importance says."""

import numpy as np
import pandas as pd

from keras_infnet.explain.ordered_index import ordered_index

# Memories whose tokens are no input that could be permuted.
_MADE_OF_OTHERS = ("tasks", "proxies")


def agreement(attention: pd.DataFrame, importance: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of attention with permutation importance.

    Spearman's, ties averaged, among the fields and, if there are three or more, among the
    histories: each is a softmax of its own, so their weights don't compare.

    Args:
        attention: Table of `InfnetReader.attention`, with real task tokens.
        importance: Table of `permutation_importance`.

    Returns:
        Index `(task, metric, block, memory)`; columns `correlation`, `compared` (their number `n`),
        `chance` (`1.96 / sqrt(n - 1)`: 19 of 20 random orders stay below it in absolute value) and
        `above_noise` (how many have an importance above twice its standard error).
    """
    tasks = attention.xs("tasks", level="group").groupby(["block", "token"], sort=False).mean()
    rows = {}
    for task, metric in dict.fromkeys(importance.index.droplevel(["kind", "name"])):
        of_metric = importance.xs((task, metric), level=("task", "metric"))
        for block in dict.fromkeys(tasks.index.get_level_values("block")):
            masses = attention_masses(tasks.loc[block, task])
            for kind, memory in (("field", "fields"), ("history", "histories")):
                if kind not in masses.index or len(masses[kind]) < 3:
                    continue
                of_kind = of_metric.xs(kind, level="kind").reindex(masses[kind].index)
                rows[task, metric, block, memory] = {
                    "correlation": spearman(masses[kind], of_kind["importance"]),
                    "chance": 1.96 / (len(of_kind) - 1) ** 0.5,
                    "compared": len(of_kind),
                    "above_noise": int(
                        (of_kind["importance"] > 2 * of_kind["standard_error"]).sum()
                    ),
                }
    index = ordered_index(list(rows), names=("task", "metric", "block", "memory"))
    return pd.DataFrame(list(rows.values()), index)


def attention_masses(weights: pd.Series) -> pd.Series:
    """Attention of one token by ("field" or "history", name); a history's positions summed."""
    kept = weights[[memory not in _MADE_OF_OTHERS for memory, _ in weights.index]]
    names = [
        ("field", name) if memory == "fields" else ("history", memory)
        for memory, name in kept.index
    ]
    index = pd.MultiIndex.from_tuples(names, names=("kind", "name"))
    return kept.set_axis(index).groupby(level=[0, 1], sort=False).sum()


def spearman(first: pd.Series, second: pd.Series) -> float:
    """Spearman's rank correlation; NaN where one is constant or holds a NaN."""
    ranks = np.stack([s.rank().to_numpy("float64") for s in (first, second)])
    ranks -= ranks.mean(1, keepdims=True)
    scale = np.sqrt((ranks**2).sum(1).prod())
    return float(ranks.prod(0).sum() / scale) if scale > 0 else float("nan")
