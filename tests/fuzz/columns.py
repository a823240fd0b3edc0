"""Columns of random logs: what their values mean, and how a frame may hold them."""

import datetime
import decimal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
DAY = 86_400 * 10**9
ZONES = ("UTC", "Asia/Shanghai", "America/New_York", "Asia/Kolkata")
# The last whole number below which no two are one float.
EXACT = {"float64": 2**53, "float32": 2**24, "float16": 2**11}


@dataclass(frozen=True)
class Column:
    """A column of a frame.

    Args:
        means: What each value means, as exact Python values: integers and texts, nanoseconds since
            1970 of an instant, lists; `None` for a missing one. `None` instead of the list: it
            means nothing, and nothing but a refusal is right.
        raw: A pandas Series or an Arrow array of the same length.
        look: Name of the way it is held, such as `int8`; outcomes are counted by it.
        doubt: Why a refusal is right; empty where it is a failure.
    """

    means: list[Any] | None
    raw: Any
    look: str
    doubt: str = ""

    def take(self, places: Sequence[int]) -> "Column":
        """Some of the rows."""
        means = None if self.means is None else [self.means[i] for i in places]
        if isinstance(self.raw, pd.Series):
            return replace(self, means=means, raw=self.raw.iloc[list(places)])
        return replace(self, means=means, raw=self.raw.take(pa.array(places, pa.int64())))


Look = Callable[[Any, list[Any], bool], Column]


def choose(rng: Any, items: Sequence[Any]) -> Any:
    """One of the items, as it is."""
    return items[int(rng.integers(len(items)))]


def ints(rng: Any, means: list[Any], odd: bool) -> Column:
    """Integers, each way that holds them; an odd one may have lost some."""
    there = [v for v in means if v is not None]
    gaps, low, high = len(there) < len(means), min(there, default=0), max(there, default=0)
    looks: list[tuple[str, Callable[[], Any], str]] = []
    for bits in (8, 16, 32, 64):
        for kind, first, end in (
            ("int", -(2 ** (bits - 1)), 2 ** (bits - 1)),
            ("uint", 0, 2**bits),
        ):
            if not first <= low <= high < end:
                continue
            name = f"{kind}{bits}"
            doubt = "beyond int64" if high >= 2**63 else ""
            if not gaps:
                looks.append((name, lambda n=name: pd.Series(np.array(means, n)), doubt))
            nullable = name.replace("i", "I", 1).replace("u", "U")
            looks.append((nullable, lambda n=nullable: pd.Series(pd.array(means, n)), doubt))
            looks.append((f"arrow {name}", lambda n=name: pa.array(means, n), doubt))
    for name, end in EXACT.items():
        exact = -end < low <= high < end
        if exact or (odd and max(-low, high) < 60_000):
            with_nan = [np.nan if v is None else v for v in means]
            doubt = "" if exact else "integers through floats"
            looks.append((name, lambda n=name, v=with_nan: pd.Series(np.array(v, n)), doubt))
    if -(2**63) <= low <= high < 2**63:
        looks.append(("object int", lambda: pd.Series(means, dtype=object), ""))
        looks.append(
            ("category of int", lambda: pd.Series(pd.Categorical(pd.array(means, "Int64"))), "")
        )
        looks.append(
            ("arrow dictionary", lambda: pa.array(means, pa.int64()).dictionary_encode(), "")
        )
    if there and 0 <= low <= high <= 1:
        bools = [None if v is None else bool(v) for v in means]
        looks.append(("boolean", lambda: pd.Series(pd.array(bools, "boolean")), ""))
        if not gaps:
            looks.append(("bool", lambda: pd.Series(np.array(bools)), ""))
    if odd and there:
        floats = [np.nan if v is None else float(v) for v in means]
        decimals = [None if v is None else decimal.Decimal(v) for v in means]
        looks = [(name, make, doubt) for name, make, doubt in looks if doubt]
        looks += [
            ("float64 of int64", lambda: pd.Series(floats), "integers through floats"),
            ("object decimal", lambda: pd.Series(decimals, dtype=object), "decimals"),
            ("arrow decimal", lambda: pa.array(decimals, pa.decimal128(38, 0)), "decimals"),
        ]
        if rng.random() < 0.3:
            as_texts = [None if v is None else str(v) for v in means]
            raw = pd.Series(as_texts, dtype="str")
            return Column(as_texts, raw, "str of int", "strings for integers")
        if not gaps and high < 2**63:
            as_ints = np.array(means, "int64")
            looks.append(("sparse", lambda: pd.Series(pd.arrays.SparseArray(as_ints)), "sparse"))
    if not looks:
        looks = [("object int", lambda: pd.Series(means, dtype=object), "beyond int64")]
    return _made(rng, looks, means)


