"""Numbers relative to the list: in rows of lists, and in requests for candidates."""

import warnings

import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet import (
    BinaryTask,
    CategoricalFeature,
    FeatureSchema,
    NumericFeature,
    RankingData,
    RateFeature,
    RelativeFeature,
)
from keras_infnet.data import prepare
from keras_infnet.encoding.requests import frame_to_request
from keras_infnet.models import SharedBottom
from keras_infnet.serving.client import Client
from tests import tiny

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the graph is made under TensorFlow"
)
PRICE = NumericFeature("price", "item", allow_missing=True)
RANK = RelativeFeature("price_rank", "item", of="price", buckets=8)
DIFFERENCE = RelativeFeature("price_difference", "item", of="price", relative="difference")
CTR = RateFeature("ctr", "item", keys=("shop",), action="click", prior=2)
CTR_RANK = RelativeFeature("ctr_rank", "item", of="ctr")
START, HOUR = 1_790_000_000_000, 3_600_000


def schema(*features, list_key="list", time_key=None):
    user = CategoricalFeature("user_id", "user", dtype="int")
    given = features or (PRICE, RANK, DIFFERENCE)
    tasks = [BinaryTask("click")]
    return FeatureSchema([user, *given], tasks, list_key=list_key, time_key=time_key)


@pytest.fixture(scope="module")
def log():
    draw = np.random.default_rng(0)
    lists = np.repeat(np.arange(50), draw.integers(1, 8, 50))
    log = pd.DataFrame({"user_id": lists // 5, "list": lists})
    log["price"] = draw.choice([1.5, 2.25, 2.5, 7.0, 1e6, np.nan], len(log)).astype("float32")
    log["click"] = draw.integers(0, 2, len(log))
    log["shop"] = draw.integers(0, 4, len(log))
    log["time_ms"] = START + lists * HOUR + np.arange(len(log))
    log.loc[::13, "list"] = -1
    return log.sample(frac=1, random_state=0).reset_index(drop=True)


@pytest.fixture(scope="module")
def data(log):
    return RankingData(schema(), log, validation=log.iloc[-40:])


@pytest.fixture(scope="module")
def rated(log):
    """The last ten lists are the validation."""
    made = schema(PRICE, RANK, CTR, CTR_RANK, time_key="time_ms")
    return RankingData(made, log, validation=START + 40 * HOUR)


def expected(log):
    """A loop over lists: pandas' average ranks, and differences of float64."""
    rank, difference = (pd.Series(np.nan, log.index) for _ in range(2))
    for _, prices in log[log["list"] >= 0].groupby("list")["price"]:
        known = prices.dropna().astype("float64")
        others = len(known) - 1
        rank[known.index] = (known.rank() - 1) / others if others else 0.5
        difference[known.index] = known - known.mean()
    return {"price_rank": rank, "price_difference": difference}


@pytest.mark.one_backend
def test_ranks_and_differences_are_those_of_whole_lists(log, data):
    for name, values in expected(log).items():
        found = pd.concat([data.frame("train"), data.frame("validation")])[name].sort_index()
        np.testing.assert_allclose(found, values.astype("float32"), rtol=1e-6)
    again = data.attach(log)
    assert again["price_rank"].equals(data.attach(data.frame("train"))["price_rank"]) is False
    np.testing.assert_allclose(again["price_rank"], expected(log)["price_rank"], rtol=1e-6)


def ctr_ranks(log, rows, until=None):
    """A loop over rows for the rate, and pandas' average ranks in each list."""
    p, ctr = log["click"][log["time_ms"] < START + 40 * HOUR].mean(), {}
    for row in rows.itertuples():
        before = log[(log["shop"] == row.shop) & (log["time_ms"] < min(row.time_ms, until or 1e99))]
        ctr[row.Index] = np.float32((before["click"].sum() + 2 * p) / (len(before) + 2))
    rank = pd.Series(np.nan, rows.index)
    for _, rates in pd.Series(ctr)[rows["list"] >= 0].groupby(rows["list"]):
        others = len(rates) - 1
        rank[rates.index] = (rates.rank() - 1) / others if others else 0.5
    return rank.astype("float32")


@pytest.mark.one_backend
@pytest.mark.parametrize("part, until", [("train", None), ("validation", START + 40 * HOUR)])
def test_a_number_relative_to_a_rate_follows_it(log, rated, part, until):
    rows = rated.frame(part)
    for freeze in ("never", "part") if until else ("never",):
        found = ctr_ranks(log, rows, until if freeze == "part" else None)
        for given in (part, rows):
            attached = rated.attach(given, freeze_at=freeze)
            np.testing.assert_allclose(attached["ctr_rank"], found, rtol=1e-6)
        batches = rated.batches(part, freeze_at=freeze)
        for name in ("categorical", "numbers"):
            packed = np.concatenate([x[name] for x, *_ in batches.as_numpy_iterator()])
            np.testing.assert_array_equal(packed, rated.encoder.transform(attached)[name])


@pytest.mark.one_backend
def test_some_rows_of_a_list_are_told(log, data, rated):
    whole = log[log["list"] == log["list"][log["list"] >= 0].mode()[0]]
    told = "is relative to the list, and 1 of 2 lists have fewer rows here than in the log"
    new = pd.concat([whole.iloc[:1], whole.iloc[:1].assign(list=1000), log[log["list"] < 0]])
    with pytest.warns(UserWarning, match=f"attach: feature `price_rank` {told}"):
        data.attach(new)
    validation = rated.attach("validation")
    row = rated.frame("validation").query("list == 49").iloc[:1]
    with pytest.warns(UserWarning, match="feature `ctr_rank` .* 1 of 1 lists have fewer rows"):
        rated.batches(row)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.attach(whole)
        data.attach(data.frame("train").iloc[:3])
        rated.attach(validation.iloc[:3])
        rows = rated.verification_rows(5)
    np.testing.assert_array_equal(rows["ctr_rank"], validation.loc[rows.index, "ctr_rank"])
    assert len(rows) == 5


@pytest.mark.one_backend
def test_rates_of_training_rows_are_computed_once(log, rated, monkeypatch):
    made = RankingData(rated.schema.with_layout(None), log, validation=START + 40 * HOUR)
    expected = rated.encoder.transform(rated.attach("train"))["numbers"]
    monkeypatch.setattr(made.rates, "values", None)
    found = [x["numbers"] for x, *_ in made.batches("train").as_numpy_iterator()]
    np.testing.assert_array_equal(np.concatenate(found), expected)


@pytest.mark.one_backend
def test_what_can_not_be_relative_to_a_rate_is_said(log, rated):
    with pytest.raises(ValueError, match=r"`ctr_rank` is relative to `ctr`.*several parts \(such"):
        RankingData(rated.schema.with_layout(None), log, validation=log.iloc[-40:])
    held = rated.attach("validation").drop(columns="ctr")
    with pytest.raises(ValueError, match="`freeze_at` can't freeze `ctr_rank`"):
        rated.attach(held, freeze_at="part")
    with pytest.raises(ValueError, match="`ctr_rank`, which RankingData computes of `ctr`"):
        rated.encoder.transform(rated.rates.attach(rated.frame("train")))


@pytest.mark.one_backend
def test_prepare_needs_the_column_and_says_so(log, data, tmp_path):
    plain = data.schema.with_layout(None)
    with pytest.raises(ValueError, match="rows 0 to .*: feature `price_rank` is relative to the"):
        prepare(plain, log, tmp_path / "out", verbose=False)
    whole = data.attach(log)
    prepare(data.encoder, whole, tmp_path / "held", verbose=False)
    opened = RankingData.open(tmp_path / "held")
    rows = whole.loc[opened.frame("train").index]
    found = [x["numbers"] for x, *_ in opened.batches("train").as_numpy_iterator()]
    np.testing.assert_array_equal(np.concatenate(found), data.encoder.transform(rows)["numbers"])


@pytest.mark.one_backend
def test_rows_that_hold_the_column_keep_it(data):
    some = data.frame("train").iloc[:5]
    assert data.attach(some)["price_rank"].equals(some["price_rank"])


@pytest.mark.one_backend
@pytest.mark.parametrize("feature", [RANK, DIFFERENCE])
def test_candidates_of_a_request_get_what_a_list_gets(feature):
    tf = pytest.importorskip("tensorflow")
    draw = np.random.default_rng(1)
    for number in (0, 1, 2, 40):
        prices = draw.choice([1.5, 1.5, 2.25, -3.0, 1e6, np.nan], number).astype("float32")
        found = feature.of_candidates(tf, tf.constant(prices)).numpy()
        np.testing.assert_array_equal(found, feature.of_lists(prices, np.zeros(number, int)))


@tensorflow_only
def test_rank_computes_what_pairs_are_given(rated, tmp_path):
    import tensorflow as tf

    from keras_infnet.serving import export
    from keras_infnet.serving.answers import ask

    keras.utils.set_random_seed(0)
    model = tiny.randomise(SharedBottom(rated.schema, dim=4, hidden_dims=(8,)))
    path = export(model, rated, tmp_path / "ranker")
    signatures = tf.saved_model.load(str(path)).signatures
    names = signatures["rank"].structured_input_signature[1]
    assert set(names) == {"user_id", "price", "ctr"}
    assert set(signatures["serving_default"].structured_input_signature[1]) == {
        "user_id",
        "price",
        "price_rank",
        "ctr",
        "ctr_rank",
    }
    frame = rated.frame("train")
    frame = frame[frame["list"] >= 0]
    of_list = frame[frame["list"] == frame["list"].value_counts().idxmax()]
    of_list = rated.attach(of_list)
    request = frame_to_request(rated.schema, of_list)
    client = Client(rated.schema)
    asked = client.rank_inputs(of_list.iloc[:1], of_list)
    assert set(asked) == {"user_id", "price", "ctr"}
    ranked, pairs = ask(signatures["rank"], asked), ask(signatures["serving_default"], request)
    np.testing.assert_allclose(ranked["click"], pairs["click"], atol=1e-6)
    np.testing.assert_allclose(
        ranked["click"][:, 0], rated.predict(model, of_list)["click"], atol=1e-6
    )


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "features, key, message",
    [
        ((RANK,), "list", r"`price_rank`: of is 'price'; expected a NumericFeature of the item"),
        (
            (NumericFeature("price", "user"), RANK),
            "list",
            r"of the item \(numeric features: `price`",
        ),
        ((PRICE, RANK), None, "`price_rank` is relative to a list, and the schema knows none"),
    ],
)
def test_schemas_that_have_no_such_list(features, key, message):
    with pytest.raises(ValueError, match=message):
        schema(*features, list_key=key)


@pytest.mark.one_backend
def test_bad_arguments_and_a_missing_column_are_named(log, data):
    with pytest.raises(ValueError, match='relative is \'mean\'; expected "rank" or "difference"'):
        RelativeFeature("x", "item", of="price", relative="mean")
    with pytest.raises(ValueError, match="owner is 'user'; expected \"item\""):
        RelativeFeature("x", "user", of="price")
    with pytest.raises(ValueError, match="`price_rank`, which RankingData computes of `price`"):
        data.encoder.transform(log)
