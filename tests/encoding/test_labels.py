import json

import numpy as np
import pandas as pd
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, RegressionTask
from keras_infnet.data import FeatureEncoder
from keras_infnet.encoding.labels import LabelSums, read_labels


def schema(*tasks, **kwargs):
    return FeatureSchema([CategoricalFeature("country", "user")], tasks, **kwargs)


FRAME = pd.DataFrame({"country": list("aabb"), "click": [1, 0, 1, 1], "buy": [1, np.nan, 0, 0]})


def test_a_label_counts_only_where_it_is_observed():
    labels, weights = read_labels(schema(BinaryTask("buy", observed_when="click")), FRAME)
    assert labels["buy"].tolist() == [1, 0, 0, 0]
    assert weights["buy"].tolist() == [1, 0, 1, 1]


def test_of_several_conditions_all_must_hold():
    task = BinaryTask("buy", observed_when=("click", "seen"))
    frame = FRAME.assign(buy=[1, np.nan, np.nan, 0], seen=[1, 1, np.nan, 1])
    labels, weights = read_labels(schema(task), frame)
    # By hand: the second row has no click, the third was not known to be seen.
    assert weights["buy"].tolist() == [1, 0, 0, 1] and labels["buy"].tolist() == [1, 0, 0, 0]
    fitted = FeatureEncoder(schema(task, BinaryTask("click"))).fit(frame).schema
    assert fitted.base_rate("buy") == (0.5,)
    assert FeatureSchema.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted
    assert schema(task).log_columns()[:4] == ("country", "buy", "click", "seen")


def test_conditions_are_names_and_no_features():
    for given in ((), ("click", 1), 3):
        with pytest.raises(ValueError, match="`buy`: observed_when is .*; expected a column name"):
            BinaryTask("buy", observed_when=given)
    with pytest.raises(ValueError, match="each name once, not click twice"):
        BinaryTask("buy", observed_when=["click", "click"])
    with pytest.raises(ValueError, match="feature `country` is `observed_when` of task `buy`"):
        schema(BinaryTask("buy", observed_when=("click", "country")))


def whole(name, observed_when):
    return BinaryTask(name, observed_when=observed_when, entire_space=True)


PATH = pd.DataFrame(
    {
        "country": list("abababab"),
        "click": [1, 1, 1, 0, 0, 0, 1, 0],
        "cart": [1, 1, 0, 0, 1, np.nan, np.nan, 0],
        "buy": [1, 0, np.nan, np.nan, 1, np.nan, 1, 0],
    }
)


def test_a_task_of_the_entire_space_counts_in_all_rows_with_the_label_of_its_path():
    tasks = schema(BinaryTask("click"), whole("cart", "click"), whole("buy", "cart"))
    frame = PATH.assign(cart=PATH["cart"].fillna(0))
    labels, weights = read_labels(tasks, frame)
    # By hand: in row 4 there was no click, so neither cart nor purchase counts; in row 6 no cart.
    assert labels["cart"].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert labels["buy"].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert all(weight.tolist() == [1] * 8 for weight in weights.values())
    encoder = FeatureEncoder(tasks)
    with pytest.warns(UserWarning) as warned:
        encoder.fit(frame)
    first, second = sorted(str(w.message) for w in warned)
    assert first.startswith("Task `buy`: 2 of 8 training rows have label `buy` 1 where what comes")
    assert second.startswith("Task `cart`: 1 of 8 training rows")
    assert encoder.schema.base_rate("cart") == (0.25,)
    assert encoder.schema.base_rate("buy") == (0.125,)


def test_it_counts_where_the_first_task_of_its_path_does():
    click = BinaryTask("click", observed_when="seen")
    tasks = schema(click, whole("buy", "click"), sample_weight="w")
    seen = [1, 1, 1, 1, 1, 0, 0, np.nan]
    frame = PATH.assign(seen=seen, w=np.arange(8.0), buy=PATH["buy"].fillna(0))
    labels, weights = read_labels(tasks, frame)
    assert weights["buy"].tolist() == weights["click"].tolist() == [0, 1, 2, 3, 4, 0, 0, 0]
    assert labels["buy"].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_a_label_that_the_path_needs_and_lacks_is_refused():
    with pytest.raises(ValueError, match="`buy`: 1 of 4 observed labels are NaN"):
        read_labels(schema(BinaryTask("click"), whole("buy", "click")), PATH)


