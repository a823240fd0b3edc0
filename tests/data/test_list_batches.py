"""Lists of a schema: their codes, batches that never cut one, and measures within them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, RankingData
from keras_infnet.data import Batches, prepare
from keras_infnet.data.list_order import NO_ROW, ListOrder
from keras_infnet.metrics import group_auc, mean_reciprocal_rank, ndcg
from keras_infnet.models import SharedBottom
from tests import tiny

pytestmark = pytest.mark.one_backend

START = 1_790_000_000_000


def schema(list_key="list", **kwargs):
    features = [CategoricalFeature("item", "item", dtype="int")]
    tasks = [BinaryTask("click"), BinaryTask("buy", observed_when="click")]
    return FeatureSchema(features, tasks, list_key=list_key, **kwargs)


@pytest.fixture(scope="module")
def log():
    """90 lists of 1 to 9 rows, some rows in none, in an order that mixes them."""
    draw = np.random.default_rng(0)
    lists = np.repeat(np.arange(90), draw.integers(1, 10, 90))
    rows = len(lists)
    frame = pd.DataFrame(
        {
            "user_id": lists // 4,
            "list": lists,
            "time_ms": START + lists * 1000 + draw.integers(0, 999, rows),
            "item": np.arange(rows),
            "click": draw.integers(0, 2, rows),
            "buy": draw.integers(0, 2, rows),
        }
    ).sample(frac=1, random_state=0)
    frame["list"] = frame["list"].where(np.arange(rows) % 23 > 0, -1)
    return frame.reset_index(drop=True)


@pytest.fixture(scope="module")
def data(log):
    return RankingData(schema(), log, validation=START + 60_000, batch_size=32, by="list")


def epoch(batches):
    """Rows, lists and weights of each batch of an epoch."""
    return [
        (x["categorical"][:, 0], y["#list"][:, 0], w["click"][:, 0])
        for x, y, w in batches.as_numpy_iterator()
    ]


def test_lists_are_whole_and_all_rows_come_once_an_epoch(data):
    train = data.frame("train")
    encoded = data.encoder.transform(train)["categorical"][:, 0]
    of_row = dict(zip(encoded, train["list"], strict=True))
    batches = data.train
    first, second = epoch(batches), epoch(batches)
    assert len(first) == len(second) == len(batches)
    assert len(batches) < 1.35 * len(train) / 32
    for batch in (first, second):
        seen = [row for rows, lists, _ in batch for row in rows[lists != -2]]
        assert sorted(seen) == sorted(encoded)
    for rows, lists, weights in first + second:
        assert rows.shape == (32,)
        np.testing.assert_array_equal(weights, lists != -2)
        for code in set(lists) - {-1, -2}:
            (name,) = {of_row[row] for row in rows[lists == code]}
            assert sum(lists == code) == sum(train["list"] == name)
        assert all(of_row[row] == -1 for row in rows[lists == -1])
    assert any((a[0] != b[0]).any() for a, b in zip(first, second, strict=True))


def test_lists_of_one_length_meet_others_in_each_epoch(data):
    def together(batch):
        return {frozenset(rows[lists != -2]) for rows, lists, _ in batch}

    batches = data.train
    assert together(epoch(batches)) != together(epoch(batches))


def test_the_seed_gives_the_order_and_training_goes_on_anywhere(data):
    again = data.batches("train", shuffle=True, by="list")
    for (a, *_), (b, *_) in zip(epoch(data.train), epoch(again), strict=True):
        np.testing.assert_array_equal(a, b)
    later = data.train.starting_at(len(again) + 2)
    for found, wanted in zip(epoch(later.take(1))[0], epoch(again)[2], strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_without_shuffling_lists_come_as_their_first_rows_do():
    order = ListOrder(np.array([5, 3, -1, 5, 3, 8]), 3, False, 0, "test")
    expected = [[0, 3, NO_ROW], [1, 4, 2], [5, NO_ROW, NO_ROW]]
    np.testing.assert_array_equal(order.epoch(0), expected)


def test_a_list_may_fill_a_batch_and_no_more(log, data):
    longest = int(data.frame("train").loc[lambda f: f["list"] >= 0, "list"].value_counts().max())
    assert len(data.batches("train", by="list", batch_size=longest))
    with pytest.raises(ValueError, match=f"has {longest} rows, and a batch {longest - 1}; lists"):
        data.batches("train", by="list", batch_size=longest - 1)


def test_keys_of_several_columns_days_and_strings(log):
    key = log["list"] % 3
    frame = log.assign(day=pd.Timestamp("2026-01-01") + pd.to_timedelta(key, "D"))
    frame["word"] = key.map(lambda k: None if k == 2 else f"w{k}")
    frame["date"] = frame["day"].dt.date.where(key > 0, None)
    frame["date of Arrow"] = frame["date"].astype(pd.ArrowDtype(pa.date32()))
    frame["category"] = frame["day"].where(key > 0).astype("category")
    for column in ("day", "word", "date", "date of Arrow", "category"):
        codes = schema(("user_id", column)).lists_of(frame, "test")
        groups = frame.groupby(["user_id", column], observed=True).ngroup().fillna(-1).to_numpy()
        pairs = pd.DataFrame({"code": codes, "group": groups}).drop_duplicates()
        assert pairs["code"].is_unique and pairs["group"].is_unique
        assert ((codes < 0) == (groups < 0)).all()


def test_a_list_of_two_users_is_named(log):
    frame = log.assign(list=log["list"] % 40)
    with pytest.raises(
        ValueError,
        match=r"one list has rows of several users, such as \d+ in row \d+ and \d+ in row",
    ):
        RankingData(schema(), frame, by="list").train  # noqa: B018


def test_measures_within_lists(log, data):
    model = tiny.randomise(SharedBottom(data.schema, dim=2, hidden_dims=(4,)))
    rows = data.frame("validation")
    measured = data.evaluate(model, "validation", ndcg_at=3)
    p = data.predict(model, rows)["click"]
    lists = rows["list"]
    expected = {
        "gauc": group_auc(rows["click"], p, rows["user_id"]),
        "gauc_list": group_auc(rows["click"], p, lists),
        "ndcg@3": ndcg(rows["click"], p, lists, 3),
        "mrr": mean_reciprocal_rank(rows["click"], p, lists),
    }
    np.testing.assert_allclose(measured.loc["click", [*expected]], [*expected.values()])
    bought = rows["click"] == 1
    found = mean_reciprocal_rank(
        rows["buy"][bought], data.predict(model, rows)["buy"][bought], lists[bought]
    )
    np.testing.assert_allclose(measured.loc["buy", "mrr"], found)
    assert "mrr" not in data.evaluate(model, "validation", groups=())
    with pytest.raises(ValueError, match="list_key `list`: the frame has no column `list`"):
        data.evaluate(model, rows.drop(columns="list"))


def test_the_key_is_saved_with_schema_data_and_folder(log, data, tmp_path):
    assert FeatureSchema.from_dict(data.schema.to_dict()) == data.schema
    assert "list_key" not in schema(None).to_dict()
    data.save(tmp_path / "saved")
    for (a, *_), (b, *_) in zip(
        epoch(data.train), epoch(RankingData.load(tmp_path / "saved").train), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    prepare(schema(), log, tmp_path / "folder", splits={"train": None}, verbose=False)
    folder = RankingData.open(tmp_path / "folder")
    model = SharedBottom(folder.schema, dim=2, hidden_dims=(4,))
    assert folder.evaluate(model, "train")["mrr"].notna().all()
    with pytest.raises(ValueError, match="prepared folder, whose lists may lie in several blocks"):
        folder.batches("train", by="list")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"by": "user"}, "by is 'user'; expected \"row\""),
        ({"by": "list", "labels": False}, "filled up, and predictions would not say"),
        ({"by": "list", "length_buckets": [2]}, "`length_buckets` put rows of one length together"),
    ],
)
def test_batches_that_lists_cannot_make(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        data.batches("train", shuffle=True, **arguments)


def test_lists_need_a_key(log):
    plain = RankingData(schema(None), log)
    with pytest.raises(ValueError, match='knows no lists. .*list_key="impression_id"'):
        plain.batches("train", by="list")
    with pytest.raises(ValueError, match="RankingData: the schema knows no lists"):
        RankingData(schema(None), log, by="list")
    with pytest.raises(ValueError, match="the schema knows no lists"):
        Batches.from_rows(plain.encoder, log, by="list")


@pytest.mark.parametrize(
    "key, message",
    [
        (7, "list_key is 7; expected the name of a column"),
        ((), r"list_key is \(\); expected"),
        (("a", "a"), "names a column twice: a, a"),
        ("click", "list_key `click` is a label or weight of rows"),
    ],
)
def test_keys_that_are_none(key, message):
    with pytest.raises(ValueError, match=message):
        schema(key)


def test_an_unknown_column_is_named(log):
    data = RankingData(schema("lst"), log)
    with pytest.raises(ValueError, match="list_key `lst`: the frame has no column.*`list`"):
        data.batches("train", by="list")
