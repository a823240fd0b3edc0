"""Ranking one user's candidates: in chunks of bounded memory, and the best of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_infnet.models.one_user import OneUser
from keras_infnet.schema.feature import Owner
from keras_infnet.schema.relative import RelativeFeature
from keras_infnet.schema.schema import FeatureSchema

# Candidates of a chunk times events of all histories: attention scores that fit the cache.
_PAIRS_OF_A_CHUNK = 65_536
_LARGEST_CHUNK = 2048


def rank_outputs(
    model: Any, encode: Any, schema: FeatureSchema, raw: Mapping[str, Any]
) -> dict[str, Any]:
    """Each task's output of every candidate, `(candidates, units)`.

    Args:
        model: The Keras model, under TensorFlow.
        encode: The encoder as a `tf.Module`.
        schema: The schema of both.
        raw: Raw features by name: those of the candidates with a row for each, all others with one.

    Returns:
        Dict of tensors by task name.
    """
    of_user = _of(schema, raw, "user", "context")
    shared = encode(of_user, ("user", "context"), trim=model.config.any_length)
    return outputs_of_candidates(model, encode, schema, raw, shared)


def outputs_of_candidates(
    model: Any,
    encode: Any,
    schema: FeatureSchema,
    raw: Mapping[str, Any],
    shared: Mapping[str, Any],
    kept: Any = (),
) -> dict[str, Any]:
    """`rank_outputs` where all but the candidates is encoded.

    Args:
        model: The Keras model, under TensorFlow.
        encode: The encoder as a `tf.Module`.
        schema: The schema of both.
        raw: Raw features by name, those of the items among them.
        shared: Packed columns of user and context, with one row.
        kept: What `OneUser` takes in place of inputs. Defaults to nothing.
    """
    candidates = encode(_of(schema, with_relative(schema, raw), "item"), ("item",))
    widths = {task.name: task.units for task in schema.tasks}
    of_user = {name: ~schema.columns_of_items(name) for name in candidates if name in shared}
    user = OneUser(model, shared, of_user, kept)
    return _in_chunks(user, candidates, widths, chunk_size(schema))


def _of(schema: FeatureSchema, raw: Mapping[str, Any], *owners: Owner) -> dict[str, Any]:
    """The raw features and histories of some owners."""
    return {name: raw[name] for name in schema.raw_inputs(owners)}


def with_relative(schema: FeatureSchema, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The request and the numbers that all of its candidates together make."""
    import tensorflow as tf

    features = (f for f in schema.features if isinstance(f, RelativeFeature))
    return {**raw, **{f.name: f.of_candidates(tf, raw[f.of]) for f in features}}


def chunk_size(schema: FeatureSchema) -> int:
    """Candidates of a chunk: fewer where histories are long."""
    length = sum(sequence.max_length for sequence in schema.histories)
    return max(1, min(_LARGEST_CHUNK, _PAIRS_OF_A_CHUNK // max(1, length)))


def _in_chunks(
    score: Callable, candidates: Mapping[str, Any], widths: Mapping[str, int], size: int
) -> dict[str, Any]:
    """What `score` gives for all candidates, from as few chunks as can be, of equal size."""
    import tensorflow as tf

    # The encoder has checked that the candidates' features have equally many rows.
    number = tf.shape(next(iter(candidates.values())))[0]
    chunks = (number + size - 1) // size
    rows = (number + chunks - 1) // tf.maximum(chunks, 1)

    def score_chunk(i: Any, scores: Any) -> tuple[Any, Any]:
        part = {name: x[i * rows : (i + 1) * rows] for name, x in candidates.items()}
        outputs = score(part)
        return i + 1, scores.write(i, tf.concat([outputs[task] for task in widths], axis=1))

    shape = (None, sum(widths.values()))
    scores = tf.TensorArray("float32", chunks, infer_shape=False, element_shape=shape)
    _, scores = tf.while_loop(
        lambda i, _: i < chunks, score_chunk, (0, scores), parallel_iterations=1
    )
    parts = tf.split(scores.concat(), list(widths.values()), axis=1)
    return dict(zip(widths, parts, strict=True))


def best_candidates(
    outputs: Mapping[str, Any], tasks: Sequence[str], exponents: Any, k: Any
) -> dict[str, Any]:
    """The `k` candidates of the highest `score = prod_i max(y_i, 0)^e_i`, best first.

    Products are compared by their logarithms, in which small probabilities differ. Of equal scores
    the earlier candidate comes first.

    Args:
        outputs: Each task's output, `(candidates, units)`; `y` are their columns.
        tasks: Names of the tasks.
        exponents: `e`, float tensor `(columns,)`; running it is an error for another shape,
            infinity or NaN.
        k: Number of candidates; more than there are gives all.

    Returns:
        `index (k,)` int32, `score (k,)` float32, and each task's output `(k, units)`.
    """
    import tensorflow as tf

    values = tf.concat([outputs[task] for task in tasks], axis=1)
    exponents = tf.ensure_shape(exponents, (values.shape[1],))
    exponents = tf.debugging.check_numerics(exponents, "rank_top_k: exponents must be numbers")
    logarithms = tf.math.log(tf.maximum(values, np.finfo("float32").tiny))
    score = tf.reduce_sum(tf.math.multiply_no_nan(logarithms, exponents), axis=1)
    k = tf.clip_by_value(k, 0, tf.shape(score)[0])
    best, index = tf.math.top_k(score, k)
    chosen = {task: tf.gather(outputs[task], index) for task in tasks}
    return {"index": index, "score": tf.exp(best), **chosen}
