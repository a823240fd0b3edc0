"""Masked attention: heads over keys that a boolean mask allows, in one or several parts."""

from typing import Any

import keras
from keras import ops

from keras_infnet._backend.attention_pooling import masked_softmax
from keras_infnet.layers.configured_layer import ConfiguredLayer, joined

# Of rotary positions, as in the paper.
_BASE = 10_000.0


@keras.saving.register_keras_serializable(package="keras_infnet")
class MaskedAttention(ConfiguredLayer):
    """`softmax_j(q_i k_j / sqrt(d_h)) v_j` over the keys `j` that query `i` may read, head by head.

    Queries, keys and values come projected: each of the heads has `d_h = width / num_heads` columns
    of its own, and their outputs stand side by side. A query that may read nothing gives zeros. The
    softmax is in float32.

    Keys and values may come in parts, such as events and field tokens: the softmax is one, over all
    of them. A part of batch 1 stands for all rows, and is read in one product: what one user's
    candidates share is never copied.

    With places, queries and keys are rotated (RoPE): columns `i` and `i + d_h / 2` of each head by
    the angle `place * 10000^(-2 i / d_h)`, so that a score depends on the distance of the places.

    Args:
        num_heads: Number of heads, a divisor of the widths. Defaults to `1`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        queries: Float tensor `(batch, queries, width)`; there may be more axes between.
        keys: Float tensor `(batch, keys, width)`, or a list of them.
        values: Float tensor `(batch, keys, value width)`, or a list of as many.
        allowed: Bool tensor that broadcasts to `(batch, queries, keys)`, True where a query may
            read a key, or a list of as many, in which None is all. Defaults to `None`: all keys.
        query_places: Integer tensor `(batch or 1, queries)`. Defaults to `None`: no rotation.
        key_places: Integer tensor `(batch or 1, keys)`, or a list of as many. Defaults to `None`.

    Returns:
        Float tensor `(batch, queries, value width)`.

    Raises:
        ValueError: `num_heads` is below 1 or does not divide a width, keys and queries have
            different widths, there are other numbers of parts, or heads of an odd width are to be
            rotated.

    Example:
        >>> attention = keras_infnet.layers.MaskedAttention(num_heads=2)
        >>> queries, keys = keras.ops.ones((2, 3, 8)), keras.ops.ones((2, 5, 8))
        >>> tuple(attention(queries, keys, keys).shape)
        (2, 3, 8)

    Reference:
        Vaswani et al., Attention Is All You Need, NeurIPS 2017, arXiv:1706.03762; Su et al.,
        RoFormer, arXiv:2104.09864. Halves of a head's columns as pairs: our choice.
    """

    takes_shared_rows = True

    def __init__(self, num_heads: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_heads < 1:
            raise ValueError(f"`num_heads` must be 1 or more. Received: {num_heads=}")
        self.num_heads = num_heads

    def build(
        self,
        queries_shape: tuple,
        keys_shape: Any,
        values_shape: Any,
        query_places_shape: tuple | None = None,
    ) -> None:
        keys, values = _parts(keys_shape), _parts(values_shape)
        if len(keys) != len(values) or any(k[-1] != queries_shape[-1] for k in keys):
            raise ValueError(
                f"Layer `{self.name}`: queries of shape {tuple(queries_shape)}, keys of "
                f"{[tuple(k) for k in keys]}, values of {[tuple(v) for v in values]}; expected "
                "keys as wide as the queries, and as many parts of values."
            )
        for width in (queries_shape[-1], *(v[-1] for v in values)):
            if width % self.num_heads:
                raise ValueError(
                    f"Layer `{self.name}`: num_heads={self.num_heads} does not divide the width "
                    f"{width}."
                )
        head_dim = queries_shape[-1] // self.num_heads
        if query_places_shape is not None and head_dim % 2:
            raise ValueError(
                f"Layer `{self.name}`: heads of width {head_dim} can't be rotated by places; "
                "expected an even width. Change num_heads or the width, or pass no places."
            )

    def call(
        self,
        queries: Any,
        keys: Any,
        values: Any,
        allowed: Any = None,
        query_places: Any = None,
        key_places: Any = None,
    ) -> Any:
        keys, values, allowed = _parts(keys), _parts(values), _parts(allowed)
        places = _parts(key_places) or [None] * len(keys)
        for name, given in (("allowed", allowed or keys), ("key_places", places)):
            if len(given) != len(keys):
                raise ValueError(
                    f"Layer `{self.name}`: `{name}` has {len(given)} parts; expected {len(keys)}, "
                    "as keys have."
                )
        queries = self._heads(_for_all_rows(queries, keys), query_places)
        queries = queries * queries.shape[-1] ** -0.5
        keys = [self._heads(k, p) for k, p in zip(keys, places, strict=True)]
        scores = [_product(queries, ops.swapaxes(k, -1, -2)) for k in keys]
        weights = masked_softmax(joined(scores, -1), self._mask(allowed, scores))
        output, start = 0.0, 0
        for part in values:
            stop = start + ops.shape(part)[-2]
            read = ops.cast(weights[..., start:stop], part.dtype)
            output, start = output + _product(read, self._heads(part)), stop
        output = ops.swapaxes(output, -2, -3)
        return ops.reshape(output, (*ops.shape(output)[:-2], values[0].shape[-1]))

    def compute_output_shape(
        self, queries_shape: tuple, keys_shape: Any, values_shape: Any
    ) -> tuple:
        return (*queries_shape[:-1], _parts(values_shape)[0][-1])

    def _heads(self, x: Any, places: Any = None) -> Any:
        """`(..., length, width)` as `(..., heads, length, width / heads)`, rotated by places."""
        width = x.shape[-1] // self.num_heads
        x = ops.reshape(x, (*ops.shape(x)[:-1], self.num_heads, width))
        x = ops.swapaxes(x, -2, -3)
        return x if places is None else rotated(x, ops.expand_dims(places, -2))

    def _mask(self, allowed: list[Any], scores: list[Any]) -> Any:
        """What may be read over all parts, `(batch or 1, 1, queries or 1, keys)`, or None."""
        if all(part is None for part in allowed):
            return None
        masks = [None if a is None else ops.expand_dims(a, -3) for a in allowed]
        if len(masks) == 1:
            return masks[0]
        # Of one head.
        of = [ops.ones_like(s[..., :1, :, :], "bool") for s in scores]
        pairs = zip(masks, of, strict=True)
        parts = [o if mask is None else ops.logical_and(mask, o) for mask, o in pairs]
        return joined(parts, -1)


def rotated(x: Any, places: Any) -> Any:
    """Rotary positions: the pairs of columns `i` and `i + width / 2` turned by their place.

    Args:
        x: Float tensor `(..., length, width)` of an even width.
        places: Integer tensor that broadcasts to `(..., length)`.

    Returns:
        Float tensor like `x`.
    """
    half = x.shape[-1] // 2
    speeds = [_BASE ** (-i / half) for i in range(half)]
    angles = ops.expand_dims(ops.cast(places, "float32"), -1) * ops.convert_to_tensor(speeds)
    cos, sin = ops.cast(ops.cos(angles), x.dtype), ops.cast(ops.sin(angles), x.dtype)
    first, second = x[..., :half], x[..., half:]
    return ops.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def _parts(x: Any) -> list[Any]:
    """Tensors, or their shapes, as a list; none as an empty one."""
    if x is None:
        return []
    # Widths are known, so that a shape ends with a number.
    if not isinstance(x, (list, tuple)) or isinstance(x[-1], int):
        return [x]
    return list(x)


def _for_all_rows(queries: Any, keys: list[Any]) -> Any:
    """Queries of one row once for each row of the keys."""
    longer = [k for k in keys if k.shape[0] != 1]
    if queries.shape[0] != 1 or not longer:
        return queries
    return ops.broadcast_to(queries, (ops.shape(longer[0])[0], *ops.shape(queries)[1:]))


def _product(x: Any, y: Any) -> Any:
    """`x y`, head by head; a `y` of one row is read by all rows of `x` in one product."""
    if y.shape[0] != 1 or x.shape[0] == 1 or len(x.shape) > 4:
        return ops.matmul(x, y)
    _, heads, queries, width = ops.shape(x)
    flat = ops.reshape(ops.swapaxes(x, 0, 1), (1, heads, -1, width))
    product = ops.reshape(ops.matmul(flat, y), (heads, -1, queries, ops.shape(y)[-1]))
    return ops.swapaxes(product, 0, 1)
