import numpy as np
import pandas as pd
import pytest

from keras_infnet import (
    Age,
    BinaryTask,
    CategoricalFeature,
    EventNumber,
    FeatureSchema,
    History,
    NumericFeature,
    RankingData,
)
from keras_infnet.data import FeatureEncoder, Histories, frame_to_request, prepare
from keras_infnet.explain.importance import permuted_parts
from keras_infnet.models import INFNet, SharedBottom
from tests import tiny
from tests.reference.schema_tokens import event_rows
from tests.reference.textbook import Weights
from tests.schema.whole_way import make_log

SEEN = History(
    "seen", ["video_id", "price"], max_length=4, quantities=(Age(), EventNumber("read_s", 4))
)
BOUGHT = History("bought", ["video_id", "price"], max_length=2, where="is_click")


# Of several owners, some of which share a token.
MORE = [
    NumericFeature("income", "user", token="of_user", encoding="normal"),
    NumericFeature("likes", "item", token="of_item", encoding=("bucket", "ple"), buckets=8),
    NumericFeature("debts", "user", token="of_user", allow_missing=True),
    NumericFeature("shares", "item", token="of_item"),
]


def schema(*histories, more=(), **kwargs):
    features = [
        CategoricalFeature("video_id", "item"),
        NumericFeature("price", "item", buckets=4, allow_missing=True, encoding=("value", "ple")),
        NumericFeature("fans", "item", buckets=4),
        *more,
    ]
    return FeatureSchema(features, [BinaryTask("click", "is_click")], histories, **kwargs)


def log_with_numbers(rows=120):
    rng, log = np.random.default_rng(3), make_log(rows)
    log["read_s"] = np.where(rng.random(len(log)) < 0.2, np.nan, rng.integers(0, 60, len(log)))
    log["price"] = np.where(rng.random(len(log)) < 0.2, np.nan, rng.lognormal(size=len(log)))
    log = log.assign(**{f.name: rng.lognormal(size=len(log)) for f in MORE})
    return log.assign(fans=rng.integers(0, 9, len(log)), debts=log.income.where(log.income > 1))


def test_ids_are_places_among_the_quartiles_and_zero_is_unknown():
    log = log_with_numbers()
    encoder = FeatureEncoder(schema(SEEN)).fit(log)
    known = log.read_s.dropna()
    edges = np.quantile(known, [0, 0.25, 0.5, 0.75, 1], method="higher")
    asked = pd.DataFrame({"video_id": 1, "price": 1.0, "read_s": [*edges, -5, 999, np.nan, 7]})
    column = encoder.schema.history_columns("seen")["#read_s"]
    ids = encoder.encode_events("seen", asked)[:, column].ravel()
    places = [0, 1, 2, 3, 4, 0, 4, np.nan, np.interp(7, edges, range(5))]
    expected = [0 if p != p else 2**24 + round(2**16 * p) for p in places]
    np.testing.assert_allclose(ids, expected, atol=1)
    assert encoder.schema.layout.sizes["seen/#read_s"] == 6
    assert encoder.schema.id_sizes()["seen"]["#read_s"] == 2**24 + 4 * 2**16 + 1


@pytest.mark.one_backend
def test_frames_requests_and_prepared_folders_agree(tmp_path):
    import tensorflow as tf

    log = log_with_numbers()
    encoder = FeatureEncoder(schema(SEEN)).fit(log)
    rows = Histories(encoder, log).attach(log)
    packed = encoder.transform(rows)
    request = {k: tf.constant(v) for k, v in frame_to_request(encoder.schema, rows).items()}
    served = encoder.to_tensorflow()(request)
    for name, array in packed.items():
        np.testing.assert_allclose(served[name].numpy(), array, atol=1e-5, err_msg=name)
    keep = ["video_id"]
    prepare(encoder, log, tmp_path / "log", keep=keep, verbose=False)
    batches = RankingData.open(tmp_path / "log").batches("train").as_numpy_iterator()
    found = [x for x, _, _ in batches]
    for name in ("seen", "numbers"):
        of_folder = np.concatenate([x[name] for x in found]).reshape(len(log), -1)
        assert sorted(of_folder.tolist()) == sorted(packed[name].reshape(len(log), -1).tolist())


