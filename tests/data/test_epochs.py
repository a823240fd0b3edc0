import numpy as np
import pytest

from keras_infnet.data.epochs import EpochOrder, join_blocks, take_rows

BLOCKS = np.array([5, 3, 8, 1, 4])


def positions(order, epoch, start, end):
    """(block, row) at each position."""
    found = []
    for blocks, rows in order.pieces(epoch, start, end):
        names = [(int(b), row) for b in blocks for row in range(BLOCKS[b])]
        found += [names[i] for i in rows]
    return found


@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_holds_every_row_once(shuffle):
    found = positions(EpochOrder(BLOCKS, 2, shuffle, 3), 0, 0, 21)
    expected = [(b, row) for b in range(5) for row in range(BLOCKS[b])]
    assert sorted(found) == expected
    assert (found == expected) != shuffle


def test_any_part_of_an_epoch_is_what_the_whole_has_there():
    order = EpochOrder(BLOCKS, 2, True, 3)
    whole = positions(order, 4, 0, 21)
    for start, end in [(0, 1), (2, 9), (8, 8), (20, 21), (5, 21)]:
        assert positions(order, 4, start, end) == whole[start:end]


def test_what_lies_outside_is_not_named():
    order = EpochOrder(BLOCKS, 1, False, 0)
    assert [blocks.tolist() for blocks, _ in order.pieces(0, 8, 16)] == [[2]]


def test_epochs_and_seeds_differ_and_repeat():
    def epoch(seed, number):
        return positions(EpochOrder(BLOCKS, 2, True, seed), number, 0, 21)

    assert epoch(1, 0) == epoch(1, 0)
    assert epoch(1, 0) != epoch(1, 1)
    assert epoch(1, 0) != epoch(2, 0)


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
