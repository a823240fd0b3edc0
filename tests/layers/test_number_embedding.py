import numpy as np
import pytest

from keras_infnet.layers import NumberEmbedding
from tests import tiny

BINS = {"price": (0, 3), "age": (0,), "rate": (2,), "ctr": (0, 0, 3)}


def slow(weights, tables, x):
    """Column by column: `x w`, or the share of each bin times its row."""
    plain = [(name, c) for name, sizes in BINS.items() for c, n in enumerate(sizes) if not n]
    binned = [(name, c) for name, sizes in BINS.items() for c, n in enumerate(sizes) if n]
    expected = np.zeros((*x.shape[:-1], len(tables), 4))
    for row in np.ndindex(*x.shape[:-1]):
        columns = iter(x[row])
        for f, name in enumerate(tables):
            for c, number in enumerate(BINS[name]):
                value = next(columns)
                if number:
                    of_column = weights["places"][binned.index((name, c))]
                    for j in range(number):
                        expected[row][f] += min(max(value - j, 0), 1) * of_column[j]
                else:
                    expected[row][f] += value * weights["numbers"][plain.index((name, c))]
    return expected


@pytest.mark.parametrize(
    ("tables", "shape"),
    [(None, (5,)), (["rate", "price"], (2, 3)), (["age"], (4,)), (["ctr", "price", "ctr"], (2,))],
)
def test_vectors_are_sums_of_products_column_by_column(tables, shape):
    layer = NumberEmbedding(BINS, dim=4)
    names = tables or list(BINS)
    ends = [n for name in names for n in BINS[name]]
    x = np.random.default_rng(0).uniform(0, [n or 1 for n in ends], (*shape, len(ends)))
    layer.build()
    tiny.randomise(layer)
    weights = {w.path.rsplit("/", 1)[-1]: np.asarray(w) for w in layer.weights}
    found = layer(x.astype("float32"), tables=tables)
    np.testing.assert_allclose(found, slow(weights, names, x), atol=1e-5)


def test_what_is_wrong_is_told():
    with pytest.raises(ValueError, match="one or more columns.*'price': \\(\\)"):
        NumberEmbedding({"price": ()}, dim=4)
    layer = NumberEmbedding(BINS, dim=4)
    with pytest.raises(ValueError, match="no table \\['prices'\\]; expected names of \\['price'"):
        layer(np.zeros((2, 2), "float32"), tables=["prices"])
    with pytest.raises(ValueError, match="has 2 columns; expected 1, those of \\['age'\\]"):
        layer(np.zeros((2, 2), "float32"), tables=["age"])
