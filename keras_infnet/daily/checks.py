"""Checks: what is wrong or strange in the log of a day, before anything learns from it."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet.daily.config import ChecksPart
from keras_infnet.daily.day_log import DayLog, frame_of
from keras_infnet.daily.drift import drift, unknown_shares
from keras_infnet.data.histories import lacking_histories, read_times
from keras_infnet.data.notices import repeated_in_frame
from keras_infnet.data.row_source import WantedColumns
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.events import log_events
from keras_infnet.encoding.labels import read_labels
from keras_infnet.schema.canonical import MISSING_INT, MISSING_STRING, column, feedbacks, user_ids
from keras_infnet.schema.history import History
from keras_infnet.schema.schema import FeatureSchema

REFUSED, STRANGE, FINE = "refused", "strange", "fine"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Args:
        check: Name of the check, such as `"drift"`.
        what: Column, feature or task.
        level: `"refused"`, `"strange"` or `"fine"`.
        text: What was found, what was expected, and what to do.
        value: What was measured, if a number was.
        limit: The limit that it is above.
    """

    check: str
    what: str
    level: str
    text: str = ""
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Before:
    """What is known of the days before.

    Args:
        kinds: Kind of each column.
        missing: Share of missing values by column.
        label_rates: Mean label by task.
        until: Milliseconds of the newest row.
        day: The last day.
        event_rates: Events a row, by history with events of its own.
    """

    kinds: Mapping[str, str]
    missing: Mapping[str, float]
    label_rates: Mapping[str, float]
    until: int
    day: str
    event_rates: Mapping[str, float] = field(default_factory=dict[str, float])


def check_rows(
    schema: FeatureSchema, log: DayLog, frame: pd.DataFrame, before: Before | None, part: ChecksPart
) -> list[Finding]:
    """What is wrong or strange in the rows of a day as they are, beginning with what is wrong.

    Args:
        schema: The schema, fitted where there is a version before.
        log: The log.
        frame: Its rows.
        before: What is known of the days before, if there are some.
        part: The limits.
    """
    lacking = _lacking_columns(schema, frame)
    if lacking:
        return lacking
    found = [*_few_rows(frame, part), *_other_kinds(log, before), *_missing(schema, frame, before)]
    found += _come_or_gone(schema, log, before)
    # What a column of another type holds is no second finding.
    found += _values(schema, frame, {f.what for f in found if f.level == REFUSED})
    if any(finding.level == REFUSED for finding in found):
        return found
    found += _times(schema, frame, before)
    found += _labels(schema, frame, before, part)
    repeated = repeated_in_frame(schema, frame) / len(frame)
    found.append(
        _limited(
            part, "duplicates", schema.user_key, repeated,
            "of the rows equal an earlier row of the same user and time. Was the log read or "
            "joined twice?",
        )
    )  # fmt: skip
    missing = missing_shares(schema, frame)
    found += [
        _limited(part, "missing", name, share, "of the values are missing.")
        for name, share in missing.items()
    ]
    return found


def check_events(
    schema: FeatureSchema, log: DayLog, rows: pd.DataFrame, before: Before | None, part: ChecksPart
) -> list[Finding]:
    """What is wrong or strange in a day's events that come from logs of their own.

    Args:
        schema: The schema, fitted where there is a version before.
        log: The log.
        rows: Its rows, of which none was refused.
        before: What is known of the days before, if there are some.
        part: The limits.
    """
    found: list[Finding] = []
    for name, table in log.events.items():
        history, label, events = schema.history(name), f"events of `{name}`", frame_of([table])
        lacking = sorted(WantedColumns.of_events(schema, history).required - {*events.columns})
        found += [
            Finding(
                "columns", name, REFUSED,
                f"{label}: column `{column}` is missing.{did_you_mean(column, events.columns)}",
            )
            for column in lacking
        ]  # fmt: skip
        if lacking:
            continue
        found += _times(schema, events, before, label)
        found += _never_read(schema, name, events, rows, label)
        found += _event_values(schema, history, events, label)
        if before is not None and (was := before.event_rates.get(name)):
            rate = event_rate(schema, events, rows)
            said = f"is between {rate:.4g} events a row and the {was:.4g} of the days before."
            found.append(_limited(part, "event_rate", name, max(rate / was, was / rate), said))
    return found


def check_repeated(
    schema: FeatureSchema, name: str, events: pd.DataFrame, of_day: int, part: ChecksPart
) -> Finding:
    """How many events are there twice, in a day's log or in it and those before.

    Args:
        schema: The schema.
        name: Name of the history.
        events: All events that the version before has not seen.
        of_day: How many of them are the day's.
        part: The limits.
    """
    return _limited(
        part, "duplicates", name, repeated_in_frame(schema, events) / of_day,
        "of the events equal an earlier one of the same user and time. Was their log read, joined "
        "or written twice?",
    )  # fmt: skip


