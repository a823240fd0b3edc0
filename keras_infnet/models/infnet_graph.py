"""INFNet's graph: proxies and task tokens, the blocks, and what the heads read."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_infnet.features.schema import FeatureSchema
from keras_infnet.layers.grouped_pooling import GroupedPooling
from keras_infnet.layers.infnet_block import INFNetBlock
from keras_infnet.layers.task_token_embedding import TaskTokenEmbedding
from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.network_parts import task_outputs
from keras_infnet.models.ranking_model import check_hyperparameters
from keras_infnet.models.schema_tokens import SchemaTokens

_PROXIES = ("field_proxies", "sequence_proxies", "task_proxies", "candidate_proxy")


def check_infnet(given: Mapping[str, Any]) -> None:
    """Raises a ValueError for what is out of range, or leaves the heads without inputs."""
    check_hyperparameters("INFNet", given, may_be_zero=("num_encoder_layers",))
    flows = given["flow"] and given["heterogeneous_flow"]
    if not (flows or given["read_proxies"] or given["condition_on_candidate"]):
        raise ValueError(
            "INFNet: nothing of the inputs reaches the heads, which read the task tokens alone "
            "while no attention feeds them. Set read_proxies=True, or keep the heterogeneous flow."
        )


def infnet_network(
    embedded: EmbeddedInputs, given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One member: outputs by task, and the state that each block reads."""
    projected = ("condition_on_candidate", "candidate_proxy", "candidate_products")
    tokens = SchemaTokens(
        embedded,
        given["event_context"],
        project_events=any(given[name] for name in projected),
        num_encoder_layers=given["num_encoder_layers"],
        num_heads=given["num_heads"],
        dropout=given["dropout"],
    )
    candidate = tokens.candidate()
    state, states = first_state(tokens, candidate, given), []
    num_blocks = given["num_blocks"] if given["flow"] else 0
    for i in range(num_blocks):
        last = i == num_blocks - 1
        states.append(what_is_read(state, last, given))
        state = {**state, **infnet_block(tokens, given, i, last)(states[-1])}
    schema, dtype = embedded.schema, embedded.dtype
    representations = head_inputs(schema, state, candidate, given, dtype)
    outputs = task_outputs(schema, representations, given["head_dim"], given["dropout"], dtype)
    return outputs, states


def infnet_block(
    tokens: SchemaTokens, given: Mapping[str, Any], index: int, last: bool
) -> INFNetBlock:
    """Block number `index`."""
    biases, layout = given["score_biases"], tokens.layout
    return INFNetBlock(
        given["dim"],
        num_heads=given["num_heads"],
        residual=given["residual"],
        layer_norm=given["layer_norm"],
        share_kv=given["share_kv"],
        attend_own_group=given["attend_own_group"],
        joint_task_queries=given["attend_own_group"],
        gate=given["gate"],
        gate_hidden_dim=given["gate_hidden_dim"],
        score_buckets=layout.num_buckets if biases else None,
        score_lengths=layout.position_lengths if biases else (),
        heterogeneous_flow=given["heterogeneous_flow"],
        homogeneous_flow=given["homogeneous_flow"],
        last=last,
        dtype=tokens.dtype,
        name=f"block_{index}",
    )


def first_state(
    tokens: SchemaTokens, candidate: Any, hyperparameters: Mapping[str, Any]
) -> dict[str, Any]:
    """State of the first `INFNetBlock`: memories, proxies and task tokens."""
    dim, dtype = tokens.dim, tokens.dtype
    conditioned = candidate if hyperparameters["condition_on_candidate"] else None
    num_tasks = len(tokens.schema.tasks)
    num_proxies = hyperparameters["num_task_proxies"]
    state = {
        "fields": tokens.fields,
        "tasks": _task_tokens(num_tasks, "tasks", tokens, conditioned),
        "task_proxies": _task_tokens(num_proxies, "task_proxies", tokens, conditioned),
    }
    flat = keras.layers.Flatten(dtype=dtype, name="flat_fields")(tokens.fields)
    state["field_proxies"] = _as_tokens(
        flat, hyperparameters["num_field_proxies"], dim, dtype, name="field_proxies"
    )
    if hyperparameters["candidate_proxy"] and hyperparameters["read_proxies"]:
        state["candidate_proxy"] = _as_tokens(candidate, 1, dim, dtype, name="candidate_proxy")
    if tokens.history is not None:
        pooling = GroupedPooling(
            dim, hyperparameters["pooling"], dtype=dtype, name="sequence_proxies"
        )
        state["history"] = tokens.history
        state["history_mask"] = tokens.history_mask
        state["sequence_proxies"] = pooling(tokens.history, tokens.groups)
        if tokens.buckets:
            state["history_buckets"] = tokens.buckets
    return state


def what_is_read(
    state: Mapping[str, Any], last: bool, hyperparameters: Mapping[str, Any]
) -> dict[str, Any]:
    """What a block has to update, so that no weight is without a gradient."""
    unread = []
    if not hyperparameters["read_proxies"]:
        gates = hyperparameters["homogeneous_flow"]
        if last or not gates:
            unread += ["field_proxies", "sequence_proxies"]
        if not gates:
            unread.append("task_proxies")
    return {name: tokens for name, tokens in state.items() if name not in unread}


def head_inputs(
    schema: FeatureSchema,
    state: Mapping[str, Any],
    candidate: Any,
    hyperparameters: Mapping[str, Any],
    dtype: Any,
) -> dict[str, Any]:
    """What each task's head reads: `[T_i; flatten(H); flatten((W_p cand + b_p) * (H W_h))]`."""
    dim = hyperparameters["dim"]
    shared = []
    if hyperparameters["read_proxies"]:
        proxies = ops.concatenate([state[name] for name in _PROXIES if name in state], axis=1)
        width = proxies.shape[1] * dim
        shared.append(ops.reshape(proxies, (-1, width)))
        if hyperparameters["candidate_products"]:
            scale = _as_tokens(candidate, 1, dim, dtype, name="product_candidate")
            project = keras.layers.Dense(dim, use_bias=False, dtype=dtype, name="product_proxies")
            shared.append(ops.reshape(scale * project(proxies), (-1, width)))
    representations = {}
    for i, name in enumerate(schema.task_names):
        parts = [state["tasks"][:, i], *shared]
        representations[name] = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)
    return representations


def _task_tokens(number: int, name: str, tokens: SchemaTokens, candidate: Any) -> Any:
    """`T = t`, or `T = t + reshape(W cand)`."""
    initializer = keras.initializers.RandomNormal(stddev=0.01)
    learned = TaskTokenEmbedding(number, tokens.dim, initializer, dtype=tokens.dtype, name=name)(
        tokens.fields
    )
    if candidate is None:
        return learned
    return learned + _as_tokens(
        candidate, number, tokens.dim, tokens.dtype, name=f"{name}_of_candidate", use_bias=False
    )


def _as_tokens(
    inputs: Any, number: int, dim: int, dtype: Any, name: str, use_bias: bool = True
) -> Any:
    """`reshape(W x)`: a vector `(batch, width)` as `(batch, number, dim)`."""
    project = keras.layers.Dense(number * dim, use_bias=use_bias, dtype=dtype, name=name)
    return ops.reshape(project(inputs), (-1, number, dim))
