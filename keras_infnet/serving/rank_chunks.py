"""One user's candidates, scored in chunks of bounded memory."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_infnet.models.one_user import OneUser
from keras_infnet.schema.schema import FeatureSchema

# Candidates of a chunk times events of all histories: attention scores that fit the cache.
_PAIRS_OF_A_CHUNK = 65_536
_LARGEST_CHUNK = 2048


def rank_outputs(
    model: Any, encode: Any, schema: FeatureSchema, raw: Mapping[str, Any]
) -> dict[str, Any]:
    """Each task's output of every candidate, `(candidates, 1)`.

    Args:
        model: The Keras model, under TensorFlow.
        encode: The encoder as a `tf.Module`.
        schema: The schema of both.
        raw: Raw features by name: those of the candidates with a row for each, all others with one.

    Returns:
        Dict of tensors by task name.
    """
    packed = encode(raw)
    shared = {name: x for name, x in packed.items() if x.shape[0] == 1}
    candidates = {name: x for name, x in packed.items() if name not in shared}
    return _in_chunks(OneUser(model, shared), candidates, schema.task_names, chunk_size(schema))


def chunk_size(schema: FeatureSchema) -> int:
    """Candidates of a chunk: fewer where histories are long."""
    length = sum(sequence.max_length for sequence in schema.histories)
    return max(1, min(_LARGEST_CHUNK, _PAIRS_OF_A_CHUNK // max(1, length)))


def _in_chunks(
    score: Callable, candidates: Mapping[str, Any], tasks: Sequence[str], size: int
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
        return i + 1, scores.write(i, tf.concat([outputs[task] for task in tasks], axis=1))

    scores = tf.TensorArray("float32", chunks, infer_shape=False, element_shape=(None, len(tasks)))
    _, scores = tf.while_loop(
        lambda i, _: i < chunks, score_chunk, (0, scores), parallel_iterations=1
    )
    return dict(zip(tasks, tf.split(scores.concat(), len(tasks), axis=1), strict=True))
