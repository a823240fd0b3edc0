"""Sinkhorn mixing: token mixing that is learned, by doubly stochastic matrices."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet.layers.configured_layer import ConfiguredLayer
from keras_infnet.layers.grouped_pooling import matmul_per_group

# Of random starts around what the matrices start at.
_STDDEV = 0.02


@keras.saving.register_keras_serializable(package="keras_infnet")
class SinkhornMixing(ConfiguredLayer):
    """Mixes tokens within and across blocks of numbers, `n` blocks `x_i` of width `b`.

    The blocks are the tokens' numbers in their order, `n b = tokens * dim`:

    - within blocks `z_i = x_i W_i`, with a matrix `(b, b)` for each;
    - across blocks `y_j = sum_i G_ji z_i`, with one matrix `(n, n)`.

    `W_i = Sink(V_i)` and `G = Sink(H)` are doubly stochastic, of learned logits; with `lite` of few
    of them: `V_i = sum_r softmax(omega_i)_r Z_r` over `num_bases` matrices that all blocks share,
    and `H = A B` of rank `rank`. `Sink(V)` makes `V` symmetric, `(V + V^T) / 2`, and `exp(V / tau)`
    stochastic: `rounds` times rows are divided by their sums, then columns, in float32 and in
    logarithms, so that no row vanishes where `tau` is small.

    The temperature `tau` is 1 for `hold_steps` steps of training and falls to `last_tau` linearly
    in `cooling_steps`. The layer counts the steps itself, in a weight that is saved with the model,
    so that training goes on at its temperature; a frozen layer counts none.

    `W_i` starts with half its weight on the diagonal. `G` starts as `TokenMixing` with half its
    weight, where `b` is the width of that mixing's parts and `lite` is off, and nearly even
    elsewhere. All tokens are valid: there is no mask.

    Args:
        block_dim: Width of a block `b`, 2 or more; a divisor of `tokens * dim`.
        lite: Whether logits are made of few. Defaults to `False`.
        num_bases: Matrices that blocks share with `lite`. Defaults to `4`.
        rank: Rank of the logits of `G` with `lite`. Defaults to `4`.
        rounds: Rounds of rows and columns. Defaults to `5`.
        last_tau: Temperature after all steps. Defaults to `0.05`.
        hold_steps: Steps at temperature 1. Defaults to `1000`.
        cooling_steps: Steps in which it falls. Defaults to `20000`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        tokens: Float tensor `(batch, tokens, dim)`; the number of tokens is known.

    Returns:
        Float tensor `(batch, tokens, dim)`.

    Raises:
        ValueError: A size is too small, `last_tau` is outside (0, 1], or the tokens' numbers can't
            be cut into two or more blocks of `block_dim`.

    Example:
        >>> layer = keras_infnet.layers.SinkhornMixing(block_dim=4)
        >>> tuple(layer(keras.ops.ones((2, 4, 8))).shape)
        (2, 4, 8)

    Reference:
        UniMixer, arXiv:2604.00590, full and Lite; number of bases, rounds and temperatures are
        UniRank's, arXiv:2607.19987. Steps that the layer counts, sums in logarithms, the rank and
        where the matrices start are our choice.
    """

    def __init__(
        self,
        block_dim: int,
        lite: bool = False,
        num_bases: int = 4,
        rank: int = 4,
        rounds: int = 5,
        last_tau: float = 0.05,
        hold_steps: int = 1000,
        cooling_steps: int = 20000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        sizes = (block_dim - 1, num_bases, rank, rounds, hold_steps + 1, cooling_steps)
        if min(sizes) < 1 or not 0 < last_tau <= 1:
            raise ValueError(
                "`block_dim` must be 2 or more, `hold_steps` 0 or more, other sizes 1 or more, and "
                f"`last_tau` in (0, 1]. Received: {block_dim=}, {num_bases=}, {rank=}, {rounds=}, "
                f"{last_tau=}, {hold_steps=}, {cooling_steps=}"
            )
        self.block_dim = block_dim
        self.lite = lite
        self.num_bases = num_bases
        self.rank = rank
        self.rounds = rounds
        self.last_tau = last_tau
        self.hold_steps = hold_steps
        self.cooling_steps = cooling_steps

    def build(self, tokens_shape: tuple) -> None:
        number, dim = tokens_shape[1:]
        block = self.block_dim
        if number is None or number * dim % block or number * dim == block:
            raise ValueError(
                f"Layer `{self.name}`: {number} tokens of width {dim}; expected a known number of "
                f"tokens whose numbers are two or more blocks of block_dim={block}."
            )
        self.num_blocks = blocks = number * dim // block
        diagonal = math.log(block - 1) * np.eye(block)
        if self.lite:
            self.bases = self._logits("bases", (self.num_bases, block, block), diagonal)
            self.shares = self._logits("shares", (blocks, self.num_bases))
            self.left = self._logits("left", (blocks, self.rank))
            self.right = self._logits("right", (self.rank, blocks))
        else:
            self.within = self._logits("within", (blocks, block, block), diagonal)
            start = math.log(blocks - 1) * mixing_matrix(number) if number * block == dim else 0.0
            self.across = self._logits("across", (blocks, blocks), start)
        self.steps = self.add_weight(
            (),
            "zeros",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name="steps",
        )

    def call(self, tokens: Any, training: bool | None = None) -> Any:
        within, across = (ops.cast(x, self.compute_dtype) for x in self.matrices())
        if training and self.trainable:
            last = float(self.hold_steps + self.cooling_steps)
            self.steps.assign(ops.minimum(self.steps + 1.0, last))
        blocks = ops.reshape(tokens, (-1, self.num_blocks, self.block_dim))
        mixed = ops.matmul(across, matmul_per_group(blocks, within))
        return ops.reshape(mixed, (-1, *tokens.shape[1:]))

    def temperature(self) -> Any:
        """`tau` after the steps of training so far: a float32 scalar of the built layer."""
        cooled = ops.clip((self.steps - self.hold_steps) / self.cooling_steps, 0.0, 1.0)
        return 1.0 + (self.last_tau - 1.0) * cooled

    def matrices(self) -> tuple[Any, Any]:
        """`W (blocks, block_dim, block_dim)` and `G (blocks, blocks)` of the built layer."""
        if self.lite:
            shares = ops.softmax(self.shares) if self.num_bases > 1 else ops.ones_like(self.shares)
            within = ops.tensordot(shares, self.bases, axes=1)
            across = ops.matmul(self.left, self.right)
        else:
            within, across = self.within, self.across
        tau = self.temperature()
        return sinkhorn(within, tau, self.rounds), sinkhorn(across, tau, self.rounds)

    def compute_output_shape(self, tokens_shape: tuple) -> tuple:
        return tokens_shape

    def _logits(self, name: str, shape: tuple, start: Any = 0.0) -> Any:
        """A float32 weight that starts at random around `start`."""
        return self.add_weight(shape, _around(start), autocast=False, name=name)


def sinkhorn(logits: Any, tau: Any, rounds: int) -> Any:
    """`Sink(V)`: columns of the result sum to 1, and its rows the closer the more rounds.

    Args:
        logits: Float32 tensor `(..., n, n)`.
        tau: Temperature, a scalar above 0.
        rounds: Times that rows, then columns, are divided by their sums.

    Returns:
        Float32 tensor like `logits`.
    """
    x = (logits + ops.swapaxes(logits, -1, -2)) / (2.0 * tau)
    for _ in range(rounds):
        x = x - ops.logsumexp(x, axis=-1, keepdims=True)
        x = x - ops.logsumexp(x, axis=-2, keepdims=True)
    return ops.exp(x)


def mixing_matrix(tokens: int) -> np.ndarray:
    """`TokenMixing` as a matrix `(tokens^2, tokens^2)`: `G_ji` is 1 where part `i` goes to `j`."""
    order = np.arange(tokens * tokens).reshape(tokens, tokens).T.reshape(-1)
    return np.eye(tokens * tokens)[order]


def _around(start: Any) -> Callable[..., Any]:
    """An initializer: random numbers about a constant."""
    random = keras.initializers.RandomNormal(stddev=_STDDEV)
    return lambda shape, dtype=None: random(shape, dtype) + ops.cast(start, dtype or "float32")
