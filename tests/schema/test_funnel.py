"""Which task comes before which, and what a model of the entire space refuses."""

import pytest

from keras_infnet import (
    BinaryTask,
    CategoricalFeature,
    CountTask,
    FeatureSchema,
    MulticlassTask,
    RegressionTask,
)
from keras_infnet.models import AITM, ESMM
from keras_infnet.schema.funnel import parents_of

pytestmark = pytest.mark.one_backend
VIDEO = CategoricalFeature("video_id", "item")
CLICK = BinaryTask("click", "is_click")


def whole(name, observed_when, label=None):
    return BinaryTask(name, label, observed_when=observed_when, entire_space=True)


def schema(*tasks):
    return FeatureSchema([VIDEO], tasks).with_sizes({"video_id": 5})


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ([CLICK], {"click": None}),
        # Listed from the end: parents come first all the same.
        (
            [whole("buy", "cart"), whole("cart", "is_click"), CLICK],
            {"click": None, "cart": "click", "buy": "cart"},
        ),
        # All columns of the path, or the last alone.
        (
            [CLICK, whole("cart", "is_click"), whole("buy", ("is_click", "cart"))],
            {"click": None, "cart": "click", "buy": "cart"},
        ),
        # A branch, a path beside it, tasks that are not binary, and one that a column alone tells.
        (
            [
                CLICK,
                whole("like", "is_click"),
                whole("buy", "is_click"),
                BinaryTask("share"),
                CountTask("orders", observed_when="is_click"),
                RegressionTask("watch", observed_when=("is_click", "buy")),
                MulticlassTask("reaction", classes=["no", "yes"], observed_when="is_click"),
                BinaryTask("read", observed_when="read_known"),
            ],
            {
                **dict.fromkeys(("click", "share", "orders", "watch", "reaction", "read")),
                "like": "click",
                "buy": "click",
            },
        ),
        # The first task of a path may itself be observed in some rows alone.
        (
            [BinaryTask("click", "is_click", observed_when="seen"), whole("buy", "is_click")],
            {"click": None, "buy": "click"},
        ),
    ],
)
def test_the_parent_is_the_last_task_before(tasks, expected):
    found = parents_of(schema(*tasks).tasks, "ESMM")
    assert found == expected
    order = list(found)
    assert all(p is None or order.index(p) < order.index(t) for t, p in found.items())


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (
            [CLICK, BinaryTask("buy", observed_when="is_click")],
            "task `buy` is observed where `is_click` is 1, and counts in these rows alone.*"
            r"`BinaryTask\('buy', observed_when='is_click', entire_space=True\)`",
        ),
        ([CLICK, whole("buy", "cart")], "`buy` is .* `cart` is 1, .* label of no task; expected"),
        (
            [CLICK, BinaryTask("again", "is_click"), whole("buy", "is_click")],
            "`is_click` is 1, which is the label of `click` and `again`; expected one",
        ),
        (
            [CLICK, CountTask("orders"), whole("buy", ("is_click", "orders"))],
            "task `buy` comes after `orders`, a CountTask; expected a BinaryTask",
        ),
        (
            [CLICK, BinaryTask("seen"), whole("buy", ("is_click", "seen"))],
            "`buy` comes after `is_click`, `seen`, of which none comes after all others",
        ),
    ],
)
@pytest.mark.parametrize("model", [ESMM, AITM])
def test_what_is_no_path_is_refused_by_the_task(model, tasks, message):
    with pytest.raises(ValueError, match=f"^{model.__name__}: .*{message}"):
        model(schema(*tasks))


def test_a_task_before_itself_is_refused():
    with pytest.raises(ValueError, match="Task `buy`: its label `buy` is among .*, `buy`, `cart`;"):
        schema(whole("buy", "cart"), whole("cart", "buy"))
    with pytest.raises(ValueError, match="Task `buy`: its label `buy`"):
        schema(whole("buy", "buy"))


def test_arguments_of_the_entire_space():
    with pytest.raises(ValueError, match="`buy`: entire_space is 1; expected True or False"):
        BinaryTask("buy", observed_when="click", entire_space=1)
    with pytest.raises(ValueError, match="`buy`: entire_space is True; .*without it all rows"):
        BinaryTask("buy", entire_space=True)


def test_files_keep_it_and_schemas_without_it_keep_their_fingerprints():
    task, usual = whole("buy", "is_click"), BinaryTask("buy", observed_when="is_click")
    assert BinaryTask.from_dict(task.to_dict()) == task
    assert "entire_space" not in usual.to_dict()
    assert schema(CLICK, task).fingerprint != schema(CLICK, usual).fingerprint


def test_a_head_on_the_positives_of_its_parent_starts_at_their_odds():
    rates = {"click": 0.2, "buy": 0.05}
    fitted = FeatureSchema([VIDEO], [CLICK, whole("buy", "is_click")])
    fitted = fitted.with_sizes({"video_id": 5}, base_rates=rates)
    # log(1/4 / 3/4), and log(.05 / .95).
    assert fitted.first_bias("buy", after="click") == pytest.approx([-1.0986123])
    assert fitted.first_bias("buy") == pytest.approx([-2.9444390])
    assert schema(CLICK, whole("buy", "is_click")).first_bias("buy", after="click") == [0.0]
