"""Which fields of a past event equal the candidate's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.history import History
from keras_infnet.schema.schema import FeatureSchema

# A pattern is an id of its own, and there are 2^fields of them.
_MAX_FIELDS = 6


def num_match_patterns(sequence: History) -> int:
    """Number of patterns of `match_patterns`."""
    return 2 ** min(len(sequence.fields), _MAX_FIELDS)


def match_patterns(schema: FeatureSchema, sequence: History, inputs: Mapping[str, Any]) -> Any:
    """`sum_k 2^k [event's field k = candidate's field k]` over the first six fields.

    A value that is missing or not in the vocabulary matches nothing; bags match where they have a
    value in common.

    Args:
        schema: A fitted schema.
        sequence: One of its histories.
        inputs: Packed inputs by name.

    Returns:
        Integer tensor `(batch, length)`.
    """
    columns = schema.history_columns(sequence.name)
    pattern = 0
    for k, field in enumerate(sequence.fields[:_MAX_FIELDS]):
        events = ops.expand_dims(inputs[sequence.name][:, :, columns[field]], -1)
        candidate = _candidate_ids(schema, field, inputs)[:, None, None, :]
        same = ops.logical_and(ops.equal(events, candidate), events > _last_unknown(schema, field))
        pattern = pattern + ops.cast(ops.any(same, axis=(2, 3)), "int32") * np.int32(2**k)
    return pattern


def _candidate_ids(schema: FeatureSchema, field: str, inputs: Mapping[str, Any]) -> Any:
    """Ids of a field of the candidate, `(batch, values)`."""
    names = [feature.name for feature in schema.one_valued]
    if field in names:
        column = names.index(field)
        return inputs["categorical"][:, column : column + 1]
    start = 0
    for bag in schema.bags:
        if bag.name == field:
            break
        start += bag.width
    return inputs["bags"][:, start : start + bag.width]


def _last_unknown(schema: FeatureSchema, field: str) -> int:
    """Ids up to this one stand for "missing", or for all values outside the vocabulary."""
    table = schema.table_of(field)
    feature = schema.feature(table if table in schema.field_names else field)
    shared = isinstance(feature, CategoricalFeature) and feature.hash_buckets is None
    return 1 if shared and feature.oov_buckets == 1 else 0
