"""Training, validation and test rows of a log."""

import warnings
from dataclasses import dataclass

import pandas as pd

from keras_infnet.schema.canonical import column, user_codes
from keras_infnet.schema.frames import Frame, as_frame


@dataclass(frozen=True)
class Split:
    """Training, validation and test rows of a log, in the order of time.

    Args:
        train: Training rows, with the index of the whole frame.
        validation: Validation rows.
        test: Test rows.
        validation_start: Smallest `time_ms` of the validation rows, as the column has it: histories
            that are frozen for the validation (`freeze_at`) hold earlier events only. `None` in a
            log without times.
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
    validation_start: int | pd.Timestamp | None = None
    test_start: int | pd.Timestamp | None = None


def split_by_date(frame: Frame, validation_days: int = 2, test_days: int = 2) -> Split:
    """Splits by the column `date` (yyyymmdd): the last days test, the days before them validate.

    Days count where the frame has rows. Times are not asked: a log's `date` may differ from
    `time_ms`. Rows without a date are in no part, which a warning says.

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
    frame = as_frame(frame, "split")
    dates, times = (column(frame, name, "split") for name in ("date", "time_ms"))
    if validation_days < 1 or test_days < 1:
        raise ValueError(
            f"split: validation_days is {validation_days} and test_days is {test_days}; "
            "expected 1 or more."
        )
    known = dates.notna()
    if not known.all():
        warnings.warn(
            f"split: {int((~known).sum())} of {len(frame)} rows have no `date`, so that they are "
            "in no part. Give them one, or drop them.",
            stacklevel=2,
        )
    days = sorted(dates[known].unique())
    if len(days) <= validation_days + test_days:
        span = f" ({days[0]} to {days[-1]})" if days else ""
        raise ValueError(
            f"split: the frame has {len(days)} days{span}; expected more than {validation_days} "
            f"for validation and {test_days} for test. Ask for fewer days, or read more log files."
        )
    tests = (dates >= days[-test_days]) & known
    validates = (dates >= days[-validation_days - test_days]) & known & ~tests
    trains = known & ~validates & ~tests
    starts = (times[part].min() for part in (validates, tests))
    starts = (time if isinstance(time, pd.Timestamp) else int(time) for time in starts)
    return Split(frame[trains], frame[validates], frame[tests], *starts)


def split_by_order(
    frame: Frame, validation: float = 0.1, test: float = 0.1, user_key: str = "user_id"
) -> Split:
    """Splits each user's rows by their order: the last share tests, the share before it validates.

    A user with n rows gives `floor(n * test)` rows to test and `floor(n * validation)` to
    validation, so users with few rows only train.

    Args:
        frame: Rows; the order of a user's rows is the order of time. Rows without a user train.
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
    frame = as_frame(frame, "split")
    users = column(frame, user_key, "split")
    if not (0 < validation and 0 < test and validation + test < 1):
        raise ValueError(
            f"split: validation is {validation} and test is {test}; expected shares above 0 with "
            "a sum below 1."
        )
    codes = pd.Series(user_codes(users, "split, user key"), users.index)
    of_user = codes.groupby(codes, sort=False)
    # Rows of nobody train, as those of users with few rows.
    rows = of_user.transform("size").where(codes >= 0, 0)
    from_end = of_user.cumcount(ascending=False)
    # The tolerance lets 10 rows times 0.3 be 3, whatever the rounding of the product.
    test_rows = (rows * test + 1e-9).astype("int64")
    last_rows = test_rows + (rows * validation + 1e-9).astype("int64")
    trains, tests = from_end >= last_rows, from_end < test_rows
    split = Split(frame[trains], frame[~trains & ~tests], frame[tests])
    for name in ("train", "validation", "test"):
        if getattr(split, name).empty:
            raise ValueError(
                f"split: no {name} row with {validation=} and {test=}; the longest user has "
                f"{int(rows.max()) if len(rows) else 0} rows. Take larger shares, or more rows."
            )
    return split
