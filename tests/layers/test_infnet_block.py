import numpy as np
import pytest

from keras_infnet import INFNetBlock
from tests import tiny
from tests.reference.textbook import Weights, dense, gated_unit, sigmoid

RNG = np.random.default_rng(0)


def state(**more):
    sizes = {"fields": 5, "tasks": 3, "field_proxies": 4, "task_proxies": 2, **more}
    return {n: RNG.normal(size=(2, m, 8)).astype("float32") for n, m in sizes.items()}


def test_it_updates_what_the_state_holds_and_builds_nothing_else():
    block = INFNetBlock(dim=8, residual=False, layer_norm=False)
    assert sorted(block(state())) == ["field_proxies", "fields_gate", "task_proxies", "tasks"]
    small = INFNetBlock(dim=8, residual=False, layer_norm=False, last=True)
    first = {name: x for name, x in state().items() if name != "field_proxies"}
    assert sorted(small(first)) == ["task_proxies", "tasks"]
    assert small.count_params() == 2 * 64 + 2 * 64 + 2 * 8 * 8 + 8


def test_gates_multiply_over_blocks():
    block, before = tiny.randomise_after(INFNetBlock(dim=8), state()), state()
    once = np.array(block(before)["fields_gate"])
    ones = {**before, "fields_gate": np.ones((2, 1, 8), "float32")}
    np.testing.assert_allclose(block(ones)["fields_gate"], once, atol=1e-6)
    gated = {**before, "fields_gate": once}
    written = {**before, "fields": before["fields"] * once}
    for name in ("tasks", "task_proxies"):
        np.testing.assert_allclose(block(gated)[name], block(written)[name], atol=1e-5)


def test_without_heterogeneous_flow_queries_pass_through():
    block, before = INFNetBlock(dim=8, heterogeneous_flow=False), state()
    after = block(before)
    np.testing.assert_array_equal(after["field_proxies"], before["field_proxies"])
    assert "fields_gate" not in after and block.attention_weights(before) == {}
    assert np.any(np.array(after["tasks"]) != before["tasks"])


def test_without_homogeneous_flow_tokens_pass_through():
    after = INFNetBlock(dim=8, homogeneous_flow=False)(state())
    assert sorted(after) == ["field_proxies", "task_proxies", "tasks"]


def test_proxies_without_any_memory_pass_through():
    before = {name: x for name, x in state().items() if name != "tasks"}
    block = tiny.randomise_after(INFNetBlock(dim=8, last=True), before)
    after = block(before)
    assert sorted(after) == ["field_proxies", "task_proxies"]
    np.testing.assert_array_equal(after["field_proxies"], before["field_proxies"])
    assert np.any(np.array(after["task_proxies"]) != before["task_proxies"])


@pytest.mark.parametrize("gate_input", ["new", "old"])
def test_gates_read_the_proxies_after_or_before_the_flow(gate_input):
    before = state()
    block = tiny.randomise_after(INFNetBlock(dim=8, gate_input=gate_input), before)
    new, after = block.flow(before), block(before)
    w = Weights.of(block) / block.name
    gate_by = {"new": new, "old": before}[gate_input]
    mlp = [w / "tasks_gate" / "control"]
    expected = gated_unit(np.array(new["tasks"]), np.array(gate_by["task_proxies"]), mlp)
    np.testing.assert_allclose(after["tasks"], expected, atol=1e-5)
    control = np.array(gate_by["field_proxies"]).reshape(2, -1)
    gate = sigmoid(dense(control, w / "fields_gate" / "control"))
    np.testing.assert_allclose(after["fields_gate"][:, 0], gate, atol=1e-5)


@pytest.mark.parametrize("gate_input", ["new", "old"])
@pytest.mark.parametrize("joint", [False, True])
def test_channel_gates_are_those_of_the_call(gate_input, joint):
    options = {"joint_task_queries": joint, "attend_own_group": joint}
    block = INFNetBlock(dim=8, gate_input=gate_input, **options)
    before = state()
    tiny.randomise_after(block, before)
    gates, after = block.channel_gates(before), block(before)
    np.testing.assert_allclose(gates["fields"], after["fields_gate"], atol=1e-6)
    expected = np.array(block.flow(before)["tasks"]) * np.array(gates["tasks"])
    np.testing.assert_allclose(after["tasks"], expected, atol=1e-6)


VERSION_2 = {"gate": "affine", "attend_own_group": True, "joint_task_queries": True}


@pytest.mark.parametrize("arguments", [{}, VERSION_2], ids=["default", "version 2"])
def test_one_row_stands_for_all(arguments):
    block = INFNetBlock(dim=8, score_lengths=(6,), **arguments)
    mixed = state(history=6, sequence_proxies=2)
    mixed |= {name: mixed[name][:1] for name in ("history", "sequence_proxies", "tasks")}
    mixed["history_mask"] = np.arange(6)[None] > 1
    repeated = {name: np.repeat(x, 2 // len(x), axis=0) for name, x in mixed.items()}
    tiny.randomise_after(block, repeated)
    after, expected = block(mixed), block(repeated)
    assert sorted(after) == sorted(expected)
    for name, x in after.items():
        x = np.broadcast_to(x, expected[name].shape)
        np.testing.assert_allclose(x, expected[name], atol=1e-5)


def test_groups_that_gate_only_are_not_updated():
    before = state()
    options = {"dim": 8, "gate_input": "old", "layer_norm": False, "last": True}
    block = INFNetBlock(gate_only=["task_proxies", "field_proxies"], **options)
    assert sorted(block(before)) == ["tasks"]
    assert block.compute_output_shape({n: x.shape for n, x in before.items()}) == {
        "tasks": (2, 3, 8)
    }
    assert block.count_params() == 3 * 64 + 2 * 8 * 8 + 8
    assert block.attention_weights(before).keys() == {"fields"}


def test_a_gate_input_that_is_not_known_is_an_error():
    with pytest.raises(ValueError, match="`gate_input` must be .* Received: 'both'"):
        INFNetBlock(dim=8, gate_input="both")


def test_a_state_without_fields_is_an_error():
    given = {name: x for name, x in state().items() if name != "fields"}
    with pytest.raises(ValueError, match="`state` lacks \\['fields'\\]"):
        INFNetBlock(dim=8)(given)


def test_a_history_without_its_mask_is_an_error():
    with pytest.raises(ValueError, match="`state` lacks \\['history_mask'\\]"):
        INFNetBlock(dim=8)(state(history=6))
