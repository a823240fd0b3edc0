"""INFNet's graph: from tokens through the blocks to the heads."""

from collections.abc import Mapping
from typing import Any

from keras_infnet.layers.infnet_block import INFNetBlock
from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.hyperparameters import check_hyperparameters
from keras_infnet.models.infnet_own import own_representations
from keras_infnet.models.infnet_tokens import first_state, head_inputs, proxies_of
from keras_infnet.models.network_parts import task_outputs
from keras_infnet.models.schema_tokens import SchemaTokens

_MAY_BE_ZERO = ("num_task_proxies", "num_recent_proxies", "num_encoder_layers", "own_dim")
_NEED_WHOLE_HISTORIES = ("all_to_all", "num_recent_proxies", "num_encoder_layers")
_MEMORY_PROXIES = ["field_proxies", "sequence_proxies"]


def check_infnet(given: Mapping[str, Any]) -> None:
    """Raises a ValueError for what is out of range, or leaves the heads without inputs."""
    check_hyperparameters("INFNet", given, may_be_zero=_MAY_BE_ZERO)
    if given["dim"] % given["num_heads"]:
        raise ValueError(
            f"INFNet: `num_heads` must divide `dim`. Received: num_heads={given['num_heads']}, "
            f"dim={given['dim']}"
        )
    if given["all_to_all"] and given["attend_own_group"]:
        raise ValueError(
            "INFNet: all_to_all=True with attend_own_group=True would let the history read itself, "
            "at a cost of its length squared. Set one of them to False."
        )
    if given["all_to_all"] and given["proxy_memory"]:
        raise ValueError(
            "INFNet: all_to_all=True has no proxies in its blocks that proxy_memory=True could "
            "read. Set one of them to False."
        )
    if not given["read_proxies"]:
        _check_heads_without_proxies(given)


def takes_any_length(given: Mapping[str, Any]) -> bool:
    """Whether histories may come shorter than `max_length`, as in batches of short histories."""
    return not any(given[name] for name in _NEED_WHOLE_HISTORIES)


def _check_heads_without_proxies(given: Mapping[str, Any]) -> None:
    if not given["task_tokens"]:
        raise ValueError(
            "INFNet: task_tokens=False with read_proxies=False leaves the heads nothing to read. "
            "Set read_proxies=True."
        )
    if given["proxy_memory"]:
        raise ValueError(
            "INFNet: proxy_memory=True with read_proxies=False would update proxies that nothing "
            "reads. Set read_proxies=True, or proxy_memory=False."
        )
    if given["num_recent_proxies"]:
        raise ValueError(
            f"INFNet: num_recent_proxies={given['num_recent_proxies']}, which heads alone read, "
            "with read_proxies=False. Set read_proxies=True, or num_recent_proxies=0."
        )
    flows = given["flow"] and given["heterogeneous_flow"]
    if not (flows or given["condition_on_candidate"] or given["own_dim"]):
        raise ValueError(
            "INFNet: nothing of the inputs reaches the heads, which read the task tokens alone "
            "while no attention feeds them. Set read_proxies=True, or keep the heterogeneous flow."
        )


def infnet_network(
    embedded: EmbeddedInputs, given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One member: outputs by task, and the state that each block reads."""
    projected = ("condition_on_candidate", "candidate_proxy", "candidate_products")
    reads_events = given["read_proxies"] or (given["flow"] and given["heterogeneous_flow"])
    tokens = SchemaTokens(
        embedded,
        given["event_context"] if reads_events else (),
        project_events=any(given[name] for name in projected),
        num_encoder_layers=given["num_encoder_layers"],
        num_heads=given["num_heads"],
        dropout=given["dropout"],
    )
    own = own_representations(embedded, tokens, given["head_dim"]) if given["own_dim"] else {}
    state, states = first_state(tokens, own, given), []
    num_blocks = given["num_blocks"] if given["flow"] else 0
    for i in range(num_blocks):
        unread, gate_only = _out_of_use(num_blocks - 1 - i, given)
        states.append({name: x for name, x in state.items() if name not in unread})
        state |= _block(tokens, given, i, num_blocks, gate_only)(states[-1])
        if given["all_to_all"]:
            state |= _as_memories(state)
    if given["all_to_all"] and given["read_proxies"]:
        state |= proxies_of(tokens, state["fields"], state.get("history"), given)
    schema, dtype = embedded.schema, embedded.dtype
    representations = head_inputs(tokens, state, own, given)
    outputs = task_outputs(schema, representations, given["head_dim"], given["dropout"], dtype)
    return outputs, states


def _block(
    tokens: SchemaTokens,
    given: Mapping[str, Any],
    index: int,
    num_blocks: int,
    gate_only: list[str],
) -> INFNetBlock:
    """Block number `index`."""
    biases, layout = given["score_biases"], tokens.layout
    return INFNetBlock(
        given["dim"],
        num_heads=given["num_heads"],
        residual=given["residual"],
        layer_norm=given["layer_norm"],
        qk_norm=given["qk_norm"],
        share_kv=given["share_kv"],
        attend_own_group=given["attend_own_group"],
        joint_task_queries=given["attend_own_group"],
        proxy_memory=given["proxy_memory"],
        gate=given["gate"],
        gate_hidden_dim=given["gate_hidden_dim"],
        gate_input=given["gate_input"],
        gate_only=gate_only,
        score_buckets=layout.num_buckets if biases else None,
        score_lengths=layout.position_lengths if biases else (),
        heterogeneous_flow=given["heterogeneous_flow"],
        homogeneous_flow=given["homogeneous_flow"],
        # All-to-all has no proxies that could gate fields and history.
        last=given["all_to_all"] or index == num_blocks - 1,
        dtype=tokens.dtype,
        name=f"block_{index}",
    )


def _out_of_use(remaining: int, given: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What a block can do without, and the proxies that it needs as they are, to gate by.

    So no weight is without a gradient; `remaining` is the number of blocks that follow.
    """
    flows, gates = given["heterogeneous_flow"], given["homogeneous_flow"]
    unread = [] if flows else ["history", "history_mask", "history_buckets"]
    gate_only: list[str] = []
    if given["read_proxies"]:
        return unread, gate_only
    old, all_to_all = given["gate_input"] == "old", given["all_to_all"]
    if not (remaining and flows and (gates or all_to_all)):
        unread += _MEMORY_PROXIES
    elif remaining == 1 and old and not all_to_all:
        gate_only += _MEMORY_PROXIES
    if not gates:
        unread.append("task_proxies")
    elif not remaining and old:
        gate_only.append("task_proxies")
    return unread, gate_only


def _as_memories(state: Mapping[str, Any]) -> dict[str, Any]:
    """All-to-all: the fields and events that queried are what the next block reads."""
    names = {"fields": "field_proxies", "history": "sequence_proxies"}
    return {memory: state[queries] for memory, queries in names.items() if queries in state}