def event_rate(schema: FeatureSchema, events: pd.DataFrame, rows: pd.DataFrame) -> float:
    """Events a row since the day's first one, above 0: a first day has older events too."""
    begin = read_times(schema, rows, "log").min()
    return max(1, int((read_times(schema, events, "events") >= begin).sum())) / len(rows)


def check_against(
    encoder: FeatureEncoder, frame: pd.DataFrame, reference: dict[str, Any], part: ChecksPart
) -> list[Finding]:
    """How far a day's rows are from what the version before was trained on.

    Args:
        encoder: The encoder of that version.
        frame: The day's rows, with the features of the past.
        reference: `distributions` of its training rows.
        part: The limits.
    """
    found = [
        _limited(
            part, "unknown_ids", name, share,
            "of the values are in no vocabulary of the version before. Has the column another "
            "meaning or form?",
        )
        for name, share in unknown_shares(encoder, frame).items()
    ]  # fmt: skip
    return found + [
        _limited(
            part, "drift", name, value,
            "is the PSI of the values against those that the version before was trained on; 0.25 "
            "is much.",
        )
        for name, value in drift(encoder, frame, reference).items()
    ]  # fmt: skip


def missing_shares(schema: FeatureSchema, frame: pd.DataFrame) -> dict[str, float]:
    """Share of missing values of each column of a feature."""
    names = dict.fromkeys(c for f in schema.features for c in f.columns if c in frame.columns)
    return {name: float(frame[name].isna().mean()) for name in names}


def label_rates(schema: FeatureSchema, frame: pd.DataFrame) -> dict[str, float]:
    """Weighted mean label of each task; NaN where none is observed."""
    labels, weights = read_labels(schema, frame)
    return {
        task: float(np.average(labels[task].ravel(), weights=weights[task]))
        if weights[task].sum() > 0
        else float("nan")
        for task in schema.task_names
    }


def _lacking_columns(schema: FeatureSchema, frame: pd.DataFrame) -> list[Finding]:
    lacking = sorted(WantedColumns.of(schema).required - {*frame.columns})
    return [
        Finding(
            "columns", name, REFUSED,
            f"column `{name}` is missing.{did_you_mean(name, frame.columns)}",
        )
        for name in lacking
    ]  # fmt: skip


def _few_rows(frame: pd.DataFrame, part: ChecksPart) -> Iterator[Finding]:
    if len(frame) < part.min_rows:
        yield Finding(
            "rows", "log", REFUSED,
            f"the log has {len(frame)} rows; expected checks.min_rows={part.min_rows} or more. Is "
            "it written to its end?",
        )  # fmt: skip


def _other_kinds(log: DayLog, before: Before | None) -> Iterator[Finding]:
    for name, kind in log.kinds.items():
        was = "none" if before is None else before.kinds.get(name, "none")
        if kind != was and "none" not in (kind, was):
            yield Finding(
                "types", name, REFUSED,
                f"column `{name}` holds {log.table.schema.field(name).type}, of kind {kind}; on "
                f"the days before it was of kind {was}. Write it as before.",
            )  # fmt: skip


def _come_or_gone(schema: FeatureSchema, log: DayLog, before: Before | None) -> Iterator[Finding]:
    """Columns that are computed where a log lacks them, and that it lacks on some days alone."""
    computed = {f.name for f in schema.features if f.name not in f.log_columns}
    computed |= {c for h in schema.histories if h.name not in log.events for c in h.list_columns}
    for name in sorted(computed & (log.kinds.keys() ^ before.kinds.keys())) if before else ():
        is_there, was = ("there", "was not") if name in log.kinds else ("missing", "was there")
        yield Finding(
            "columns", name, REFUSED,
            f"column `{name}` is {is_there}; on the days before it {was}. It would be computed for "
            "rows of some days alone: write it on all days, or on none.",
        )  # fmt: skip


def _missing(
    schema: FeatureSchema, frame: pd.DataFrame, before: Before | None
) -> Iterator[Finding]:
    """Features that are null in all rows, and were not."""
    for name, share in missing_shares(schema, frame).items():
        was = 0.0 if before is None else before.missing.get(name, 0.0)
        if share == 1 and was < 1:
            yield Finding(
                "missing", name, REFUSED if before else STRANGE,
                f"column `{name}` is null in all {len(frame)} rows; on the days before it was in "
                f"{was:.1%} of them. Is the join that fills it whole?",
                1.0,
            )  # fmt: skip


def _values(
    schema: FeatureSchema, frame: pd.DataFrame, refused: Collection[str]
) -> Iterator[Finding]:
    """Columns that hold what they must not, but for those that are refused already."""
    readers: list[tuple[str, Callable[[], Any]]] = [
        (str(schema.time_key), lambda: read_times(schema, frame, "log")),
        ("labels", lambda: read_labels(schema, frame)),
    ]
    past = {f.name for f in schema.past}
    for feature in schema.features:
        if feature.name in past or feature.of_list or feature.name not in frame.columns:
            continue

        def read(feature: Any = feature) -> None:
            dtype = schema.dtype_of(feature.name) if schema.fitted else feature.declared_dtype
            if dtype is not None or not feature.has_dtype:
                feature.values(column(frame, feature.name, feature.label), dtype, feature.label)

        readers.append((feature.name, read))
    for name, reader in (r for r in readers if r[0] not in refused):
        try:
            reader()
        except ValueError as error:
            yield Finding("values", name, REFUSED, str(error))


