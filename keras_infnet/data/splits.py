"""Splits of a log: by time, by the values of a column, or as frames given."""

import warnings
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.data.histories import read_times
from keras_infnet.data.notices import is_scalar
from keras_infnet.data.row_source import WantedColumns
from keras_infnet.schema.canonical import column
from keras_infnet.schema.frames import Frame, as_frame
from keras_infnet.schema.instants import Time
from keras_infnet.schema.schema import FeatureSchema

PARTS = ("train", "validation", "test")

Boundary = Time


def split_log(
    schema: FeatureSchema,
    log: pd.DataFrame,
    validation: Boundary | Frame | None,
    test: Boundary | Frame | None,
    split_key: str | None,
) -> tuple[pd.DataFrame, np.ndarray]:
    """All rows, and the part of each.

    Args:
        schema: What the columns are.
        log: The rows that are split; with frames given, what is in none of them trains.
        validation: Where the validation begins, or its rows. `None`: there is none.
        test: The same for the test.
        split_key: Column that boundaries are values of. Defaults to the schema's `time_key`.

    Returns:
        The log, below it the given rows that it lacks, and an index of `PARTS` for each row.

    Raises:
        ValueError: A boundary is no value of the column, beyond the log, or out of order; a part
            has no row; a column is missing; given rows are partly those of the log, or all equal to
            some of another index.
    """
    given = {n: v for n, v in (("validation", validation), ("test", test)) if v is not None}
    frames = {name: value for name, value in given.items() if not _is_boundary(value)}
    if frames and len(frames) < len(given):
        raise ValueError(
            f"RankingData: `{next(iter(frames))}` is a frame, and the other part a boundary; "
            "expected two frames or two boundaries."
        )
    if frames and split_key is not None:
        raise ValueError(
            f"RankingData: split_key is {split_key!r}, and the parts are frames. Leave it out, or "
            "give boundaries."
        )
    if frames:
        return _by_frames(
            schema, log, {n: as_frame(f, f"RankingData, {n}") for n, f in frames.items()}
        )
    if not given:
        return log, np.zeros(len(log), "int8")
    return log, _by_boundaries(schema, log, given, split_key)


def _is_boundary(value: Any) -> bool:
    return np.ndim(value) == 0 and not hasattr(value, "__arrow_c_stream__")


def _by_boundaries(
    schema: FeatureSchema, log: pd.DataFrame, parts: dict[str, Any], split_key: str | None
) -> np.ndarray:
    key = schema.time_key if split_key is None else split_key
    if key is None:
        raise ValueError(
            "RankingData: the schema has no time_key to split by. Pass `split_key`, a column "
            "whose values the boundaries are, or the parts as frames."
        )
    values: Any = column(log, key, "RankingData, split")
    if values.isna().any():
        raise ValueError(
            f"RankingData: column `{key}` has {int(values.isna().sum())} missing values; to split "
            "by it, every row must have one."
        )
    bounds, is_time = parts, key == schema.time_key
    if is_time:
        values = read_times(schema, log, "RankingData")
        bounds = {
            name: schema.instants.of_value(value, f"RankingData: {name}")
            for name, value in parts.items()
        }
    try:
        low, high = values.min(), values.max()
        begun = {name: np.asarray(values >= bound) for name, bound in bounds.items()}
        ordered = len(bounds) < 2 or bounds["validation"] < bounds["test"]
    except TypeError as error:
        raise ValueError(
            f"RankingData: column `{key}` holds {values.dtype}, which does not compare with the "
            f"boundaries {', '.join(map(repr, bounds.values()))}. Give values of the column."
        ) from error
    if not ordered:
        raise ValueError(
            f"RankingData: validation begins at {parts['validation']!r} and test at "
            f"{parts['test']!r}; expected the validation first."
        )
    codes = np.zeros(len(log), "int8")
    for name, of_part in begun.items():
        if of_part.all() or not of_part.any():
            raise ValueError(
                f"RankingData: {name}={parts[name]!r} is beyond the log, whose column `{key}` goes "
                f"from {_shown(low, is_time)} to {_shown(high, is_time)}: no row would be "
                f"{'before' if of_part.all() else 'after'} it."
            )
        codes[of_part] = PARTS.index(name)
    if "validation" in begun and not (codes == PARTS.index("validation")).any():
        raise ValueError(
            f"RankingData: no row of column `{key}` lies between validation="
            f"{parts['validation']!r} and test={parts['test']!r}; the validation has no row."
        )
    return codes


def _shown(value: Any, is_time: bool) -> str:
    if not is_time:
        return repr(value.item() if hasattr(value, "item") else value)
    return f"{value} ({np.datetime64(int(value), 'ms').astype('datetime64[m]')})"


