"""Numbers as numbers: monotone piecewise-linear programs, learned from counts."""

from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from keras_infnet.schema.programs import BLOCK, Bucketize, Graph, Program, number_not_above

# Differences of numbers within, and 1 over them, are finite in float32 and never subnormal.
_LARGEST, _SMALLEST = np.float32(1e37), np.float32(1e-30)
# Pairs of quantiles, and how many standard deviations a normal distribution has between them.
_SPREADS = ((0.25, 0.75, 1.349), (0.1, 0.9, 2.563), (0.01, 0.99, 4.653), (0.0, 1.0, 6.0))
# `value` is linear up to 2 units of spread; then each doubling adds 1, ten times.
_LINEAR, _DOUBLINGS = 2.0, 10
_NORMAL_KNOTS = np.array([NormalDist().cdf(z) for z in np.linspace(-4.5, 4.5, 257)])
# Events hold numbers in steps of 2^-16, as ids: 0 is unknown.
STEPS, ZERO, LARGEST_ID = 1 << 16, 1 << 24, 1 << 25
MOST_BUCKETS = (LARGEST_ID - ZERO) // STEPS


class Interpolate:
    """`h_k + (h_{k+1} - h_k) (x - a_k) / (a_{k+1} - a_k)` between the knots around `x`, in float32.

    `h_0` below the first knot `a_0`, the last `h` beyond the last knot. A larger number never gives
    a smaller one, rounding included. Missing (NaN), and with fewer than two knots all, is 0.

    Args:
        knots: float32 array `a`, increasing.
        heights: float32 array `h` that does not decrease, one a knot.
    """

    def __init__(self, knots: np.ndarray, heights: np.ndarray) -> None:
        self.knots, self.heights = knots, heights

    def numpy(self, values: np.ndarray) -> np.ndarray:
        """float32 numbers, of the shape of `values`."""
        found = np.zeros(np.shape(values), "float32")
        if len(self.knots) < 2:
            return found
        flat, into = np.ravel(values).astype("float32", copy=False), found.reshape(-1)
        for start in range(0, len(flat), BLOCK):
            part = slice(start, start + BLOCK)
            into[part] = self._of_block(flat[part])
        return found

    def _of_block(self, values: np.ndarray) -> np.ndarray:
        a, h = self.knots, self.heights
        x = np.clip(values, a[0], a[-1])
        x[np.abs(x) < _SMALLEST] = 0
        k = number_not_above(a[1:-1], x).astype("intp")
        # Without a check of each place, which costs as much as taking it.
        low, high = (np.take(part, k, mode="clip") for part in (h[:-1], h[1:]))
        x -= np.take(a[:-1], k, mode="clip")
        x /= np.take(np.diff(a), k, mode="clip")
        x *= high - low
        x += low
        np.minimum(x, high, out=x)
        x[np.isnan(values)] = 0
        return x

    def graph(self, tf: Any) -> Graph:
        """A function from a float32 tensor to float32 numbers of its shape."""
        if len(self.knots) < 2:
            return lambda values: tf.zeros(tf.shape(values), "float32")
        # Made outside of the function: one constant each, whatever reads them.
        a, h = self.knots, self.heights

        def numbers(values: Any) -> Any:
            known = values == values
            bounded = tf.clip_by_value(tf.where(known, values, 0.0), -_LARGEST, _LARGEST)
            bounded = tf.where(tf.abs(bounded) < _SMALLEST, 0.0, bounded)
            flat = tf.reshape(bounded, [-1])
            k = tf.reshape(tf.searchsorted(a[1:-1], flat, side="right"), tf.shape(values))
            first, last = (tf.gather(part, k) for part in (a[:-1], a[1:]))
            low, high = (tf.gather(part, k) for part in (h[:-1], h[1:]))
            share = (tf.clip_by_value(bounded, first, last) - first) / (last - first)
            return tf.where(known, tf.minimum(low + share * (high - low), high), 0.0)

        return numbers


def robust_value(values: np.ndarray, counts: np.ndarray, edges: np.ndarray) -> Interpolate:
    """`z = (x - median) / spread`; from `|z| = 2` on each doubling adds 1 up to 12.

    The spread is the distance of the quartiles over 1.349, so that of a normal distribution it is
    the standard deviation; where they are equal, that of quantiles further out.

    Args:
        values: float32 `(values,)`, increasing.
        counts: How often each occurs.
        edges: Not read.
    """
    quantile = _quantiles(values, counts)
    center, spread = quantile(0.5), 0.0
    for low, high, deviations in _SPREADS:
        spread = spread or (quantile(high) - quantile(low)) / deviations
    out = np.arange(_DOUBLINGS + 1)
    knots = center + spread * np.concatenate([-_LINEAR * 2.0 ** out[::-1], _LINEAR * 2.0**out])
    heights = np.concatenate([-_LINEAR - out[::-1], _LINEAR + out])
    return _between(knots, heights)


def normal_quantile(values: np.ndarray, counts: np.ndarray, edges: np.ndarray) -> Interpolate:
    """The quantile of the normal distribution at the number's mean rank; arguments as above."""
    ranks = (np.cumsum(counts) - 0.5 * counts) / counts.sum()
    kept = np.arange(len(values))
    if len(values) > len(_NORMAL_KNOTS):
        found = np.minimum(np.searchsorted(ranks, _NORMAL_KNOTS), len(values) - 1)
        kept = np.unique(np.append(found, 0))
    heights = np.array([NormalDist().inv_cdf(rank) for rank in ranks[kept].tolist()])
    return _between(values[kept], heights)


