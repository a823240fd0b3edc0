"""Training, validation and test rows of a log."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Split:
    """Training, validation and test rows of a log, in the order of time.

    Args:
        train: Training rows, with the index of the whole frame.
        validation: Validation rows.
        test: Test rows.
        validation_start: Smallest `time_ms` of the validation rows, Unix milliseconds: histories
            that are frozen for the validation hold earlier events only. `None` in a log without
            times.
        test_start: The same for the test rows.

    Example:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"user_id": [0, 1, 2]})
        >>> split = keras_infnet.datasets.Split(rows[:1], rows[1:2], rows[2:])
        >>> len(split.train), split.test_start
        (1, None)
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    validation_start: int | None = None
    test_start: int | None = None


def split_by_date(frame: pd.DataFrame, validation_days: int = 2, test_days: int = 2) -> Split:
    """Splits by the column `date` (yyyymmdd): the last days test, the days before them validate.

    Days count where the frame has rows. Times are not asked: a log's `date` may differ from
    `time_ms`.

    Args:
        frame: Rows with the columns `date` and `time_ms`.
        validation_days: Number of days that validate.
        test_days: Number of days that test.

    Returns:
        The three parts and the smallest times of validation and test.

    Raises:
        ValueError: A column is missing, a number of days is below 1, or no day is left for
            training.

    Example:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"date": [20220501, 20220502, 20220503], "time_ms": [10, 20, 30]})
        >>> split = keras_infnet.datasets.split_by_date(rows, validation_days=1, test_days=1)
        >>> split.train["date"].tolist(), split.test_start
        ([20220501], 30)
    """
    _check_columns(frame, ("date", "time_ms"))
    if validation_days < 1 or test_days < 1:
        raise ValueError(
            f"split: validation_days is {validation_days} and test_days is {test_days}; "
            "expected 1 or more."
        )
    days = sorted(frame["date"].unique())
    if len(days) <= validation_days + test_days:
        span = f" ({days[0]} to {days[-1]})" if days else ""
        raise ValueError(
            f"split: the frame has {len(days)} days{span}; expected more than {validation_days} "
            f"for validation and {test_days} for test. Ask for fewer days, or read more log files."
        )
    first_validation, first_test = days[-validation_days - test_days], days[-test_days]
    train = frame[frame["date"] < first_validation]
    validation = frame[frame["date"].between(first_validation, days[-test_days - 1])]
    test = frame[frame["date"] >= first_test]
    starts = (int(part["time_ms"].min()) for part in (validation, test))
    return Split(train, validation, test, *starts)


def split_by_order(
    frame: pd.DataFrame, validation: float = 0.1, test: float = 0.1, user_key: str = "user_id"
) -> Split:
    """Splits each user's rows by their order: the last share tests, the share before it validates.

    A user with n rows gives `floor(n * test)` rows to test and `floor(n * validation)` to
    validation, so users with few rows only train.

    Args:
        frame: Rows; the order of a user's rows is the order of time.
        validation: Share of each user's rows that validates, above 0 and below 1.
        test: Share of each user's rows that tests, above 0 and below 1.
        user_key: Column that tells users apart.

    Returns:
        The three parts, without times.

    Raises:
        ValueError: A column is missing, a share is out of range, or a part is empty.

    Example:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"user_id": [1, 2, 1, 2, 1, 1]})
        >>> split = keras_infnet.datasets.split_by_order(rows, validation=0.25, test=0.25)
        >>> split.train.index.tolist(), split.validation.index.tolist(), split.test.index.tolist()
        ([0, 1, 2, 3], [4], [5])
    """
    _check_columns(frame, (user_key,))
    if not (0 < validation and 0 < test and validation + test < 1):
        raise ValueError(
            f"split: validation is {validation} and test is {test}; expected shares above 0 with "
            "a sum below 1."
        )
    users = frame.groupby(user_key, sort=False)[user_key]
    rows, from_end = users.transform("size"), users.cumcount(ascending=False)
    # The tolerance lets 10 rows times 0.3 be 3, whatever the rounding of the product.
    test_rows = (rows * test + 1e-9).astype("int64")
    last_rows = test_rows + (rows * validation + 1e-9).astype("int64")
    parts = (from_end >= last_rows, (from_end >= test_rows) & (from_end < last_rows))
    split = Split(frame[parts[0]], frame[parts[1]], frame[from_end < test_rows])
    for name in ("train", "validation", "test"):
        if getattr(split, name).empty:
            raise ValueError(
                f"split: no {name} row with {validation=} and {test=}; the longest user has "
                f"{int(rows.max()) if len(rows) else 0} rows. Take larger shares, or more rows."
            )
    return split


def _check_columns(frame: pd.DataFrame, columns: tuple[str, ...]) -> None:
    for column in columns:
        if column not in frame.columns:
            raise ValueError(
                f"split: the frame has no column `{column}`. Pass what `frame()` returned."
            )
