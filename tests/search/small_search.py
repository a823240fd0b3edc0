"""A search on a schema of one field, with training that is only made up where it is not tested."""

import numpy as np
import tensorflow as tf

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema
from keras_infnet.search import ProxySearch, SearchSpace
from keras_infnet.search.folder import WEIGHTS

SPACE = SearchSpace(
    num_field_proxies=(1, 2, 4),
    num_task_proxies=(1, 2),
    num_blocks=(1,),
    dim=(4,),
    learning_rate=(1e-2, 2e-2),
    dropout=(0.0, 0.1),
)


def small_schema(tasks=("click", "like")):
    video = CategoricalFeature("video_id", "item")
    schema = FeatureSchema([video], [BinaryTask(task) for task in tasks])
    return schema.with_sizes({"video_id": 20})


def small_data(rows=60, seed=0, tasks=("click", "like"), batch_size=20):
    """Labels are random, but more often 1 for higher ids."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 20, (rows, 1)).astype("int32")
    labels = {t: (rng.random((rows, 1)) < ids / 20).astype("float32") for t in tasks}
    weights = {task: np.ones((rows, 1), "float32") for task in tasks}
    data = ({"categorical": ids}, labels, weights)
    return tf.data.Dataset.from_tensor_slices(data).batch(batch_size)


def small_search(folder, **options):
    schema = options.pop("schema", None) or small_schema()
    given = {"space": SPACE, "fixed": {"head_dim": 4}, "latency_batch": 8, **options}
    train, validation = (
        given.pop("train", small_data()),
        given.pop("validation", small_data(seed=1)),
    )
    return ProxySearch(schema, train, validation, folder, **given)


def made_up_training(training, values, share, folder):
    """In place of `TrialTraining.run`: numbers from the hyperparameters alone."""
    quality = 0.7 + 0.01 * values["num_field_proxies"] + values["learning_rate"] * share
    milliseconds = 2.0 * values["num_field_proxies"] + values["num_task_proxies"]
    (folder / WEIGHTS).write_text("", "utf-8")
    tasks = training.hyper_model.schema.task_names
    return {
        "status": "finished",
        "score": quality,
        "quality": quality,
        "quality_std": None,
        "milliseconds": milliseconds,
        "parameters": 10,
        "metrics": {f"{t}_{m}": quality - i / 20 for i, t in enumerate(tasks) for m in METRICS},
        "training_share": share,
        "runs": [],
        "arguments": {"num_field_proxies": values["num_field_proxies"]},
    }


METRICS = ("auc", "gauc")
