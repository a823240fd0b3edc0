"""Groups by age and by place: every way to a model gives those of a loop over rows and events."""

import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet import (
    Age,
    BinaryTask,
    CategoricalFeature,
    FeatureSchema,
    History,
    HistoryGroup,
    INFNet,
    RankingData,
)
from keras_infnet.data import Batches, Histories, frame_to_request, prepare
from keras_infnet.models.tokens import in_groups
from tests.prepared import collect, row_numbers
from tests.schema.whole_way import check_served

GROUPS = (
    HistoryGroup("all"),
    HistoryGroup("lately", within="3s"),
    HistoryGroup("before", within="10s"),
    HistoryGroup("newest", last=2),
    HistoryGroup("click", any_of=("click",), last=4),
    HistoryGroup("skip", none_of=("click",), within="10s"),
    HistoryGroup("both", within="3s", last=1),
)
SECONDS = {"3s": 3, "10s": 10}
LENGTH, START = 6, 1_767_225_600_000
one_backend = pytest.mark.one_backend


def schema(**kwargs):
    seen = History("seen", ("video_id",), LENGTH, actions=("click",), groups=GROUPS)
    reads = History("reads", ("video_id",), 3, groups=(HistoryGroup("lately", within="3s"),))
    features = [CategoricalFeature("video_id", "item", dtype="int")]
    features += [CategoricalFeature("user_id", "user", dtype="int")]
    return FeatureSchema(features, [BinaryTask("like")], [seen, reads], **kwargs)


@pytest.fixture(scope="module")
def log():
    """Half seconds of which many are taken twice, clicks and videos that are not known."""
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"user_id": rng.integers(0, 6, 200), "like": rng.integers(0, 2, 200)})
    log["video_id"] = pd.array(rng.integers(0, 15, 200), "Int64")
    log["click"] = pd.array(rng.integers(0, 2, 200), "Int64")
    log.loc[rng.random(200) < 0.2, "video_id"] = pd.NA
    log.loc[rng.random(200) < 0.2, "click"] = pd.NA
    # One in four lies a millisecond beside a half second, where a limit of age may cut.
    return log.assign(
        time_ms=START + rng.integers(0, 40, 200) * 500 + rng.choice([0, 0, 0, 1], 200)
    )


@pytest.fixture(scope="module")
def warm():
    """Events before the log, of no known time, without clicks."""
    return pd.DataFrame({"user_id": [0, 0, 1], "video_id": [1, 2, 3]})


@pytest.fixture(scope="module")
def reads(log):
    rng = np.random.default_rng(1)
    columns = {"user_id": rng.integers(0, 6, 90), "video_id": rng.integers(0, 15, 90)}
    return pd.DataFrame({**columns, "time_ms": START + rng.integers(-9, 40, 90) * 500})


@pytest.fixture(scope="module")
def data(log, warm, reads):
    more = {"warm": {"seen": warm}, "events": {"reads": reads}, "batch_size": 64}
    return RankingData(schema(), log, **more)


def slow_groups(row, events, history, freeze=None):
    """Which events are in which group, `(groups, max_length)`: event by event."""
    until = row.time_ms if freeze is None else min(row.time_ms, freeze)
    mine = [e for e in events if e["user_id"] == row.user_id and not pd.isna(e["video_id"])]
    mine = [e for e in mine if e["time_ms"] is None or e["time_ms"] < until]
    # Python's sort keeps the order of the log.
    mine.sort(key=lambda e: -1 if e["time_ms"] is None else e["time_ms"])
    found = np.zeros((len(history.groups), history.max_length))
    for place, event in enumerate(reversed(mine[-history.max_length :])):
        age = None if event["time_ms"] is None else row.time_ms - event["time_ms"]
        for g, group in enumerate(history.groups):
            is_in = not group.any_of or event["click"] == 1
            is_in &= not group.none_of or event["click"] == 0
            is_in &= group.within is None or (
                age is not None and age < SECONDS[group.within] * 1000
            )
            is_in &= group.last is None or place < group.last
            found[g, -1 - place] = is_in
    return found


def right_groups(data, rows, *frames, name="seen", freeze=None):
    """`slow_groups` of all rows, `(rows, groups, max_length)`."""
    events = []
    for frame in frames:
        frame = frame.reindex(columns=["user_id", "time_ms", "video_id", "click"]).astype(object)
        events += frame.where(frame.notna(), None).to_dict("records")
    history = data.schema.history(name)
    return np.stack([slow_groups(row, events, history, freeze) for row in rows.itertuples()])


def found_groups(data, packed, name="seen"):
    masks = in_groups(data.schema, data.schema.history(name), packed)
    return keras.ops.convert_to_numpy(masks)


