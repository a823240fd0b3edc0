import numpy as np
import pytest

from keras_infnet.data.block_group import join_blocks, take_rows

pytestmark = pytest.mark.one_backend


def make_block(seed, rows, events):
    rng = np.random.default_rng(seed)
    ends = rng.integers(0, events + 1, rows)
    starts = rng.integers(0, ends + 1)
    return {
        "x/categorical": rng.integers(0, 9, (rows, 2)),
        "window/seen": np.stack([starts, ends, rng.integers(0, 99, rows)], axis=1),
        "events/seen": rng.integers(0, 1000, (events, 3)),
        "times/seen": rng.integers(0, 1000, events),
    }


def histories(block):
    """Each row's events and its own time, in a loop."""
    return [
        (block["events/seen"][s:e].tolist(), block["times/seen"][s:e].tolist(), t)
        for s, e, t in block["window/seen"].tolist()
    ]


def test_joined_blocks_keep_every_row_and_its_events():
    blocks = [make_block(0, 4, 7), make_block(1, 3, 0), make_block(2, 5, 6)]
    joined = join_blocks(blocks)
    assert histories(joined) == sum(map(histories, blocks), [])
    np.testing.assert_array_equal(
        joined["x/categorical"], np.concatenate([b["x/categorical"] for b in blocks])
    )


def test_taken_rows_keep_their_events_and_no_others():
    block = make_block(3, 8, 9)
    rows = np.array([6, 0, 6, 3])
    taken = take_rows(block, rows)
    assert histories(taken) == [histories(block)[i] for i in rows]
    lengths = np.diff(block["window/seen"][rows, :2], axis=1)
    assert len(taken["events/seen"]) == lengths.sum()
    np.testing.assert_array_equal(taken["x/categorical"], block["x/categorical"][rows])
    assert len(take_rows(block, rows[:0])["events/seen"]) == 0
