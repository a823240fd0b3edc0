import dataclasses

import numpy as np

from keras_infnet.models.tokens import match_patterns, num_match_patterns
from tests import tiny


def slow_patterns(schema, x):
    """Event by event; the first two ids of a field with a vocabulary are missing and unknown."""
    (sequence,) = schema.histories
    columns, history = schema.history_columns(sequence.name), x[sequence.name]
    names = [f.name for f in schema.one_valued]
    patterns = np.zeros(history.shape[:2], int)
    for row, at in np.ndindex(patterns.shape):
        for k, field in enumerate(sequence.fields):
            events = set(history[row, at, columns[field]].tolist())
            if field in names:
                mine = {int(x["categorical"][row, names.index(field)])}
            else:
                mine = set(x["bags"][row].tolist())
            known = {i for i in events & mine if i > (0 if field == "duration" else 1)}
            patterns[row, at] += 2**k * bool(known)
    return patterns


def test_patterns_equal_a_loop_over_events():
    schema = tiny.schema()
    x = tiny.inputs(schema, batch=200)
    found = np.array(match_patterns(schema, schema.histories[0], x))
    np.testing.assert_array_equal(found, slow_patterns(schema, x))
    assert set(np.unique(found)) > {0, 1, 2, 4, 8}
    assert num_match_patterns(schema.histories[0]) == 16 > found.max()


def test_hashed_values_and_several_unknown_ids_can_match():
    schema = tiny.schema()
    features = [
        dataclasses.replace(f, oov_buckets=2) if f.name == "video_id" else f
        for f in schema.features
    ]
    schema = dataclasses.replace(schema, features=features)
    x = tiny.inputs(schema)
    x["categorical"][:, 1] = 1
    x["exposures"][:, :, 0] = 1
    found = np.array(match_patterns(schema, schema.histories[0], x))
    assert (found % 2 == 1).all()
