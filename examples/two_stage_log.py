"""The log of the two-stage example: rows, items, requests, and batches for retrieval."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import keras_infnet

CLICK, ITEM, HISTORY = "is_click", "video_id", "exposures"


def ranking_data(path: Path, seed: int) -> keras_infnet.RankingData:
    """The data of a log in KuaiRand's layout, split by its days."""
    kuairand = keras_infnet.datasets.KuaiRand(path)
    log = kuairand.frame()
    split = kuairand.split(log)
    return keras_infnet.RankingData(
        kuairand.schema(),
        log,
        validation=split.validation,
        test=split.test,
        warm=kuairand.warm(),
        seed=seed,
    )


class Log:
    """What both stages read of a log.

    Args:
        data: The data.
        requests: Number of test impressions that become requests, drawn at random.
        seed: Seed of the draw.
    """

    def __init__(self, data: keras_infnet.RankingData, requests: int, seed: int) -> None:
        self.data, self.schema, self.seed = data, data.schema, seed
        rows = pd.concat(map(data.frame, data.rows)).sort_index()
        self.items = rows.drop_duplicates(ITEM).reset_index(drop=True)
        test = data.frame("test")
        self.requests = test.sample(min(requests, len(test)), random_state=seed)
        places = pd.Index(self.items[ITEM])
        self.exposed = places.get_indexer(self.requests[ITEM])
        train = data.frame("train")
        self.clicked = train[train[CLICK] == 1]
        self.clicks = np.bincount(places.get_indexer(self.clicked[ITEM]), minlength=len(self.items))

    def clicked_batches(self) -> Any:
        """Batches `{"query", "item", "item_id", "probability"}` of the clicks in training rows."""
        import tensorflow as tf

        ids = self.data.encoder.transform(self.items)["categorical"][:, self._column(ITEM)]
        clicks = np.bincount(ids, self.clicks, minlength=ids.max() + 1)
        probability = tf.constant(np.maximum(clicks, 1) / clicks.sum(), "float32")

        def example(x: dict[str, Any]) -> dict[str, Any]:
            item_id = x["categorical"][:, self._column(ITEM)]
            parts = {"query": self.query(x), "item": self.item(x), "item_id": item_id}
            return {**parts, "probability": tf.gather(probability, item_id)}

        batches = self.data.batches(self.clicked, shuffle=True, labels=False, drop_remainder=True)
        return batches.map(example)

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
        fields = [f.name for f in self.schema.one_valued if f.owner in owners]
        return [self.schema.num_ids(name) for name in fields]

    def _fields(self, x: dict[str, Any], owners: tuple[str, ...]) -> Any:
        """Ids of the fields of these owners in one table, `(batch, fields)`."""
        import tensorflow as tf

        columns = [self._column(f.name) for f in self.schema.one_valued if f.owner in owners]
        offsets = np.cumsum([0, *self.sizes(*owners)[:-1]]).astype("int32")
        return tf.gather(x["categorical"], columns, axis=1) + offsets

    def _column(self, name: str) -> int:
        return self.schema.packed_columns("categorical")[name].start
