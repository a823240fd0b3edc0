import numpy as np
import pandas as pd
import pytest

from keras_infnet.daily.config import GatePart
from keras_infnet.daily.gate import decide, plain
from keras_infnet.daily.measures import LabelledRows
from keras_infnet.metrics import auc
from tests.daily.small_job import day_frame, schema

pytestmark = pytest.mark.one_backend
FRAME = day_frame(0).reset_index(drop=True)
ROWS = LabelledRows(schema(), FRAME)


def predicted(noise, seed=0):
    """Predictions that are better the less noise there is."""
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            task: 1 / (1 + np.exp(-(FRAME[task] + noise * draw.normal(size=len(FRAME)))))
            for task in ("click", "like")
        }
    )


def scores(predictions):
    liked = FRAME["click"] == 1
    return (
        auc(FRAME["click"], predictions["click"]),
        auc(FRAME["like"][liked], predictions["like"][liked]),
    )


def test_a_better_model_is_published_and_a_worse_one_is_not():
    good, bad = predicted(0.7), predicted(3.0, seed=1)
    decision = decide(schema(), GatePart(), ROWS, good, bad)
    assert decision.publish
    assert decision.score == pytest.approx(np.mean(scores(good)))
    assert decision.before == pytest.approx(np.mean(scores(bad)))
    assert decision.difference == pytest.approx(decision.score - decision.before)
    assert 0 < decision.error < 0.05
    decision = decide(schema(), GatePart(), ROWS, bad, good)
    assert not decision.publish
    assert "+0.00000 or more is required" in decision.reason
    assert plain(decision)["values"]["before"]["click"] == pytest.approx(scores(good)[0])


def test_the_error_is_that_of_the_difference_and_may_be_required():
    good, slightly = predicted(1.0), predicted(1.0)
    slightly["click"] += 1e-3 * FRAME["click"]
    decision = decide(schema(), GatePart(), ROWS, slightly, good)
    alone = decide(schema(), GatePart(), ROWS, predicted(1.0, seed=5), good)
    assert decision.publish and decision.error < alone.error / 10
    strict = GatePart(errors=2.0, least=0.1)
    decision = decide(schema(), strict, ROWS, slightly, good)
    assert not decision.publish and "gate.least=0.1, gate.errors=2" in decision.reason


def test_floors_hold_even_where_the_model_before_is_worse():
    part = GatePart(floors={"like": 0.99})
    decision = decide(schema(), part, ROWS, predicted(1.0), predicted(9.0, seed=1))
    assert not decision.publish
    assert "auc of task `like` is 0." in decision.reason and "floor" in decision.reason
    loss = GatePart(metric="log_loss", floors={"click": 0.1})
    decision = decide(schema(), loss, ROWS, predicted(1.0), None)
    assert not decision.publish and "log_loss of task `click`" in decision.reason


def test_the_first_version_has_its_floors_alone():
    decision = decide(schema(), GatePart(floors={"click": 0.5}), ROWS, predicted(1.0), None)
    assert decision.publish and decision.reason.startswith("the first version: auc 0.")


def test_rows_of_one_class_decide_nothing_but_for_tasks_without_weight():
    frame = FRAME.assign(like=0)
    rows = LabelledRows(schema(), frame)
    decision = decide(schema(), GatePart(), rows, predicted(1.0), predicted(2.0))
    assert not decision.publish and "auc of like is not defined" in decision.reason
    for weights in ({"click": 1.0}, {"click": 1.0, "like": 0.0}):
        part = GatePart(weights=weights)
        assert decide(schema(), part, rows, predicted(0.5), predicted(4.0)).publish
    part = GatePart(weights={"click": 1.0}, floors={"like": 0.5})
    decision = decide(schema(), part, rows, predicted(0.5), predicted(4.0))
    assert not decision.publish and "auc of like is not defined" in decision.reason


def test_an_error_that_is_not_defined_is_said_where_it_is_asked_for():
    # All clicks are of one user, without whom there is no AUC.
    frame = FRAME.assign(click=(FRAME["user_id"] == FRAME["user_id"][0]).astype("int64"))
    rows, weights = LabelledRows(schema(), frame), {"click": 1.0}
    part = GatePart(weights=weights, errors=-2.0)
    decision = decide(schema(), part, rows, predicted(1.0), predicted(1.0))
    assert not decision.publish
    assert "without some users auc is not defined, and gate.errors=-2 asks" in decision.reason
    assert decide(schema(), GatePart(weights=weights), rows, predicted(1), predicted(1)).publish


def test_measures_have_errors_and_may_be_of_some_rows():
    within = np.arange(len(FRAME)) % 2 == 0
    measured = ROWS.with_errors(predicted(1.0), within)
    value, error = measured["click"]["auc"]
    assert value == pytest.approx(auc(FRAME["click"][within], predicted(1.0)["click"][within]))
    assert 0 < error < 0.1
    assert measured["click"]["mean_label"][0] == pytest.approx(FRAME["click"][within].mean())
    assert ROWS.with_errors(predicted(1.0), np.zeros(len(FRAME), bool)) == {}
