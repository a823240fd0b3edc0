import datetime
import warnings

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keras_infnet import (
    BinaryTask,
    CategoricalFeature,
    FeatureSchema,
    History,
    RankingData,
    RegressionTask,
    fit_ranker,
)
from keras_infnet.calibration import fit_calibration
from keras_infnet.data import FeatureEncoder, Histories
from keras_infnet.data.whole_files import write_json
from keras_infnet.metrics import auc, group_auc, log_loss, mean_squared_error
from keras_infnet.models import SharedBottom
from tests.logs import log_schema, make_log
from tests.prepared import collect, prepared

DAY = 86_400_000
START = pd.Timestamp("2026-11-18").value // 10**6


@pytest.fixture(scope="module")
def log():
    """Five days, whose `date` is a day later in some rows."""
    log = make_log(rows=250)
    times = START + np.arange(250) * (5 * DAY // 250)
    dates = 20261118 + (times - START) // DAY
    dates[45] += 1
    return log.assign(time_ms=times, date=dates)


@pytest.fixture(scope="module")
def data(log):
    return RankingData(log_schema(), log, validation="2026-11-20", test="2026-11-22")


@pytest.fixture(scope="module")
def model(data):
    keras.utils.set_random_seed(0)
    return SharedBottom(data.schema, dim=2, hidden_dims=(4,), head_dim=4)


@keras.saving.register_keras_serializable(package="tests")
class MeanId(keras.Model):
    """A model that answers with a row's first id, to see which row an answer belongs to."""

    def __init__(self, schema):
        super().__init__()
        self.schema = schema

    def call(self, x):
        first = keras.ops.cast(x["categorical"][:, :1], "float32")
        return {"click": first / 100, "like": 1 - first / 100}


def times(data, part):
    return data.frame(part)["time_ms"].to_numpy()


@pytest.mark.parametrize(
    ("validation", "test"),
    [
        ("2026-11-20", "2026-11-22"),
        (START + 2 * DAY, np.int64(START + 4 * DAY)),
        (datetime.date(2026, 11, 20), datetime.datetime(2026, 11, 22)),
        (pd.Timestamp("2026-11-20"), np.datetime64("2026-11-22")),
        (pd.Timestamp("2026-11-20 01:00", tz="Europe/Amsterdam"), "2026-11-22T00:00Z"),
    ],
)
def test_times_split_the_log(log, validation, test):
    data = RankingData(log_schema(), log, validation=validation, test=test)
    assert data.rows == {"train": 100, "validation": 100, "test": 50}
    assert times(data, "train").max() < START + 2 * DAY <= times(data, "validation").min()
    assert times(data, "validation").max() < START + 4 * DAY <= times(data, "test").min()


def test_the_encoder_learns_from_training_rows_and_histories_reach_over_the_log(log, data):
    train = log[log.time_ms < START + 2 * DAY]
    encoder = FeatureEncoder(log_schema()).fit(train)
    assert data.schema == encoder.schema and data.schema.fitted
    histories = Histories(encoder, log)
    for part, rows in (("validation", log[100:200]), ("test", log[200:])):
        expected = encoder.transform(histories.attach(rows))
        found = collect(getattr(data, part))
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)
        np.testing.assert_array_equal(found["label/click"][:, 0], rows.is_click)
    pd.testing.assert_frame_equal(data.attach("test"), histories.attach(log[200:]))


def test_values_of_a_column_split_the_log(log):
    data = RankingData(log_schema(), log, validation=20261119, test=20261122, split_key="date")
    assert data.rows == {"train": 49, "validation": 151, "test": 50}
    assert 45 not in data.frame("train").index and 45 in data.frame("validation").index


def test_rows_of_the_log_may_be_given_as_frames(log, data):
    shuffled = log.iloc[100:200].sample(frac=1, random_state=0)
    found = RankingData(log_schema(), log, validation=shuffled, test=log[200:])
    assert found.rows == data.rows and found.schema == data.schema
    for part in data.rows:
        pd.testing.assert_frame_equal(found.frame(part), data.frame(part))


