"""Split optimizer: embedding tables and dense weights under optimizers of their own."""

import re
from typing import Any

import keras

from keras_infnet.training.sparse_adagrad import SparseAdagrad

# The path of a variable holds its layer's name; FusedEmbedding layers hold all tables.
TABLES = r".*fused_embedding.*"
# Kernels, of which those with two axes are matrices.
_MATRICES = r".*kernel[^/]*"


def split_optimizer(
    embeddings: keras.optimizers.Optimizer | None = None,
    dense: keras.optimizers.Optimizer | None = None,
    tables: str = TABLES,
    matrices: keras.optimizers.Optimizer | None = None,
) -> keras.optimizers.Optimizer:
    """One optimizer for `compile` that trains embedding tables and dense weights differently.

    A row of a table gets a gradient only where its id occurs, so tables learn well with Adagrad
    and a large learning rate; the dense part with AdamW and a small one. Each optimizer keeps its
    learning rate, schedule and slots; the state is part of a `.keras` file.

    Args:
        embeddings: Optimizer of the tables. Defaults to `SparseAdagrad(0.05)`: Adagrad that updates
            large tables by rows.
        dense: Optimizer of everything else. Defaults to `AdamW(1e-4)`.
        tables: Regular expression for the whole `path` of a table's variable.
        matrices: Optimizer of the kernels that are matrices, such as `keras.optimizers.Muon(1e-3)`:
            no table, bias, norm or vector, and not the output of a head. Defaults to `None`:
            `dense`.

    Returns:
        A `keras.optimizers.MultiOptimizer`; its `optimizers` are the parts, `dense` the last.

    Raises:
        ValueError: When the optimizer is built, no variable's path matches `tables`.

    Example:
        >>> optimizer = keras_infnet.optimizers.split_optimizer(dense=keras.optimizers.AdamW(3e-4))
        >>> [type(part).__name__ for part in optimizer.optimizers]
        ['SparseAdagrad', 'AdamW']

    Reference:
        UniRank, arXiv:2607.19987, trains with these defaults. Which weights are matrices is as in
        Jordan et al., Muon, and in Liu et al., arXiv:2502.16982.
    """
    dense = keras.optimizers.AdamW(1e-4) if dense is None else dense
    embeddings = SparseAdagrad(0.05) if embeddings is None else embeddings
    parts = {tables: embeddings} | ({} if matrices is None else {_MATRICES: matrices})
    return _SplitOptimizer(_Parts(dense, parts))


@keras.saving.register_keras_serializable(package="keras_infnet", name="SplitOptimizerParts")
class _Parts(keras.optimizers.OptimizerMap):
    """An `OptimizerMap` whose first pattern is that of tables; matrices are told by shape too."""

    def __call__(self, variable: Any) -> keras.optimizers.Optimizer:
        if self.has_table(variable):
            return self[next(iter(self))]
        if _MATRICES in self and _is_matrix(variable):
            return self[_MATRICES]
        return self.default_optimizer

    def has_table(self, variable: Any) -> bool:
        """Whether a variable is a table."""
        return re.fullmatch(next(iter(self)), variable.path) is not None


def _is_matrix(variable: Any) -> bool:
    is_kernel = re.fullmatch(_MATRICES, variable.path) and "_head/output/" not in variable.path
    return bool(is_kernel) and len(variable.shape) == 2 and min(variable.shape) > 1


@keras.saving.register_keras_serializable(package="keras_infnet", name="SplitOptimizer")
class _SplitOptimizer(keras.optimizers.MultiOptimizer):
    """A `MultiOptimizer` that refuses a pattern which no variable matches."""

    def updates_rows(self, variable: Any) -> bool:
        """Whether a variable's optimizer updates it by rows."""
        updates_rows = getattr(self._optimizer_map(variable), "updates_rows", None)
        return updates_rows is not None and updates_rows(variable)

    def build(self, var_list: list[Any]) -> None:
        parts = self._optimizer_map
        if not any(map(parts.has_table, var_list)):
            paths = ", ".join(variable.path for variable in var_list[:10])
            raise ValueError(
                f"split_optimizer: no variable's path matches tables={next(iter(parts))!r}. "
                f"Paths: {paths}. Give `tables` a regular expression that matches the whole path "
                "of each embedding table."
            )
        super().build(var_list)
