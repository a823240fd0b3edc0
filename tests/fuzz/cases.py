"""Random cases: a schema, a log, rows to ask for, and what every value of both means."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet import (
    Age,
    BinaryTask,
    CategoricalFeature,
    CountFeature,
    CountTask,
    DateTimeFeature,
    DenseFeature,
    EventNumber,
    FeatureSchema,
    History,
    HistoryGroup,
    MulticlassTask,
    NumericFeature,
    RateFeature,
    Ratio,
    RegressionTask,
    RelativeFeature,
    SecondsSinceFeature,
    SincePrevious,
)
from keras_infnet.schema.numeric import ENCODINGS
from tests.fuzz import columns
from tests.fuzz.columns import DAY, NANOSECONDS, Column, choose

WORDS = ("a", "b", "c", "07", "7", "", "NA", "null", "None", "nan", "-1", "1.0", " a", "A", "日本")
WORDS += ("é", "e\u0301", "🙂", "x" * 40, "'q'", "a,b")
_SIDES = ("log", "rows", "warm", "events")
HUGE = 7_000_000_000_000_000_000


@dataclass(frozen=True)
class Case:
    """A schema with a log and rows; `log` and `rows` are columns by name.

    Args:
        seed: What it was made from.
        schema: Without layout.
        log: Columns of the log.
        rows: Columns of the rows that are asked for; `None`: the training rows of the log.
        forms: How `log`, `rows` and `warm` are given: "pandas", "arrow" or "polars".
        warm: Columns of events from before the log; `None`: there are none.
        index: Labels of the pandas log's rows; `None`: numbers.
        places: Rows of the log that `rows` are, where there is no time.
        boundary: Nanoseconds from which on rows are validation; `None`: all train.
        freeze_at: Nanoseconds from which on no event enters a history of `rows`; `None`: never.
        events: Columns of a log of its own, of the history `events_of`; `None`: there is none.
        events_of: Name of that history.
        unknown: Feature of which known ids count as unknown in some training rows.
    """

    seed: int
    schema: FeatureSchema
    log: dict[str, Column]
    rows: dict[str, Column] | None
    forms: dict[str, str]
    warm: dict[str, Column] | None = None
    index: list[Any] | None = None
    places: list[int] | None = None
    boundary: int | None = None
    freeze_at: int | None = None
    events: dict[str, Column] | None = None
    events_of: str | None = None
    unknown: str | None = None

    def read(self, side: str) -> dict[str, Column]:
        """The columns of a side that something reads."""
        schema = self.schema
        computed = {f.name for f in (*schema.past, *self.relative)}
        of_rows = {c for f in schema.features for c in f.columns} - computed
        of_rows |= {key for f in schema.past for key in f.keys}
        of_rows |= {*(schema.list_key or ())}
        of_rows |= {c for t in schema.tasks for c in (t.label, *t.conditions)}
        # Nothing is learned of them: those of the log are read where its rows are asked for.
        later = {f.name for f in schema.features if isinstance(f, DenseFeature | DateTimeFeature)}
        later |= {f.weights for f in schema.bags if isinstance(f, CategoricalFeature)}
        of_log = of_rows if self.rows is None else of_rows - later
        # Of conditions and labels the log has them anyway.
        of_log |= {f.action for f in schema.past if f.action is not None}
        own = {c for h in schema.histories if h.name == self.events_of for c in h.log_columns}
        events = {c for h in schema.histories if h.name != self.events_of for c in h.log_columns}
        keys = {schema.user_key, schema.time_key} if schema.histories else set()
        keys |= {schema.time_key} if self.boundary is not None or schema.past else set()
        # The notice of repeated rows looks at users where nobody else has.
        of_log |= {schema.user_key} if schema.time_key is not None else set()
        wanted = {"log": of_log | events, "rows": of_rows, "warm": events, "events": own}
        read = wanted[side] | keys
        read |= {schema.sample_weight} if side in ("log", "rows") else set()
        return {name: column for name, column in self.sides[side].items() if name in read}

    @property
    def relative(self) -> list[RelativeFeature]:
        """The features that are relative to a list."""
        return [f for f in self.schema.features if isinstance(f, RelativeFeature)]

    @property
    def sides(self) -> dict[str, dict[str, Column]]:
        """Columns of the log, of the rows and of further events, as far as there are any."""
        sides = {"log": self.log, "rows": self.rows, "warm": self.warm, "events": self.events}
        return {name: side for name, side in sides.items() if side is not None}

    def frame(self, side: str) -> Any:
        """The log, the rows or the events before, as the user has them."""
        return _held(self.sides[side], self.forms[side], self.index if side == "log" else None)

    def take(self, places: Sequence[int]) -> "Case":
        """The case with some rows of the log."""
        log = {name: column.take(places) for name, column in self.log.items()}
        index = None if self.index is None else [self.index[i] for i in places]
        return replace(self, log=log, index=index)


def size(held: dict[str, Column]) -> int:
    """Number of rows."""
    return len(next(iter(held.values())).raw)


def make_case(seed: int) -> Case:
    """The case of a seed."""
    return _Maker(seed).case()


class _Maker:
    """Draws a schema with what fills its columns, then the columns."""

    def __init__(self, seed: int) -> None:
        self.seed, self.rng = seed, np.random.default_rng(seed)
        self.draws: dict[str, Callable[[int], list[Any]]] = {}
        self.looks: dict[str, Callable[[Any, list[Any], bool], Column]] = {}
        # One case of five holds odd columns.
        self.odd = 0.15 if self.may(0.2) else 0.0
        self.unit: str | None = None

    def may(self, chance: float) -> bool:
        return bool(self.rng.random() < chance)

    def pick(self, *items: Any) -> Any:
        return choose(self.rng, items)

    def case(self) -> Case:
        rng = self.rng
        self.time_key = self.pick("time_ms", "ts", "time_ms", None)
        self.user_key = self.pick("user_id", "uid")
        self.add_time_and_user()
        features = self.features()
        tasks = self.tasks()
        histories = self.histories(features)
        past = self.past(features, tasks)
        list_key = self.list_key() if self.may(0.3) else None
        features = [*features, *past]
        features += self.relative(features) if list_key else []
        weight = self.add("weight", self.floats_above_0, columns.numbers) if self.may(0.2) else None
        clock = {}
        if self.tiny_times:
            clock = {"time_unit": "ms", "time_origin": None}
        elif self.unit is not None:
            clock = {"time_unit": self.unit}
        schema = FeatureSchema(
            features,
            tasks,
            histories,
            user_key=self.user_key,
            time_key=self.time_key,
            sample_weight=weight,
            list_key=list_key,
            **clock,
        )
        rows = int(
            self.pick(0, 1, *[int(rng.integers(2, 9))] * 20, *[int(rng.integers(9, 60))] * 40)
        )
        log = self.table(rows)
        case = Case(self.seed, schema, log, None, {side: self.form() for side in _SIDES})
        video = features[0]
        if video.hash_buckets is None and video.oov_buckets and self.may(0.2):
            case = replace(case, unknown=video.name)
        if self.time_key is None:
            case = replace(case, forms=dict.fromkeys(_SIDES, "pandas"))
            some = rows if self.odd else int(rng.integers(1, 9))
            places = sorted(rng.permutation(rows)[:some].tolist())
            asked = {name: column.take(places) for name, column in log.items()}
            return replace(case, rows=asked, places=places) if places else case
        if self.may(0.6):
            case = replace(case, rows=self.table(int(self.pick(1, *rng.integers(2, 12, 5)))))
        if self.may(0.2):
            case = replace(case, index=rng.permutation(rows).tolist())
        times = log[self.time_key].means
        # Lists whose rates are compared lie in one part.
        cut = not any(f.of in {p.name for p in past} for f in case.relative)
        if times and None not in times and self.may(0.2) and cut:
            inside = sorted(v // 10**6 for v in set(times))[1:]
            if inside and inside[0] > min(times) // 10**6:
                case = replace(case, boundary=choose(rng, inside) * 10**6)
        known = [v for v in times or () if v is not None]
        if known and case.rows is not None and (histories or past) and self.may(0.3):
            early = sorted(known)[: 1 + rows // 2]
            case = replace(case, freeze_at=choose(rng, early) // 10**6 * 10**6)
        if histories and self.may(0.15):
            case = replace(case, warm=self.table(int(rng.integers(1, 12))))
        elif histories and known and self.may(0.2):
            events = self.table(int(rng.integers(1, 30)))
            times = events[self.time_key].means
            if times and None not in times and min(times) // 10**6 < max(known) // 10**6:
                case = replace(case, events=events, events_of=histories[0].name)
        return case

    def form(self) -> str:
        return self.pick("pandas", "pandas", "arrow", "polars")

    def table(self, rows: int) -> dict[str, Column]:
        """Columns of so many rows."""
        self.drawn: dict[str, list[Any]] = {}
        table: dict[str, Column] = {}
        for name, draw in self.draws.items():
            self.drawn[name] = draw(rows)
            odd = self.may(self.odd)
            table[name] = self.looks[name](self.rng, self.drawn[name], odd)
        users = table[self.user_key]
        if "bool" in users.look:
            # They are no integers, or are 0 and 1.
            table[self.user_key] = replace(users, doubt="bool")
        return table

    def add(self, name: str, draw: Callable[[int], list[Any]], look: Any) -> str:
        """A column of the log."""
        self.draws[name], self.looks[name] = draw, look
        return name

    def add_time_and_user(self) -> None:
        self.tiny_times = self.may(0.1)
        start = 0 if self.tiny_times else int(self.rng.integers(700_000_000, 3_000_000_000)) * 10**9
        step = self.pick(10**6, 999 * 10**6, 10**9, 3600 * 10**9, 400_000, DAY)
        spread = int(self.rng.integers(0, 25))
        if self.tiny_times:
            step = 10**6
        if not self.tiny_times and self.may(0.2):
            self.unit = self.pick(*NANOSECONDS)

        def times(rows: int) -> list[Any]:
            return [start + step * int(i) for i in self.rng.integers(1, 2 + spread, rows)]

        units = tuple(NANOSECONDS) if self.unit is None else (self.unit,)

        def look(rng: Any, means: list[Any], odd: bool) -> Column:
            return columns.instants(rng, means, odd, units)

        def milliseconds(rng: Any, means: list[Any], odd: bool) -> Column:
            counts = [v // 10**6 for v in means]
            raw = pd.Series(np.array(counts, "int64"))
            look = "int64 ms, no origin" if self.tiny_times else "int64 ms"
            return Column([v * 10**6 for v in counts], raw, look)

        if self.time_key is not None:
            self.add(self.time_key, times, milliseconds if self.tiny_times else look)
        self.add(self.user_key, *self.ids(int(self.rng.integers(1, 5)), self.pick(0, 0, 0, 0, 0.2)))

    def ids(self, number: int = 12, gaps: float | None = None) -> tuple[Any, Any]:
        """What draws and holds integers or texts; -1 and the empty text mean "missing"."""
        rng, gaps = self.rng, self.pick(0.0, 0.0, 0.15) if gaps is None else gaps
        if self.may(0.45):
            words = [str(w) for w in rng.permutation(WORDS)[: number + 1]]

            def draw_texts(rows: int) -> list[Any]:
                drawn = [None if self.may(gaps) else choose(rng, words) for _ in range(rows)]
                return drawn

            def look_texts(rng: Any, means: list[Any], odd: bool) -> Column:
                column = columns.texts(rng, means, odd)
                if column.means is None:
                    return column
                return replace(column, means=[v or None for v in column.means])

            return draw_texts, look_texts
        base = self.pick(0, 0, 0, 100, 30_000, 2**31 - 3, 2**53 - 2, 2**53, HUGE, 2**63 - 20)
        pool = [base + int(i) for i in rng.integers(-2 if base == 0 else 0, 16, number)]
        pool = self.pick(pool, pool, [0, 1])
        if self.odd and self.may(0.2):
            pool = [2**63 + i for i in range(number)]

        def draw_ints(rows: int) -> list[Any]:
            return [None if self.may(gaps) else choose(rng, pool) for _ in range(rows)]

        def look_ints(rng: Any, means: list[Any], odd: bool) -> Column:
            column = columns.ints(rng, means, odd)
            if column.means is None:
                return column
            return replace(column, means=[None if v == -1 else v for v in column.means])

        look_ints.is_int = True  # type: ignore[attr-defined]
        return draw_ints, look_ints

    def features(self) -> list[Any]:
        kinds = [self.one_id, self.one_id, self.bag, self.number, self.vector, self.date]
        found: list[Any] = [self.one_id("video_id")]
        if self.may(0.4):
            found.append(CategoricalFeature(self.user_key, "user", oov_buckets=self.pick(1, 3)))
        for i in range(int(self.rng.integers(0, 5))):
            found.append(choose(self.rng, kinds)(f"f{i}_{self.pick('x', 'tag')}"))
        if self.may(0.25):
            found.append(self.shared("previous_id", found[0]))
        return found

    def owner(self) -> str:
        return self.pick("user", "item", "context")

    def one_id(self, name: str) -> Any:
        self.add(name, *self.ids())
        how = self.pick({}, {}, {"oov_buckets": 3}, {"min_frequency": 2}, {"hash_buckets": 7})
        return CategoricalFeature(name, self.owner(), **how, **self.maybe_dtype(name))

    def maybe_dtype(self, name: str) -> dict[str, Any]:
        if self.may(0.5):
            return {}
        return {"dtype": "int" if hasattr(self.looks[name], "is_int") else "string"}

    def shared(self, name: str, first: Any) -> Any:
        self.add(name, self.draws[first.name], self.looks[first.name])
        return CategoricalFeature(name, "context", table=first.name)

    def bag(self, name: str) -> Any:
        text, separator = self.may(0.5), self.pick(None, ",", "|", ", ")
        words = [w for w in WORDS if "," not in w and w == w.strip()]
        pool: list[Any] = words if text else list(range(5)) + [HUGE, HUGE + 1]

        def draw(rows: int) -> list[Any]:
            lengths = self.rng.integers(0, 5, rows)
            drawn = [[choose(self.rng, pool) for _ in range(n)] for n in lengths]
            return [None if self.may(0.05) else v for v in drawn]

        def look(rng: Any, means: list[Any], odd: bool) -> Column:
            column = columns.bags(rng, means, odd, separator, text)
            if column.means is None:
                return column
            return replace(
                column, means=[[w or None if text else w for w in v or ()] for v in means]
            )

        self.add(name, draw, look)
        weights = None
        if separator is None and self.may(0.3):
            weights = f"{name}_weight"

            def draw_weights(rows: int) -> list[Any]:
                lengths = [len(v or ()) for v in self.drawn[name]]
                return [[float(np.float32(self.rng.random())) for _ in range(n)] for n in lengths]

            self.add(weights, draw_weights, _weights)
        dtype = "string" if text else "int"
        return CategoricalFeature(
            name,
            self.owner(),
            dtype=dtype if separator or self.may(0.7) else None,
            max_values=int(self.rng.integers(2, 5)),
            weights=weights,
            separator=separator,
        )

    def number(self, name: str) -> Any:
        may_miss = self.may(0.5)
        scale = self.pick(1, 1, 1000, 1e30, 1e-42)

        def draw(rows: int) -> list[Any]:
            whole = self.may(0.4)
            drawn = self.rng.lognormal(size=rows) * scale * self.rng.choice([-1, 1, 1, 0], rows)
            values = [float(round(v)) if whole else float(v) for v in drawn]
            return [None if may_miss and self.may(0.15) else v for v in values]

        self.add(name, draw, columns.numbers)
        return NumericFeature(
            name,
            self.owner(),
            buckets=int(self.rng.integers(2, 6)),
            bucketing=self.pick("quantile", "log"),
            allow_missing=may_miss,
            encoding=tuple(n for n in ENCODINGS if self.may(0.5)) or "value",
        )

    def vector(self, name: str) -> Any:
        dim, scale = int(self.rng.integers(1, 4)), self.pick(1.0, 1.0, 1e6)

        def draw(rows: int) -> list[Any]:
            drawn = np.float32(self.rng.normal(size=(rows, dim)) * scale)
            return [[float(v) for v in row] for row in drawn]

        self.add(name, draw, columns.vectors)
        return DenseFeature(name, self.owner(), dim=dim)

    def date(self, name: str) -> Any:
        gaps = self.pick(0.0, 0.2)

        def draw(rows: int) -> list[Any]:
            seconds = self.rng.integers(700_000_000, 3_900_000_000, rows)
            odds = self.rng.integers(0, 10**9, rows)
            instants = [int(s) * 10**9 + int(n) for s, n in zip(seconds, odds, strict=True)]
            return [None if self.may(gaps) else v for v in instants]

        def look(rng: Any, means: list[Any], odd: bool) -> Column:
            return columns.instants(rng, means, odd, ("ms",))

        self.add(name, draw, look)
        zone = self.pick("UTC", "Asia/Shanghai", "America/New_York")
        return DateTimeFeature(name, self.owner(), zone=zone)

    def tasks(self) -> list[Any]:
        self.binary("click", 0.0)
        tasks: list[Any] = [BinaryTask("click")]
        for name in ("like", "watch")[: int(self.rng.integers(0, 3))]:
            observed: Any = "click" if self.may(0.4) else None
            if observed and self.may(0.4):
                observed = ("click", self.action())
            kind = self.pick(BinaryTask, RegressionTask, CountTask, MulticlassTask)
            more: dict[str, Any] = {}
            if kind is BinaryTask:
                self.binary(f"is_{name}", 0.5, observed)
                more["entire_space"] = observed is not None and self.may(0.5)
            elif kind is MulticlassTask:
                classes = self.pick(("no", "yes", "07"), (0, 1, 2), (5, 3))
                more["classes"] = classes
                look = columns.texts if isinstance(classes[0], str) else columns.ints
                self.labels(f"is_{name}", lambda c=classes: choose(self.rng, c), look, observed)
            else:
                self.labels(f"is_{name}", self.positive, columns.numbers, observed)
            tasks.append(kind(name, f"is_{name}", observed_when=observed, **more))
        return tasks

    def positive(self) -> float:
        return float(np.float32(self.rng.gamma(1.0)))

    def floats_above_0(self, rows: int) -> list[Any]:
        return [self.positive() for _ in range(rows)]

    def binary(self, name: str, gaps: float, observed: Any = None) -> None:
        self.labels(name, lambda: int(self.may(0.5)), columns.ints, observed, gaps)

    def labels(self, name: str, one: Any, look: Any, observed: Any, gaps: float = 0.5) -> None:
        conditions = (observed,) if isinstance(observed, str) else observed or ()

        def draw(rows: int) -> list[Any]:
            seen = [all(self.drawn[c][i] == 1 for c in conditions) for i in range(rows)]
            return [one() if s or not self.may(gaps) else None for s in seen]

        def plain(rng: Any, means: list[Any], odd: bool) -> Column:
            return look(rng, means, False)

        self.add(name, draw, plain)

    def histories(self, features: Sequence[Any]) -> list[Any]:
        found: list[Any] = []
        fields = [f.name for f in features[1:] if not isinstance(f, DenseFeature)]
        for name in ("seen", "liked", "old")[: int(self.pick(0, 1, 1, 1, 2, 3))]:
            actions = tuple(sorted({"click", self.action()})) if self.may(0.6) else ()
            quantities = [Age()] if self.may(0.8) else []
            quantities += [SincePrevious()] if self.may(0.3) else []
            quantities += [self.ratio()] if self.may(0.3) else []
            quantities += [self.event_number()] if self.may(0.3) else []
            groups = []
            if actions and self.may(0.5):
                groups = [
                    HistoryGroup("all"),
                    HistoryGroup("some", any_of=actions),
                    HistoryGroup("none", none_of=actions[:1]),
                ]
            found.append(
                History(
                    name,
                    ("video_id", *[f for f in fields if self.may(0.4)]),
                    max_length=int(self.pick(1, 2, 3, 5, 8, 100)),
                    where=self.pick(None, None, self.action()),
                    actions=actions,
                    quantities=tuple(quantities),
                    groups=tuple(groups),
                )
            )
            # Of a generator of its own, so that all else stays as it is drawn.
            rng = np.random.default_rng([self.seed, len(found)])
            found[-1] = _with_scales(rng, found[-1], self.time_key is not None)
        return found

    def action(self) -> str:
        if "is_share" not in self.draws:
            self.add(
                "is_share",
                lambda rows: [self.pick(0, 1, 1, None) for _ in range(rows)],
                lambda rng, means, odd: columns.ints(rng, means, False),
            )
        return "is_share"

    def past(self, features: Sequence[Any], tasks: Sequence[Any]) -> list[Any]:
        """Features of the rows before a row, where there are times."""
        if self.time_key is None or self.may(0.6):
            return []
        if self.may(0.5):
            self.add("tab", *self.ids(3))
        pool = [self.user_key, "video_id", *(["tab"] if "tab" in self.draws else [])]
        actions = ["click", self.action()]
        actions += [t.label for t in tasks[1:] if isinstance(t, BinaryTask)]
        items = {f.name for f in features if f.owner == "item"}
        found: list[Any] = []
        for i in range(int(self.rng.integers(1, 4))):
            kind = self.pick(RateFeature, CountFeature, SecondsSinceFeature)
            keys = tuple(self.rng.permutation(pool)[: self.pick(1, 1, 2)].tolist())
            needs = kind is RateFeature
            more: dict[str, Any] = {"prior": self.pick(0, 1, 20, 0.5)} if needs else {}
            found.append(
                kind(
                    f"past{i}",
                    "item" if items & {*keys} else self.owner(),
                    buckets=int(self.rng.integers(2, 6)),
                    bucketing=self.pick("quantile", "log"),
                    encoding=tuple(n for n in ENCODINGS if self.may(0.5)) or "value",
                    keys=keys,
                    action=choose(self.rng, actions) if needs or self.may(0.5) else None,
                    window=self.pick(None, None, "1h", "7d", "day", "2s"),
                    zone=self.pick("UTC", "America/New_York"),
                    delay=self.pick(None, None, "1s"),
                    **more,
                )
            )
        return found

    def list_key(self) -> tuple[str, ...]:
        self.add("session", *self.ids(3))
        return (self.user_key, "session")

    def relative(self, features: Sequence[Any]) -> list[Any]:
        """Features that are relative to a list, of numbers of the item."""
        numbers = [f for f in features if isinstance(f, NumericFeature) and f.owner == "item"]
        return [
            RelativeFeature(f"{f.name}_{how}", "item", buckets=3, of=f.name, relative=how)
            for f in numbers
            if self.may(0.7)
            for how in [self.pick("rank", "difference")]
        ]

    def ratio(self) -> Ratio:
        if "play" not in self.draws:
            self.add("play", lambda rows: self.parts(rows), columns.numbers)
            self.add("length", lambda rows: self.parts(rows), columns.numbers)
        return Ratio("play", "length")

    def event_number(self) -> EventNumber:
        if "read" not in self.draws:
            self.add("read", lambda rows: self.parts(rows), columns.numbers)
        return EventNumber("read", buckets=3)

    def parts(self, rows: int) -> list[Any]:
        return [self.pick(None, 0.0, 0.5, 1.0, 3.0, 100.0, -1.0) for _ in range(rows)]


def _with_scales(rng: Any, history: History, has_times: bool) -> History:
    """The history; some have further groups, by age and by place."""
    if rng.random() < 0.6:
        return history
    has_ages = has_times and Age() in history.quantities
    scales: list[Any] = []
    for i in range(int(rng.integers(1, 4))):
        within = choose(rng, (None, "1s", "2s", "1h", "24h")) if has_ages else None
        last = None if rng.random() < 0.5 else int(rng.integers(1, 1 + history.max_length))
        any_of = history.actions if rng.random() < 0.3 else ()
        scales.append(HistoryGroup(f"scale{i}", any_of, within=within, last=last))
    return replace(history, groups=(*history.groups, *scales))


def _weights(rng: Any, means: list[Any], odd: bool) -> Column:
    if odd and any(means):
        negative = [[-v for v in row] for row in means]
        return Column(None, pd.Series(negative, dtype=object), "weights negative", "negative")
    return Column(means, pd.Series(means, dtype=object), "object list of floats")


def _held(held: dict[str, Column], form: str, index: list[Any] | None) -> Any:
    """The columns as a frame; what Arrow can't hold stays in pandas."""
    # Arrow would make lists of sets.
    if form != "pandas" and not any(column.look == "object set" for column in held.values()):
        try:
            table = pa.table({name: _as_arrow(column.raw) for name, column in held.items()})
            if form == "arrow":
                return table
            import polars

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return polars.from_arrow(table)
        except Exception as error:
            del error  # Whatever the other libraries refuse.
    rows = size(held)
    frame = pd.DataFrame(index=range(rows))
    for name, column in held.items():
        raw = column.raw
        if not isinstance(raw, pd.Series):
            raw = pd.Series(pd.array(raw, dtype=pd.ArrowDtype(raw.type)))
        frame[name] = raw.set_axis(range(rows))
    return frame if index is None else frame.set_axis(index)


def _as_arrow(raw: Any) -> pa.Array:
    return pa.array(raw, from_pandas=True) if isinstance(raw, pd.Series) else raw