def test_further_rows_given_as_frames_join_the_log(log, data):
    parts = [log[:100], log[100:200], log[200:]]
    train, validation, test = (part.reset_index(drop=True) for part in parts)
    found = RankingData(log_schema(), train, validation=validation, test=test)
    assert found.rows == data.rows and found.schema == data.schema
    pd.testing.assert_frame_equal(found.frame("test"), test)
    for name, array in collect(data.test).items():
        np.testing.assert_array_equal(collect(found.test)[name], array, err_msg=name)


def test_without_a_split_all_rows_train(log):
    data = RankingData(log_schema(), log)
    assert data.rows == {"train": 250} and data.validation is None and data.test is None


def test_training_batches_are_shuffled_seeded_and_begin_anew(log, data):
    first, again = collect(data.train), collect(data.train)
    rows = np.stack(data.frame("train").image)
    assert sorted(first["dense"][:, 0]) == sorted(rows[:, 0])
    assert not np.array_equal(first["dense"], rows)
    np.testing.assert_array_equal(first["dense"], again["dense"])
    other = collect(data.batches("train", shuffle=True, seed=1))
    assert not np.array_equal(other["dense"], first["dense"])
    assert len(data.batches("train", shuffle=True, batch_size=30, drop_remainder=True)) == 3
    buckets = RankingData(log_schema(), log, length_buckets=(2,), batch_size=25)
    assert {x["seen"].shape[1] for x, *_ in buckets.train.as_numpy_iterator()} == {2, 5}


def test_evaluated_histories_may_be_frozen(log):
    start = START + 4 * DAY
    for freeze_at in ("part", start, "2026-11-22"):
        data = RankingData(log_schema(), log, test="2026-11-22", freeze_at=freeze_at)
        wanted = data.histories.attach(log[200:], start)
        pd.testing.assert_frame_equal(data.attach("test"), wanted)
        pd.testing.assert_frame_equal(data.attach(log[200:]), wanted)
        expected = data.encoder.transform(wanted)
        np.testing.assert_array_equal(collect(data.test)["seen"], expected["seen"])
        rolling = data.encoder.transform(data.histories.attach(log[200:]))
        for x in (data.batches("test", freeze_at="never"),):
            np.testing.assert_array_equal(collect(x)["seen"], rolling["seen"])
        train = data.encoder.transform(data.histories.attach(log[:200]))
        np.testing.assert_array_equal(
            collect(data.batches("train", labels=False))["seen"], train["seen"]
        )
    first = data.histories.attach(log[200:], "first_row")
    pd.testing.assert_frame_equal(data.attach("test", "first_row"), first)


def test_warm_events_come_before_the_log_in_one_or_in_all_histories(log):
    warm = make_log(rows=40, seed=3)
    for given, names in (({"seen": warm}, ["seen"]), (warm, ["seen", "liked"])):
        data = RankingData(log_schema(), log, validation="2026-11-20", warm=given)
        events = dict.fromkeys(names, warm)
        encoder = FeatureEncoder(log_schema()).fit(log[:100], events)
        assert data.schema == encoder.schema
        expected = Histories(encoder, log, events).attach(log[100:])
        pd.testing.assert_frame_equal(data.attach("validation"), expected)


def test_a_fitted_encoder_is_used_as_it_is_and_a_schema_learned_anew(log, data):
    encoder = FeatureEncoder(log_schema()).fit(log)
    assert RankingData(encoder, log, validation="2026-11-20").schema == encoder.schema
    assert RankingData(encoder.schema, log, validation="2026-11-20").schema == data.schema


def test_frames_of_polars_and_arrow_give_what_pandas_gives(log, data):
    polars = pytest.importorskip("polars")
    tables = [pa.Table.from_pandas(log, preserve_index=False)]
    tables.append(polars.from_arrow(tables[0]))
    for table in tables:
        found = RankingData(
            log_schema(), table, validation="2026-11-20", test="2026-11-22", warm=table[:0]
        )
        assert found.schema == data.schema
        for part in data.rows:
            here, there = collect(getattr(found, part)), collect(getattr(data, part))
            for name, array in there.items():
                np.testing.assert_array_equal(here[name], array, err_msg=name)
        test = collect(found.batches(table[200:]))
        np.testing.assert_array_equal(test["seen"], collect(data.test)["seen"])
        parts = RankingData(log_schema(), table[:100], validation=table[100:200], test=table[200:])
        assert parts.rows == data.rows and parts.schema == data.schema


