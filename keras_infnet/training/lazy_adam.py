"""LazyAdam and LazyAdamW: Adam that updates large embedding tables by rows."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet._backend.dense_adam import DenseAdam, has_dense_adam
from keras_infnet._backend.row_gradients import read_rows, write_rows
from keras_infnet._keras_internals import adam_moments, variable_index
from keras_infnet.training.row_updates import ROW_UPDATES_FROM, RowUpdates


class _LazyMoments(RowUpdates, keras.optimizers.Adam):
    """The step of Adam on the rows that are looked up."""

    # What holds for all variables of the step being made, by dtype.
    _of_step: dict[Any, Any] | None = None

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable; Keras calls it."""
        if self.amsgrad or not has_dense_adam(gradient):
            super().update_step(gradient, variable, learning_rate)
            return
        m, v, _ = adam_moments(self, variable_index(self, variable))
        self._dense(learning_rate, variable.dtype)(variable, m, v, gradient)

    def row_step(self, ids: Any, gradient: Any, index: int, learning_rate: Any) -> Any:
        """Writes the moments' rows, and gives what is subtracted from the table's."""
        rate = self._unbiased(learning_rate, gradient.dtype)
        m, v, largest = adam_moments(self, index)
        m = _move_rows(m, ids, gradient, 1 - self.beta_1)
        v = _move_rows(v, ids, ops.square(gradient), 1 - self.beta_2)
        if self.amsgrad:
            v = ops.maximum(read_rows(largest, ids), v)
            write_rows(largest, ids, v)
        return m * rate / (ops.sqrt(v) + self.epsilon)

    def _backend_apply_gradients(self, grads: Sequence[Any], variables: Sequence[Any]) -> None:
        self._of_step = {}
        try:
            super()._backend_apply_gradients(grads, variables)
        finally:
            self._of_step = None

    def _dense(self, learning_rate: Any, dtype: Any) -> DenseAdam:
        known = {} if self._of_step is None else self._of_step
        if dtype not in known:
            rate = self._unbiased(learning_rate, dtype)
            known[dtype] = DenseAdam(rate, self.beta_1, self.beta_2, self.epsilon)
        return known[dtype]

    def _unbiased(self, learning_rate: Any, dtype: Any) -> Any:
        """`learning_rate sqrt(1 - b2^t) / (1 - b1^t)`."""
        step = ops.cast(ops.add(self.iterations, 1), dtype)
        powers = [ops.power(ops.cast(b, dtype), step) for b in (self.beta_1, self.beta_2)]
        return ops.cast(learning_rate, dtype) * ops.sqrt(1 - powers[1]) / (1 - powers[0])


@keras.saving.register_keras_serializable(package="keras_infnet")
class LazyAdam(_LazyMoments, keras.optimizers.Adam):
    """Adam whose step reads and writes only the rows that it looks up.

    For each row `r` that step `t` looks up, with the sum `g` of the gradients of its look-ups,

    `m_r <- b1 m_r + (1 - b1) g`, `v_r <- b2 v_r + (1 - b2) g^2`,
    `w_r <- w_r - learning_rate sqrt(1 - b2^t) / (1 - b1^t) m_r / (sqrt(v_r) + epsilon)`.

    It differs from dense Adam in the rows that a step does not look up. There dense Adam shrinks
    both moments, and moves the row on by its old momentum; here nothing changes, so that rare ids
    have fresher moments and take larger steps. Where every step looks up every row, both are equal.
    Weight decay too reaches a row only in the steps that look it up.

    It holds for tables of `FusedEmbedding` in a `RankingModel`, if the layer has at least
    `row_updates_from` rows; everything else is updated as `keras.optimizers.Adam` does, by one
    operation a variable on TensorFlow. Beside the moments, twice as large as the tables, there are
    4 bytes for each row.

    Args:
        learning_rate: Float or schedule. Defaults to `0.001`.
        beta_1: Share `b1` of the old first moment. Defaults to `0.9`.
        beta_2: Share `b2` of the old second moment. Defaults to `0.999`.
        epsilon: Added to the root of the second moment. Defaults to `1e-7`.
        row_updates_from: Rows from which a layer's tables are updated by rows; below, a step over
            all rows costs less. Defaults to `524288`.
        **kwargs: Arguments of `keras.optimizers.Adam`, such as `amsgrad`, `clipnorm`,
            `weight_decay`, `loss_scale_factor` and `name`. Gradients are clipped as dense ones are.

    Raises:
        ValueError: `row_updates_from` is negative. When the optimizer is built: it has `use_ema` or
            `gradient_accumulation_steps`, or a table a regularizer or a constraint.

    Example:
        >>> optimizer = keras_infnet.optimizers.LazyAdam(1e-3, row_updates_from=1_000_000)
        >>> optimizer.row_updates_from
        1000000

    Reference:
        Kingma and Ba, Adam, ICLR 2015. That rows wait for their look-ups is as in TensorFlow
        Addons' LazyAdam and PyTorch's SparseAdam.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        row_updates_from: int = ROW_UPDATES_FROM,
        **kwargs: Any,
    ) -> None:
        kwargs["row_updates_from"] = row_updates_from
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **kwargs)


@keras.saving.register_keras_serializable(package="keras_infnet")
class LazyAdamW(_LazyMoments, keras.optimizers.AdamW):
    """`LazyAdam` with decoupled weight decay, `w_r <- w_r - learning_rate weight_decay w_r`.

    A row of a large table decays only in the steps that look it up, all other weights in every
    step: dense AdamW would shrink rare rows too, and read the whole table for it.

    Args:
        learning_rate: Float or schedule. Defaults to `0.001`.
        weight_decay: Share of a weight that is taken away, times the learning rate. Defaults to
            `0.004`.
        beta_1: Share of the old first moment. Defaults to `0.9`.
        beta_2: Share of the old second moment. Defaults to `0.999`.
        epsilon: Added to the root of the second moment. Defaults to `1e-7`.
        row_updates_from: Rows from which a layer's tables are updated by rows; below, a step over
            all rows costs less. Defaults to `524288`.
        **kwargs: Arguments of `keras.optimizers.AdamW`, such as `amsgrad`, `clipnorm`,
            `loss_scale_factor` and `name`. Gradients are clipped as dense ones are.

    Raises:
        ValueError: `weight_decay` is None, or as in `LazyAdam`.

    Example:
        >>> optimizer = keras_infnet.optimizers.LazyAdamW(1e-3, weight_decay=0.01)
        >>> optimizer.weight_decay
        0.01

    Reference:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        row_updates_from: int = ROW_UPDATES_FROM,
        **kwargs: Any,
    ) -> None:
        kwargs["row_updates_from"] = row_updates_from
        super().__init__(learning_rate, weight_decay, beta_1, beta_2, epsilon, **kwargs)


def _move_rows(moment: Any, ids: Any, target: Any, share: float) -> Any:
    """Moves the rows of a moment by a share of the way to a target, and gives them."""
    rows = read_rows(moment, ids)
    write_rows(moment, ids, rows + (target - rows) * share)
    # Read again: XLA then keeps fewer temporary tensors.
    return read_rows(moment, ids)
