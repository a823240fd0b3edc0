"""Columns in fewer bytes are the same numbers, at the ends of every type."""

import numpy as np
import pytest

from keras_infnet.data.narrow_columns import NarrowColumns, take_rows

pytestmark = pytest.mark.one_backend

# Largest and smallest number of a column, and the bytes that hold it.
ENDS = [
    ((0, 255), 1),
    ((0, 2**31 - 1), 4),
    ((0, 256), 2),
    ((-1, 127), 1),
    ((-1, 128), 2),
    ((0, 65_535), 2),
    ((0, 65_536), 4),
    ((-1, 32_768), 4),
    ((-(2**31), 0), 4),
    ((7, 7), 1),
]


@pytest.mark.parametrize("inner", [(), (3,)])
def test_every_column_is_what_it_was_and_takes_the_bytes_it_needs(inner):
    random = np.random.default_rng(0)
    columns = [random.integers(low, high, (50, *inner), endpoint=True) for (low, high), _ in ENDS]
    for column, (ends, _) in zip(columns, ENDS, strict=True):
        column.reshape(-1)[:2] = ends
    array = np.stack(columns, axis=-1).astype("int32")
    narrow = NarrowColumns(array)
    taken = np.array([[3, 0], [49, 3]])
    found = take_rows(narrow, taken).numpy()
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, array[taken])
    assert sum(group.numpy().nbytes for group in narrow.groups) == array[..., 0].size * sum(
        size for _, size in ENDS
    )


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_what_needs_all_its_bytes_is_one_tensor(dtype):
    array = np.array([[70_000, -70_000], [1, 2]], dtype)
    (whole,) = NarrowColumns(array).groups
    assert whole.dtype == dtype
    found = take_rows(NarrowColumns(array), [1, 0])
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.numpy(), array[::-1])
