import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score

from keras_infnet import RegressionTask
from keras_infnet.explain.importance import permutation_importance
from keras_infnet.schema.binary_task import BinaryTask
from tests import tiny

pytestmark = pytest.mark.one_backend

SCHEMA = tiny.schema("mixed", tasks=(BinaryTask("click"), RegressionTask("stars")))
ROWS = 60
INPUTS = tiny.inputs(SCHEMA, ROWS)
RNG = np.random.default_rng(3)
LABELS = {"click": RNG.integers(0, 2, ROWS).astype("float32"), "stars": RNG.normal(size=ROWS)}
WEIGHTS = {"click": RNG.integers(0, 3, ROWS).astype("float32"), "stars": np.ones(ROWS)}
USERS = RNG.integers(0, 5, ROWS)
# Which columns are whose, by hand: see `tests/tiny.py`.
COLUMNS = {
    ("field", "user_id"): {"categorical": [0]},
    ("field", "video_id"): {"categorical": [1]},
    ("field", "duration"): {"categorical": [2]},
    ("field", "author_id"): {"categorical": [3]},
    ("field", "last_video_id"): {"categorical": [4]},
    ("field", "tab"): {"categorical": [5]},
    ("field", "tag"): {"bags": [0, 1, 2], "bag_weights": [0, 1, 2]},
    ("field", "image"): {"dense": [0, 1, 2, 3, 4]},
    ("history", "clicked"): {"clicked": ..., "clicked_age": ..., "clicked_within": ...},
    ("history", "searched"): {"searched": ...},
    ("history", "liked"): {"liked": ..., "liked_age": ...},
}


class Formula:
    """A model without weights: all inputs but `tab` and `searched` count."""

    schema = SCHEMA

    def predict_on_batch(self, x):
        score = np.sin(x["categorical"][:, :5] * [1, 2, 3, 4, 5]).sum(1)
        score += (x["bags"] * x["bag_weights"]).sum(1) / 9 + x["dense"] @ [1, -1, 2, 0, 1]
        score += x["clicked"].sum((1, 2)) / 50 + x["liked"].sum((1, 2)) / 20
        score += (x["clicked_age"] - 9).sum(1) / 9 + x["liked_age"].sum(1) / 9
        score = score - 3
        return {"click": 1 / (1 + np.exp(-score[:, None])), "stars": score[:, None]}


def measures(x):
    """By scikit-learn, and a loop over users."""
    p = {task: values[:, 0] for task, values in Formula().predict_on_batch(x).items()}
    y, w = LABELS["click"], WEIGHTS["click"]
    aucs, counts = [], []
    for user in range(5):
        of_user = (user == USERS) & (w > 0)
        if len(set(y[of_user])) == 2:
            area = roc_auc_score(y[of_user], p["click"][of_user], sample_weight=w[of_user])
            aucs.append(area)
            counts.append(w[of_user].sum())
    return {
        ("click", "auc"): roc_auc_score(y, p["click"], sample_weight=w),
        ("click", "gauc"): np.average(aucs, weights=counts),
        ("click", "log_loss"): log_loss(y, p["click"], sample_weight=w),
        ("stars", "mse"): np.mean((LABELS["stars"] - p["stars"]) ** 2),
        ("stars", "mae"): mean_absolute_error(LABELS["stars"], p["stars"]),
    }


@pytest.fixture(scope="module")
def found():
    truth = {"labels": LABELS, "sample_weight": WEIGHTS, "groups": USERS}
    return permutation_importance(Formula(), INPUTS, truth, repeats=3, seed=7, batch_size=10)


def test_baseline_is_that_of_scikit_learn(found):
    for (task, metric), value in measures(INPUTS).items():
        assert found[0].loc[task, metric] == pytest.approx(value, abs=1e-6)
    assert np.isnan(found[0].loc["stars", "auc"])


@pytest.mark.parametrize("part", COLUMNS, ids=lambda part: part[1])
def test_importance_and_error_are_those_of_a_loop(found, part):
    rng = np.random.default_rng(7)
    before, losses = measures(INPUTS), []
    for order in [rng.permutation(ROWS) for _ in range(3)]:
        x = {name: values.copy() for name, values in INPUTS.items()}
        for name, columns in COLUMNS[part].items():
            for row, other in enumerate(order):
                x[name][row, columns] = INPUTS[name][other, columns]
        after = measures(x)
        better_up = {"auc", "gauc"}
        losses.append(
            {k: (before[k] - after[k]) * (1 if k[1] in better_up else -1) for k in before}
        )
    losses = pd.DataFrame(losses)
    for key in before:
        row = found[1].loc[(*key, *part)]
        assert row["importance"] == pytest.approx(losses[key].mean(), abs=1e-6)
        assert row["standard_error"] == pytest.approx(losses[key].sem(), abs=1e-6)


def test_what_the_model_does_not_read_has_no_importance(found):
    unread = found[1][found[1].index.get_level_values("name").isin(["tab", "searched"])]
    assert len(unread) == 2 * 5 and not unread.to_numpy().any()


def test_the_inputs_are_left_as_they_were(found):
    for name, values in tiny.inputs(SCHEMA, ROWS).items():
        np.testing.assert_array_equal(INPUTS[name], values)
