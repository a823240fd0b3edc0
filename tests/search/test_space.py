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
        ({"dim": ()}, "`dim` must be a list of one or more values. Received: ()"),
        ({"dim": 8}, "`dim` must be a list"),
        ({"form": "default"}, "`form` must be a list"),
        ({"dim": (8, 8)}, "`dim` has a value twice"),
        ({"num_field_proxies": (0, 2)}, r"`num_field_proxies` has \[0\]; expected whole numbers"),
        ({"num_blocks": (1.5,)}, r"`num_blocks` has \[1.5\]; expected whole numbers"),
        (
            {"learning_rate": (0.0,)},
            r"`learning_rate` has \[0.0\]; expected finite numbers above 0",
        ),
        ({"dropout": (1.0,)}, r"`dropout` has \[1.0\]; expected numbers in"),
        ({"form": ("v3",)}, r"`form` has \['v3'\]; expected any of default, paper_v1, paper_v2"),
    ],
)
def test_a_value_out_of_range_is_an_error_that_names_it(values, text):
    with pytest.raises(ValueError, match=text):
        SearchSpace(**values)