def _by_frames(
    schema: FeatureSchema, log: pd.DataFrame, frames: dict[str, pd.DataFrame]
) -> tuple[pd.DataFrame, np.ndarray]:
    codes = np.zeros(len(log), "int8")
    more: list[tuple[int, pd.DataFrame]] = []
    for name, frame in frames.items():
        if not len(frame):
            raise ValueError(f"RankingData: `{name}` has no row. Leave it out, or give its rows.")
        needed = WantedColumns.of(schema).wanted & set(log.columns)
        lacking = sorted(needed - set(frame.columns))
        if lacking:
            raise ValueError(
                f"RankingData: `{name}` has no column {', '.join(f'`{c}`' for c in lacking)}, "
                "which the log has. Give it the columns of the log."
            )
        places = _places(schema, log, name, frame)
        if places is None:
            _check_others(schema, log, name, frame)
            more.append((PARTS.index(name), frame))
        elif codes[places].any():
            raise ValueError(
                f"RankingData: {int((codes[places] > 0).sum())} rows are validation and test too. "
                "Give each row to one part."
            )
        else:
            codes[places] = PARTS.index(name)
    if codes.all():
        raise ValueError("RankingData: the parts take all rows of the log; none is left to train.")
    if more:
        log = pd.concat(_with_times_alike(schema, [log, *(frame for _, frame in more)]))
        codes = np.concatenate([codes, *(np.full(len(f), code, "int8") for code, f in more)])
    return log, codes


def _check_others(schema: FeatureSchema, log: pd.DataFrame, name: str, frame: pd.DataFrame) -> None:
    """Says that all rows of a part are equal to rows of the log, which would train as well.

    Rows of Polars and Arrow have no index that tells. Without times rows may be equal by chance:
    then it is a warning.
    """
    wanted = WantedColumns.of(schema).wanted
    both = [c for c in log.columns if c in frame.columns and c in wanted]
    keys = [key for key in (schema.user_key, schema.time_key) if key in both]
    plain = [c for c in both if all(is_scalar(column(f, c, "RankingData")) for f in (log, frame))]
    # Few rows of others have the keys of the log's, and most columns need not be looked at.
    for columns in filter(None, (keys, plain)):
        hashes = [pd.util.hash_pandas_object(rows[columns], index=False) for rows in (log, frame)]
        if not hashes[1].isin(hashes[0]).all():
            return
    text = (
        f"RankingData: all {len(frame)} rows of `{name}` are equal to rows of the log, under "
        "another index, and would train too. If they are the same rows, give the log without them, "
        "or parts with the log's index, which frames of Polars and Arrow lack and `reset_index` "
        "takes away."
    )
    if schema.time_key is not None:
        raise ValueError(text)
    warnings.warn(text, stacklevel=5)


def _with_times_alike(schema: FeatureSchema, frames: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """The frames; where their times differ in type or unit, with instants instead."""
    key = schema.time_key
    if key is None or any(key not in frame.columns for frame in frames):
        return frames
    units = {(str(f[key].dtype), schema.instants.unit_of(f[key], f"`{key}`")) for f in frames}
    if len(units) == 1:
        return frames
    times = [read_times(schema, frame, "RankingData") for frame in frames]
    return [f.assign(**{key: t.view("M8[ms]")}) for f, t in zip(frames, times, strict=True)]


def _plain(values: pd.Series) -> np.ndarray:
    """The values, missing ones as `None`, which is equal to itself."""
    missing = values.isna()
    if not missing.any():
        return np.asarray(values)
    return values.astype(object).where(~missing, None).to_numpy()


def _places(
    schema: FeatureSchema, log: pd.DataFrame, name: str, frame: pd.DataFrame
) -> np.ndarray | None:
    """Where in the log the rows of a frame lie; `None` if it has none of them."""
    known = frame.index.isin(log.index)
    if not known.any():
        return None
    if not log.index.is_unique or not frame.index.is_unique:
        raise ValueError(
            f"RankingData: the log or `{name}` has repeated index labels, so that it can't be told "
            "which rows are the same. Use `log.reset_index(drop=True)` before you split."
        )
    places = log.index.get_indexer(frame.index[known])
    same = np.ones(len(places), bool)
    for key in (schema.user_key, schema.time_key):
        if key in log.columns and key in frame.columns:
            there, here = (
                read_times(schema, rows, "RankingData")
                if key == schema.time_key
                else _plain(rows[key])
                for rows in (log.iloc[places], frame[known])
            )
            same &= there == here
    if same.all() and known.all():
        return places
    if not same.any() or (schema.time_key is None and not schema.histories):
        return None
    raise ValueError(
        f"RankingData: {int(same.sum())} of {len(frame)} rows of `{name}` are rows of the log too "
        "(the same index, user and time), the others not. Give rows of the log, or others, such "
        "as those of a second file."
    )
