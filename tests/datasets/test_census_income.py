import gzip
import re

import numpy as np
import pandas as pd
import pytest

from keras_infnet.datasets.census_income import COLUMNS, NUMBERS, CensusIncome

pytestmark = pytest.mark.one_backend
EDUCATION = ["Bachelors degree(BA AB BS)", "Children", "Doctorate degree(PhD EdD)", "10th grade"]
MARITAL = ["Never married", "Widowed", "Divorced", "Never married"]


def persons(number: int) -> pd.DataFrame:
    """Persons in the columns of the original, with their labels."""
    frame = pd.DataFrame({column: ["NA"] * number for column in COLUMNS})
    whole = [*NUMBERS, "det_ind_code", "det_occ_code", "own_or_self", "vet_benefits", "year"]
    frame[whole] = np.arange(number)[:, None] + np.arange(len(whole))
    frame["unknown"] = 1000.5
    frame["education"] = np.resize(EDUCATION, number)
    frame["marital_stat"] = np.resize(MARITAL, number)
    frame["sex"] = np.resize(["Female", "Male"], number)
    income = np.resize([0, 0, 1], number)
    college = np.resize([1, 0, 1, 0], number)
    return frame.assign(
        income=income, college=college, never_married=np.resize([1, 0, 0, 1], number)
    )


def write_uci(folder, part: str, rows: pd.DataFrame) -> None:
    """A file as UCI has it: no line of names, question marks, the label in words."""
    words = rows[list(COLUMNS)].replace("NA", "?").astype(str)
    income = rows["income"].map({0: "- 50000.", 1: "50000+."})
    lines = words.agg(", ".join, axis=1) + ", " + income
    opener = gzip.open if part == "train" else open
    name = {"train": "census-income.data.gz", "test": "census-income.test"}[part]
    with opener(folder / name, "wt") as file:
        file.write("\n".join(lines) + "\n")


@pytest.fixture(params=["parquet", "uci"])
def folder(request, tmp_path):
    for part, rows in (("train", persons(20)), ("test", persons(7))):
        if request.param == "parquet":
            rows.to_parquet(tmp_path / f"{part}.parquet")
        else:
            write_uci(tmp_path, part, rows)
    return tmp_path


def test_both_layouts_give_the_same_persons(folder):
    frame = CensusIncome(folder).frame()
    expected = pd.concat([persons(20), persons(7)], ignore_index=True)
    pd.testing.assert_frame_equal(frame[expected.columns], expected, check_dtype=False)
    assert frame["user_id"].tolist() == list(range(27))
    assert frame["part"].tolist() == ["train"] * 20 + ["test"] * 7
    assert (CensusIncome(folder).warm(), CensusIncome(folder).truth()) == (None, None)
    assert str(folder) in CensusIncome(folder).describe()


def test_no_input_tells_a_label_or_the_weight_of_the_row(folder):
    schema = CensusIncome(folder).schema()
    assert schema.task_names == ("income", "never_married", "college")
    assert set(schema.field_names) == set(COLUMNS) - {"marital_stat", "education", "unknown"}
    assert sum(feature.has_dtype for feature in schema.features) == 38 - len(NUMBERS)
    assert schema.time_key is None and not schema.histories and schema.sample_weight is None
    assert CensusIncome(folder, tasks="college").schema().task_names == ("college",)


def test_the_test_file_tests_and_the_end_of_the_other_validates(folder):
    census = CensusIncome(folder)
    split = census.split(census.frame(), validation=0.2)
    assert split.train.index.tolist() == list(range(16))
    assert split.validation.index.tolist() == list(range(16, 20))
    assert split.test.index.tolist() == list(range(20, 27))
    with pytest.raises(ValueError, match="validation is 1.5 of 20 training rows, with 7 test rows"):
        census.split(census.frame(), validation=1.5)


def test_errors_name_file_line_and_column(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="no train rows; expected train.parquet, census-inc"
    ):
        CensusIncome(tmp_path)
    persons(4).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(FileNotFoundError, match=re.escape("census-income.test.gz")):
        CensusIncome(tmp_path)
    write_uci(tmp_path, "test", persons(5).assign(age=[1, 2, "old", 4, 5]))
    with pytest.raises(ValueError, match="census-income.test, line 3: column `age` is 'old'"):
        CensusIncome(tmp_path).frame()
    persons(4).drop(columns="year").to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="train.parquet: column `year` is missing"):
        CensusIncome(tmp_path).frame()
    with pytest.raises(
        ValueError, match="CensusIncome: unknown task `incom`. Did you mean `income`"
    ):
        CensusIncome(tmp_path, tasks=("incom",))