def place_among_edges(values: np.ndarray, counts: np.ndarray, edges: np.ndarray) -> Interpolate:
    """The number of whole bins below, and the share of its own: `t`; arguments as above.

    Component `j` of the piecewise-linear encoding is `clip(t - j, 0, 1)`.
    """
    knots = np.unique([values[0], *edges.tolist(), values[-1]])
    return _between(knots, np.arange(len(knots)))


FORMS = {"value": robust_value, "normal": normal_quantile, "ple": place_among_edges}


class NumberProgram(Program):
    """The bucket of a number, and the number itself in several forms.

    Args:
        buckets: The buckets; without edges ids tell missing (0) from known (1).
        forms: `Interpolate` by name of the form.
    """

    def __init__(self, buckets: Bucketize, forms: Mapping[str, Interpolate]) -> None:
        self.buckets, self.forms = buckets, dict(forms)

    @classmethod
    def learn(
        cls,
        names: Sequence[str],
        values: np.ndarray,
        counts: np.ndarray,
        edges: np.ndarray,
    ) -> "NumberProgram":
        """The program of some forms.

        Args:
            names: Names of `FORMS`, and `"bucket"`.
            values: float32 `(values,)`, increasing, without NaN.
            counts: How often each occurs.
            edges: Edges of the buckets.
        """
        forms = {
            name: _learned(FORMS[name], values, counts, edges) for name in names if name != "bucket"
        }
        return cls(Bucketize(edges if "bucket" in names else edges[:0]), forms)

    @classmethod
    def restore(cls, arrays: Mapping[str, Any]) -> "NumberProgram":
        """The program whose `arrays()` a file has kept."""
        names = [name for name in FORMS if f"{name}_knots" in arrays]
        forms = {n: Interpolate(arrays[f"{n}_knots"], arrays[f"{n}_heights"]) for n in names}
        return cls(Bucketize(arrays["edges"]), forms)

    @property
    def num_ids(self) -> int:
        return self.buckets.num_ids

    def numpy(self, values: Any, label: str = "") -> np.ndarray:
        return self.buckets.numpy(values, label)

    def graph(self, tf: Any, resources: list[Any]) -> Graph:
        return _NumberGraph(tf, self, resources)

    def numbers(self, values: Any) -> np.ndarray:
        """float32 `(..., forms)` of the canonical values."""
        values = np.asarray(values)
        columns = [form.numpy(values)[..., None] for form in self.forms.values()]
        return columns[0] if len(columns) == 1 else np.concatenate(columns, axis=-1)

    def arrays(self) -> dict[str, np.ndarray]:
        found = self.buckets.arrays()
        for name, form in self.forms.items():
            found |= {f"{name}_knots": form.knots, f"{name}_heights": form.heights}
        return found


class _NumberGraph:
    """Ids of raw tensors, as of every program; and `numbers`."""

    def __init__(self, tf: Any, program: NumberProgram, resources: list[Any]) -> None:
        self._tf, self._ids = tf, program.buckets.graph(tf, resources)
        self._forms = [form.graph(tf) for form in program.forms.values()]

    def __call__(self, values: Any) -> Any:
        return self._ids(values)

    def numbers(self, values: Any) -> Any:
        """float32 `(..., forms)`."""
        return self._tf.stack([form(values) for form in self._forms], axis=-1)


def learn_place(values: np.ndarray, counts: np.ndarray, edges: np.ndarray) -> Interpolate:
    """Places among the buckets of some edges; arguments as in `NumberProgram.learn`."""
    return _learned(place_among_edges, values, counts, edges)


def numbers_as_ids(numbers: np.ndarray, known: np.ndarray) -> np.ndarray:
    """`2^24 + round(2^16 x)`, int32, 0 where unknown: how the packed events hold numbers."""
    ids = ZERO + np.rint(numbers * np.float32(STEPS)).astype("int32")
    return np.where(known, ids, 0).astype("int32")


def numbers_as_ids_graph(tf: Any, numbers: Any, known: Any) -> Any:
    """`numbers_as_ids` of tensors."""
    return tf.where(known, ZERO + tf.cast(tf.round(numbers * STEPS), "int32"), 0)


def _learned(form: Any, values: np.ndarray, counts: np.ndarray, edges: np.ndarray) -> Interpolate:
    """A form of increasing values."""
    if not len(values):
        return Interpolate(np.zeros(0, "float32"), np.zeros(0, "float32"))
    bounded = _bounded(values)
    # What is cut to one value counts as one.
    first = np.flatnonzero(np.append(True, bounded[1:] > bounded[:-1]))
    return form(bounded[first], np.add.reduceat(counts, first), edges)


def _bounded(values: np.ndarray) -> np.ndarray:
    """float32 values whose differences are finite, and never subnormal."""
    bounded = np.clip(values, -_LARGEST, _LARGEST)
    return np.where(np.abs(bounded) < _SMALLEST, np.float32(0), bounded)


def _between(knots: np.ndarray, heights: np.ndarray) -> Interpolate:
    """The line through the knots, cut to the range of `_bounded`, that differ in float32."""
    rounded = np.clip(knots, -_LARGEST, _LARGEST).astype("float32")
    distinct = np.unique(_bounded(rounded))
    return Interpolate(distinct, np.interp(distinct, knots, heights).astype("float32"))


def _quantiles(values: np.ndarray, counts: np.ndarray) -> Callable[[float], float]:
    """A function from a share to the least value that this share of all is not above."""
    ends = np.cumsum(counts)

    def quantile(share: float) -> float:
        return float(values[np.searchsorted(ends, share * ends[-1])])

    return quantile
