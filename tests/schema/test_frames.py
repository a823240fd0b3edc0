import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keras_infnet.data import FeatureEncoder, Histories, frame_to_request
from keras_infnet.datasets import split_by_order
from keras_infnet.metrics import group_auc
from keras_infnet.schema.frames import as_frame, as_rows, list_series
from tests.logs import log_schema, make_log

pytestmark = pytest.mark.one_backend


def tables(frame):
    polars = pytest.importorskip("polars")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return [table, polars.from_arrow(table)]


def test_public_functions_take_arrow_and_polars():
    log = make_log()
    encoder = FeatureEncoder(log_schema()).fit(log)
    rows = Histories(encoder, log).attach(log)
    for table in tables(log):
        assert FeatureEncoder(log_schema()).fit(table).schema == encoder.schema
        assert (
            split_by_order(table).test.user_id.tolist() == split_by_order(log).test.user_id.tolist()
        )
        expected = group_auc(log.is_click, log.fans, log[["user_id", "is_like"]])
        keys = table.select(["user_id", "is_like"])
        assert group_auc(log.is_click, log.fans, keys) == expected
    for table in tables(rows):
        for name, values in encoder.transform(table).items():
            np.testing.assert_array_equal(values, encoder.transform(rows)[name], name)
        for name, values in frame_to_request(encoder.schema, table).items():
            expected = frame_to_request(encoder.schema, rows)[name]
            np.testing.assert_array_equal(values, expected, name)


def test_what_is_no_frame_is_called_by_its_name():
    polars = pytest.importorskip("polars")
    encoder = FeatureEncoder(log_schema())
    for wrong, message in {
        "a list": ([1], "found list; expected a pandas DataFrame, a Polars or Arrow table"),
        "a lazy frame": (polars.LazyFrame({"a": [1]}), "polars.LazyFrame.*Collect it first"),
        "a column": (pd.Series([1]), "found pandas.Series"),
        "another": (polars.Series([1]), "found polars.Series"),
    }.values():
        with pytest.raises(ValueError, match=f"FeatureEncoder.fit: .*{message}"):
            encoder.fit(wrong)
    twice = pa.table([[1], [2], [3]], names=["a", "b", "a"])
    with pytest.raises(ValueError, match="rank: the table has several columns named a"):
        as_frame(twice, "rank")
    wide = polars.DataFrame({"a": polars.Series([1], dtype=polars.Int128)})
    with pytest.raises(
        ValueError, match="rank: the polars.DataFrame holds what Arrow can't: .*i128"
    ):
        as_frame(wide, "rank")
    with pytest.raises(ValueError, match="rank: the frame is empty"):
        as_rows(polars.DataFrame({"a": []}), "rank")


def test_whole_numbers_with_gaps_and_lists_stay_what_they_are():
    table = pa.table({"a": [2**60 + 1, None], "b": [[1], None], "c": pa.array(["x", "y"])})
    frame = as_frame(table, "rank")
    assert frame.a.tolist() == [2**60 + 1, pd.NA] and frame.index.tolist() == [0, 1]
    assert list(frame.b[0]) == [1] and frame.c.tolist() == ["x", "y"]


def test_a_column_of_lists_keeps_its_type_and_can_be_read_back(tmp_path):
    frame = pd.DataFrame({"a": list_series(pa.array([[1, 2], [], None]), pd.RangeIndex(3))})
    for changed in (frame, frame.iloc[1:], pd.concat([frame, frame]), frame[frame.index > 0]):
        assert pa.array(changed.a).type == pa.list_(pa.int64())
        changed.to_parquet(tmp_path / "a.parquet")
        found = pd.read_parquet(tmp_path / "a.parquet").a
        assert [None if x is None else list(x) for x in found] == [
            None if x is pd.NA else list(x) for x in changed.a
        ]