def test_batches_rows_and_requests_equal_a_loop(data, log, warm, reads):
    import tensorflow as tf

    attached = data.attach(log)
    request = frame_to_request(data.schema, attached)
    graph = data.encoder.to_tensorflow()
    of_request = graph({name: tf.constant(values) for name, values in request.items()})
    ways = {
        "batches": collect(data.batches(log, labels=False)),
        "rows": data.encoder.transform(attached),
        "request": {name: values.numpy() for name, values in of_request.items()},
    }
    right = right_groups(data, log, warm, log)
    # Something is in each group, and something of what fulfils its other conditions is not.
    assert (right.sum((0, 2)) > 20).all() and len(np.unique(right.sum((0, 2)))) == len(GROUPS)
    for way, packed in ways.items():
        np.testing.assert_array_equal(found_groups(data, packed), right, err_msg=way)
        wanted = right_groups(data, log, reads, name="reads")
        np.testing.assert_array_equal(found_groups(data, packed, "reads"), wanted, err_msg=way)


def test_shorter_histories_lack_the_oldest_places_alone(data, log, warm):
    packed = collect(data.batches(log, labels=False))
    short = {name: x[:, -4:] if name.startswith("seen") else x for name, x in packed.items()}
    right = right_groups(data, log, warm, log)
    np.testing.assert_array_equal(found_groups(data, short), right[:, :, -4:])


@one_backend
def test_padding_and_missing_events_of_a_request_take_no_place(data, log, warm):
    import tensorflow as tf

    request = frame_to_request(data.schema, data.attach(log))
    rng = np.random.default_rng(0)
    names, fills = data.schema.history("seen").list_columns, data.schema.raw_missing()
    width = request[names[0]].shape[1]
    where = np.sort(np.argsort(rng.random((len(log), width + 4)), axis=1)[:, :width], axis=1)
    for name in names:
        spread = np.full((len(log), width + 4), fills[name], request[name].dtype)
        np.put_along_axis(spread, where, request[name], axis=1)
        request[name] = spread
    # An event that is none, but would be young.
    request["seen_age_seconds"][request["seen_video_id"] == -1] = 0
    packed = data.encoder.to_tensorflow()({k: tf.constant(v) for k, v in request.items()})
    found = found_groups(data, {name: values.numpy() for name, values in packed.items()})
    np.testing.assert_array_equal(found, right_groups(data, log, warm, log))


@one_backend
def test_frozen_histories_have_the_ages_of_the_row(data, log, warm):
    freeze = START + 12_000
    packed = collect(data.batches(log, labels=False, freeze_at=freeze))
    right = right_groups(data, log, warm, log, freeze=freeze)
    np.testing.assert_array_equal(found_groups(data, packed), right)
    assert right.sum() < right_groups(data, log, warm, log).sum()


@one_backend
@pytest.mark.parametrize("listed", [False, True])
def test_prepared_folders_equal_a_loop(tmp_path, data, log, warm, listed):
    rows, given = (data.attach(log), {}) if listed else (log, {"earlier": {"seen": warm}})
    if not listed:
        # `prepare` takes no log of reads: one behaviour alone.
        rows = log.join(data.attach(log).filter(like="reads_"))
    encoder = prepare(data.encoder, rows, tmp_path / "log", partitions=2, verbose=False, **given)
    packed = collect(Batches.from_folder(encoder, tmp_path / "log", labels=False))
    order = row_numbers(tmp_path / "log", "train")
    right = right_groups(data, log, warm, log)[order]
    np.testing.assert_array_equal(found_groups(data, packed), right)


@pytest.fixture(scope="module")
def model(data):
    keras.utils.set_random_seed(0)
    model = INFNet(data.schema, dim=4, head_dim=4)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.3, w.shape).astype("float32") for w in model.weights])
    return model


def test_a_model_pools_what_the_loop_finds(data, model, log, warm, reads):
    """`S~_f` by the formula, of the tokens of events that the model itself has."""
    packed = collect(data.batches(log, labels=False))
    layers = {layer.name: layer for layer in model.member(0).layers}
    pooling = layers["sequence_proxies"]
    tokens, _, _ = pooling.input
    read = model.reading({"tokens": tokens, "proxies": pooling.output}, 0)
    found = {k: np.asarray(v) for k, v in read.predict_on_batch(packed).items()}
    groups = np.zeros((len(log), len(GROUPS) + 1, LENGTH + 3))
    groups[:, :-1, :LENGTH] = right_groups(data, log, warm, log)
    groups[:, -1:, LENGTH:] = right_groups(data, log, reads, name="reads")
    counts = groups.sum(-1, keepdims=True)
    means = groups @ found["tokens"] / np.maximum(counts, 1)
    kernel, bias, of_count = (np.asarray(w) for w in pooling.weights)
    proxies = np.einsum("bgi,gio->bgo", means, kernel) + bias + np.log1p(counts) / 2 * of_count
    np.testing.assert_allclose(found["proxies"], proxies, rtol=1e-4, atol=1e-5)


