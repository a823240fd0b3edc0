"""A score without any model that shows what rolling histories do to gAUC.

The user's own past rate of the first task rises just after a positive, so inside one user it is
lowest before one: a good AUC, and a gAUC far below a half.
"""

import numpy as np
import pandas as pd

import keras_infnet
from protocol.data import SPLITS


def artefact_rows(
    frame: pd.DataFrame, split: object, label: str, warm: pd.DataFrame | None
) -> pd.DataFrame:
    """AUC of the past rate, and its gAUC in three ways, for each split."""
    rates, counts = past_rates(frame, label, warm)
    rows = []
    for part in SPLITS:
        of_part = getattr(split, part)
        rolling, users = rates.loc[of_part.index], of_part["user_id"]
        # The rate at the user's first row of the split, for all rows of the user.
        first = of_part.sort_values("time_ms", kind="stable").drop_duplicates("user_id")
        frozen = users.map(pd.Series(rates.loc[first.index].to_numpy(), first["user_id"]))
        labels, days = of_part[label], of_part["date"]
        measured = {
            "auc": keras_infnet.metrics.auc(labels, rolling),
            "gauc": keras_infnet.metrics.group_auc(labels, rolling, users),
            "gauc_frozen": keras_infnet.metrics.group_auc(labels, frozen, users),
            "gauc_user_day": keras_infnet.metrics.group_auc(labels, rolling, [users, days]),
            "mean_past_rows": float(counts.loc[of_part.index].mean()),
        }
        score = f"the user's past rate of {label}"
        rows += [
            {"split": part, "score": score, "metric": m, "value": v} for m, v in measured.items()
        ]
    return pd.DataFrame(rows)


def past_rates(
    frame: pd.DataFrame, label: str, warm: pd.DataFrame | None
) -> tuple[pd.Series, pd.Series]:
    """The share of positives among the user's strictly earlier rows, and how many these are.

    One row at the overall rate is added, so that a user without a past has that rate.
    """
    events = frame[["user_id", "time_ms", label]]
    if warm is not None and label in warm:
        known = warm.loc[warm[label] >= 0, ["user_id", label]]
        events = pd.concat([known.assign(time_ms=np.iinfo("int64").min), events])
    in_log = np.arange(len(events)) >= len(events) - len(frame)
    order = np.lexsort((events["time_ms"], events["user_id"]))
    events = events.iloc[order].reset_index(drop=True)
    by_user = events.groupby("user_id", sort=False)
    events["rows"] = by_user.cumcount()
    events["positives"] = by_user[label].cumsum() - events[label]
    # Rows of one millisecond don't see each other.
    before = events.groupby(["user_id", "time_ms"], sort=False)[["rows", "positives"]]
    before = before.transform("first")
    restored = before.set_axis(order).sort_index()[in_log].set_axis(frame.index)
    overall = frame[label].mean()
    rates = (restored["positives"] + overall) / (restored["rows"] + 1)
    return rates, restored["rows"]
