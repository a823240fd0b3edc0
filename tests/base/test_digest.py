import numpy as np
import pytest

from keras_infnet._base.digest import digest


def test_equal_parts_have_one_digest_of_twelve_digits():
    first, again = (digest("dim", np.arange(3, dtype="int32")) for _ in range(2))
    assert first == again and len(first) == 12 and int(first, 16) >= 0


@pytest.mark.parametrize("other", [[0, 1], [0.0, 1, 2], [[0, 1, 2]], [0, 2, 1]])
def test_values_dtypes_and_shapes_count(other):
    assert digest(np.array([0, 1, 2])) != digest(np.array(other))