@one_backend
def test_a_saved_model_and_its_client_answer_as_keras(tmp_path, data, model, log, warm, reads):
    parts = {"validation": START + 15_000, "warm": {"seen": warm}, "events": {"reads": reads}}
    split = RankingData(data.encoder, log, **parts)
    np.testing.assert_allclose(
        split.predict(model, split.attach("validation")), split.predict(model, "validation"), 1e-5
    )
    check_served(split, model, tmp_path)


@one_backend
def test_schemas_are_read_back_and_those_from_before_keep_their_fingerprint(data):
    again = FeatureSchema.from_dict(data.schema.to_dict())
    assert again == data.schema and again.fingerprint == data.schema.fingerprint
    assert again.history("seen").groups == GROUPS
    plain = History("s", ("v",), groups=(HistoryGroup("all"),)).to_dict()
    assert plain["groups"] == [{"name": "all", "any_of": (), "none_of": ()}]


@one_backend
def test_saved_data_have_them_again(tmp_path, data, log):
    data.save(tmp_path / "data")
    packed = collect(RankingData.load(tmp_path / "data").batches(log, labels=False))
    for name, values in collect(data.batches(log, labels=False)).items():
        np.testing.assert_array_equal(packed[name], values, err_msg=name)


@one_backend
def test_an_age_of_exactly_the_limit_is_not_within():
    times = [0, 1, 2_999, 3_000, 3_001]
    log = pd.DataFrame({"user_id": 1, "video_id": 2, "like": [0, 1, 0, 1, 0]})
    log["time_ms"] = [START + t for t in times]
    seen = History("seen", ("video_id",), 4, groups=(HistoryGroup("lately", within="3s"),))
    features = [CategoricalFeature("video_id", "item", dtype="int")]
    data = RankingData(FeatureSchema(features, [BinaryTask("like")], [seen]), log)
    assert data.schema.packed_inputs()["seen_within"] == ((4,), "int32")
    assert found_groups(data, collect(data.batches(log, labels=False)))[:, 0].tolist() == [
        [0, 0, 0, 0],
        [0, 0, 0, 1],
        [0, 0, 1, 1],
        [0, 0, 1, 1],
        [0, 0, 1, 1],
    ]


def history(*groups, **kwargs):
    return History("seen", ("video_id",), **{"max_length": 9, **kwargs}, groups=groups)


@one_backend
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: HistoryGroup("hour", within="1 hour"),
            "HistoryGroup `hour`: within is '1 hour'; expected a duration such as",
        ),
        (lambda: HistoryGroup("hour", within="-1h"), "within is '-1h'; expected a duration"),
        (lambda: HistoryGroup("hour", within="0h"), "within is '0h'; expected a duration"),
        (lambda: HistoryGroup("hour", within=3600), "within is 3600; expected a duration"),
        (lambda: HistoryGroup("hour", within="99999999999d"), "expected a duration"),
        (lambda: HistoryGroup("new", last=0), "`new`: last is 0; expected an integer of 1 or more"),
        (lambda: HistoryGroup("new", last=2.0), "last is 2.0; expected an integer"),
        (lambda: HistoryGroup("new", last=True), "last is True; expected an integer"),
        (
            lambda: history(HistoryGroup("new", last=10)),
            "History `seen`: group `new`: last is 10; expected at most max_length, 9",
        ),
        (
            lambda: history(HistoryGroup("hour", within="1h"), quantities=()),
            r"`seen`: quantities is \(\); expected Age\(\) among them: group `hour` goes by it",
        ),
        (
            lambda: FeatureSchema(
                [CategoricalFeature("video_id", "item")],
                [BinaryTask("like")],
                [history(HistoryGroup("hour", within="1h"), quantities=(Age(),))],
                time_key=None,
            ),
            "History `seen`, group `hour`: within goes by ages, and the schema has no time_key",
        ),
    ],
)
def test_groups_that_can_not_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@one_backend
def test_places_need_no_times(log):
    seen = history(HistoryGroup("newest", last=2), quantities=(), max_length=3)
    features = [CategoricalFeature("video_id", "item", dtype="int")]
    made = FeatureSchema(features, [BinaryTask("like")], [seen], time_key=None)
    rows = log.sort_values("time_ms", ignore_index=True)
    data = RankingData(made, rows)
    found = found_groups(data, collect(data.batches(rows, labels=False)))
    before = [[j for j in range(i) if same(rows, i, j)] for i in range(len(rows))]
    assert found.sum((1, 2)).tolist() == [min(2, len(past)) for past in before]
    assert not found[:, :, 0].any()


def same(rows, i, j):
    """Whether row `j` is an event of the user of row `i`."""
    return rows.user_id[i] == rows.user_id[j] and not pd.isna(rows.video_id[j])


@one_backend
def test_histories_alone_attach_ages_once(data, log):
    attached = Histories(data.encoder, log).attach(log)
    names = [name for name in attached.columns if name.startswith("seen_")]
    assert names == ["seen_video_id", "seen_click", "seen_age_seconds"]