def test_predictions_come_back_joined_to_the_index(log, data):
    frame = log[100:].sample(frac=1, random_state=3)
    found = data.predict(MeanId(data.schema), frame, batch_size=32)
    pd.testing.assert_index_equal(found.index, frame.index)
    ids = data.encoder.transform(frame)["categorical"][:, 0]
    np.testing.assert_allclose(found.click, ids / 100, rtol=1e-6)
    np.testing.assert_allclose(found.like, 1 - ids / 100, rtol=1e-6)
    pd.testing.assert_index_equal(data.predict(MeanId(data.schema), "test").index, log.index[200:])


def test_measures_count_observed_rows_and_rank_within_groups(log, data):
    model = MeanId(data.schema)
    rows, predicted = data.frame("test"), data.predict(MeanId(data.schema), "test")
    groups = {"user": "user_id", "user_day": ["user_id", "date"]}
    found = data.evaluate(model, "test", groups)
    assert found.index.tolist() == ["click", "like"] and found.index.name == "task"
    weights = {"click": np.ones(50), "like": rows.is_click}
    for task, label in (("click", rows.is_click), ("like", rows.is_like)):
        scores, weight = predicted[task], weights[task]
        keys = [rows.user_id, rows.date]
        expected = {
            "auc": auc(label, scores, weight),
            "gauc_user": group_auc(label, scores, rows.user_id, sample_weight=weight),
            "gauc_user_day": group_auc(label, scores, keys, sample_weight=weight),
            "log_loss": log_loss(label, scores, weight),
        }
        assert found.loc[task].to_dict() == pytest.approx(expected, nan_ok=True)
    by_user = data.evaluate(model, rows, batch_size=20)
    assert by_user["gauc"].tolist() == pytest.approx(found["gauc_user"].tolist(), nan_ok=True)
    assert "gauc" not in data.evaluate(model, "test", ())
    assert "ece" in data.evaluate(model, "test", calibration=True)


def test_regressions_have_errors_of_their_own(log):
    tasks = [BinaryTask("click", "is_click"), RegressionTask("play", "play_ms")]
    schema = FeatureSchema([CategoricalFeature("video_id", "item", dtype="int")], tasks)
    data = RankingData(schema, log, test="2026-11-22")

    class Model(keras.Model):
        schema = data.schema

        def call(self, x):
            first = keras.ops.cast(x["categorical"][:, :1], "float32")
            return {"click": first / 100, "play": first}

    found = data.evaluate(Model(), "test")
    predicted = data.predict(Model(), "test")["play"]
    expected = mean_squared_error(log[200:]["play_ms"], predicted)
    assert found.loc["play", "mse"] == pytest.approx(expected)
    assert np.isnan(found.loc["play", "auc"]) and np.isnan(found.loc["click", "mae"])
    assert list(data.calibrate(Model(), "test", method="isotonic").tasks) == ["click"]


def test_calibration_is_fitted_on_validation_rows(log, data):
    model = MeanId(data.schema)
    found = data.calibrate(model, method="isotonic")
    rows = data.frame("validation")
    labels = {"click": rows.is_click, "like": rows.is_like}
    weights = {"click": np.ones(100), "like": rows.is_click}
    expected = fit_calibration(labels, data.predict(model, "validation"), "isotonic", weights)
    assert found.to_dict() == expected.to_dict()


def test_keras_and_the_recipe_train_on_it(data, model):
    model.compile("adam")
    history = model.fit(data.train, validation_data=data.validation, shuffle=False, verbose=0)
    assert history.history["val_loss"]
    found = fit_ranker(model, data, verbose=0, optimizer=keras.optimizers.Adam())
    assert len(found.history["val_score"]) == 1
    with pytest.raises(ValueError, match="a validation of their own, and `validation` is given"):
        fit_ranker(model, data, data.validation)
    rows = data.verification_rows(8)
    assert len(rows) == 8 and set(rows.index) <= set(data.frame("test").index)
    assert model.predict(data.encoder.transform(rows), verbose=0)["click"].shape == (8, 1)


