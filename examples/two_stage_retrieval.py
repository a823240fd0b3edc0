"""Two towers that retrieve items, with TensorFlow Recommenders (Keras 2) or keras-rs (Keras 3).

The towers are the same functional models, made with either Keras; so are batches and loss: a
softmax over the items of the batch, corrected by how often each is drawn.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from two_stage_log import HISTORY, ITEM, Log

import keras_infnet

DIM, HIDDEN, LEARNING_RATE = 32, 64, 2e-3


def main() -> None:
    """The process of TensorFlow Recommenders: writes the items that it retrieves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that `RankingData.save` wrote")
    parser.add_argument("out", type=Path, help="array of items (.npy)")
    for name in ("requests", "top_k", "epochs", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    args = parser.parse_args()
    if os.environ.get("TF_USE_LEGACY_KERAS") != "1":
        sys.exit(
            "two_stage_retrieval.py: set TF_USE_LEGACY_KERAS=1, without which TensorFlow "
            "Recommenders can't be imported."
        )
    log = Log(keras_infnet.RankingData.load(args.data), args.requests, args.seed)
    np.save(args.out, retrieve_with_tfrs(log, args.top_k, args.epochs))


def retrieve_with_tfrs(log: Log, top_k: int, epochs: int) -> np.ndarray:
    """Places of items in `log.items`, `(requests, top_k)`, best first."""
    import tensorflow as tf
    import tensorflow_recommenders as tfrs

    class TwoTowers(tfrs.Model):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.item = towers(tf.keras, log)
            self.task = tfrs.tasks.Retrieval(remove_accidental_hits=True)

        def compute_loss(self, batch: dict[str, Any], training: bool = False) -> Any:
            return self.task(
                self.query(batch["query"]),
                self.item(batch["item"]),
                candidate_ids=batch["item_id"],
                candidate_sampling_probability=batch["probability"],
                compute_metrics=False,
            )

    tf.keras.utils.set_random_seed(log.seed)
    model = TwoTowers()
    model.compile(tf.keras.optimizers.Adam(LEARNING_RATE))
    model.fit(log.clicked_batches(), epochs=epochs, verbose=2)
    index = tfrs.layers.factorized_top_k.BruteForce(k=top_k)
    index.index(tf.constant(model.item.predict(items(log), verbose=0)))
    return np.concatenate([index(model.query(batch))[1].numpy() for batch in queries(log)])


def retrieve_with_keras_rs(log: Log, top_k: int, epochs: int) -> np.ndarray:
    """Places of items in `log.items`, `(requests, top_k)`, best first."""
    import keras
    import keras_rs

    class TwoTowers(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.item = towers(keras, log)
            self.correct = keras_rs.layers.SamplingProbabilityCorrection()
            self.remove = keras_rs.layers.RemoveAccidentalHits()

        def call(self, batch: dict[str, Any]) -> Any:
            item = self.item(batch["item"])
            scores = keras.ops.matmul(self.query(batch["query"]), keras.ops.transpose(item))
            scores = self.correct(scores, batch["probability"])
            return self.remove(scores, keras.ops.eye(scores.shape[0]), batch["item_id"])

        def compute_loss(self, x: Any, y: Any, y_pred: Any, *_: Any, **__: Any) -> Any:
            own = keras.ops.eye(y_pred.shape[0])
            # A sum over the batch, as TensorFlow Recommenders has it.
            losses = keras.losses.categorical_crossentropy(own, y_pred, from_logits=True)
            return keras.ops.sum(losses)

    keras.utils.set_random_seed(log.seed)
    model = TwoTowers()
    model.compile(keras.optimizers.Adam(LEARNING_RATE))
    model.fit(log.clicked_batches(), epochs=epochs, verbose=2)
    vectors = model.item.predict(items(log), verbose=0)
    index = keras_rs.layers.BruteForceRetrieval(vectors, k=top_k, return_scores=False)
    return np.concatenate([np.asarray(index(model.query(batch))) for batch in queries(log)])


def towers(keras: Any, log: Log) -> tuple[Any, Any]:
    """Query and item tower; `keras` is Keras 2 or 3."""
    layers, schema = keras.layers, log.schema
    length = schema.history(HISTORY).max_length
    num_ids, columns = schema.packed_sizes()[HISTORY], schema.history_columns(HISTORY)

    def fields(*owners: str) -> tuple[Any, Any]:
        sizes = log.sizes(*owners)
        ids = keras.Input((len(sizes),), dtype="int32", name="fields")
        return ids, layers.Flatten()(layers.Embedding(sum(sizes), DIM)(ids))

    def perceptron(inputs: Any) -> Any:
        return layers.Dense(DIM)(layers.Dense(HIDDEN, activation="relu")(inputs))

    ids, of_fields = fields("user", "context")
    events = keras.Input((length,), dtype="int32", name="events")
    actions = keras.Input((length,), dtype="int32", name="actions")
    shares = keras.Input((length, 1), name="shares")
    # What the user did with an item says how much of it enters the mean.
    weights = layers.Embedding(int(num_ids[columns["#action"].start]), 1)(actions)
    weights = layers.Multiply()([shares, weights])
    mean = layers.Dot(axes=1)([weights, layers.Embedding(schema.num_ids(ITEM), DIM)(events)])
    inputs = {"fields": ids, "events": events, "actions": actions, "shares": shares}
    query = perceptron(layers.Concatenate()([of_fields, layers.Flatten()(mean)]))
    item_ids, of_item = fields("item")
    return keras.Model(inputs, query), keras.Model({"fields": item_ids}, perceptron(of_item))


def queries(log: Log) -> Any:
    """Batches of the requests for the query tower."""
    return log.data.batches(log.requests, labels=False).map(log.query)


def items(log: Log) -> Any:
    """Batches of all items for the item tower."""
    return log.data.batches(log.items, labels=False).map(log.item)


if __name__ == "__main__":
    main()
