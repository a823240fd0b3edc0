"""Sharded tables: training on several devices, each with a part of the embedding tables."""

from typing import Any

import keras

from keras_infnet._backend.devices import first_devices

# FusedEmbedding layers hold all tables.
TABLES = r".*fused_embedding[^/]*/embeddings"


def shard_tables(
    num_shards: int,
    num_replicas: int | None = None,
    *,
    shard_from: int = 131_072,
    tables: str = TABLES,
    auto_shard_dataset: bool = True,
) -> keras.distribution.ModelParallel:
    """Several devices, each with a part of the rows of large tables and all other weights.

    Device `d` of `n` holds rows `d rows / n` to `(d + 1) rows / n - 1` of each large table, and of
    the optimizer's slots for it, so that a table `n` times as large fits. A look-up asks all `n`
    devices for their rows; no table is ever put together. A step is that of one device, with any
    optimizer, by rows or dense.

    By default the same devices share out every batch too. With `num_replicas`, the devices form
    that many groups: each has all rows, an equal part of every batch, and computes it `num_shards`
    times over, once on each of its devices. It saves messages between groups where they are slow.

    Args:
        num_shards: Devices over which the rows of a table are shared out.
        num_replicas: Groups of `num_shards` devices. Defaults to `None`: one, whose devices share
            out every batch too.
        shard_from: Rows from which a layer's tables are shared out; smaller ones are copied to each
            device. Defaults to `131072`.
        tables: Regular expression for the whole `path` of a table's variable. Defaults to those of
            `FusedEmbedding` layers.
        auto_shard_dataset: Whether each of several processes takes its part of a common dataset;
            False: datasets are parts already. Defaults to `True`.

    Returns:
        A `keras.distribution.ModelParallel`. Build, compile and train a model within its `scope()`.

    Raises:
        ValueError: The backend is not JAX, a number is below 1, or there are fewer devices. When a
            table is made: its rows are not a multiple of `num_shards`.

    Example:
        ```python
        with keras_infnet.training.shard_tables(num_shards=8).scope():
            model = keras_infnet.INFNet(data.schema)
            model.compile(keras_infnet.optimizers.split_optimizer())
            model.fit(data.train, shuffle=False)
        ```

    Reference:
        Naumov et al., Deep Learning Recommendation Model, arXiv:1906.00091, section 4: tables are
        shared out and the dense part is copied. That rows are cut, not whole tables, is our choice.
    """
    if keras.backend.backend() != "jax":
        raise ValueError(
            f"shard_tables: Keras shards variables on JAX, and the backend is "
            f"{keras.backend.backend()}. Set KERAS_BACKEND=jax, or copy the tables to each device: "
            "keras_infnet.training.data_parallel()."
        )
    if min(num_shards, 1 if num_replicas is None else num_replicas) < 1:
        raise ValueError(
            f"shard_tables: both numbers must be 1 or more. Received: {num_shards=}, "
            f"{num_replicas=}"
        )
    shape, axes = (num_shards,), ("batch",)
    if num_replicas is not None:
        shape, axes = (num_replicas, num_shards), ("batch", "model")
    devices = first_devices("shard_tables", num_shards * (num_replicas or 1))
    layouts = keras.distribution.LayoutMap(keras.distribution.DeviceMesh(shape, axes, devices))
    layouts[tables] = (axes[-1], None)
    return _TableShards(num_shards, shard_from, layouts, auto_shard_dataset)


class _TableShards(keras.distribution.ModelParallel):
    """A `ModelParallel` that copies tables with few rows."""

    def __init__(
        self, num_shards: int, shard_from: int, layouts: Any, auto_shard_dataset: bool
    ) -> None:
        super().__init__(layout_map=layouts, auto_shard_dataset=auto_shard_dataset)
        self.num_shards, self.shard_from = num_shards, shard_from

    def get_variable_layout(self, variable: Any) -> keras.distribution.TensorLayout:
        """The layout of a variable over the devices; Keras calls it."""
        layout = super().get_variable_layout(variable)
        if not any(layout.axes):
            return layout
        rows = variable.shape[0]
        if rows < self.shard_from:
            copied = (None,) * len(variable.shape)
            return keras.distribution.TensorLayout(copied, self.device_mesh)
        if rows % self.num_shards:
            raise ValueError(
                f"shard_tables: `{variable.path}` has {rows} rows, which {self.num_shards} devices "
                "can't share out equally. FusedEmbedding makes large tables a multiple of 64 rows: "
                "take a number of shards that divides 64, or copy the table: "
                f"shard_from={rows + 1}."
            )
        return layout
