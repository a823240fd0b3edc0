"""A case run three ways: batches, rows and requests; each must give what the oracle says."""

import contextlib
import signal
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pandas as pd

from keras_infnet import RankingData
from keras_infnet.encoding.requests import frame_to_request
from keras_infnet.models import FM
from keras_infnet.models.tokens import in_groups
from keras_infnet.schema.list_key import FILLS_UP, LIST_CODES, NO_LIST
from keras_infnet.serving import export
from tests.fuzz.cases import Case, size
from tests.fuzz.oracle import Expected, Oracle, training_rows

TOLERANCE = 1e-5
_LONGEST = 60


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Args:
        kind: "equal", "refused" or "failed".
        what: What failed, or the words of the refusal.
        named: Columns that the refusal names.
        ways: What was compared, such as "saved_model".
    """

    kind: str
    what: str = ""
    named: tuple[str, ...] = ()
    ways: tuple[str, ...] = field(default=())


class Different(Exception):
    """Two ways that give something else, or a way and the oracle."""


def run(case: Case, model: bool = False, saved: bool = False, days: bool = False) -> Outcome:
    """Runs a case.

    Args:
        case: The case.
        model: Whether a Keras model predicts in all ways, beside the comparison of its inputs.
        saved: Whether the model is exported, and the SavedModel served.
        days: Whether it is two days of a daily job too.
    """
    try:
        with _at_most(_LONGEST), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ways = _compare(case, model or saved, saved)
            ways += _daily(case) if days else ()
    except Different as error:
        return Outcome("failed", f"difference: {error}")
    except ValueError as error:
        return _refused(case, str(error))
    except _TooLong:
        return Outcome("failed", f"hang: no end after {_LONGEST} seconds")
    except Exception as error:
        return Outcome("failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    unclear = [c.look for side in _sides(case) for c in side.values() if c.means is None]
    if unclear:
        return Outcome("failed", f"accepted: {', '.join(unclear)}")
    return Outcome("equal", ways=ways)


def _daily(case: Case) -> tuple[str, ...]:
    """`("daily",)` where the case was two days of a job."""
    from tests.fuzz.daily_way import as_days, run_days

    try:
        return ("daily",) if as_days(case) and run_days(case) else ()
    except ValueError as error:
        # The job names stage and day; what it refuses here it must not.
        raise Different(f"a day failed: {' '.join(str(error).split())[:300]}") from error


def _sides(case: Case) -> list[dict[str, Any]]:
    """The columns that something reads, of log, rows and events before."""
    return [case.read(side) for side in case.sides]


def _refused(case: Case, words: str) -> Outcome:
    """A refusal is right if it names a column that gives reason to it."""
    words = " ".join(words.split())
    if size(case.log) == 0 and "empty" in words:
        return Outcome("refused", words, ("(no row)",))
    columns = {n for side in _sides(case) for n in side if f"`{n}`" in words}
    if not columns:
        return Outcome("failed", f"refused, and no column is named: {words[:300]}")
    doubts = _doubts(case)
    named = tuple(sorted(columns & doubts))
    if not named:
        return Outcome("failed", f"refused without reason: {words[:300]}")
    return Outcome("refused", words, named)


def _has_times(case: Case) -> bool:
    key = case.schema.time_key
    return case.boundary is None or (key is not None and case.log[key].means is not None)


def _doubts(case: Case) -> set[str]:
    """Columns whose refusal is right."""
    found = {n for side in _sides(case) for n, c in side.items() if c.doubt}
    # Features of one table have one dtype.
    odd = {case.schema.table_of(f.name) for f in case.schema.features if f.name in found}
    found |= {f.name for f in case.schema.features if case.schema.table_of(f.name) in odd}
    train = training_rows(case) if _has_times(case) else []
    for task in case.schema.tasks:
        seen = set()
        for i in train:
            watched = all(case.log[c].means[i] == 1 for c in task.conditions)
            seen |= {case.log[task.label].means[i]} if watched else set()
        if len(seen) < 2:
            found.add(task.label)
    for action in {f.action for f in case.schema.past} - {None}:
        tasks = [task for task in case.schema.tasks if task.label == action]
        seen = [
            case.log[action].means[i] is not None
            and (not tasks or all(case.log[c].means[i] == 1 for c in tasks[0].conditions))
            for i in train
        ]
        if not any(seen):
            found.add(action)
    for feature in case.schema.features:
        owner = case.schema.table_of(feature.name)
        if not getattr(feature, "has_dtype", False) or case.schema.declared_dtype(owner):
            continue
        # Nothing tells what the values of a column are that has none.
        if all(not v for v in (case.log[feature.name].means or [])):
            found |= {feature.name}
    return found


def _compare(case: Case, with_model: bool, saved: bool) -> tuple[str, ...]:
    boundary = None if case.boundary is None else pd.Timestamp(case.boundary, unit="ns", tz="UTC")
    log = case.frame("log")
    warm = None if case.warm is None else case.frame("warm")
    given: dict[str, Any] = {"validation": boundary, "warm": warm}
    if case.events_of is not None:
        given["events"] = {case.events_of: case.frame("events")}
    data = RankingData(case.schema, log, **given)
    freeze = None if case.freeze_at is None else pd.Timestamp(case.freeze_at, unit="ns")
    asked: Any = "train" if case.rows is None else case.frame("rows")
    if case.rows is not None and case.schema.time_key is None:
        asked = log.iloc[case.places]
    batches = data.batches(asked, freeze_at=freeze, batch_size=7)
    of_batches, labels, weights = _whole(batches)
    attached = data.attach(asked, freeze_at=freeze)
    of_rows = data.encoder.transform(attached)
    request = frame_to_request(data.schema, attached)
    of_request = _served(data.encoder.to_tensorflow(), request)
    if any(c.means is None for side in _sides(case) for c in side.values()):
        return ()
    expected = Oracle(case).answers()
    _same_request(data.schema, request, expected)
    for way, packed in (("batches", of_batches), ("rows", of_rows), ("request", of_request)):
        _same_packed(data.schema, way, packed, expected)
    # JAX compiles each operation for each shape.
    if with_model or keras.backend.backend() == "tensorflow":
        _same_groups(data.schema, of_rows, expected)
    for name in data.schema.task_names:
        _same(f"label of `{name}`", labels[name][:, 0], expected.labels[name])
        _same(f"weight of `{name}`", weights[name][:, 0], expected.weights[name])
        rate = data.schema.base_rate(name)
        _same(f"base rate of `{name}`", rate, expected.base_rates[name])
    ways = ("batches", "rows", "request")
    # Training batches read columns of the log that nothing else may have read.
    if case.unknown is not None and not any(column.doubt for column in case.log.values()):
        rate = {case.unknown: 0.5}
        _same_but_unknown(data, RankingData(data.encoder, log, **given, unknown_rate=rate))
        ways += ("unknown",)
    if case.schema.list_key is not None:
        _same_lists(case, data.batches(asked, freeze_at=freeze, batch_size=64, by="list"), of_rows)
        ways += ("lists",)
    if not with_model:
        return ways
    model = _model(data.schema)
    predicted = data.predict(model, asked, freeze_at=freeze).to_numpy()
    outputs = {"rows": model.predict(of_rows, verbose=0)}
    outputs["request"] = model.predict_on_batch(of_request)
    if saved:
        outputs["saved_model"] = _exported(model, data, attached, request)
    for way, found in outputs.items():
        side_by_side = np.concatenate(
            [np.asarray(found[t]) for t in data.schema.task_names], axis=1
        )
        _same(f"predictions of {way} beside those of batches", side_by_side, predicted)
    return (*ways, "keras", *(["saved_model"] if saved else []))


def _whole(batches: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """All batches below one another."""
    parts = list(batches.as_numpy_iterator())

    def joined(k: int) -> dict[str, Any]:
        return {name: np.concatenate([part[k][name] for part in parts]) for name in parts[0][k]}

    return joined(0), joined(1), joined(2)


def _same_but_unknown(data: RankingData, hiding: RankingData) -> None:
    """Training batches of which one has known ids as unknown: else they are equal."""
    plain, hidden = (
        _whole(some.batches("train", shuffle=True, batch_size=7)) for some in (data, hiding)
    )
    oov = data.schema.feature("video_id").oov_buckets
    for name, right in plain[0].items():
        found = hidden[0][name]
        other = (found != right) & ((found == found) | (right == right))
        if not ((right[other] > oov) & (found[other] >= 1) & (found[other] <= oov)).all():
            raise Different(f"unknown ids: `{name}` differs in more than known ids")
    for k in (1, 2):
        for name, right in plain[k].items():
            _same(f"unknown ids: labels and weights of `{name}`", hidden[k][name], right)


def _same_lists(case: Case, batches: Any, of_rows: dict[str, Any]) -> None:
    """Batches of whole lists hold the same rows, each list's in one batch."""
    parts = list(batches.as_numpy_iterator())
    sizes: Counter[int] = Counter()
    for _, y, _ in parts:
        codes = y[LIST_CODES].ravel()
        sizes.update(np.unique(codes[codes >= 0], return_counts=True)[1].tolist())
        sizes[1] += int((codes == NO_LIST).sum())
    side = case.log if case.rows is None else case.rows
    rows = training_rows(case) if case.rows is None else range(size(side))
    keys = [tuple(side[key].means[i] for key in case.schema.list_key) for i in rows]
    lists = Counter(key for key in keys if None not in key)
    right = Counter(lists.values()) + Counter({1: sum(None in key for key in keys)})
    if +sizes != right:
        raise Different(f"lists of {dict(sizes)} rows for {dict(right)}")
    held = [y[LIST_CODES].ravel() != FILLS_UP for _, y, _ in parts]
    for name, whole in of_rows.items():
        found = np.concatenate([x[name][h] for (x, _, _), h in zip(parts, held, strict=True)])
        found, wanted = (np.asarray(a, "float64").reshape(len(a), -1) for a in (found, whole))
        _same(f"lists: rows of `{name}`", _sorted(found), _sorted(wanted))


