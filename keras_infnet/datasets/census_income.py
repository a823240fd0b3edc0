"""Census-Income (KDD): the multi-task benchmark of MMoE and PLE, a person a row."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from keras_infnet._base.checks import known_names
from keras_infnet._base.paths import local_path
from keras_infnet.datasets.csv_table import CsvForm, read_csv_table
from keras_infnet.datasets.parquet_table import read_parquet_table
from keras_infnet.datasets.split import Split
from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.numeric import NumericFeature
from keras_infnet.schema.schema import FeatureSchema

TASKS = ("income", "never_married", "college")
NUMBERS = (
    "age",
    "wage_per_hour",
    "capital_gains",
    "capital_losses",
    "stock_dividends",
    "num_emp",
    "weeks_worked",
)
CODES = ("det_ind_code", "det_occ_code", "own_or_self", "vet_benefits", "year")
# In the order of the original file, which has no line of names.
COLUMNS = (
    *("age", "class_worker", "det_ind_code", "det_occ_code", "education", "wage_per_hour"),
    *("hs_college", "marital_stat", "major_ind_code", "major_occ_code", "race", "hisp_origin"),
    *("sex", "union_member", "unemp_reason", "full_or_part_emp", "capital_gains"),
    *("capital_losses", "stock_dividends", "tax_filer_stat", "region_prev_res", "state_prev_res"),
    *("det_hh_fam_stat", "det_hh_summ", "unknown", "mig_chg_msa", "mig_chg_reg", "mig_move_reg"),
    *("mig_same", "mig_prev_sunbelt", "num_emp", "fam_under_18", "country_father"),
    *("country_mother", "country_self", "citizenship", "own_or_self", "vet_question"),
    *("vet_benefits", "weeks_worked", "year"),
)
# The weight of the census, and the columns that labels are made of.
NO_INPUTS = ("unknown", "marital_stat", "education")
PARTS = ("train", "test")
_RICH = "50000+."
_DEGREES = (
    "Bachelors degree(BA AB BS)",
    "Masters degree(MA MS MEng MEd MSW MBA)",
    "Prof school degree (MD DDS DVM LLB JD)",
    "Doctorate degree(PhD EdD)",
)
_ORIGINAL = {"train": "census-income.data", "test": "census-income.test"}
_KINDS = {
    **dict.fromkeys(COLUMNS, "str"),
    **dict.fromkeys((*NUMBERS, *CODES), "int64"),
    "unknown": "float32",
}


class CensusIncome:
    """Census-Income (KDD) of the UCI repository: 299,285 persons, no users, times or histories.

    `path` holds `train.parquet` and `test.parquet` with the columns `COLUMNS`, or UCI's files
    `census-income.data` and `census-income.test`, or the same with `.gz`.

    Labels: `income`, above 50,000 dollars; `never_married`; `college`, a bachelor's degree or more.
    The two columns that the latter are made of, `marital_stat` and `education`, are no inputs of
    any task, nor is `unknown`, which is the weight of the row in the census.

    Args:
        path: Folder with the files.
        tasks: What to predict: `"income"`, `"never_married"`, `"college"`.

    Raises:
        FileNotFoundError: The folder or a file is not there.
        ValueError: A task is unknown.

    Example:
        ```python
        census = keras_infnet.datasets.CensusIncome("census-income")
        frame = census.frame()
        split = census.split(frame)
        data = keras_infnet.RankingData(
            census.schema(), frame, validation=split.validation, test=split.test
        )
        ```

    Reference:
        US Census Bureau, Census-Income (KDD), UCI Machine Learning Repository 117, licence
        CC BY 4.0. Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts, KDD 2018.
    """

    def __init__(self, path: str | PathLike[str], tasks: Iterable[str] = TASKS) -> None:
        self.tasks = known_names("CensusIncome", "task", tasks, TASKS)
        folder = local_path(path, "CensusIncome", "path")
        self.found = {part: _file(folder, part) for part in PARTS}

    def describe(self) -> str:
        """Which files were found."""
        return f"Census-Income in {', '.join(str(file) for file in self.found.values())}"

    def frame(self) -> pd.DataFrame:
        """The persons, those of the training file first.

        The index is the row number, which is `user_id` too: each row is a person of its own.
        `part` is the file of a row.

        Raises:
            ValueError: A file can't be read, or a column is missing.
        """
        parts = {part: _read(file) for part, file in self.found.items()}
        frame = pd.concat(parts.values(), ignore_index=True)
        of_file = np.repeat(PARTS, [len(rows) for rows in parts.values()])
        return frame.assign(user_id=np.arange(len(frame)), part=of_file)

    def warm(self) -> None:
        """Histories from before the log: there are none."""

    def truth(self) -> None:
        """True probabilities: real data have none."""

    def schema(self) -> FeatureSchema:
        """Seven numbers and 31 categories of a person; no history, no time."""
        inputs = [column for column in COLUMNS if column not in NO_INPUTS]
        features = tuple(
            NumericFeature(c, "user")
            if c in NUMBERS
            else CategoricalFeature(c, "user", dtype="int" if c in CODES else "string")
            for c in inputs
        )
        return FeatureSchema(features, tuple(BinaryTask(t) for t in self.tasks), time_key=None)

    def split(self, frame: pd.DataFrame, validation: float = 0.1) -> Split:
        """The test file tests, the last share of the training file's rows validates.

        The files hold persons in no order.

        Args:
            frame: Rows of `frame()`.
            validation: Share of the training file that validates, above 0 and below 1.

        Raises:
            ValueError: The share is out of range, or leaves a part without rows.
        """
        trains, tests = (frame[frame["part"] == part] for part in PARTS)
        first = len(trains) - int(len(trains) * validation)
        if not 0 < first < len(trains) or not len(tests):
            raise ValueError(
                f"CensusIncome.split: validation is {validation!r} of {len(trains)} training rows, "
                f"with {len(tests)} test rows; expected a share above 0 and below 1, and rows in "
                "each part."
            )
        return Split(trains.iloc[:first], trains.iloc[first:], tests)


def _file(folder: Path, part: str) -> Path:
    names = (f"{part}.parquet", _ORIGINAL[part], f"{_ORIGINAL[part]}.gz")
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise FileNotFoundError(
            f"CensusIncome: {folder} has no {part} rows; expected {', '.join(names[:-1])} or "
            f"{names[-1]}."
        )
    return found[0]


def _read(file: Path) -> pd.DataFrame:
    """The columns and the labels of a file."""
    if file.suffix == ".parquet":
        kinds = {"int64": "int", "float32": "number", "str": "text"}
        given = {column: kinds[kind] for column, kind in _KINDS.items()}
        labels = {"income": "int"}
        table = read_parquet_table(file, {**given, **labels}).to_pandas()
        income = table.pop("income")
    else:
        form = CsvForm((*COLUMNS, "income"), ", ")
        table = read_csv_table(file, {**_KINDS, "income": "str"}, form=form)
        income = table.pop("income") == _RICH
        words = [column for column in COLUMNS if _KINDS[column] == "str"]
        # UCI writes what is not known as a question mark.
        table[words] = table[words].fillna("NA").replace("?", "NA")
    if table.empty:
        raise ValueError(f"{file}: there is no row.")
    return table.assign(
        income=income.astype("int8"),
        never_married=(table["marital_stat"] == "Never married").astype("int8"),
        college=table["education"].isin(_DEGREES).astype("int8"),
    )