def test_counts_of_labels_beside_the_path_add_up_over_chunks():
    tasks = schema(BinaryTask("click"), whole("buy", "click"))
    frame, sums = PATH.assign(buy=PATH["buy"].fillna(0)), [LabelSums(tasks), LabelSums(tasks)]
    sums[0].add(frame[:5])
    sums[1].add(frame[5:])
    sums[0].merge(sums[1])
    with pytest.warns(UserWarning, match="Task `buy`: 1 of 8 training rows"):
        assert sums[0].base_rates()["buy"] == [0.25]


def test_row_weights_multiply():
    frame = FRAME.assign(w=[1.0, 2.0, 0.5, 0.0])
    tasks = schema(BinaryTask("click"), BinaryTask("buy", observed_when="click"), sample_weight="w")
    _, weights = read_labels(tasks, frame)
    assert weights["click"].tolist() == [1, 2, 0.5, 0]
    assert weights["buy"].tolist() == [1, 0, 0.5, 0]


def test_base_rates_are_weighted_means_of_observed_labels():
    frame = FRAME.assign(w=[3.0, 1.0, 1.0, 2.0])
    tasks = schema(BinaryTask("click"), BinaryTask("buy", observed_when="click"), sample_weight="w")
    sums = LabelSums(tasks)
    sums.add(frame)
    assert sums.base_rates() == {"click": pytest.approx([6 / 7]), "buy": pytest.approx([3 / 6])}


def test_regression_takes_any_finite_number():
    tasks = schema(RegressionTask("seconds"))
    labels, _ = read_labels(tasks, FRAME.assign(seconds=[0.5, 2, -1, 7]))
    assert labels["seconds"].tolist() == [0.5, 2, -1, 7]


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        (BinaryTask("buy"), {}, "label `buy`: 1 of 4 observed labels are NaN"),
        (
            BinaryTask("click"),
            {"click": [0, 1, 2, 1]},
            "1 labels are neither 0 nor 1 .such as 2 in row 2",
        ),
        (
            BinaryTask("click"),
            {"click": ["y", "n", "y", "n"]},
            "values of type str; expected numbers",
        ),
        (
            BinaryTask("click"),
            {"click": [1, 1, 1, 1]},
            "all 4 labels of column `click` in training are 1",
        ),
        (BinaryTask("like", observed_when="click"), {}, "no column `like`. Did you mean `click`"),
        (BinaryTask("buy", observed_when="clik"), {}, "no column `clik`. Did you mean `click`"),
        (
            BinaryTask("buy", observed_when="click"),
            {"click": [0] * 4},
            "no label of column `buy` is observed in 4",
        ),
        (
            BinaryTask("click", observed_when="buy"),
            {"buy": [0, 2, 1, np.nan]},
            "observed_when `buy`: 1 values are neither 0, 1 nor missing .such as 2 in row 1",
        ),
        (
            BinaryTask("click", observed_when=("click", "buy")),
            {"buy": [0, 2, 1, np.nan]},
            "observed_when `buy`: 1 values are neither 0, 1 nor missing .such as 2 in row 1",
        ),
        (
            RegressionTask("wait"),
            {"wait": pd.to_timedelta([1, 2, 3, None], unit="s")},
            "found values of type timedelta64.*expected numbers",
        ),
        (RegressionTask("wait"), {"wait": [1j, 2, 3, 4]}, "type complex128; expected num"),
    ],
)
def test_labels_that_can_not_be_learned_from_are_refused(task, change, message):
    with pytest.raises(ValueError, match=message):
        FeatureEncoder(schema(task)).fit(FRAME.assign(**change))


@pytest.mark.parametrize("wrong", [-1, np.nan])
def test_a_negative_or_missing_weight_is_refused(wrong):
    with pytest.raises(ValueError, match="Sample weight `w`: 1 values are negative or missing"):
        read_labels(
            schema(BinaryTask("click"), sample_weight="w"), FRAME.assign(w=[1, 1, wrong, 1])
        )
