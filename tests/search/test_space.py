import pytest

from keras_infnet.search import SearchSpace

pytestmark = pytest.mark.one_backend


def test_the_number_of_points_is_the_product():
    space = SearchSpace((1, 2), (1,), (1, 2), (8,), (1e-3,), (1.0, 4.0), (0, 0.1), ("paper_v1",))
    assert space.num_points == 2 * 2 * 2 * 2
    assert space.num_varied == 4 and space.dropout == (0.0, 0.1)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"dim": ()}, r"dim is \(\); expected one or more values, all different"),
        ({"dim": 8}, "`dim` must be a tuple, each an int. Received: 8"),
        ({"form": "default"}, "`form` must be a tuple, each a string. Received: form='default'"),
        ({"dim": (8, 8)}, r"dim is \(8, 8\); expected one or more values, all different"),
        ({"num_field_proxies": [0, 2]}, r"`num_field_proxies` must be 1 or more.*\(0, 2\)"),
        ({"num_blocks": (1.5,)}, "`num_blocks` must be a tuple, each an int"),
        ({"learning_rate": (0.0,)}, "`learning_rate` must be above 0"),
        ({"dropout": (1.0,)}, r"`dropout` must be in \[0, 1\)"),
        ({"form": ("v3",)}, '`form` must be "default" or "paper_v1" or "paper_v2"'),
    ],
)
def test_a_value_out_of_range_is_an_error_that_names_it(values, text):
    with pytest.raises(ValueError, match=text):
        SearchSpace(**values)
