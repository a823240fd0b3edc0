"""The tables of numbers, made from what is known of the runs."""

from typing import Any

import numpy as np
import pandas as pd

from protocol.config import RunConfig
from protocol.plan import ABLATED, Plan
from protocol.store import RunStore
from protocol.tables import KEYS, number_rows, rows_where


def update_numbers(store: RunStore, plan: Plan) -> None:
    """Fills the tables of numbers from the plan's runs, and marks the chosen configurations."""
    base, first_runs = None, []
    for histories in plan.histories:
        for model in plan.models:
            chosen = plan.chosen(model, histories, store.records)
            if chosen is None:
                continue
            for members in plan.members:
                runs = plan.seed_runs(chosen, members)
                first_runs.append(runs[0])
                _put_results(store, runs)
            if plan.alone:
                _put_transfer(store, plan, chosen)
            if (model, histories) == (ABLATED, plan.histories[0]):
                base = chosen
    if plan.ablations and base is not None:
        _put_ablations(store, plan, base)
    store.mark_chosen(first_runs)


def _put_results(store: RunStore, runs: list[RunConfig]) -> None:
    """Rows of a chosen configuration's seeds, in the place of those of an earlier choice."""
    run, table, rows, stale_seeds = runs[0], store.tables["results.csv"], [], []
    known = {"model": run.model, "members": run.members, "histories": run.histories}
    same = rows_where(table, known)
    # An earlier command may have asked for more seeds.
    for seed in sorted({run.seed for run in runs} | set(table.loc[same, "seed"])):
        of_seed = run.with_seed(int(seed))
        found = store.metrics(of_seed)
        rows += number_rows({**known, "seed": seed}, found)
        # Without a folder, the rows of an earlier command hold, if it chose this run too.
        if found or not store.is_chosen(of_seed):
            stale_seeds.append(seed)
    _replace(store, "results.csv", rows, same & table["seed"].isin(stale_seeds))


def _put_transfer(store: RunStore, plan: Plan, chosen: RunConfig) -> None:
    table, rows = store.tables["transfer.csv"], []
    stale = pd.Series(False, table.index)
    for task in plan.tasks:
        pairs = zip(plan.alone_runs(chosen, task), plan.seed_runs(chosen, 1), strict=True)
        for alone, together in pairs:
            first = {"model": chosen.model, "histories": chosen.histories, "seed": alone.seed}
            if alone.name not in store.records:
                stale |= rows_where(table, {**first, "task": task})
            both = store.reported_metrics(together)
            for row in number_rows(first, store.metrics(alone)):
                other = both.get(row["split"], {}).get(task, {}).get(row["metric"])
                alone_value = row.pop("value")
                rows.append({**row, "alone": alone_value, "together": other})
    _replace(store, "transfer.csv", rows, stale)


def _put_ablations(store: RunStore, plan: Plan, chosen: RunConfig) -> None:
    table, rows = store.tables["ablation.csv"], []
    stale = pd.Series(False, table.index)
    for ablation, setting, run in plan.ablation_runs(chosen):
        metrics = {k: v for k, v in store.reported_metrics(run).items() if k == "validation"}
        first = {"ablation": ablation, "setting": setting, "seed": run.seed}
        rows += number_rows(first, metrics)
        if run.name not in store.records:
            stale |= rows_where(table, first)
    _replace(store, "ablation.csv", rows, stale)


def _replace(store: RunStore, name: str, rows: list[dict[str, Any]], stale: pd.Series) -> None:
    """Puts rows into a table, and takes stale ones out of it."""
    if not rows and not stale.any():
        return
    columns = [*KEYS[name], *(c for c in (rows[0] if rows else ()) if c not in KEYS[name])]
    frame = pd.DataFrame(rows, columns=columns).replace({None: np.nan})
    store.tables.put(name, frame, instead=stale)
