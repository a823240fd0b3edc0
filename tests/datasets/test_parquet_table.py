import re

import numpy as np
import pandas as pd
import pytest

from keras_infnet.datasets.parquet_table import read_parquet_table

pytestmark = pytest.mark.one_backend
TABLE = pd.DataFrame(
    {
        "item": [3, 1],
        "price": [0.5, 1.0],
        "word": ["a", None],
        "place": pd.Categorical(["x", "y"]),
        "time": pd.to_datetime(["2023-05-01", "2023-05-02"]),
        "seen": [[1, 2], []],
    }
)
KINDS = {"item": "int", "price": "number", "word": "text", "place": "text", "time": "time"}


@pytest.fixture
def path(tmp_path):
    TABLE.to_parquet(tmp_path / "table.parquet")
    return tmp_path / "table.parquet"


def test_declared_columns_are_read_in_their_order(path):
    table = read_parquet_table(path, {"seen": "ints", **KINDS})
    assert table.column_names == ["seen", *KINDS]
    assert table["item"].to_pylist() == [3, 1] and table["seen"].to_pylist() == [[1, 2], []]


def test_integers_are_numbers_and_a_column_without_values_is_any(path):
    TABLE.assign(word=None).to_parquet(path)
    table = read_parquet_table(path, {"item": "number", "word": "text"})
    assert table["word"].null_count == 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"itm": "int"}, "column `itm` is missing. Did you mean `item`? Expected the columns of"),
        ({"price": "int"}, "column `price` holds double; expected integers."),
        ({"item": "text"}, "column `item` holds int64; expected texts."),
        ({"item": "time"}, "column `item` holds int64; expected datetimes."),
        ({"item": "ints"}, "column `item` holds int64; expected lists of integers."),
        (
            {"seen": "times"},
            "column `seen` holds list<element: int64>; expected lists of datetimes",
        ),
    ],
)
def test_errors_name_file_and_column(path, columns, message):
    with pytest.raises(ValueError, match="table.parquet: .*" + re.escape(message)):
        read_parquet_table(path, columns)


def test_a_missing_or_damaged_file(path):
    with pytest.raises(FileNotFoundError, match="none.parquet does not exist; expected a Parquet"):
        read_parquet_table(path.with_name("none.parquet"), {})
    content = np.frombuffer(path.read_bytes(), "uint8")
    path.write_bytes(content[: len(content) // 2].tobytes())
    with pytest.raises(ValueError, match="table.parquet: can't be read as Parquet.*fetch it again"):
        read_parquet_table(path, {"item": "int"})