def test_what_can_not_be_saved_is_named(log, tmp_path):
    mixed = [1, "a"] * 125
    with pytest.raises(ValueError, match="RankingData.save: column `meta`: found .* int, str; exp"):
        RankingData(log_schema(), log.assign(meta=mixed)).save(tmp_path / "data")
    with pytest.raises(ValueError, match="RankingData.save: column `the index`: found .* int, str"):
        RankingData(log_schema(), log.set_axis(mixed)).save(tmp_path / "data")
    sparse = log.assign(fans=pd.arrays.SparseArray(log.fans))
    RankingData(log_schema(), sparse).save(tmp_path / "data")
    found = RankingData.load(tmp_path / "data").frame("train")
    np.testing.assert_array_equal(found.fans, log.fans)


@pytest.mark.parametrize("index", ["numbers", "names"])
def test_saved_data_come_back(log, tmp_path, index):
    if index == "names":
        log = log.set_axis([f"row {i}" for i in range(250)])
    data = RankingData(
        log_schema(),
        log.assign(tab=log.user_id.astype("category"), gaps=log.user_id.astype("Int64")),
        validation="2026-11-20",
        warm={"seen": make_log(rows=40, seed=3)},
        freeze_at="part",
        batch_size=30,
        seed=5,
        length_buckets=(2,),
    )
    data.save(tmp_path / "data")
    found = RankingData.load(tmp_path / "data")
    assert found.schema == data.schema and found.rows == data.rows
    assert found.frame("train").index.tolist() == data.frame("train").index.tolist()
    for part in data.rows:
        here, there = (
            [x["seen"] for x, *_ in getattr(d, part).as_numpy_iterator()] for d in (found, data)
        )
        for one, other in zip(here, there, strict=True):
            np.testing.assert_array_equal(one, other)
    assert found.attach("validation")["seen_video_id"].tolist() == (
        data.attach("validation")["seen_video_id"].tolist()
    )
    with pytest.raises(FileExistsError, match="exists. Choose another folder, or pass overwrite"):
        data.save(tmp_path / "data")
    found.save(tmp_path / "data", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    state = tmp_path / "data" / "data.json"
    rows = (tmp_path / "data" / "rows.parquet").read_bytes()
    for place in range(0, len(rows), len(rows) // 10):
        damaged = bytearray(rows)
        damaged[place] ^= 16
        (tmp_path / "data" / "rows.parquet").write_bytes(damaged)
        with pytest.raises(ValueError, match="rows.parquet can't be read: it"):
            RankingData.load(tmp_path / "data")
    (tmp_path / "data" / "rows.parquet").write_bytes(rows)
    text = state.read_text()
    state.write_text(text.replace('"seed": 5', '"seed": 8'))
    with pytest.raises(ValueError, match="data.json can't be read: .*its checksum differs"):
        RankingData.load(tmp_path / "data")
    write_json(state, {"format": 0})
    with pytest.raises(ValueError, match="has another format than 2. Save it again"):
        RankingData.load(tmp_path / "data")
    with pytest.raises(ValueError, match="nowhere.*can't be read"):
        RankingData.load(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    with pytest.raises(FileExistsError, match="exists. Choose another folder.$"):
        data.save(tmp_path / "other", overwrite=True)


@pytest.fixture(scope="module")
def folder(log, tmp_path_factory):
    path = tmp_path_factory.mktemp("prepared") / "log"
    splits = {"train": START + 2 * DAY, "validation": START + 4 * DAY, "test": None}
    prepared(path, log, splits=splits, keep=["date"])
    return path


def test_a_prepared_folder_has_the_same_methods(log, data, folder):
    opened = RankingData.open(folder, freeze_at="part", mix_blocks=2, batch_size=30)
    assert opened.schema == data.schema and opened.rows == data.rows
    rows = opened.frame("test")
    assert rows.columns.tolist() == ["user_id", "time_ms", "date"]
    wanted = log[200:][rows.columns].set_axis(np.arange(200, 250))
    pd.testing.assert_frame_equal(rows.sort_index(), wanted)
    model = MeanId(data.schema)
    predicted = opened.predict(model, "test").sort_index()
    pd.testing.assert_frame_equal(predicted, data.predict(model, "test").set_axis(wanted.index))
    groups = {"day": ["user_id", "date"]}
    found, wanted = (d.evaluate(model, "test", groups) for d in (opened, data))
    pd.testing.assert_frame_equal(found, wanted)
    calibrations = [d.calibrate(model, method="isotonic").to_dict() for d in (opened, data)]
    assert calibrations[0] == calibrations[1]
    frozen = collect(data.batches("test", freeze_at="part"))
    order = rows.index.to_numpy() - 200
    np.testing.assert_array_equal(collect(opened.test)["seen"], frozen["seen"][order])
    assert sorted(collect(opened.train)["dense"][:, 0]) == sorted(
        collect(data.train)["dense"][:, 0]
    )
    attached = data.attach("test", "never")
    pd.testing.assert_frame_equal(opened.predict(model, attached), data.predict(model, "test"))
    halves = [RankingData.open(folder, shard=(i, 2)) for i in range(2)]
    assert sum(len(collect(half.train)["dense"]) for half in halves) == 100
    assert halves[1].rows == data.rows


def test_what_a_prepared_folder_lacks_is_said(log, folder, tmp_path):
    opened = RankingData.open(folder)
    with pytest.raises(ValueError, match="no raw events, and the rows lack the histories seen, li"):
        opened.predict(MeanId(opened.schema), log)
    with pytest.raises(ValueError, match="RankingData.attach: .*ids but no raw events and columns"):
        opened.verification_rows()
    with pytest.raises(ValueError, match="RankingData.open reads it"):
        opened.save(tmp_path / "copy")
    with pytest.raises(ValueError, match="there is no folder .*nowhere; expected one that"):
        RankingData.open(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="the frame has no column `dates`. Did you mean `date`"):
        opened.evaluate(MeanId(opened.schema), "test", "dates")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation": "soon"}, "validation is 'soon'; expected a date such as '2026-11-20'"),
        ({"validation": 1.5}, "validation is 1.5; expected a date such as"),
        ({"test": True}, "test is True; expected a date such as"),
        (
            {"test": "2027-01-01"},
            "test='2027-01-01' is beyond the log, whose column `time_ms` goes from 17.* "
            r"\(2026-11-18T00:00\) to .* \(2026-11-22T23:31\): no row would be after it",
        ),
        ({"validation": START // 1000}, "validation=17.*beyond the log.* no row would be before"),
        ({"validation": 5}, "RankingData: validation is 5: found 5, which is no time from 1990 to"),
        (
            {"validation": "2026-11-22", "test": "2026-11-20"},
            "validation begins at '2026-11-22' and test at '2026-11-20'; expected the validation",
        ),
        (
            {"validation": "2026-11-20 00:00:01", "test": "2026-11-20 00:00:02"},
            "no row of column `time_ms` lies between validation=.* the validation has no row",
        ),
        ({"test": 20261122, "split_key": "day"}, "frame has no column `day`"),
        (
            {"test": "2026-11-22", "split_key": "date"},
            "column `date` holds int64, which does not compare with the boundaries '2026-11-22'",
        ),
        ({"test": 20270101, "split_key": "date"}, "goes from 20261118 to 20261122: no row"),
        ({"test": 20261122, "split_key": "country"}, "`country` has .* missing values; to split"),
        ({"batch_size": 0}, "batch_size is 0; expected a whole number, 1 or more"),
        ({"seed": -1}, "seed is -1; expected a whole number, 0 or more"),
        ({"freeze_at": "noon"}, "freeze_at .also 'part', 'first_row' or 'never'. is 'noon'"),
        ({"warm": {"sen": None}}, "no history `sen`. Did you mean `seen`"),
    ],
)
def test_arguments_that_cannot_be_are_refused(log, arguments, message):
    with pytest.raises(ValueError, match=message):
        RankingData(log_schema(), log, **arguments)


def test_frames_that_cannot_be_parts_are_refused(log):
    def refused(message, rows=log, schema=None, **arguments):
        with pytest.raises(ValueError, match=message):
            RankingData(schema or log_schema(), rows, **arguments)

    refused("found dict; expected a pandas DataFrame, a Polars or Arrow", log.to_dict("list"))
    refused("the frame is empty", log[:0])
    refused("`test` is a frame, and the other part a boundary", validation=START + 1, test=log[:9])
    refused("split_key is 'date', and the parts are frames", test=log[200:], split_key="date")
    refused("`test` has no row. Leave it out", test=log[:0])
    refused("the parts take all rows of the log", test=log)
    refused("10 rows are validation and test too", validation=log[200:], test=log[190:210])
    refused(
        "`test` has no column `is_like`, `video_id`, which the log has",
        test=log[200:].drop(columns=["video_id", "is_like"]),
    )
    changed = log[200:].assign(time_ms=lambda rows: rows.time_ms + np.arange(50))
    refused("1 of 50 rows of `test` are rows of the log too", test=changed)
    refused("repeated index labels", log.set_axis(np.arange(250) // 2), test=log[100:])
    whole, part = (pa.Table.from_pandas(f, preserve_index=False) for f in (log, log[200:]))
    again = "all 50 rows of `test` are equal to rows of the log, under another index"
    refused(again, test=log[200:].reset_index(drop=True))
    refused(again, whole, test=part)
    schema = FeatureSchema(
        log_schema().features,
        log_schema().tasks,
        [History("seen", ("video_id",))],
        time_key=None,
    )
    refused("the schema has no time_key to split by. Pass `split_key`", schema=schema, test=START)


def test_parts_columns_and_models_that_are_not_there_are_named(log, data):
    model = MeanId(data.schema)
    with pytest.raises(ValueError, match="predict: the data have no part `tets`, .*mean `test`"):
        data.predict(model, "tets")
    with pytest.raises(ValueError, match="no part `test`, but train. Give RankingData `test=`"):
        RankingData(log_schema(), log).evaluate(model, "test")
    with pytest.raises(ValueError, match="batches: found list; .*or a part .train, validation, t"):
        data.batches([1])
    other = RankingData(log_schema(), log)
    with pytest.raises(ValueError, match="RankingData.predict: the model is of another schema"):
        data.predict(MeanId(other.schema), "test")
    with pytest.raises(ValueError, match="no schema; expected"):
        data.predict(keras.Sequential(), "test")
    with pytest.raises(ValueError, match="evaluate, groups: the frame has no column `user`"):
        data.evaluate(model, "test", "user")
    with pytest.raises(ValueError, match="the frame has no column `is_like`"):
        data.evaluate(model, log.drop(columns="is_like"))


def test_a_log_with_list_columns_needs_no_histories(log, data):
    attached = data.attach(log)
    found = RankingData(data.encoder, attached, validation="2026-11-20", test="2026-11-22")
    assert found.histories is None
    np.testing.assert_array_equal(collect(found.test)["seen"], collect(data.test)["seen"])
    pd.testing.assert_frame_equal(found.attach("test"), attached[200:])


def test_without_times_parts_are_given_and_rows_are_found_by_their_index(log):
    parts = log_schema()
    schema = FeatureSchema(parts.features, parts.tasks, parts.histories, time_key=None)
    rows = log.drop(columns="time_ms")
    data = RankingData(schema, rows, validation=rows[150:200], test=rows[200:])
    assert data.rows == {"train": 150, "validation": 50, "test": 50}
    pd.testing.assert_frame_equal(data.attach("test"), data.histories.attach(rows[200:]))
    with pytest.raises(ValueError, match='freeze_at="part" needs times, and the schema has no'):
        data.batches("test", freeze_at="part")


def test_parts_that_may_be_rows_of_a_log_without_times_are_told(log):
    schema = FeatureSchema(log_schema().features, log_schema().tasks, time_key=None)
    rows = log.drop(columns="time_ms")
    with pytest.warns(UserWarning, match="all 50 rows of `test` are equal to rows of the log"):
        RankingData(schema, rows, test=rows[200:].reset_index(drop=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RankingData(schema, rows[:200], test=rows[200:].reset_index(drop=True))
        RankingData(schema, rows, test=rows[200:])


def test_rows_of_nobody_are_in_no_group_and_may_be_given_as_parts(log):
    users = log.user_id.astype("Int64").mask(log.index % 3 == 0)
    log = log.assign(user_id=users)
    data = RankingData(log_schema(), log[:200], validation=log[200:])
    again = RankingData(log_schema(), log, validation=log[200:])
    assert data.rows == again.rows
    model = MeanId(data.schema)
    known = log[200:][users[200:].notna()]
    for groups in (None, "user_id", ["user_id", "country"]):
        found = data.evaluate(model, "validation", groups)
        pd.testing.assert_series_equal(found.gauc, data.evaluate(model, known, groups).gauc)
    lengths = (collect(data.validation)["seen"][:, :, 0] > 0).sum(1)
    assert (lengths[users[200:].isna()] == 0).all() and lengths.any()