def texts(rng: Any, means: list[Any], odd: bool) -> Column:
    """Texts, each way that holds them."""
    with_nan = [np.nan if v is None else v for v in means]
    looks: list[tuple[str, Callable[[], Any], str]] = [
        ("object str", lambda: pd.Series(means, dtype=object), ""),
        ("object str, NaN", lambda: pd.Series(with_nan, dtype=object), ""),
        ("str", lambda: pd.Series(means, dtype="str"), ""),
        ("string", lambda: pd.Series(pd.array(means, "string")), ""),
        ("arrow string", lambda: pa.array(means, pa.string()), ""),
        ("arrow large_string", lambda: pa.array(means, pa.large_string()), ""),
        ("arrow dictionary", lambda: pa.array(means, pa.string()).dictionary_encode(), ""),
        ("category", lambda: pd.Series(pd.Categorical(means)), ""),
    ]
    if odd and any(v is not None for v in means):
        encoded = [None if v is None else v.encode() for v in means]
        mixed = [i if i % 2 else v for i, v in enumerate(means)]
        looks = [
            ("object bytes", lambda: pd.Series(encoded, dtype=object), "bytes"),
            ("arrow binary", lambda: pa.array(encoded, pa.binary()), "bytes"),
        ]
        if sum(v is not None for v in means[::2]) and len(means) > 1:
            return Column(mixed, pd.Series(mixed, dtype=object), "object mixed", "mixed values")
    return _made(rng, looks, means)


def numbers(rng: Any, means: list[Any], odd: bool) -> Column:
    """Numbers, whole or not."""
    there = [v for v in means if v is not None]
    gaps, with_nan = len(there) < len(means), [np.nan if v is None else v for v in means]
    if odd and means:
        # All of them: rows that nobody asks for are not read.
        broken = np.full(len(means), choose(rng, (np.inf, -np.inf)))
        return Column(None, pd.Series(broken), "float64 infinite", "infinite")
    looks: list[tuple[str, Callable[[], Any], str]] = [
        ("float64", lambda: pd.Series(np.array(with_nan, "float64")), ""),
        ("Float64", lambda: pd.Series(pd.array(means, "Float64")), ""),
        ("arrow double", lambda: pa.array(means, pa.float64()), ""),
        ("object float", lambda: pd.Series(means, dtype=object), ""),
    ]
    if all(np.float32(v) == v for v in there):
        looks.append(("float32", lambda: pd.Series(np.array(with_nan, "float32")), ""))
    if there and all(float(v).is_integer() and abs(v) < 2**31 for v in there):
        whole = [None if v is None else int(v) for v in means]
        looks.append(("Int64", lambda: pd.Series(pd.array(whole, "Int64")), ""))
        if not gaps:
            looks.append(("int64", lambda: pd.Series(np.array(whole, "int64")), ""))
            looks.append(("object decimal", lambda: _decimals(whole), ""))
    return _made(rng, looks, means)


