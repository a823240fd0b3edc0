"""What the encoder must give for a case, in plain Python, from what the values mean."""

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import NormalDist
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from keras_infnet import (
    Age,
    BinaryTask,
    CategoricalFeature,
    DateTimeFeature,
    DenseFeature,
    EventNumber,
    MulticlassTask,
    NumericFeature,
    RateFeature,
    Ratio,
    SecondsSinceFeature,
    SincePrevious,
)
from tests.fuzz.cases import Case, size

RATIOS = [np.float32(v) for v in (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1, 1.25, 2, 3)]
LARGEST, TINIEST = float(np.finfo("float32").max), float(np.finfo("float32").tiny)
MILLISECONDS = {"s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
Means = dict[str, list[Any]]


@dataclass
class Expected:
    """Right answers for the rows of a case.

    Attributes:
        request: Raw inputs by name: a value a row, of histories and bags lists.
        packed: Packed columns by input and name: a list of ids or numbers a row, of histories a
            list of events.
        groups: By history, for each row and event whether it is in each of the groups.
        labels: By task.
        weights: By task.
        base_rates: By task.
    """

    request: dict[str, list[Any]]
    packed: dict[str, dict[str, list[Any]]]
    groups: dict[str, list[list[list[bool]]]]
    labels: dict[str, list[float]]
    weights: dict[str, list[float]]
    base_rates: dict[str, list[float]]


class Oracle:
    """Right answers for a case whose values all mean something."""

    def __init__(self, case: Case) -> None:
        self.case, self.schema = case, case.schema
        means = {
            side: {name: column.means or [] for name, column in held.items()}
            for side, held in case.sides.items()
        }
        self.log, self.asked, self.warm = means["log"], means.get("rows", means["log"]), {}
        self.train = training_rows(case)
        self.places = self.train if case.rows is None else list(range(size(case.rows)))
        # Events from before the log lie above those of the log.
        self.events = [(self.log, i) for i in range(size(case.log))]
        if case.warm is not None:
            self.warm = means["warm"]
            self.events = [(self.warm, i) for i in range(size(case.warm))] + self.events
        self.own: list[tuple[Means, int]] = []
        if case.events is not None:
            self.own = [(means["events"], i) for i in range(size(case.events))]
        self.add_computed(self.log, None)
        if case.rows is not None:
            self.add_computed(self.asked, case.freeze_at)
        self.tables = {f.name: self.learn(f) for f in self.schema.table_owners()}
        self.forms = {f.name: self.learn_forms(f) for f in self.schema.table_owners()}
        self.actions = {h.name: self.learn_actions(h) for h in self.schema.histories}

    def answers(self) -> Expected:
        """All right answers."""
        schema, asked = self.schema, self.asked
        request: dict[str, list[Any]] = {}
        packed: dict[str, dict[str, list[Any]]] = {}
        groups: dict[str, list[list[list[bool]]]] = {}
        for f in schema.features:
            values = [asked[f.name][i] for i in self.places]
            request[f.name] = [self.raw(f, v) for v in values]
            packed.setdefault(f.packed, {})[f.name] = [self.ids(f, v) for v in values]
            if f.number_bins:
                packed.setdefault("numbers", {})[f.name] = [self.numbers(f, v) for v in values]
            if f.packed == "bags":
                weights = [[float(v != 0) for v in self.ids(f, value)] for value in values]
                if getattr(f, "weights", None):
                    given = [asked[f.weights][i] for i in self.places]
                    request[f.weights] = given
                    weights = [
                        [w * known for w, known in zip([*g, *[0.0] * f.width], k, strict=False)]
                        for g, k in zip(given, weights, strict=True)
                    ]
                packed.setdefault("bag_weights", {})[f.name] = weights
        for h in schema.histories:
            windows = [self.window(h, i) for i in self.places]
            for name in h.list_columns:
                request[name] = [[e.raw[name] for e in w] for w in windows]
            groups[h.name] = [_at_their_places(h, w) for w in windows]
            columns = schema.history_columns(h.name)
            packed[h.name] = {c: [[e.ids[c] for e in w] for w in windows] for c in columns}
            for quantity in h.of_row:
                name = f"{h.name}_{quantity.key}"
                packed[name] = {name: [[e.ids[f"#{quantity.key}"] for e in w] for w in windows]}
        labels, weights = self.labels(asked, self.places)
        return Expected(request, packed, groups, labels, weights, self.base_rates())

    def add_computed(self, side: Means, freeze_at: int | None) -> None:
        """The features of the past of some rows, and those relative to their lists."""
        rows = range(len(next(iter(side.values()))))
        for f in self.schema.past:
            side[f.name] = [self.past(f, side, i, freeze_at) for i in rows]
        for f in self.case.relative:
            x = [None if v is None else _float32(v) for v in side[f.of]]
            lists = [tuple(side[key][i] for key in self.schema.list_key or ()) for i in rows]
            side[f.name] = [
                None if x[i] is None or None in lists[i] else _relative(f.relative, x[i], others)
                for i in rows
                for others in [[x[j] for j in rows if lists[j] == lists[i] and x[j] is not None]]
            ]

    def past(self, feature: Any, side: Means, row: int, freeze_at: int | None) -> float | None:
        """A number of the rows of the log before a row."""
        keys, now = [side[k][row] for k in feature.keys], self.time(side, row)
        end = now - _duration(feature.delay) if feature.delay else now
        end = end if freeze_at is None else min(end, freeze_at // 10**6)

        def is_past(j: int) -> bool:
            then = self.time(self.log, j)
            if None in keys or [self.log[k][j] for k in feature.keys] != keys or then >= end:
                return False
            if feature.window == "day":
                return _day(then, feature.zone) == _day(now, feature.zone)
            return feature.window is None or then >= now - _duration(feature.window)

        before = [j for j in range(size(self.case.log)) if is_past(j)]
        known = before
        if feature.action is not None:
            known = [j for j in before if self.action(feature.action, j) is not None]
            before = [j for j in known if self.action(feature.action, j) == 1]
        if isinstance(feature, RateFeature):
            seen = [self.action(feature.action, j) for j in self.train]
            p = seen.count(1) / (len(seen) - seen.count(None))
            weight = len(known) + feature.prior
            return (len(before) + feature.prior * p) / weight if weight else p
        if isinstance(feature, SecondsSinceFeature):
            times = [self.time(self.log, j) for j in before]
            return (now - max(times)) / 1000 if times else None
        return float(len(before))

    def action(self, name: str, row: int) -> int | None:
        """Whether a row of the log has an action; `None` where that is not known."""
        tasks = [task for task in self.schema.tasks if task.label == name]
        seen = [all(self.log[c][row] == 1 for c in task.conditions) for task in tasks]
        return self.log[name][row] if any(seen) or not tasks else None

    def learned(self, history: Any) -> list[tuple[Means, int]]:
        """Events of a history that the encoder learns from."""
        if history.name == self.case.events_of:
            last = max(self.time(self.log, i) for i in self.train)
            return [event for event in self.own if self.time(*event) <= last]
        before = [event for event in self.events if event[0] is not self.log]
        return [*before, *((self.log, i) for i in self.train)]

    def learn(self, owner: Any) -> Any:
        """A function from a value to its id, learned from training rows."""
        if isinstance(owner, DateTimeFeature):
            return None
        sharing = [f for f in self.schema.features if self.schema.table_of(f.name) == owner.name]
        seen = [self.log[f.name][i] for f in sharing for i in self.train]
        if owner.has_dtype:
            seen += [
                side[f.name][i]
                for f in sharing
                for h in self.schema.histories
                if f.name in h.fields
                for side, i in self.learned(h)
                if side is not self.log
            ]
        if isinstance(owner, NumericFeature) and "bucket" not in owner.encoding:
            return lambda v: 0 if v is None else 1
        if isinstance(owner, NumericFeature):
            edges = _edges(owner, [_float32(v) for v in seen if v is not None])
            return lambda v: 0 if v is None else 1 + sum(e <= _float32(v) for e in edges)
        if owner.hash_buckets is not None:
            return lambda v: 0 if v is None else 1 + hashed(v, owner.hash_buckets)
        if owner.is_bag:
            seen = [value for values in seen for value in values]
        counts = Counter(v for v in seen if v is not None)
        kept = [(-n, v) for v, n in counts.items() if n >= owner.min_frequency]
        oov = owner.oov_buckets
        ids = {v: 1 + oov + i for i, (_, v) in enumerate(sorted(kept))}

        def look_up(value: Any) -> int:
            if value is None:
                return 0
            return ids[value] if value in ids else 1 + (hashed(value, oov) if oov > 1 else 0)

        return look_up

    def learn_forms(self, owner: Any) -> list[Any]:
        """Knots and heights of what a number is besides its bucket."""
        if not owner.number_bins:
            return []
        sharing = [f for f in self.schema.features if self.schema.table_of(f.name) == owner.name]
        seen = [self.log[f.name][i] for f in sharing for i in self.train]
        return [_line(name, owner, seen) for name in owner.encoding if name != "bucket"]

    def numbers(self, feature: Any, value: Any) -> list[float]:
        """Columns of a value for the packed input `numbers`."""
        forms = self.forms[self.schema.table_of(feature.name)]
        return [0.0 if value is None else _height(line, value) for line in forms]

    def event_number(self, history: Any, quantity: Any, value: Any) -> int:
        """The id of a number of an event."""
        if value is None:
            return 0
        seen = [side[quantity.column][i] for side, i in self.learned(history)]
        owner = NumericFeature("x", "item", buckets=quantity.buckets)
        return 2**24 + round(2**16 * _height(_line("ple", owner, seen), value))

    def learn_actions(self, history: Any) -> dict[tuple[Any, ...], int]:
        """Ids of the combinations of actions that training rows have."""
        events = self.learned(history)
        rows = [tuple(side[a][i] for a in history.actions) for side, i in events]
        order = sorted((-n, _code(actions), actions) for actions, n in Counter(rows).items())
        return {actions: 2 + i for i, (_, _, actions) in enumerate(order)}

    def ids(self, feature: Any, value: Any) -> list[Any]:
        """Packed columns of a value."""
        if isinstance(feature, DenseFeature):
            # Larger numbers count as these.
            return [min(max(v, -1e6), 1e6) for v in value]
        if isinstance(feature, DateTimeFeature):
            # These weeks of 1970 are taken for seconds that lack a client.
            if value is None or 631_152_000 <= value // 10**6 < 4_133_980_800:
                return [0, 0, 0]
            # Exact: `fromtimestamp` of floats is not.
            seconds = datetime.fromtimestamp(value // 10**9, UTC)
            local = seconds.astimezone(ZoneInfo(feature.zone))
            return [1 + local.hour, 25 + local.weekday(), 31 + local.day]
        table = self.tables[self.schema.table_of(feature.name)]
        if not isinstance(feature, CategoricalFeature) or not feature.is_bag:
            return [table(value)]
        ids = [table(v) for v in value[: feature.max_values]]
        return ids + [0] * (feature.max_values - len(ids))

    def raw(self, feature: Any, value: Any) -> Any:
        """A value as a request has it, `None` for missing."""
        if isinstance(feature, DateTimeFeature):
            return None if value is None else value // 10**6
        if isinstance(feature, NumericFeature):
            return None if value is None else _float32(value)
        return value

    def window(self, history: Any, row: int) -> list["_Event"]:
        """The newest events before a row, oldest first."""
        user = self.asked[self.schema.user_key][row]
        if user is None:
            return []
        end, freeze = self.time(self.asked, row), self.case.freeze_at
        limit = end if freeze is None else min(end, freeze // 10**6)
        all_events = self.own if history.name == self.case.events_of else self.events
        mine = sorted(
            (self.time(side, i), place)
            for place, (side, i) in enumerate(all_events)
            if side[self.schema.user_key][i] == user and self.takes_part(history, side, i)
        )
        events = [
            self.event(history, *all_events[place], mine[k - 1][0] if k else None, end)
            for k, (t, place) in enumerate(mine)
            if t < limit
        ]
        return events[-history.max_length :]

    def takes_part(self, history: Any, side: Means, i: int) -> bool:
        """Whether a row is an event of the history."""
        where = history.where is None or side[history.where][i] == 1
        return where and side[history.fields[0]][i] is not None

    def time(self, side: Means, row: int) -> int:
        """Milliseconds of a row; without times its place in the log."""
        key = self.schema.time_key
        if key is not None:
            return side[key][row] // 10**6
        return row if self.case.places is None or side is self.log else self.case.places[row]

    def event(self, history: Any, side: Means, i: int, before: int | None, now: int) -> "_Event":
        """A row as an event that is asked for now."""
        raw: dict[str, Any] = {}
        ids: dict[str, Any] = {}
        for name in history.fields:
            feature, value = self.schema.feature(name), side[name][i]
            raw[f"{history.name}_{name}"] = self.raw(feature, value)
            ids[name] = self.ids(feature, value)
            steps = [2**24 + round(2**16 * x) for x in self.numbers(feature, value)]
            ids[f"{name}#numbers"] = steps if value is not None else [0] * len(steps)
        actions = tuple(side[a][i] for a in history.actions)
        raw |= {f"{history.name}_{a}": v for a, v in zip(history.actions, actions, strict=True)}
        if actions:
            ids["#action"] = [self.actions[history.name].get(actions, 1)]
        bits, groups = 0, []
        then, has_times = self.time(side, i), self.schema.time_key is not None
        limits = [_duration(group.within) for group in history.groups if group.within]
        # An age is known in whole seconds, and limits are whole seconds.
        ids["#within"] = [1 + sum(limit <= now - then for limit in set(limits))]
        by_name = dict(zip(history.actions, actions, strict=True))
        for g, group in enumerate(history.groups):
            any_of = not group.any_of or any(by_name[a] == 1 for a in group.any_of)
            none_of = all(by_name[a] == 0 for a in group.none_of)
            bits |= (any_of and none_of) << g
            is_young = not group.within or now - then < _duration(group.within)
            groups.append(any_of and none_of and is_young)
        ids["#groups"] = [bits]
        for quantity in history.quantities:
            if isinstance(quantity, Ratio):
                found = _ratio(side[quantity.numerator][i], side[quantity.denominator][i])
                raw[f"{history.name}_ratio"] = found
                known = found is not None and found >= 0
                ids["#ratio"] = [1 + sum(e <= found for e in RATIOS) if known else 0]
            elif isinstance(quantity, EventNumber):
                value = side[quantity.column][i]
                raw[f"{history.name}_{quantity.column}"] = (
                    None if value is None else _float32(value)
                )
                ids[f"#{quantity.column}"] = [self.event_number(history, quantity, value)]
            else:
                start = then if isinstance(quantity, Age) else before
                until = now if isinstance(quantity, Age) else then
                assert isinstance(quantity, Age | SincePrevious)
                seconds = (until - start) // 1000 if has_times and start is not None else None
                (suffix,) = quantity.raw_inputs()
                raw[f"{history.name}_{suffix}"] = seconds
                ids[f"#{quantity.key}"] = [_bucket_of_seconds(seconds)]
        return _Event(raw, ids, groups)

    def labels(self, side: Means, rows: list[int]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Labels and weights by task."""
        labels: dict[str, list[float]] = {}
        weights: dict[str, list[float]] = {}
        for task in self.schema.tasks:
            seen, counted = self.path(task, side, rows)
            given = [side[str(task.label)][i] for i in rows]
            if isinstance(task, MulticlassTask):
                given = [
                    task.classes.index(v) if s else 0 for v, s in zip(given, seen, strict=True)
                ]
            key = self.schema.sample_weight
            rated = [1.0 if key is None else side[key][i] for i in rows]
            labels[task.name] = [float(v) if s else 0.0 for v, s in zip(given, seen, strict=True)]
            weights[task.name] = [w * c for w, c in zip(rated, counted, strict=True)]
        return labels, weights

    def path(self, task: Any, side: Means, rows: list[int]) -> tuple[list[bool], list[bool]]:
        """Where a label is observed, and where it counts."""
        seen = [all(side[c][i] == 1 for c in task.conditions) for i in rows]
        if not (isinstance(task, BinaryTask) and task.entire_space):
            return seen, seen
        counted = [True] * len(rows)
        for before in (t for t in self.schema.tasks if t.label in task.conditions):
            its_seen, its_counted = self.path(before, side, rows)
            seen = [a and b for a, b in zip(seen, its_seen, strict=True)]
            counted = [a and b for a, b in zip(counted, its_counted, strict=True)]
        return seen, counted

    def base_rates(self) -> dict[str, list[float]]:
        """Weighted mean labels of the training rows."""
        labels, weights = self.labels(self.log, self.train)
        rates: dict[str, list[float]] = {}
        for task in self.schema.tasks:
            y, w = np.array(labels[task.name]), np.array(weights[task.name])
            parts = [y == k for k in range(task.units)] if task.units > 1 else [y]
            rates[task.name] = [float(np.average(part, weights=w)) for part in parts]
        return rates


@dataclass
class _Event:
    raw: dict[str, Any]
    ids: dict[str, Any]
    groups: list[bool]


def _at_their_places(history: Any, window: list[_Event]) -> list[list[bool]]:
    """Whether each event is in each group, by its place too: the newest, which is last, has 1."""
    places = range(len(window), 0, -1)
    return [
        [
            is_in and (group.last is None or place <= group.last)
            for is_in, group in zip(event.groups, history.groups, strict=True)
        ]
        for event, place in zip(window, places, strict=True)
    ]


def training_rows(case: Case) -> list[int]:
    """Rows of the log before the boundary."""
    rows = range(size(case.log))
    if case.boundary is None:
        return list(rows)
    times = case.log[str(case.schema.time_key)].means
    assert times is not None
    return [i for i in rows if times[i] // 10**6 < case.boundary // 10**6]


def hashed(value: Any, buckets: int) -> int:
    """TensorFlow's hash of a value's text."""
    import tensorflow as tf

    return int(tf.strings.to_hash_bucket_fast([str(value)], buckets)[0])


def _code(actions: tuple[Any, ...]) -> int:
    return sum((0 if a is None else a + 1) * 3**k for k, a in enumerate(actions))


def _float32(value: float) -> float:
    """The number as the encoder has it: cut to the range of float32, and 0 for a subnormal one."""
    found = float(np.float32(min(max(float(value), -LARGEST), LARGEST)))
    return found if abs(found) >= TINIEST else 0.0


def _edges(feature: NumericFeature, values: list[float]) -> list[float]:
    if feature.bucketing == "log":
        values = [v for v in values if v > 0]
        if not values:
            return []
        found = np.geomspace(min(values), max(values), feature.buckets)[:-1]
    else:
        found = _quantile_edges(values, feature.buckets) if values else []
    return sorted({_float32(v) for v in found})


def _quantile_edges(values: list[float], buckets: int) -> set[float]:
    """First values of all buckets but the lowest: common values alone, the others by quantiles."""
    counts = Counter(values)
    distinct = sorted(counts)
    if len(distinct) <= buckets:
        return set(distinct[1:])
    common: set[float] = set()
    rare = len(values)
    by_count = sorted(distinct, key=lambda v: -counts[v])
    for place, value in enumerate(by_count[: (buckets - 1) // 2], 1):
        rare -= counts[value]
        if counts[value] < rare / (buckets - place):
            break
        common.add(value)
    alone = common | {b for a, b in itertools.pairwise(distinct) if a in common}
    others = [v for v in values if v not in common]
    for left in range(buckets - len(common), -1, -1):
        shares = np.arange(1, left) / left if left and others else []
        quantiles = [np.quantile(others, share, method="higher") for share in shares]
        found = {*alone, *map(float, quantiles)} - {distinct[0]}
        if len(found) < buckets:
            break
    return found or {distinct[1]}


def _bounded(value: float) -> float:
    """The number as its forms read it."""
    found = float(np.float32(min(max(_float32(value), -1e37), 1e37)))
    return found if abs(found) >= 1e-30 else 0.0


def _line(form: str, feature: NumericFeature, seen: list[Any]) -> tuple[list[float], list[float]]:
    """Knots and heights of a form of a number."""
    values = sorted(_bounded(v) for v in seen if v is not None)
    if not values or values[0] == values[-1]:
        return [], []
    n = len(values)
    if form == "ple":
        edges = _edges(feature, [_float32(v) for v in seen if v is not None])
        knots = sorted({_bounded(e) for e in edges} | {values[0], values[-1]})
        return knots, [float(k) for k in range(len(knots))]
    if form == "normal":
        knots, normal = sorted(set(values)), NormalDist()
        below = [sum(v < k for v in values) + 0.5 * values.count(k) for k in knots]
        return knots, [normal.inv_cdf(b / n) for b in below]

    def quantile(share: float) -> float:
        return next(v for i, v in enumerate(values, 1) if i >= share * n)

    pairs = ((0.25, 0.75, 1.349), (0.1, 0.9, 2.563), (0.01, 0.99, 4.653), (0, 1, 6))
    spreads = [(quantile(high) - quantile(low)) / unit for low, high, unit in pairs]
    spread, center = next(s for s in spreads if s), quantile(0.5)
    right = [(2.0 * 2**k, 2.0 + k) for k in range(11)]
    points = [(-z, -h) for z, h in reversed(right)] + right
    return [center + spread * z for z, _ in points], [h for _, h in points]


def _height(line: tuple[list[float], list[float]], value: float) -> float:
    return float(np.interp(_bounded(value), *line)) if line[0] else 0.0


def _duration(text: str) -> int:
    """Milliseconds of a text such as `"10min"`."""
    number = text.rstrip("dhimns")
    return int(number) * MILLISECONDS[text.removeprefix(number)]


def _day(milliseconds: int, zone: str) -> Any:
    seconds = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return seconds.astimezone(ZoneInfo(zone)).date()


def _relative(how: str, value: float, others: list[float]) -> float:
    """How a number stands among those of its list, itself included."""
    if how == "difference":
        return value - sum(sorted(others)) / len(others)
    below, equal = sum(x < value for x in others), others.count(value)
    return (below + (equal - 1) / 2) / (len(others) - 1) if len(others) > 1 else 0.5


def _ratio(top: Any, bottom: Any) -> Any:
    if top is None or bottom is None or bottom <= 0:
        return None
    return float(np.float32(top) / np.float32(bottom))


def _bucket_of_seconds(seconds: int | None) -> int:
    """1 + floor(log2(seconds + 1)), 22 at most, 0 where unknown."""
    if seconds is None or seconds < 0:
        return 0
    return 1 + min(21, math.floor(math.log2(seconds + 1)))
