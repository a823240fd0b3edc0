"""The best of one user's candidates, by a product of powers of their tasks' outputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_infnet.schema.schema import FeatureSchema


def exponents_of(score: Mapping[str, float], schema: FeatureSchema) -> list[float]:
    """Exponents in the order of the schema's tasks; 0 for tasks that the score does not read."""
    return [float(score.get(task, 0.0)) for task in schema.task_names]


def check_score(
    score: Mapping[str, float] | None, top_k: int | None, schema: FeatureSchema
) -> None:
    """Raises a ValueError for a score or a number of candidates that no request could have."""
    unknown = sorted(set(score or ()) - set(schema.task_names))
    if unknown:
        raise ValueError(
            f"export_saved_model: `score` has {', '.join(f'`{name}`' for name in unknown)}; "
            f"expected tasks of the schema: {', '.join(schema.task_names)}."
        )
    wrong = {task: power for task, power in (score or {}).items() if not np.isfinite(power)}
    if wrong or (score is not None and not any(score.values())):
        raise ValueError(
            f"export_saved_model: score={dict(score or {})}; expected exponents that are numbers, "
            "one of them not 0. Leave `score` out to have them in the request."
        )
    if top_k is not None and top_k < 1:
        raise ValueError(
            f"export_saved_model: top_k={top_k}; expected 1 or more. Leave it out to have `k` in "
            "the request."
        )


def best_candidates(
    outputs: Mapping[str, Any], tasks: Sequence[str], exponents: Any, k: Any
) -> dict[str, Any]:
    """The `k` candidates of the highest `score = prod_i max(y_i, 0)^e_i`, best first.

    Products are compared by their logarithms, in which small probabilities differ. Of equal scores
    the earlier candidate comes first.

    Args:
        outputs: Each task's output, `(candidates, 1)`.
        tasks: Names of the tasks.
        exponents: `e`, float tensor `(tasks,)`; running it is an error for another shape, infinity
            or NaN.
        k: Number of candidates; more than there are gives all.

    Returns:
        `index (k,)` int32, `score (k,)` float32, and each task's output `(k, 1)`.
    """
    import tensorflow as tf

    exponents = tf.ensure_shape(exponents, (len(tasks),))
    exponents = tf.debugging.check_numerics(exponents, "rank_top_k: exponents must be numbers")
    values = tf.concat([outputs[task] for task in tasks], axis=1)
    logarithms = tf.math.log(tf.maximum(values, np.finfo("float32").tiny))
    score = tf.reduce_sum(tf.math.multiply_no_nan(logarithms, exponents), axis=1)
    k = tf.clip_by_value(k, 0, tf.shape(score)[0])
    best, index = tf.math.top_k(score, k)
    chosen = {task: tf.gather(outputs[task], index) for task in tasks}
    return {"index": index, "score": tf.exp(best), **chosen}
