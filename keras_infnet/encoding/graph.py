"""The encoder as TensorFlow ops: raw requests -> packed inputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras_infnet.schema.numeric import NumericFeature
from keras_infnet.schema.UNKNOWN import RATIO_EDGES

from keras_infnet.features.encoder_graph_checks import checked_request
from keras_infnet.schema.canonical import MISSING_INT, MISSING_STRING
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.programs import AGE_EDGES


def make_graph_encoder(encoder: Any) -> Any:
    """A `tf.Module`: `module(raw)` encodes tensors named as `schema.raw_inputs()`.

    Request histories may be padded anywhere, with what means "missing" in the history's first
    field; their events come oldest first. Unknown values are served, not refused: a negative or
    unheard-of id as out of vocabulary, NaN as missing, a dense value that is no number as 0.
    Tensors whose batch is known to be 1 stand for all rows of those they are packed with.
    """
    import tensorflow as tf

    class GraphEncoder(tf.Module):
        """Vocabularies as `tf.lookup` tables, edges as constants."""

        def __init__(self) -> None:
            super().__init__(name="feature_encoder")
            self.schema = encoder.schema
            self.tables = {
                key: _hash_table(tf, vocabulary)
                for kind, vocabularies in (
                    ("field", encoder.vocabularies),
                    ("action", encoder.action_vocabularies),
                )
                for key, vocabulary in ((f"{kind}/{n}", v) for n, v in vocabularies.items())
            }
            self.oov = {n: v.oov_buckets for n, v in encoder.vocabularies.items()}
            self.edges = dict(encoder.edges)

        def __call__(self, raw: dict[str, Any]) -> dict[str, Any]:
            return _packed(tf, self, raw)

    return GraphEncoder()


def _packed(tf: Any, module: Any, raw: dict[str, Any]) -> dict[str, Any]:
    """Packed inputs by name; `module` holds what the encoder has learned."""
    schema, packed = module.schema, {}
    raw = checked_request(tf, schema, raw)
    if schema.one_valued:
        ids = [_ids(tf, module, f.name, raw[f.name]) for f in schema.one_valued]
        packed["categorical"] = tf.stack(_with_all_rows(tf, ids), axis=1)
    if schema.bags:
        ids, weights = zip(*(_bag(tf, module, f, raw) for f in schema.bags), strict=True)
        packed["bags"] = tf.concat(_with_all_rows(tf, ids), axis=1)
        packed["bag_weights"] = tf.concat(_with_all_rows(tf, weights), axis=1)
    if schema.dense:
        vectors = [raw[f.name] for f in schema.dense]
        packed["dense"] = tf.concat(_with_all_rows(tf, vectors), axis=1)
    for sequence in schema.histories:
        packed |= _history(tf, module, sequence, raw)
    return packed


def _ids(tf: Any, module: Any, name: str, values: Any) -> Any:
    feature, table = module.schema.feature(name), module.schema.table_of(name)
    if isinstance(feature, NumericFeature):
        ids = 1 + _bucket(tf, module.edges[table], _flush(tf, values))
        return tf.where(tf.math.is_nan(values), 0, ids)
    owner = module.schema.feature(table)
    missing = MISSING_STRING if owner.dtype == "string" else MISSING_INT
    if owner.hash_buckets is not None:
        ids = 1 + _hash(tf, values, owner.hash_buckets)
    else:
        ids = tf.cast(module.tables[f"field/{table}"].lookup(values), "int32")
        if module.oov[table] > 1:
            ids = tf.where(ids < 0, 1 + _hash(tf, values, module.oov[table]), ids)
    return tf.where(values == missing, 0, ids)


def _bag(tf: Any, module: Any, feature: CategoricalFeature, raw: dict[str, Any]) -> tuple[Any, Any]:
    width = feature.max_values
    ids = _fit_width(tf, _ids(tf, module, feature.name, raw[feature.name]), width)
    if feature.weights is None:
        return ids, tf.cast(ids != 0, "float32")
    weights = _fit_width(tf, raw[feature.weights], width)
    return ids, tf.where(ids != 0, weights, 0.0)


def _history(tf: Any, module: Any, sequence: Any, raw: dict[str, Any]) -> dict[str, Any]:
    name, columns = sequence.name, []
    for field in sequence.fields:
        ids = _ids(tf, module, field, raw[f"{name}_{field}"])
        feature = module.schema.feature(field)
        if getattr(feature, "is_bag", False):
            columns.append(_fit_width(tf, ids, feature.max_values))
        else:
            columns.append(ids[..., None])
    values = tf.cast(columns[0], "int64")
    if sequence.actions:
        values = tf.stack([raw[f"{name}_{a}"] for a in sequence.actions], axis=-1)
        values = tf.clip_by_value(values, -1, 1)
        powers = tf.constant(3 ** np.arange(len(sequence.actions)), "int64")
        code = tf.reduce_sum((values + 1) * powers, axis=-1)
        columns.append(tf.cast(module.tables[f"action/{name}"].lookup(code), "int32"))
        columns[-1] = columns[-1][..., None]
    if sequence.ratio:
        ratio = raw[f"{name}_ratio"]
        bucket = 1 + _bucket(tf, np.array(RATIO_EDGES, "float32"), ratio)
        columns.append(tf.where(ratio >= 0, bucket, 0)[..., None])
    if sequence.groups:
        columns.append(_group_bits(tf, sequence, values)[..., None])
    if sequence.ages:
        columns.append(_bucket(tf, AGE_EDGES, raw[f"{name}_age_seconds"])[..., None])
    packed = _newest(tf, tf.concat(columns, axis=-1), sequence.max_length)
    if not sequence.ages:
        return {name: packed}
    return {name: packed[..., :-1], f"{name}_age": packed[..., -1]}


def _hash_table(tf: Any, vocabulary: Any) -> Any:
    keys = vocabulary.values.to_numpy(zero_copy_only=False)
    dtype = tf.string if vocabulary.dtype == "string" else tf.int64
    ids = np.arange(len(keys), dtype="int64") + 1 + vocabulary.oov_buckets
    # Negative: a hash chooses the bucket. Without buckets an unknown value is served like a missing
    # one.
    default = -1 if vocabulary.oov_buckets > 1 else vocabulary.oov_buckets
    initializer = tf.lookup.KeyValueTensorInitializer(
        tf.constant(keys, dtype, shape=(len(keys),)), tf.constant(ids), dtype, tf.int64
    )
    return tf.lookup.StaticHashTable(initializer, default)


def _hash(tf: Any, values: Any, buckets: int) -> Any:
    text = values if values.dtype == tf.string else tf.strings.as_string(values)
    return tf.cast(tf.strings.to_hash_bucket_fast(text, buckets), "int32")


def _flush(tf: Any, values: Any) -> Any:
    return tf.where(tf.abs(values) < np.finfo("float32").tiny, 0.0, values)


def _bucket(tf: Any, edges: np.ndarray, values: Any) -> Any:
    """Number of edges that are not above the value."""
    edges = tf.constant(edges, values.dtype)
    flat = tf.searchsorted(edges, tf.reshape(values, [-1]), side="right")
    return tf.reshape(flat, tf.shape(values))


def _with_all_rows(tf: Any, parts: Sequence[Any]) -> list[Any]:
    """Those of batch 1 repeated, if others have more rows."""
    others = [part for part in parts if part.shape[0] != 1]
    if not others or len(others) == len(parts):
        return list(parts)
    rows = tf.shape(others[0])[0]
    return [tf.repeat(p, rows, axis=0) if p.shape[0] == 1 else p for p in parts]


def _fit_width(tf: Any, values: Any, width: int) -> Any:
    """The first `width` columns of the last axis, filled up with 0."""
    values = values[..., :width]
    padding = [[0, 0]] * (len(values.shape) - 1) + [[0, width - tf.shape(values)[-1]]]
    values = tf.pad(values, padding)
    return tf.ensure_shape(values, values.shape[:-1].concatenate(width))


def _group_bits(tf: Any, sequence: Any, values: Any) -> Any:
    bits = tf.zeros(tf.shape(values)[:-1], "int32")
    for g, group in enumerate(sequence.groups):
        member = tf.ones(tf.shape(bits), "bool")
        if group.any_of:
            known = tf.gather(values, [sequence.actions.index(a) for a in group.any_of], axis=-1)
            member &= tf.reduce_any(known == 1, axis=-1)
        if group.none_of:
            known = tf.gather(values, [sequence.actions.index(a) for a in group.none_of], axis=-1)
            member &= tf.reduce_all(known == 0, axis=-1)
        bits += tf.cast(member, "int32") * (1 << g)
    return bits


def _newest(tf: Any, columns: Any, length: int) -> Any:
    """The newest events, padding moved to the left and set to 0: `(batch, length, columns)`."""
    there = tf.cast(columns[..., 0] != 0, "int32")
    columns *= there[..., None]
    columns = tf.pad(columns, [[0, 0], [length, 0], [0, 0]])
    there = tf.pad(there, [[0, 0], [length, 0]])
    order = tf.argsort(there, axis=1, stable=True)[:, -length:]
    return tf.ensure_shape(
        tf.gather(columns, order, batch_dims=1), (None, length, columns.shape[-1])
    )
