import pytest

from keras_infnet import INFNet
from keras_infnet.models import SharedBottom
from keras_infnet.models.user_state import state_tensors
from tests import tiny

# What a graph is made of is the same on both backends.
pytestmark = pytest.mark.one_backend

HISTORY = ["exposures", "exposures_age"]


@pytest.fixture(scope="module")
def schema():
    return tiny.schema("exposures")


def shapes(model, inputs=HISTORY):
    return {name: tuple(x.shape) for name, x in state_tensors(model, inputs).items()}


def test_a_state_of_infnet_is_what_attention_and_heads_read_of_the_history(schema):
    # Six groups; queries are 4 field proxies, 2 task proxies, 3 tasks and the candidate.
    expected = {
        "sequence_proxies": (None, 6, 8),
        "history_tokens": (None, None, 8),
        "not_equal": (None, None),
        "swapaxes": (None, 10, None),
        "matmul": (None, 6, 8),
        "cast": (None, 6),
    }
    found = shapes(INFNet(schema, dim=8))
    assert {name: shape for name, shape in found.items() if name in expected} == expected
    assert set(found) == set(expected)
    # Keras numbers operations without a name on and on.
    assert shapes(INFNet(schema, dim=8)) == found


def test_what_pools_first_keeps_no_event(schema):
    assert shapes(SharedBottom(schema, dim=8)) == {"matmul": (None, 6, 8), "cast": (None, 6)}


def test_members_have_tensors_of_their_own(schema):
    found = shapes(INFNet(schema, dim=8, members=2))
    assert len(found) == 12 and {"history_tokens", "history_tokens_1"} <= set(found)


def test_without_inputs_of_the_user_there_is_none(schema):
    assert shapes(INFNet(schema, dim=8), ()) == {}


def test_where_the_candidate_changes_each_event_ids_are_kept(schema):
    tensors = state_tensors(INFNet(schema, dim=8, event_context=("match",)), HISTORY)
    assert "history_tokens" not in tensors
    assert tensors["get_item"].dtype == "int32"