def _times(
    schema: FeatureSchema, frame: pd.DataFrame, before: Before | None, label: str = "log"
) -> Iterator[Finding]:
    if before is None:
        return
    times = read_times(schema, frame, label)
    older = int((times < before.until).sum())
    if older:
        yield Finding(
            "times", str(schema.time_key), REFUSED,
            f"{label}: {older} of {len(times)} rows are older than {_shown(before.until)}, the "
            f"newest row of {before.day} (the first is of {_shown(int(times.min()))}). Is it the "
            "log of an earlier day? Late rows belong into the log of their own day.",
        )  # fmt: skip


def _never_read(
    schema: FeatureSchema, name: str, events: pd.DataFrame, rows: pd.DataFrame, label: str
) -> Iterator[Finding]:
    """Events that no row would have in its history."""
    if name not in lacking_histories(schema, rows):
        yield Finding(
            "columns", name, REFUSED,
            f"{label}: the rows of the log hold `{name}` as list columns, so that nothing reads "
            f"them. Leave out these columns, or events.{name}.",
        )  # fmt: skip
    first, newest = read_times(schema, events, label).min(), read_times(schema, rows, "log").max()
    if first > newest:
        yield Finding(
            "times", str(schema.time_key), REFUSED,
            f"{label}: all {len(events)} are later than {_shown(int(newest))}, the newest row of "
            f"the log (the first is of {_shown(int(first))}). Are they of a later day?",
        )  # fmt: skip
    key = schema.user_key
    users, kind = user_ids(column(events, key, label), label)
    of_rows, kind_of_rows = user_ids(column(rows, key, "log"), "log")
    if {kind, kind_of_rows} == {"int", "string"}:
        yield Finding(
            "types", key, REFUSED,
            f"{label}: column `{key}` is of kind {kind}, and in the log of kind {kind_of_rows}, so "
            "that no user would be found. Write it as there.",
        )  # fmt: skip
    elif not users[(users != MISSING_INT) & (users != MISSING_STRING)].isin(of_rows).any():
        yield Finding(
            "users", name, STRANGE,
            f"{label}: none of their users has a row on this day. Is `{key}` the same id in both?",
        )  # fmt: skip


def _event_values(
    schema: FeatureSchema, history: History, events: pd.DataFrame, label: str
) -> Iterator[Finding]:
    """Columns of events that are null, or hold what they must not."""
    for name in history.fields:
        if events[name].isna().all():
            yield Finding(
                "missing", name, REFUSED,
                f"{label}: column `{name}` is null in all {len(events)}. Is the join that fills it "
                "whole?",
                1.0,
            )  # fmt: skip
    try:
        log_events(history, events, schema=schema if schema.fitted else None)
        if history.where is not None:
            feedbacks(column(events, history.where, label), f"{label}: column `{history.where}`")
    except ValueError as error:
        yield Finding("values", history.name, REFUSED, f"{label}: {error}")


def _labels(
    schema: FeatureSchema, frame: pd.DataFrame, before: Before | None, part: ChecksPart
) -> Iterator[Finding]:
    labels, weights = read_labels(schema, frame)
    rates = label_rates(schema, frame)
    for task in schema.tasks:
        observed = labels[task.name][weights[task.name] > 0]
        if not len(observed) or observed.min() == observed.max():
            said = (
                f"all {len(observed)} observed labels are {observed[0]:g}"
                if len(observed)
                else ("no label is observed")
            )
            yield Finding(
                "labels", task.name, REFUSED,
                f"task `{task.name}`, column `{task.label}`: {said}. Is the join of feedback done?",
            )  # fmt: skip
            continue
        rate, was = rates[task.name], 0.0 if before is None else before.label_rates[task.name]
        if was > 0 and rate > 0:
            factor = max(rate / was, was / rate)
            said = f"is between the mean label, {rate:.4g}, and that of the days before, {was:.4g}."
            yield _limited(part, "label_rate", task.name, factor, said)


def _limited(part: ChecksPart, check: str, what: str, value: float, text: str) -> Finding:
    """What was measured, beside its limits."""
    for level, limits in ((REFUSED, part.refuse), (STRANGE, part.warn)):
        limit = limits.get(check)
        if limit is not None and value > limit:
            said = f"`{what}`: {value:.4g} {text} checks.{_NAMES[level]}.{check} is {limit:g}."
            return Finding(check, what, level, said, value, limit)
    return Finding(check, what, FINE, "", value)


_NAMES = {REFUSED: "refuse", STRANGE: "warn"}


def _shown(time: int) -> str:
    return str(np.datetime64(time, "ms").astype("datetime64[s]"))
