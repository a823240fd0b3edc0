"""SparseAdagrad: Adagrad that updates large embedding tables by rows."""

from typing import Any

import keras
from keras import ops

from keras_infnet._backend.row_gradients import read_rows, write_rows
from keras_infnet._keras_internals import adagrad_sums
from keras_infnet.training.row_updates import ROW_UPDATES_FROM, RowUpdates


@keras.saving.register_keras_serializable(package="keras_infnet")
class SparseAdagrad(RowUpdates, keras.optimizers.Adagrad):
    """Adagrad whose step reads and writes only the rows that it looks up.

    For each row `r` that a step looks up, with the sum `g` of the gradients of its look-ups,

    `a_r <- a_r + g^2`, `w_r <- w_r - learning_rate g / sqrt(a_r + epsilon)`.

    It is exactly dense Adagrad: a row without a look-up has gradient 0, and neither `a_r` nor `w_r`
    would move. Only weight decay differs: rows shrink in the steps that look them up.

    It holds for tables of `FusedEmbedding` in a `RankingModel`, if the layer has at least
    `row_updates_from` rows; everything else is updated as `keras.optimizers.Adagrad` does. Beside
    the accumulators, as large as the tables, there are 4 bytes for each row.

    Args:
        learning_rate: Float or schedule. Defaults to `0.001`.
        initial_accumulator_value: Start of `a`. Defaults to `0.1`.
        epsilon: Added to `a`. Defaults to `1e-7`.
        row_updates_from: Rows from which a layer's tables are updated by rows; below, a step over
            all rows costs less. Defaults to `524288`.
        **kwargs: Arguments of `keras.optimizers.Optimizer`, such as `clipnorm`, `weight_decay`,
            `loss_scale_factor` and `name`. Gradients are clipped as dense ones are.

    Raises:
        ValueError: `row_updates_from` is negative. When the optimizer is built: it has `use_ema` or
            `gradient_accumulation_steps`, or a table a regularizer or a constraint.

    Example:
        >>> optimizer = keras_infnet.optimizers.SparseAdagrad(0.05, row_updates_from=1_000_000)
        >>> optimizer.row_updates_from
        1000000

    Reference:
        Duchi et al., Adaptive Subgradient Methods, JMLR 2011.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        row_updates_from: int = ROW_UPDATES_FROM,
        **kwargs: Any,
    ) -> None:
        kwargs["row_updates_from"] = row_updates_from
        super().__init__(learning_rate, initial_accumulator_value, epsilon, **kwargs)

    def row_step(self, ids: Any, gradient: Any, index: int, learning_rate: Any) -> Any:
        """Writes the accumulator's rows, and gives what is subtracted from the table's."""
        accumulator = adagrad_sums(self, index)
        # Written before they are read: XLA then keeps fewer temporary tensors.
        write_rows(accumulator, ids, ops.square(gradient), add=True)
        sums = read_rows(accumulator, ids)
        return learning_rate * gradient / ops.sqrt(sums + self.epsilon)
