"""Number embedding: many numbers as vectors, by products that are stacked."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._backend.embedding_lookup import embedding_lookup
from keras_infnet.layers.configured_layer import ConfiguredLayer, table_initializer
from keras_infnet.layers.fused_embedding import known_tables


@keras.saving.register_keras_serializable(package="keras_infnet")
class NumberEmbedding(ConfiguredLayer):
    """Vectors of features that are one or more numbers each, all in a few stacked products.

    `output_f = sum_c e_c`, over the columns `c` of feature `f`: `e_c = x_c w_c` of a number as it
    is, `e_c = sum_j clip(x_c - j, 0, 1) w_{c,j}` of a place among `n` bins, `j = 0 .. n - 1`, which
    is its piecewise-linear encoding. All is computed in float32, and cast after.

    Args:
        bins: For each table of weights, one entry a column: 0 for a number as it is, or the number
            of bins.
        dim: Width of a vector.
        initializer: Initializer of all weights. Defaults to `None`: normal with standard deviation
            0.01.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        numbers: Float tensor `(batch, ..., columns)`, the columns of all features side by side.
        tables: Name of the table of each feature. Defaults to `None`: all tables, in order.

    Returns:
        Float tensor `(batch, ..., features, dim)`.

    Raises:
        ValueError: There is no table, a size is below 1, or `tables` and `numbers` differ in
            columns.

    Example:
        >>> embedding = keras_infnet.layers.NumberEmbedding({"price": (0, 8), "age": (0,)}, dim=4)
        >>> tuple(embedding(keras.ops.array([[0.5, 3.2, -1.0]])).shape)
        (1, 2, 4)

    Reference:
        Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning, NeurIPS
        2022, arXiv:2203.05556. The sum with the number itself is our choice.
    """

    def __init__(
        self,
        bins: Mapping[str, Sequence[int]],
        dim: int,
        initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        bins = {name: tuple(columns) for name, columns in bins.items()}
        if not bins or dim < 1 or not all(bins.values()) or min(map(min, bins.values())) < 0:
            raise ValueError(
                "`bins` must have a table, each one or more columns of 0 or more bins, and `dim` "
                f"be 1 or more. Received: {bins=}, {dim=}"
            )
        self.bins, self.dim = bins, dim
        self.initializer = table_initializer(initializer)
        columns = [(name, c) for name, sizes in bins.items() for c in range(len(sizes))]
        # Rows of the two weights by (table, column).
        self._plain = [(name, c) for name, c in columns if not bins[name][c]]
        self._binned = [(name, c) for name, c in columns if bins[name][c]]

    def build(self, numbers_shape: Any = None) -> None:
        most = max((max(sizes) for sizes in self.bins.values()), default=0)
        shapes = {"numbers": (len(self._plain),), "places": (len(self._binned), most)}
        # An initializer gives the same values at each call: every weight needs its own.
        self.kernels = {
            name: self.add_weight(
                (*shape, self.dim), self.initializer.clone(), name=name, autocast=False
            )
            for name, shape in shapes.items()
            if shape[0]
        }

    def call(self, numbers: Any, tables: Sequence[str] | None = None) -> Any:
        names = self._known(tables)
        columns = sum(self.columns_by_table(names))
        if numbers.shape[-1] != columns:
            raise ValueError(
                f"Layer `{self.name}`: `numbers` has {numbers.shape[-1]} columns; expected "
                f"{columns}, those of {names}."
            )
        numbers, terms = ops.cast(numbers, "float32"), []
        for kernel, features, of_input, rows in self._products(names):
            x = _chosen(numbers, of_input, -1)
            weights = _chosen(ops.cast(self.kernels[kernel], "float32"), rows, 0)
            product = _of_places if kernel == "places" else _of_numbers
            terms.append(_placed(product(x, weights), features, len(names)))
        return ops.cast(sum(terms[1:], terms[0]), self.compute_dtype)

    def columns_by_table(self, tables: Sequence[str]) -> list[int]:
        """How many columns of `numbers` are of each of the tables."""
        return [len(self.bins[name]) for name in tables]

    def compute_output_spec(self, numbers: Any, tables: Any = None) -> keras.KerasTensor:
        shape = (*numbers.shape[:-1], len(self._known(tables)), self.dim)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def compute_output_shape(self, numbers_shape: tuple) -> tuple:
        return (*numbers_shape[:-1], len(self.bins), self.dim)

    def _products(self, names: Sequence[str]) -> Iterator[tuple[str, list, list, list]]:
        """Each product: its weight, the features that it is of, their columns, and rows of it."""
        starts = np.cumsum([0, *(len(self.bins[name]) for name in names)]).tolist()
        for kernel, rows in (("numbers", self._plain), ("places", self._binned)):
            of_table = {name: [c for n, c in rows if n == name] for name in self.bins}
            for i in range(max(map(len, of_table.values()))):
                features = [f for f, name in enumerate(names) if len(of_table[name]) > i]
                pairs = [(f, names[f], of_table[names[f]][i]) for f in features]
                if features:
                    of_input = [starts[f] + c for f, _, c in pairs]
                    yield kernel, features, of_input, [rows.index((n, c)) for _, n, c in pairs]

    def _known(self, tables: Sequence[str] | None) -> list[str]:
        return known_tables(self.name, self.bins, tables)


def _of_numbers(x: Any, weights: Any) -> Any:
    """`x_f w_f`, `(..., features, dim)`, of weights `(features, dim)`."""
    return ops.expand_dims(x, -1) * weights


def _of_places(x: Any, weights: Any) -> Any:
    """`sum_j clip(x_f - j, 0, 1) w_{f,j}` of weights `(features, bins, dim)`.

    It is a line between the sums `k_j = w_0 + .. + w_{j-1}` at whole places, so that two look-ups
    are the product.
    """
    features, bins, dim = weights.shape
    x = ops.clip(x, 0.0, float(bins))
    place = ops.minimum(ops.cast(x, "int32"), bins - 1)
    sums = ops.concatenate([ops.zeros_like(weights[:, :1]), ops.cumsum(weights, axis=1)], axis=1)
    sums = ops.reshape(sums, (-1, dim))
    rows = place + (bins + 1) * np.arange(features, dtype="int32")
    low, high = embedding_lookup(sums, rows), embedding_lookup(sums, rows + 1)
    return low + ops.expand_dims(x - ops.cast(place, "float32"), -1) * (high - low)


def _chosen(x: Any, index: list[int], axis: int) -> Any:
    """`x` at the index of the first or the last axis."""
    steps = {b - a for a, b in itertools.pairwise(index)} or {1}
    if len(steps) > 1 or min(steps) < 1:
        return ops.take(x, np.array(index, "int32"), axis=axis)
    # A gather of columns would be fused into what reads them, and done once for each number there.
    part = slice(index[0], index[-1] + 1, *steps)
    return x[part] if axis == 0 else x[..., part]


def _placed(vectors: Any, features: list[int], number: int) -> Any:
    """Vectors of some features among those of all, where the others have 0."""
    if len(features) == number:
        return vectors
    none = ops.zeros_like(vectors[..., :1, :])
    index = [features.index(f) if f in features else len(features) for f in range(number)]
    padded = ops.concatenate([vectors, none], axis=-2)
    return ops.take(padded, np.array(index, "int32"), axis=-2)
