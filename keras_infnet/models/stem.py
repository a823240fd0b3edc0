"""Shared and task-specific embeddings: each task learns its own tables alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.expert_model import (
    ExpertModel,
    check_task_names,
    expert_gate,
    expert_group,
)
from keras_infnet.models.history_tokens import EVENT_CONTEXT
from keras_infnet.models.hyperparameters import check_hyperparameters, constructor_arguments
from keras_infnet.models.members import member_outputs
from keras_infnet.models.network_parts import task_outputs
from keras_infnet.models.schema_tokens import SchemaTokens
from keras_infnet.schema.schema import FeatureSchema


@keras.saving.register_keras_serializable(package="keras_infnet")
class STEM(ExpertModel):
    """STEM-Net on the same inputs as `INFNet`: shared and task-specific embeddings.

    Each id has a shared row of width `dim` and one of width `task_dim` for each task. Of each, the
    flat tokens that `SharedBottom` reads are made: `x_s`, and `x_i` of task `i`. With experts `F_s`
    on `x_s` and `F_j` on `x_j` (MLPs with relu, outputs side by side),

    `y_i = head_i(g_i [sg(F_1); ...; F_i; ...; sg(F_N); F_s])`,
    `g_i = softmax(MLP_i([x_i; x_s]) W_i + b_i)`.

    All tasks read all experts, but `sg` stops the gradient: the loss of a task reaches its own
    tables and experts and the shared ones, never those of another task. `expert_shares` has a gate
    for each task, named like it, over `{task}_0`, ... of all tasks and `shared_0`, ...

    The authors' code adds `x_i` and `x_s` before the gate, which is our gate with one matrix for
    both; apart, their widths may differ. Otherwise the gate is theirs. It can stack layers, with
    one as the default; here it is one.

    Args:
        schema: A fitted schema: `FeatureEncoder(schema).fit(frame).schema`.
        dim: Width of the shared embeddings. Defaults to `16`: with three tasks, 64 numbers an id.
        task_dim: Width of each task's own embeddings. Defaults to `16`.
        num_shared_experts: Number of shared experts. Defaults to `2`.
        num_task_experts: Number of experts of each task. Defaults to `2`.
        expert_dims: Widths of an expert's layers. Defaults to `(128,)`.
        gate_dims: Widths of the gates' MLP; it may be empty. Defaults to `(64,)`.
        head_dim: Hidden width of the heads. Defaults to `64`.
        event_context: What an event's token knows besides its item, where the schema has it; it may
            have `"match"` too: which of its fields equal the candidate's. Defaults to `("action",
            "ratio", "age", "position")`.
        members: Number of networks on shared tables, each with its own loss; their outputs are
            averaged. Defaults to `1`.
        dropout: Rate after each layer of the experts and in the heads. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.
        **kwargs: `name` and `trainable`.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted, a task is called "shared", or a hyperparameter is out
            of range.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item", num_ids=10)
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
        >>> model = keras_infnet.models.STEM(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Su et al., STEM: Unleashing the Power of Embeddings for Multi-task Recommendation, AAAI
        2024, arXiv:2308.13537, and its code, github.com/LiangcaiSu/STEM. Sizes are our choice.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int = 16,
        task_dim: int = 16,
        num_shared_experts: int = 2,
        num_task_experts: int = 2,
        expert_dims: Sequence[int] = (128,),
        gate_dims: Sequence[int] = (64,),
        head_dim: int = 64,
        event_context: Sequence[str] = EVENT_CONTEXT,
        members: int = 1,
        dropout: float = 0.0,
        embedding_stddev: float = 0.01,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        hyperparameters = constructor_arguments(STEM, locals())
        check_hyperparameters("STEM", hyperparameters)
        check_task_names("STEM", schema.task_names)
        embedded = EmbeddedInputs(schema, dim, embedding_stddev, own_dim=task_dim, dtype=dtype)
        outputs = member_outputs(embedded, members, lambda part: _network(part, hyperparameters))
        super().__init__(schema, embedded.inputs, outputs, hyperparameters, dtype=dtype, **kwargs)


def _network(embedded: EmbeddedInputs, given: Mapping[str, Any]) -> dict[str, Any]:
    """One member: from embedded inputs to an output for each task."""
    schema, dtype = embedded.schema, embedded.dtype
    inputs = _flat_tokens(embedded, given["event_context"])
    sizes = {group: given["num_task_experts"] for group in inputs}
    sizes["shared"] = given["num_shared_experts"]
    experts = {
        group: expert_group(inputs[group], size, given, dtype, name=f"{group}_experts")
        for group, size in sizes.items()
    }
    names = [f"{group}_{k}" for group, size in sizes.items() for k in range(size)]
    mixtures = {}
    for task in schema.task_names:
        read = [
            outputs if group in (task, "shared") else ops.stop_gradient(outputs)
            for group, outputs in experts.items()
        ]
        mixtures[task] = expert_gate(
            ops.concatenate([inputs[task], inputs["shared"]], axis=-1),
            ops.concatenate(read, axis=1),
            names,
            dtype,
            name=task,
            hidden_dims=given["gate_dims"],
            use_bias=True,
        )
    return task_outputs(schema, mixtures, given["head_dim"], given["dropout"], dtype)


def _flat_tokens(embedded: EmbeddedInputs, event_context: Sequence[str]) -> dict[str, Any]:
    """`x_i` by task, and `x_s` as "shared", `(batch, width)` each."""
    flat = {}
    for i, task in enumerate(embedded.schema.task_names):
        tokens = SchemaTokens(embedded.own(i), event_context, name=f"{task}_history_tokens")
        flat[task] = tokens.flat()
    flat["shared"] = SchemaTokens(embedded, event_context).flat()
    return flat