def _sorted(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.T)] if rows.size else rows


def _served(encode: Any, request: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The graph that a SavedModel holds before the model."""
    import tensorflow as tf

    return {
        n: v.numpy() for n, v in encode({k: tf.constant(v) for k, v in request.items()}).items()
    }


def _model(schema: Any) -> Any:
    """A small model, every weight off its start."""
    model, rng = FM(schema, dim=4), np.random.default_rng(0)
    model.set_weights([np.float32(rng.normal(0, 0.3, w.shape)) for w in model.weights])
    model.compile(run_eagerly=keras.backend.backend() == "tensorflow")
    return model


def _exported(model: Any, data: Any, attached: pd.DataFrame, request: Any) -> dict[str, Any]:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        path = export(model, data, f"{folder}/ranker", verify=attached)
        serve = tf.saved_model.load(str(path)).signatures["serving_default"]
        return serve(**{name: tf.constant(values) for name, values in request.items()})


def _same_request(schema: Any, request: dict[str, Any], expected: Expected) -> None:
    """The request holds what the oracle says, padded on the right by what is missing."""
    missing = schema.raw_missing()
    for name, values in request.items():
        wanted = [_filled(v, missing[name]) for v in expected.request[name]]
        for row, (found, right) in enumerate(zip(values, wanted, strict=True)):
            if not _equal_lists(found, right, missing[name]):
                raise Different(f"request `{name}`, row {row}: {_short(found)} for {_short(right)}")


def _filled(value: Any, fill: Any) -> Any:
    if isinstance(value, list):
        return [_filled(v, fill) for v in value]
    return fill if value is None else value


def _equal_lists(found: Any, right: Any, fill: Any) -> bool:
    if isinstance(found, np.ndarray) and found.ndim:
        right = list(right) if isinstance(right, list) else [right]
        if len(found) < len(right):
            return False
        empty: Any = [] if found.ndim > 1 else fill
        right += [empty] * (len(found) - len(right))
        return all(_equal_lists(f, r, fill) for f, r in zip(found, right, strict=True))
    if isinstance(right, float | np.floating):
        return bool(np.float32(found) == np.float32(right) or (found != found and right != right))
    return found == right


def _same_packed(schema: Any, way: str, packed: dict[str, Any], expected: Expected) -> None:
    if set(packed) != set(schema.packed_inputs()):
        raise Different(f"{way}: inputs {sorted(packed)} for {sorted(schema.packed_inputs())}")
    for name, columns in expected.packed.items():
        found = packed[name]
        history = schema.history(name) if name in {h.name for h in schema.histories} else None
        of_row = history is None and found.ndim == 2 and name not in schema_kinds(schema)
        for column, rows in columns.items():
            if history is not None:
                part = found[:, :, schema.history_columns(name)[column]]
                right = [[[0] * part.shape[2]] * (part.shape[1] - len(w)) + w for w in rows]
            elif of_row:
                part = found
                right = [[0] * (part.shape[1] - len(w)) + [v[0] for v in w] for w in rows]
            else:
                part, right = found[:, schema.packed_columns(name)[column]], rows
            _same(f"{way}: `{name}`, column `{column}`", part, right)


def _same_groups(schema: Any, packed: dict[str, Any], expected: Expected) -> None:
    """Groups by age and by place are those of the oracle; by actions alone the bits say all."""
    for history in schema.histories:
        if not any(group.within or group.last for group in history.groups):
            continue
        found = keras.ops.convert_to_numpy(in_groups(schema, history, packed))
        length, number = history.max_length, len(history.groups)
        right = [
            [[False] * number] * (length - len(events)) + events
            for events in expected.groups[history.name]
        ]
        _same(f"groups of history `{history.name}`", np.swapaxes(found, 1, 2), right)


def schema_kinds(schema: Any) -> set[str]:
    """Packed inputs that no history makes."""
    return {"categorical", "numbers", "bags", "bag_weights", "dense"}


def _same(what: str, found: Any, right: Any) -> None:
    found = np.asarray(found)
    right = np.asarray(right, found.dtype).reshape(found.shape)
    with np.errstate(invalid="ignore"):
        near = np.abs(found - right) <= TOLERANCE * np.maximum(1, np.abs(right))
    near |= (found == right) | ((found != found) & (right != right))
    if not near.all():
        row = int(np.flatnonzero(~near.reshape(len(near), -1).all(axis=1))[0])
        raise Different(f"{what}, row {row}: {_short(found[row])} for {_short(right[row])}")


def _short(value: Any) -> str:
    return " ".join(str(value).split())[:160]


class _TooLong(BaseException):
    """No error of a file or of a value, which the library would catch and name otherwise."""


@contextlib.contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """Ends what is inside after so many seconds."""

    def stop(*_: Any) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
