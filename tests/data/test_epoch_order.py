import numpy as np
import pytest

from keras_infnet.data.epoch_order import EpochOrder

pytestmark = pytest.mark.one_backend

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
