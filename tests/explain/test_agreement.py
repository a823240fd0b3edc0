import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from keras_infnet.explain.importance import agreement, spearman

pytestmark = pytest.mark.one_backend

RNG = np.random.default_rng(0)
FIELDS = [f"f{i}" for i in range(9)]
HISTORIES = ["seen", "liked", "shared"]
COLUMNS = [("fields", f) for f in FIELDS]
COLUMNS += [(h, i) for h in HISTORIES for i in (1, 0)]
COLUMNS += [("tasks", "click"), ("tasks", "like")]
INDEX = pd.MultiIndex.from_product(
    [[0, 1], [0, 1], ["tasks"], ["click", "like"]], names=("member", "block", "group", "token")
)
ATTENTION = pd.DataFrame(RNG.random((8, len(COLUMNS))), INDEX, pd.MultiIndex.from_tuples(COLUMNS))
PARTS = [("field", f) for f in FIELDS] + [("history", h) for h in HISTORIES]
KEYS = [(t, m, *p) for t in ("click", "like") for m in ("auc", "log_loss") for p in PARTS]
IMPORTANCE = pd.DataFrame(
    {"importance": RNG.normal(size=len(KEYS)).round(1), "standard_error": 0.3},
    pd.MultiIndex.from_tuples(KEYS, names=("task", "metric", "kind", "name")),
)


@pytest.mark.parametrize(
    ("task", "metric", "block"), [("click", "auc", 0), ("like", "log_loss", 1)]
)
def test_correlations_are_those_of_scipy(task, metric, block):
    table = agreement(ATTENTION, IMPORTANCE)
    assert len(table) == 2 * 2 * 2 * 2
    mean = (ATTENTION.loc[0, block, "tasks", task] + ATTENTION.loc[1, block, "tasks", task]) / 2
    for memory, kind, names in (("fields", "field", FIELDS), ("histories", "history", HISTORIES)):
        mass = [mean["fields", n] if kind == "field" else mean[n].sum() for n in names]
        losses = [IMPORTANCE.loc[(task, metric, kind, n), "importance"] for n in names]
        row = table.loc[(task, metric, block, memory)]
        assert row["correlation"] == pytest.approx(spearmanr(mass, losses).statistic)
        assert row["compared"] == len(names)
        assert row["above_noise"] == np.sum(np.array(losses) > 0.6)
        assert row["chance"] == pytest.approx(1.96 / np.sqrt(len(names) - 1))


def test_two_histories_are_too_few_to_rank():
    attention = ATTENTION.drop(columns="seen", level=0)
    importance = IMPORTANCE.drop(index="seen", level="name")
    assert set(agreement(attention, importance).index.get_level_values("memory")) == {"fields"}


def test_a_constant_has_no_rank_correlation():
    varied, constant = pd.Series([1.0, 2.0, 3.0]), pd.Series([1.0, 1.0, 1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(spearman(varied, constant))
        assert np.isnan(spearman(varied, pd.Series([1.0, np.nan, 2.0])))
