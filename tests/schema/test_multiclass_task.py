import numpy as np
import pandas as pd
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, History, MulticlassTask
from keras_infnet.data import FeatureEncoder
from tests.schema.whole_way import make_log

CLASSES = ["none", "like", "share"]
TASKS = [BinaryTask("click", "is_click"), MulticlassTask("reaction", classes=CLASSES)]


def schema(tasks=TASKS):
    video = CategoricalFeature("video_id", "item")
    return FeatureSchema([video], tasks, [History("seen", ["video_id"], max_length=4)])


def test_a_head_starts_at_the_frequencies_of_the_classes():
    log = make_log()
    encoder = FeatureEncoder(schema([TASKS[1]])).fit(log)
    start = np.exp(encoder.schema.first_bias("reaction"))
    expected = log.reaction.value_counts(normalize=True)[CLASSES]
    np.testing.assert_allclose(start / start.sum(), expected, rtol=1e-5)


def test_labels_count_only_where_they_are_observed():
    log = make_log()
    log.loc[log.is_click == 0, "reaction"] = None
    task = MulticlassTask("reaction", classes=CLASSES, observed_when="is_click")
    encoder = FeatureEncoder(schema([task])).fit(log)
    clicked = log.reaction[log.is_click == 1].value_counts(normalize=True)[CLASSES]
    np.testing.assert_allclose(encoder.schema.base_rate("reaction"), clicked, rtol=1e-5)


def test_integer_classes_are_labels_too():
    task = MulticlassTask("orders", classes=tuple(range(20)))
    assert FeatureEncoder(schema([task])).fit(make_log()).schema.task("orders").units == 20


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "Int64", "category"])
def test_integer_classes_may_be_held_as_any_number(dtype):
    task = MulticlassTask("stars", classes=(3, 1, 2))
    labels = task.read(pd.Series([1, 3, 2, 2]).astype(dtype), np.ones(4, bool), "label")
    assert labels.tolist() == [1, 0, 2, 2]


@pytest.mark.parametrize("dtype", ["bool", "boolean", "bool[pyarrow]"])
def test_a_truth_is_the_class_0_or_1(dtype):
    task = MulticlassTask("stars", classes=(2, 1, 0))
    labels = task.read(pd.Series([True, False], dtype=dtype), np.ones(2, bool), "label")
    assert labels.tolist() == [1, 2]


@pytest.mark.parametrize("wrong", ["laugh", None])
def test_a_class_that_is_not_declared_is_refused(wrong):
    log = make_log()
    log.loc[3, "reaction"] = wrong
    with pytest.raises(ValueError, match="1 of 300 observed labels are none of.*row 3"):
        FeatureEncoder(schema([TASKS[1]])).fit(log)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((), "two or more strings, or two or more integers"),
        (("a",), "two or more strings"),
        (("a", 1), "two or more strings"),
        ((0.5, 1.5), "two or more strings"),
        (("a", "b", "a"), "each name once, not a twice"),
        (("a/b", "c"), "names without `/`"),
        ("ab", "not one string"),
    ],
)
def test_classes_that_can_not_be_are_refused(classes, message):
    with pytest.raises(ValueError, match=message):
        MulticlassTask("reaction", classes=classes)


def test_a_schema_with_classes_is_json():
    declared = schema()
    assert FeatureSchema.from_dict(declared.to_dict()) == declared
