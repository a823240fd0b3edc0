"""Field tokens `C`: one token for each feature of the schema."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.fused_embedding import FusedEmbedding
from keras_infnet.schema.schema import FeatureSchema


def embed_fields(
    schema: FeatureSchema,
    inputs: Mapping[str, Any],
    embedding: FusedEmbedding | None,
    dim: int,
    dtype: Any = None,
) -> Any:
    """Tokens `(batch, fields, dim)` in the order of `schema.field_names`.

    A bag is the weighted mean of its rows, zeros if it is empty; a dense vector is projected.
    """
    tokens = []
    if embedding is not None:
        tokens.append(_embed_categorical(schema, inputs, embedding))
    start = 0
    for feature in schema.dense:
        vector = inputs["dense"][:, start : start + feature.dim]
        project = keras.layers.Dense(dim, dtype=dtype, name=f"{feature.name}_projection")
        tokens.append(ops.expand_dims(project(vector), 1))
        start += feature.dim
    return tokens[0] if len(tokens) == 1 else ops.concatenate(tokens, axis=1)


def _embed_categorical(
    schema: FeatureSchema, inputs: Mapping[str, Any], embedding: FusedEmbedding
) -> Any:
    """Tokens of one-valued features and bags, all read in one gather."""
    ids = [inputs[name] for name in ("categorical", "bags") if name in inputs]
    columns = list(schema.one_valued)
    for bag in schema.bags:
        columns += [bag] * bag.width
    rows = embedding(
        ids[0] if len(ids) == 1 else ops.concatenate(ids, axis=1),
        tables=tuple(schema.table_of(feature.name) for feature in columns),
    )
    start = len(schema.one_valued)
    tokens = [rows[:, :start]] if start else []
    for bag in schema.bags:
        of_bag = slice(start, start + bag.width)
        in_input = slice(
            of_bag.start - len(schema.one_valued), of_bag.stop - len(schema.one_valued)
        )
        there = ops.not_equal(inputs["bags"][:, in_input], 0)
        weights = inputs["bag_weights"][:, in_input] * ops.cast(there, "float32")
        tokens.append(ops.expand_dims(mean_of_bag(rows[:, of_bag], weights), 1))
        start = of_bag.stop
    return tokens[0] if len(tokens) == 1 else ops.concatenate(tokens, axis=1)


def mean_of_bag(rows: Any, weights: Any) -> Any:
    """Weighted mean over axis -2 of `rows (..., values, dim)`; zeros where all weights are 0."""
    total = ops.sum(weights, axis=-1, keepdims=True)
    # Normalised before the sum, which then needs no division of `dim` numbers.
    weights = weights / ops.where(ops.equal(total, 0.0), 1.0, total)
    return ops.sum(rows * ops.cast(ops.expand_dims(weights, -1), rows.dtype), axis=-2)