@pytest.mark.parametrize("context", [None, ("age", "read_s")])
def test_tokens_of_events_add_the_bucket_and_the_place(context):
    sizes = {"video_id": 9, "price": 2, "fans": 5, "seen/#read_s": 6}
    fitted = schema(SEEN, BOUGHT).with_sizes(sizes, "int")
    model = tiny.randomise(SharedBottom(fitted, dim=8, event_context=context), scale=0.4)
    x, w = tiny.inputs(fitted), Weights.of(model)
    places = np.random.default_rng(0).uniform(0, 4, x["seen"].shape[:2])
    places[3, 0] = np.nan
    column = fitted.history_columns("seen")["#read_s"].start
    ids = 2**24 + np.rint(2**16 * np.nan_to_num(places)).astype("int32")
    x["seen"][:, :, column] = np.where(np.isnan(places), 0, ids)
    at = w / "history_tokens"
    expected = []
    for history in fitted.histories:
        rows = event_rows(w, fitted, history, x[history.name], slice(None))
        tokens = rows @ at["projection_0/kernel"]
        if history is fitted.histories[0]:
            tokens += (at / "context")["age_table"][x["seen_age"]]
            bucket = np.where(np.isnan(places), 0, 1 + np.floor(places + 1e-9)).astype(int)
            tokens += (at / "context")["read_s_table"][bucket]
            v = np.nan_to_num(2 * places / 4 - 1)
            tokens += v[:, :, None] * (w / "history_numbers")["kernel"][0]
        else:
            tokens += (at / "context")["age_table"][23 + x["bought_age"]]
            tokens += (at / "context")["read_s_table"][6]
        expected.append(tokens)
    if context is None:
        position = [[3, 2, 1, 0], [4 + 1, 4 + 0]]
        for tokens, rows in zip(expected, position, strict=True):
            tokens += (at / "context")["position_table"][rows]
    history = model.reading(model.get_layer("history_numbers").output)(x)
    assert tuple(history.shape) == (6, 6, 8)
    add = next(n.operation for n in model.get_layer("history_numbers")._outbound_nodes)
    np.testing.assert_allclose(model.reading(add.output)(x), np.concatenate(expected, 1), atol=1e-4)


def test_a_context_without_it_leaves_it_out_and_an_unknown_name_is_an_error():
    fitted = schema(SEEN).with_sizes(
        {"video_id": 9, "price": 2, "fans": 5, "seen/#read_s": 6}, "int"
    )
    model = INFNet(fitted, dim=8, event_context=("age",))
    assert not any("read_s" in w.path or "history_numbers" in w.path for w in model.weights)
    with pytest.raises(ValueError, match="event_context has \\['read'\\].*'read_s'"):
        INFNet(fitted, event_context=("read",))


def test_the_importance_of_a_number_is_that_of_bucket_and_number():
    fitted = schema().with_sizes({"video_id": 9, "price": 2, "fans": 5}, "int")
    parts = permuted_parts(fitted)
    assert parts["field", "price"] == {"categorical": slice(1, 2), "numbers": slice(0, 2)}
    assert parts["field", "fans"] == {"categorical": slice(2, 3), "numbers": slice(2, 3)}


def test_events_from_before_the_log_may_lack_it():
    log = log_with_numbers()
    encoder = FeatureEncoder(schema(SEEN)).fit(log)
    earlier = pd.DataFrame({"user_id": [0, 0], "video_id": [1, 2], "price": [1.0, np.nan]})
    events = Histories(encoder, log, {"seen": earlier}).events["seen"]
    column = encoder.schema.history_columns("seen")["#read_s"]
    of_user = events.users == events.users[events.times == np.iinfo("int64").min][0]
    assert not events.columns[of_user][:2, column].any()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: EventNumber("age"), "column is 'age'; expected another name"),
        (lambda: EventNumber("read", buckets=1), "buckets is 1; expected an integer of 2 or more"),
        (lambda: EventNumber("read", buckets=999), "buckets is 999; expected at most 256"),
        (lambda: EventNumber("read s"), "column is 'read s'; expected letters"),
        (
            lambda: History("seen", ["v"], quantities=(EventNumber("a"), EventNumber("a", 4))),
            "each kind once",
        ),
        (
            lambda: FeatureEncoder(schema(SEEN)).fit(log_with_numbers().drop(columns="read_s")),
            "History `seen`, number `read_s`.*`read_s`",
        ),
        (
            lambda: FeatureEncoder(schema(SEEN)).fit(log_with_numbers().assign(read_s=np.inf)),
            "History `seen`, number `read_s`: 120 values are infinite",
        ),
    ],
)
def test_what_is_wrong_is_told(make, text):
    with pytest.raises(ValueError, match=text):
        make()
