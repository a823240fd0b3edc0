"""The log of the two-stage example: rows, items, requests, and batches for retrieval."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import keras_infnet

BATCH_SIZE = 512
CLICK, ITEM, HISTORY = "is_click", "video_id", "exposures"


class Log:
    """A log in KuaiRand's layout, with its encoder.

    Args:
        path: Folder of the log.
        requests: Number of test impressions that become requests, drawn at random.
        seed: Seed of the draw.
        encoder: Folder of a saved encoder. Defaults to `None`: it is fitted on the training rows.
    """

    def __init__(self, path: Path, requests: int, seed: int, encoder: Path | None = None) -> None:
        self.path, self.seed = path, seed
        data = keras_infnet.datasets.KuaiRand(path)
        frame, warm = data.frame(), data.warm()
        earlier = {} if warm is None else {HISTORY: warm}
        self.split = data.split(frame)
        if encoder is None:
            self.encoder = keras_infnet.data.FeatureEncoder(data.schema())
            self.encoder.fit(self.split.train, earlier)
        else:
            self.encoder = keras_infnet.data.FeatureEncoder.load(encoder)
        self.schema = self.encoder.schema
        self.histories = keras_infnet.data.Histories(self.encoder, frame, earlier)
        self.items = frame.drop_duplicates(ITEM).reset_index(drop=True)
        test = self.split.test
        self.requests = test.sample(min(requests, len(test)), random_state=seed)
        places = pd.Index(self.items[ITEM])
        self.exposed = places.get_indexer(self.requests[ITEM])
        clicks = self.split.train.loc[self.split.train[CLICK] == 1, ITEM]
        self.clicks = np.bincount(places.get_indexer(clicks), minlength=len(self.items))

    def dataset(self, rows: pd.DataFrame, **options: Any) -> Any:
        """Batches of `make_dataset`, of whatever rows."""
        options = {"batch_size": BATCH_SIZE, **options}
        return keras_infnet.data.make_dataset(self.encoder, rows, self.histories, **options)

    def clicked_batches(self) -> Any:
        """Batches `{"query", "item", "item_id", "probability"}` of the clicks in training rows."""
        import tensorflow as tf

        train = self.split.train
        ids = self.encoder.transform(self.items)["categorical"][:, self._column(ITEM)]
        clicks = np.bincount(ids, self.clicks, minlength=ids.max() + 1)
        probability = tf.constant(np.maximum(clicks, 1) / clicks.sum(), "float32")

        def example(x: dict[str, Any]) -> dict[str, Any]:
            item_id = x["categorical"][:, self._column(ITEM)]
            parts = {"query": self.query(x), "item": self.item(x), "item_id": item_id}
            return {**parts, "probability": tf.gather(probability, item_id)}

        clicked = train[train[CLICK] == 1]
        options = {"shuffle": True, "seed": self.seed, "labels": False, "drop_remainder": True}
        return self.dataset(clicked, **options).map(example)

    def query(self, x: dict[str, Any]) -> dict[str, Any]:
        """What the query tower reads of packed inputs: user, context, and past events."""
        import tensorflow as tf

        columns = self.schema.history_columns(HISTORY)
        events = x[HISTORY][:, :, columns[ITEM].start]
        there = tf.cast(events != 0, "float32")
        count = tf.maximum(tf.reduce_sum(there, axis=1, keepdims=True), 1.0)
        return {
            "fields": self._fields(x, ("user", "context")),
            "events": events,
            "actions": x[HISTORY][:, :, columns["#action"].start],
            "shares": (there / count)[:, :, None],
        }

    def item(self, x: dict[str, Any]) -> dict[str, Any]:
        """What the item tower reads of packed inputs."""
        return {"fields": self._fields(x, ("item",))}

    def sizes(self, *owners: str) -> list[int]:
        """Number of ids of each one-valued field of these owners."""
        rows = self.schema.table_rows()
        fields = [f.name for f in self.schema.one_valued if f.owner in owners]
        return [rows[self.schema.table_of(name)] for name in fields]

    def _fields(self, x: dict[str, Any], owners: tuple[str, ...]) -> Any:
        """Ids of the fields of these owners in one table, `(batch, fields)`."""
        import tensorflow as tf

        columns = [i for i, f in enumerate(self.schema.one_valued) if f.owner in owners]
        offsets = np.cumsum([0, *self.sizes(*owners)[:-1]]).astype("int32")
        return tf.gather(x["categorical"], columns, axis=1) + offsets

    def _column(self, name: str) -> int:
        return [f.name for f in self.schema.one_valued].index(name)
