import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_infnet import BinaryTask, CategoricalFeature, DateTimeFeature, FeatureSchema, History
from keras_infnet.data import Batches, FeatureEncoder, Histories, frame_to_request
from keras_infnet.schema.date_time import DateParts
from keras_infnet.serving.client_inputs import checked_inputs
from tests.schema.whole_way import make_log

ZONES = ["UTC", "Europe/Lisbon", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York"]


def schema(zone="UTC", fields=("video_id",)):
    features = [
        CategoricalFeature("video_id", "item"),
        DateTimeFeature("time_ms", "context", zone=zone),
    ]
    seen = History("seen", fields, max_length=4)
    return FeatureSchema(features, [BinaryTask("click", "is_click")], [seen])


def parts_by_pandas(instants, zone):
    clock = pd.to_datetime(np.asarray(instants), unit="ms", utc=True).tz_convert(zone)
    return np.stack([1 + clock.hour, 25 + clock.day_of_week, 31 + clock.day], axis=1)


@pytest.mark.parametrize("zone", ZONES)
def test_parts_are_those_of_pandas_in_numpy_and_as_a_graph(zone):
    import tensorflow as tf

    instants = np.random.default_rng(0).integers(4_133_980_800, 4_000_000_000_000, 20_000)
    program = DateParts(zone)
    ids = program.numpy(instants)
    np.testing.assert_array_equal(ids, parts_by_pandas(instants, zone))
    np.testing.assert_array_equal(program.graph(tf, [])(tf.constant(instants)).numpy(), ids)
    assert ids.max() < program.num_ids


@settings(deadline=None, max_examples=50)
@given(st.integers(-(2**55), 2**55))
def test_strange_instants_agree(instant):
    import tensorflow as tf

    program = DateParts("Europe/Lisbon")
    ids = program.numpy(np.array([instant]))
    found = program.graph(tf, [])(tf.constant([instant], "int64")).numpy()
    np.testing.assert_array_equal(found, ids)
    assert (ids >= 0).all() and (ids < program.num_ids).all()


def test_columns_of_any_unit_and_zone_are_the_same_instants():
    instants = np.array([1_767_225_600_000, 1_782_820_800_000])
    feature = DateTimeFeature("t", "context", zone="Asia/Shanghai")
    naive = pd.Series(pd.to_datetime(instants, unit="ms"))
    columns = [
        pd.Series(instants),
        naive,
        naive.astype("datetime64[ns]"),
        naive.dt.tz_localize("UTC").dt.tz_convert("America/New_York"),
        naive.astype("timestamp[us][pyarrow]"),
    ]
    for column in columns:
        assert feature.values(column, None, "t").to_pylist() == instants.tolist()
    gap = pd.Series([naive[0], pd.NaT])
    assert feature.values(gap, None, "t").to_pylist() == [instants[0], -1]


@pytest.mark.parametrize("per_second", [1, 10**3, 10**6, 10**9])
def test_the_unit_of_integers_is_recognised(per_second):
    instants = np.array([1_767_225_600, -1, 1_782_820_800])
    values = np.where(instants < 0, -1, instants * per_second)
    feature = DateTimeFeature("t", "context")
    expected = np.where(instants < 0, -1, instants * 1000).tolist()
    assert feature.values(pd.Series(values), None, "t").to_pylist() == expected
    gaps = pd.Series(values, dtype="Int64").replace(-1, pd.NA)
    assert feature.values(gaps, None, "t").to_pylist() == expected


@pytest.mark.parametrize("instants", [[20260101, 20260102], [1_767_225_600, 1_767_225_600_000]])
def test_integers_that_are_no_times_are_refused(instants):
    with pytest.raises(ValueError, match="t: found .* `pandas.to_datetime.column, unit=.*any year"):
        DateTimeFeature("t", "context").values(pd.Series(instants), None, "t")


def test_datetimes_of_any_year_go_through_list_columns():
    """Film premieres: from before computers had clocks, and read again from what `attach` wrote."""
    log = make_log().assign(premiere=pd.Timestamp("1937-12-21 20:00"))
    log.loc[log.index % 7 == 0, "premiere"] = pd.NaT
    premiere = DateTimeFeature("premiere", "item", zone="America/New_York")
    seen = History("seen", ("video_id", "premiere"), max_length=4)
    declared = FeatureSchema(
        [CategoricalFeature("video_id", "item"), premiere], [BinaryTask("c", "is_click")], [seen]
    )
    encoder = FeatureEncoder(declared).fit(log)
    histories = Histories(encoder, log)
    (batch,) = Batches.from_rows(encoder, log, histories, batch_size=len(log)).as_numpy_iterator()
    listed = encoder.transform(histories.attach(log))
    np.testing.assert_array_equal(listed["seen"], batch[0]["seen"])
    # 20:00 UTC is 15:00 in New York, on a Tuesday.
    assert {tuple(ids) for ids in batch[0]["bags"].tolist()} == {(0, 0, 0), (16, 26, 52)}
    request = frame_to_request(encoder.schema, histories.attach(log))
    assert set(request["premiere"].tolist()) == {-1, -11_699 * 86_400_000 + 72_000_000}


def test_a_client_may_send_any_unit():
    fitted = FeatureEncoder(schema(fields=("video_id", "time_ms"))).fit(make_log())
    rows = Histories(fitted, make_log()).attach(make_log())[-2:]
    request = frame_to_request(fitted.schema, rows)
    assert (request["seen_time_ms"] == -1).any() or (request["seen_time_ms"] > 0).all()
    for per in (1, 1000):
        sent = dict(request)
        for name in ("time_ms", "seen_time_ms"):
            sent[name] = np.where(request[name] < 0, -1, request[name] * per)
        for name, values in checked_inputs(fitted.schema, sent).items():
            np.testing.assert_array_equal(values, request[name], err_msg=name)
    with pytest.raises(ValueError, match="Client: `time_ms`: found 5, which is no time from 1990"):
        checked_inputs(fitted.schema, {**request, "time_ms": [5, 5]})


def test_what_a_caller_sends_in_another_unit_counts_as_missing():
    """A graph can't refuse it. Without a client nobody converts seconds."""
    import tensorflow as tf

    second = 1_767_225_600
    values = np.array([second, second * 10**6, second * 10**9, -1, second * 1000, 0, -86_400_000])
    program = DateParts("UTC")
    ids = program.numpy(values)
    # 2026-01-01 is a Thursday, as 1970-01-01 is.
    expected = [[0, 0, 0]] * 4 + [[1, 28, 32], [1, 28, 32], [1, 27, 62]]
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(program.graph(tf, [])(tf.constant(values)), expected)
    ends = pd.to_datetime(["1970-01-08 07:19:11.999", "1970-02-17 20:19:40.800"])
    assert (program.numpy(ends.as_unit("ms").asi8) > 0).all()


def test_the_contract_names_the_unit():
    fitted = FeatureEncoder(schema(fields=("video_id", "time_ms"))).fit(make_log())
    unit = "milliseconds since 1970-01-01 00:00 UTC"
    assert fitted.schema.raw_units() == {"time_ms": unit, "seen_time_ms": unit}


def test_rows_requests_and_histories_agree():
    import tensorflow as tf

    log = make_log()
    fitted = FeatureEncoder(schema("Asia/Shanghai", ("video_id", "time_ms"))).fit(log)
    rows = Histories(fitted, log).attach(log)
    packed = fitted.transform(rows)
    np.testing.assert_array_equal(packed["bags"], parts_by_pandas(log.time_ms, "Asia/Shanghai"))
    assert (packed["bag_weights"] == 1).all()
    request = {k: tf.constant(v) for k, v in frame_to_request(fitted.schema, rows).items()}
    assert request["time_ms"].dtype == tf.int64
    served = fitted.to_tensorflow()(request)
    for name, array in packed.items():
        np.testing.assert_array_equal(served[name].numpy(), array, err_msg=name)


def test_a_missing_instant_has_no_part():
    log = make_log().assign(time=pd.Timestamp("2026-01-01"))
    log.loc[0, "time"] = pd.NaT
    declared = FeatureSchema([DateTimeFeature("time", "context")], [BinaryTask("c", "is_click")])
    packed = FeatureEncoder(declared).fit(log).transform(log)
    assert packed["bags"][0].tolist() == [0, 0, 0]
    assert packed["bag_weights"][0].tolist() == [0, 0, 0]
    # Midnight of the first of January 2026, a Thursday.
    assert packed["bags"][1].tolist() == [1, 28, 32]


@pytest.mark.parametrize("column", [["2026-01-01"] * 300, [1.5] * 300])
def test_texts_and_fractions_are_refused(column):
    declared = FeatureSchema([DateTimeFeature("time", "context")], [BinaryTask("c", "is_click")])
    with pytest.raises(ValueError, match="`time`: found values of type .* expected datetimes"):
        FeatureEncoder(declared).fit(make_log().assign(time=column)).transform(
            make_log().assign(time=column)
        )


def test_an_unknown_zone_is_refused():
    with pytest.raises(ValueError, match='zone is .Mars/Base.; expected a zone .*"Europe/Lisbon"'):
        DateTimeFeature("time", "context", zone="Mars/Base")
