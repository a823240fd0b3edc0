import re

import numpy as np
import pandas as pd
import pytest

from keras_infnet.datasets.csv_table import count_csv_rows, read_csv_chunks, read_csv_table

COLUMNS = {"id": "int32", "flag": "flag", "year": "int16?", "size": "float32", "name": "str"}
GOOD = 'id,flag,year,size,name,more\n1,0,2020,1.5,"a,b",x\n2,1,,,,\n3,1,2021.0,-2,c,y\n'


def write(tmp_path, content: str | bytes):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_types_and_missing_values(tmp_path):
    table = read_csv_table(write(tmp_path, GOOD), COLUMNS)
    assert list(table.columns) == list(COLUMNS)
    assert table["id"].tolist() == [1, 2, 3]
    assert table["flag"].tolist() == [0, 1, 1]
    assert table["year"].tolist() == [2020, -1, 2021]
    np.testing.assert_array_equal(table["size"], np.array([1.5, np.nan, -2], "float32"))
    assert table["name"].isna().tolist() == [False, True, False]
    assert table["name"][0] == "a,b"
    dtypes = {"id": "int32", "flag": "int8", "year": "int16", "size": "float32"}
    assert {column: str(table[column].dtype) for column in dtypes} == dtypes


def test_names_that_look_missing_are_names(tmp_path):
    """Only an empty cell is no text, as where `prepare` reads CSV; of numbers "NA" is none."""
    looks = ["NA", "null", "None", "nan", "N/A", "<NA>", " "]
    lines = [f"{i},0,NA,null,{text},\n" for i, text in enumerate([*looks, "", '""'])]
    table = read_csv_table(
        write(tmp_path, "id,flag,year,size,name,more\n" + "".join(lines)), COLUMNS
    )
    assert table["name"][:7].tolist() == looks
    assert table["name"][7:].isna().all()
    assert table["size"].isna().all() and (table["year"] == -1).all()


def test_equals_pandas_on_many_rows(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"id": rng.integers(0, 2**31 - 1, 5000), "flag": rng.integers(2, size=5000)}
    )
    frame.to_csv(tmp_path / "table.csv", index=False)
    found = read_csv_table(tmp_path / "table.csv", {"id": "int32", "flag": "flag"})
    pd.testing.assert_frame_equal(found.astype("int64"), pd.read_csv(tmp_path / "table.csv"))
    assert count_csv_rows(tmp_path / "table.csv") == 5000


@pytest.mark.parametrize("chunk_rows", [1, 7, 5000])
def test_chunks_below_one_another_are_the_table(tmp_path, chunk_rows):
    text = GOOD + "".join(f"{i},1,,2.5,n{i},x\n" for i in range(4, 60))
    path = write(tmp_path, text)
    chunks = list(read_csv_chunks(path, chunk_rows, COLUMNS, {"more": "str"}))
    assert [len(c) for c in chunks[:-1]] == [chunk_rows] * (len(chunks) - 1)
    whole = read_csv_table(path, COLUMNS, {"more": "str"})
    pd.testing.assert_frame_equal(pd.concat(chunks), whole)


def test_errors_in_later_chunks_name_the_line(tmp_path):
    path = write(tmp_path, GOOD + "4,1,,,,\n5,7,,,,\n")
    with pytest.raises(ValueError, match="line 6: column `flag` is 7; expected 0 or 1"):
        list(read_csv_chunks(path, 2, COLUMNS))
    path = write(tmp_path, GOOD + "4,1,2020.5,,,\n")
    with pytest.raises(ValueError, match="line 5: column `year` is 2020.5"):
        list(read_csv_chunks(path, 3, COLUMNS))
    path = write(tmp_path, GOOD + "4,1\n")
    with pytest.raises(ValueError, match="line 5: 2 fields; expected 6"):
        list(read_csv_chunks(path, 2, COLUMNS))
    assert list(read_csv_chunks(write(tmp_path, GOOD.splitlines()[0] + "\n"), 2, COLUMNS)) == []


def test_optional_columns_are_read_where_they_are(tmp_path):
    table = read_csv_table(write(tmp_path, GOOD), {"id": "int32"}, {"more": "str", "less": "str"})
    assert list(table.columns) == ["id", "more"]


def test_windows_line_ends_byte_order_mark_and_blank_lines(tmp_path):
    text = "\ufeff" + GOOD.replace("\n2,", "\n\n2,").replace("\n", "\r\n")
    assert read_csv_table(write(tmp_path, text), COLUMNS)["id"].tolist() == [1, 2, 3]


def test_no_newline_at_the_end(tmp_path):
    assert len(read_csv_table(write(tmp_path, GOOD.rstrip("\n")), COLUMNS)) == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "3,1,2021.0,-2,c,y\n",
            "3,1,20",
            "table.csv, line 4: 3 fields; expected 6. The file is cut",
        ),
        ("\n2,1", "\n\n2,1,1,1", "line 4: 8 fields; expected 6"),
        ("\n3,", "\nthree,", "line 4: column `id` is 'three'; expected a whole number."),
        ("\n3,", "\n3.5,", "line 4: column `id` is '3.5'; expected a whole number."),
        ("\n3,", "\n,", "line 4: column `id` is empty; expected a whole number."),
        ("\n2,1", "\n2,7", "line 3: column `flag` is 7; expected 0 or 1."),
        ("\n2,1", "\n2,", "line 3: column `flag` is empty; expected 0 or 1."),
        (
            "2021.0",
            "2021.5",
            "line 4: column `year` is 2021.5; expected a whole number or nothing.",
        ),
        ("2021.0", "last", "line 4: column `year` is 'last'; expected a whole number or nothing."),
        ("1.5", "big", "line 2: column `size` is 'big'; expected a number."),
        ("flag,", "flags,", "column `flag` is missing. Did you mean `flags`?"),
    ],
)
def test_errors_name_file_line_and_column(tmp_path, old, new, message):
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_csv_table(path, COLUMNS)
    assert str(path) in str(error.value)


def test_text_that_is_not_utf8(tmp_path):
    path = write(tmp_path, GOOD.encode().replace(b"c,y", b"\xff\xfe,y"))
    with pytest.raises(ValueError, match="line 4: column `name` is not UTF-8 text"):
        read_csv_table(path, COLUMNS)


def test_an_image_instead_of_a_table(tmp_path):
    with pytest.raises(ValueError, match="line 1: not UTF-8 text; expected a CSV file"):
        read_csv_table(write(tmp_path, b"\x89PNG\r\n\x1a\n"), COLUMNS)


def test_an_empty_file(tmp_path):
    with pytest.raises(ValueError, match="the file is empty; expected column names"):
        read_csv_table(write(tmp_path, ""), COLUMNS)


def test_a_file_filled_with_zero_bytes_after_a_crash(tmp_path):
    content = GOOD.encode()[:-10] + b"\0" * 10
    with pytest.raises(ValueError, match="table.csv, line 4"):
        read_csv_table(write(tmp_path, content), COLUMNS)


def test_a_header_alone_is_a_table_without_rows(tmp_path):
    table = read_csv_table(write(tmp_path, GOOD.split("\n")[0] + "\n"), COLUMNS)
    assert len(table) == 0 and list(table.columns) == list(COLUMNS)
