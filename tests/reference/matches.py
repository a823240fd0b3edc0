"""Which fields of a past event equal the candidate's, event by event."""

import numpy as np


def match_patterns(schema, sequence, inputs):
    """`2^k` for each field `k` of an event that has a known value in common with the candidate."""
    columns, history = schema.history_columns(sequence.name), inputs[sequence.name]
    patterns = np.zeros(history.shape[:2], int)
    for b, at in np.ndindex(patterns.shape):
        for k, field in enumerate(sequence.fields):
            common = set(history[b, at, columns[field]]) & set(
                candidate_ids(schema, field, inputs, b)
            )
            patterns[b, at] += 2**k * any(i > last_unknown(schema, field) for i in common)
    return patterns


def candidate_ids(schema, field, inputs, b):
    one_valued = [f.name for f in schema.one_valued]
    if field in one_valued:
        return [inputs["categorical"][b, one_valued.index(field)]]
    names = [bag.name for bag in schema.bags for _ in range(bag.width)]
    return [i for i, name in zip(inputs["bags"][b], names, strict=True) if name == field]


def last_unknown(schema, field):
    """0 is a missing value; 1 stands for all unknown values of a vocabulary."""
    feature = schema.feature(field)
    return int(getattr(feature, "oov_buckets", 0) == 1 and feature.hash_buckets is None)
