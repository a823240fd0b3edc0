import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet.schema import value_counts
from keras_infnet.schema.value_counts import ValueCounts


def counted(values, chunks, kind):
    counts = ValueCounts(kind)
    for part in np.array_split(values, chunks):
        counts.add(pa.array(part))
    table = counts.table().to_pandas()
    assert table["value"].is_unique
    return table.set_index("value")["count"].sort_index()


def test_counts_of_chunks_are_those_of_the_whole(monkeypatch):
    monkeypatch.setattr(value_counts, "_WAITING", 20)
    values = np.random.default_rng(0).zipf(1.5, 2000) % 300
    for kind, column in [(pa.int64(), values), (pa.string(), values.astype(str))]:
        expected = pd.Series(column).value_counts().sort_index()
        for chunks in (1, 7, 500):
            found = counted(column, chunks, kind)
            assert found.tolist() == expected.tolist()
            assert found.index.tolist() == expected.index.tolist()


def test_nothing_counted_is_an_empty_table():
    assert len(ValueCounts(pa.int64()).table()) == 0


def test_numbers_come_in_increasing_order_without_the_missing_ones():
    counts = ValueCounts(pa.float32())
    for part in ([3, np.nan, -1], [3, 2, np.nan]):
        counts.add(pa.array(np.float32(part)))
    values, number = counts.increasing()
    assert (values.tolist(), number.tolist()) == ([-1, 2, 3], [1, 1, 2])
