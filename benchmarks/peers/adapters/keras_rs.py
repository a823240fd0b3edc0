"""keras-rs: DCN-V2 by hand on its `FeatureCross`, with all else from Keras."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from benchmarks.peers.adapter import Adapter
from benchmarks.peers.work import (
    CROSSES,
    DIM,
    FIELDS,
    HEAD,
    HIDDEN,
    ITEM,
    ITEM_FIELDS,
    LEARNING_RATE,
    Work,
)


def _same(package: str) -> str:
    """The package at the version that runs our own library, so that both have the same engine."""
    try:
        return f"{package}=={version(package)}"
    except PackageNotFoundError:
        return package


class KerasRS(Adapter):
    """The network of our `DCNv2`, one table for all fields, and a step compiled by XLA."""

    library = "keras-rs"
    requirements = ("keras-rs==0.4.0", _same("keras"), _same("tensorflow-cpu"))
    models = ("DCNv2",)

    def build(self, work: Work) -> int:
        import keras
        import keras_rs

        sizes = list(work.sizes.values())
        self.offsets = np.cumsum([0, *sizes[:-1]])
        ids = keras.Input((len(FIELDS),), dtype="int32")
        history = keras.Input((work.length,), dtype="int32")
        table = keras.layers.Embedding(sum(sizes), DIM)
        fields, items = table(ids), slice(ITEM + 1, ITEM + len(ITEM_FIELDS))
        mask = keras.ops.cast(history > self.offsets[ITEM], "float32")
        counts = keras.ops.sum(mask, axis=1, keepdims=True)
        mean = keras.ops.einsum("bld,bl->bd", table(history), mask)
        mean = mean / keras.ops.maximum(counts, 1.0)
        # The candidate in the space of the events, as our models have it.
        project = keras.layers.Dense(DIM, use_bias=False)
        others = keras.layers.Flatten()(fields[:, items])
        candidate = project(fields[:, ITEM]) + keras.layers.Dense(DIM, use_bias=False)(others)
        parts = [keras.layers.Flatten()(fields), candidate, project(mean), keras.ops.log1p(counts)]
        x0 = x = keras.layers.Concatenate()(parts)
        for _ in range(CROSSES):
            x = keras_rs.layers.FeatureCross()(x0, x)
        deep = x0
        for width in HIDDEN:
            deep = keras.layers.Dense(width, "relu")(deep)
        head = keras.layers.Dense(HEAD, "relu")(keras.layers.Concatenate()([x, deep]))
        self.model = keras.Model([ids, history], keras.layers.Dense(1, "sigmoid")(head))
        adam = keras.optimizers.Adam(LEARNING_RATE)
        self.model.compile(adam, "binary_crossentropy", jit_compile=True)
        self.batches = [
            (self._inputs(b.ids, b.history), keras.ops.convert_to_tensor(b.labels))
            for b in work.batches()
        ]
        self.request = work.request()
        return self.model.count_params()

    def _inputs(self, ids: np.ndarray, history: np.ndarray) -> list[Any]:
        import keras

        arrays = (ids + self.offsets, history + self.offsets[ITEM])
        return [keras.ops.convert_to_tensor(array.astype("int32")) for array in arrays]

    def train(self, steps: int) -> None:
        for i in range(steps):
            self.model.train_on_batch(*self.batches[i % len(self.batches)])

    def forward(self, steps: int) -> None:
        for i in range(steps):
            self.model.predict_on_batch(self.batches[i % len(self.batches)][0])

    def rank(self, steps: int) -> None:
        for _ in range(steps):
            self.model.predict_on_batch(self._inputs(self.request.ids, self.request.history))

    def drop(self) -> None:
        import keras

        self.__dict__.clear()
        keras.backend.clear_session()