def instants(
    rng: Any,
    means: list[Any],
    odd: bool,
    units: Sequence[str] = (),
    gap: Any = -1,
) -> Column:
    """Instants of any unit and zone; what the unit can't hold is cut off.

    Args:
        rng: Draws the way.
        means: Nanoseconds since 1970.
        odd: Whether floats, texts and implausible years may be chosen.
        units: Units in which integers are understood.
        gap: The integer of a missing one.
    """
    made: list[tuple[str, str]] = [("int64", unit) for unit in units]
    made += [("Int64", unit) for unit in units] + [("arrow int64", unit) for unit in units]
    for unit in NANOSECONDS:
        made += [("naive", unit), *[("zone", unit)] * 2, ("arrow timestamp", unit)]
    made += [("object datetime", "us"), ("arrow date32", "day"), ("object date", "day")]
    way, unit = choose(rng, made)
    if odd:
        way, unit = choose(rng, [("float64", "s"), ("str", "s"), ("year 1970", "ms")])
    step = NANOSECONDS.get(unit, DAY)
    means = [None if v is None else v // step * step for v in means]
    counts = [None if v is None else v // step for v in means]
    look, raw, doubt = f"{way} {unit}", _instants(rng, way, unit, counts, gap), ""
    if odd:
        return Column(None if way == "year 1970" else means, raw, look, "odd times")
    return Column(means, raw, look, doubt)


def bags(rng: Any, means: list[Any], odd: bool, separator: str | None, text: bool) -> Column:
    """Lists of integers or texts, or texts that a separator cuts."""
    kind = pa.string() if text else pa.int64()
    if separator is not None and rng.random() < 0.6:
        joined = [v if v is None else separator.join(map(_text_of, v)) for v in means]
        return replace(texts(rng, joined, False), means=means)
    if odd and means:
        flat = pd.Series(["a" if text else 1] * len(means))
        sets = pd.Series([set(v or ()) for v in means], dtype=object)
        wrong = [("one value for a bag", lambda: flat, "no lists")] if separator is None else []
        if any(means):
            wrong.append(("object set", lambda: sets, "sets"))
        if wrong:
            return _made(rng, wrong, None)
    looks: list[tuple[str, Callable[[], Any], str]] = [
        ("object list", lambda: pd.Series(means, dtype=object), ""),
        ("arrow list", lambda: pa.array(means, pa.list_(kind)), ""),
        ("arrow large_list", lambda: pa.array(means, pa.large_list(kind)), ""),
    ]
    arrays = [v if v is None else np.array(v, object if text else "int64") for v in means if v]
    if not any(None in v for v in means if v):
        arrays = [v if v is None else np.array(v, object if text else "int64") for v in means]
        looks.append(("object array", lambda: pd.Series(arrays, dtype=object), ""))
    return _made(rng, looks, means)


def vectors(rng: Any, means: list[Any], odd: bool) -> Column:
    """Dense vectors."""
    if odd and means:
        broken = [list(v) for v in means]
        doubt = choose(rng, ("not finite", "another length", "beyond float32"))
        # All of them: rows that nobody asks for are not read.
        for row in broken:
            if doubt == "another length":
                row.append(0.0)
            else:
                row[0] = 1e300 if doubt == "beyond float32" else choose(rng, (np.nan, np.inf))
        return Column(None, pd.Series(broken, dtype=object), f"vector {doubt}", doubt)
    width = len(means[0]) if means else 1
    looks: list[tuple[str, Callable[[], Any], str]] = [
        ("object list of floats", lambda: pd.Series(means, dtype=object), ""),
        (
            "object float32 array",
            lambda: pd.Series([np.float32(v) for v in means], dtype=object),
            "",
        ),
        ("arrow list of double", lambda: pa.array(means, pa.list_(pa.float64())), ""),
        ("arrow fixed_size_list", lambda: pa.array(means, pa.list_(pa.float32(), width)), ""),
    ]
    return _made(rng, looks, means)


def missing(rng: Any, means: list[Any], odd: bool) -> Column:
    """A column without any value."""
    looks: list[tuple[str, Callable[[], Any], str]] = [
        ("all None", lambda: pd.Series(means, dtype=object), ""),
        ("all NaN", lambda: pd.Series(np.full(len(means), np.nan)), ""),
        ("arrow null", lambda: pa.array(means, pa.null()), ""),
    ]
    return _made(rng, looks, means)


def _made(rng: Any, looks: Sequence[tuple[str, Callable[[], Any], str]], means: Any) -> Column:
    name, make, doubt = choose(rng, looks)
    return Column(means, make(), name, doubt)


def _instants(rng: Any, way: str, unit: str, counts: list[Any], gap: Any) -> Any:
    if way in ("int64", "Int64", "arrow int64"):
        filled = [gap if v is None and way == "int64" else v for v in counts]
        if way == "arrow int64":
            return pa.array(filled, pa.int64())
        return pd.Series(pd.array(filled, way) if way == "Int64" else np.array(filled, "int64"))
    if way == "float64":
        return pd.Series([np.nan if v is None else float(v) for v in counts], dtype="float64")
    if way == "year 1970":
        return pd.Series(
            np.array([10**7 + 86_400_000 * 40 * i for i in range(len(counts))], "int64")
        )
    if way == "str":
        stamps = [None if v is None else str(np.datetime64(v, "s")) for v in counts]
        return pd.Series(stamps, dtype="str")
    if unit == "day":
        dates = [
            None if v is None else datetime.date(1970, 1, 1) + datetime.timedelta(v) for v in counts
        ]
        return (
            pa.array(dates, pa.date32())
            if way == "arrow date32"
            else pd.Series(dates, dtype=object)
        )
    zone = choose(rng, ZONES)
    if way == "arrow timestamp":
        return pa.array(counts, pa.timestamp(unit, choose(rng, (None, zone))))
    naive = pd.Series(
        np.array([np.datetime64("NaT" if v is None else v, unit) for v in counts], f"M8[{unit}]")
    )
    if way == "naive":
        return naive
    aware = naive.dt.tz_localize("UTC").dt.tz_convert(zone)
    if way == "zone":
        return aware
    known = ZoneInfo(zone)
    return pd.Series(
        [
            None
            if v is None
            else datetime.datetime.fromtimestamp(v // 10**6, known).replace(microsecond=v % 10**6)
            for v in counts
        ],
        dtype=object,
    )


def _decimals(whole: list[Any]) -> pd.Series:
    return pd.Series([decimal.Decimal(v) for v in whole], dtype=object)


def _text_of(value: Any) -> str:
    return "" if value is None else str(value)
