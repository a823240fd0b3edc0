"""Our own library: models by their defaults where they say nothing else of sizes."""

import gc
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.adapter import Adapter
from benchmarks.peers.work import (
    ATTENTION_HIDDEN,
    CROSSES,
    DIM,
    EXPERT_HIDDEN,
    EXPERTS,
    FIELDS,
    FIRST_ID,
    HEAD,
    HIDDEN,
    ITEM,
    ITEM_FIELDS,
    LEARNING_RATE,
    LEVELS,
    SHARED_EXPERTS,
    TASK_EXPERTS,
    USER_FIELDS,
    Work,
    first_test_row,
)

_EXPERTS = {"expert_dims": EXPERT_HIDDEN, "head_dim": HEAD}
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "SharedBottom": {"hidden_dims": HIDDEN, "head_dim": HEAD},
    "MMoE": {"num_experts": EXPERTS, **_EXPERTS},
    "PLE": {
        "num_levels": LEVELS,
        "num_shared_experts": SHARED_EXPERTS,
        "num_task_experts": TASK_EXPERTS,
        **_EXPERTS,
    },
    "DIN": {"activation_dims": ATTENTION_HIDDEN, "hidden_dims": HIDDEN, "head_dim": HEAD},
    "DCNv2": {"num_cross_layers": CROSSES, "hidden_dims": HIDDEN, "head_dim": HEAD},
    "FM": {},
}


class KerasINFNet(Adapter):
    """Its `rank` is that of an exported SavedModel, which is given raw values and encodes them."""

    library = "keras-infnet"
    models = tuple(_ARGUMENTS)

    def build(self, work: Work) -> int:
        import keras

        self.work, self._ranker = work, None
        rates = dict.fromkeys(work.tasks, 0.3)
        schema = _schema(work).with_sizes(work.sizes, base_rates=rates)
        assert schema.field_names == FIELDS
        self.model = self._model(schema)
        self.batches = []
        for rows in work.batches():
            x = {"categorical": rows.ids, "seen": rows.history[:, :, None]}
            x = {name: keras.ops.convert_to_tensor(a.astype("int32")) for name, a in x.items()}
            labels = zip(work.tasks, rows.labels.T[:, :, None], strict=True)
            y = {task: keras.ops.convert_to_tensor(of_task) for task, of_task in labels}
            self.batches.append((x, y))
        return self.model.count_params()

    def _model(self, schema: Any) -> Any:
        import keras_infnet

        given = {"dim": DIM, "event_context": (), **_ARGUMENTS[self.work.model]}
        model = keras_infnet.models.MODELS[self.work.model](schema, **given)
        optimizer = keras_infnet.optimizers.LazyAdam(LEARNING_RATE)
        # From the first step on: what is timed are many steps of a long training.
        model.compile(optimizer, weighted_metrics=[], jit_compile=True)
        return model

    def train(self, steps: int) -> None:
        for i in range(steps):
            self.model.train_on_batch(*self.batches[i % len(self.batches)])

    def forward(self, steps: int) -> None:
        for i in range(steps):
            self.model.predict_on_batch(self.batches[i % len(self.batches)][0])

    def rank(self, steps: int) -> None:
        import tensorflow as tf

        if self._ranker is None:
            self._ranker, self._request = self._export()
        for _ in range(steps):
            request = {name: tf.constant(array) for name, array in self._request.items()}
            for output in self._ranker(**request).values():
                output.numpy()

    def _export(self) -> tuple[Any, dict[str, np.ndarray]]:
        """The signature `rank`, and the work's request in raw values."""
        import pandas as pd
        import tensorflow as tf

        import keras_infnet

        schema, sizes = _schema(self.work), self.work.sizes
        # Each value of each field once, so that tables have the sizes of the work.
        rows = np.arange(max(sizes.values()) - FIRST_ID)
        frame = pd.DataFrame({name: rows % (size - FIRST_ID) for name, size in sizes.items()})
        frame = frame.assign(time_ms=1_790_000_000_000 + rows, **dict.fromkeys(self.work.tasks, 0))
        frame.loc[0, list(self.work.tasks)] = 1
        encoder = keras_infnet.data.FeatureEncoder(schema)
        encoder.fit(frame)
        assert encoder.schema.table_rows() == sizes
        with tempfile.TemporaryDirectory() as folder:
            model = self._model(encoder.schema)
            path = keras_infnet.serving.export(model, encoder, f"{folder}/ranker")
            # Signatures hold on to weights while what was loaded lives.
            self._loaded: Any = tf.saved_model.load(str(path))
        drawn = self.work.request()
        raw = dict(zip(FIELDS, (drawn.ids - FIRST_ID).T, strict=True))
        request = {name: raw[name][:1] for name in USER_FIELDS}
        request |= {name: raw[name] for name in ITEM_FIELDS}
        request[f"seen_{FIELDS[ITEM]}"] = drawn.history[:1] - FIRST_ID
        return self._loaded.signatures["rank"], request

    def drop(self) -> None:
        import keras

        self.__dict__.clear()
        keras.backend.clear_session()
        gc.collect()

    def learn(self, log: Path, work: Work, stepped: Callable[[], None]) -> Mapping[str, float]:
        import keras
        import pandas as pd

        import keras_infnet

        waiting = [stepped]

        def after_step(*_: Any, **__: Any) -> None:
            if waiting:
                waiting.pop()()

        self.work, frame = work, pd.read_csv(log)
        test = int(frame["time_ms"].iloc[first_test_row(len(frame))])
        data = keras_infnet.RankingData(_schema(work), frame, test=test, batch_size=work.batch)
        model = self._model(data.schema)
        watch = keras.callbacks.LambdaCallback(on_train_batch_end=after_step)
        model.fit(data.train, callbacks=[watch], verbose=0, shuffle=False)
        measures = data.evaluate(model, "test")
        return {task: float(measures.loc[task, "auc"]) for task in work.tasks}


def _schema(work: Work) -> Any:
    import keras_infnet

    owners = {**dict.fromkeys(USER_FIELDS, "user"), **dict.fromkeys(ITEM_FIELDS, "item")}
    history = keras_infnet.History("seen", (FIELDS[ITEM],), work.length, quantities=())
    return keras_infnet.FeatureSchema(
        [keras_infnet.CategoricalFeature(name, owners[name]) for name in FIELDS],
        [keras_infnet.BinaryTask(task) for task in work.tasks],
        [history],
    )
