"""Shared and task experts, extracted level by level."""

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
class PLE(ExpertModel):
    """Progressive Layered Extraction on the same tokens as `INFNet`.

    Level `l` has experts for each task, which read `x_i^l`, and shared ones, which read `x_s^l`; an
    expert is an MLP with relu. With `F_i`, `F_s` their outputs, side by side,

    `x_i^{l+1} = softmax(x_i^l W_i^l) [F_i(x_i^l); F_s(x_s^l)]` and
    `x_s^{l+1} = softmax(x_s^l W_s^l) [F_1(x_1^l); F_2(x_2^l); ...; F_s(x_s^l)]`.

    All `x^0` are the flat tokens that `SharedBottom` reads, and `y_i = head_i(x_i^n)` after `n`
    levels; the last has no `x_s`. `expert_shares` has the gates `level_0_{task}` and
    `level_0_shared`, ... over `{task}_0`, ... and `shared_0`, ...

    Args:
        schema: A fitted schema: `FeatureEncoder(schema).fit(frame).schema`.
        dim: Token width. Defaults to `32`.
        num_levels: Number of levels. Defaults to `2`.
        num_shared_experts: Number of shared experts of a level. Defaults to `2`.
        num_task_experts: Number of a task's experts of a level. Defaults to `2`.
        expert_dims: Widths of an expert's layers. Defaults to `(128,)`.
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
        >>> model = keras_infnet.models.PLE(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model
        for Personalized Recommendations, RecSys 2020. Sizes are our choice.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int = 32,
        num_levels: int = 2,
        num_shared_experts: int = 2,
        num_task_experts: int = 2,
        expert_dims: Sequence[int] = (128,),
        head_dim: int = 64,
        event_context: Sequence[str] = EVENT_CONTEXT,
        members: int = 1,
        dropout: float = 0.0,
        embedding_stddev: float = 0.01,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        hyperparameters = constructor_arguments(PLE, locals())
        check_hyperparameters("PLE", hyperparameters)
        check_task_names("PLE", schema.task_names)
        embedded = EmbeddedInputs(schema, dim, embedding_stddev, dtype=dtype)
        outputs = member_outputs(embedded, members, lambda part: _network(part, hyperparameters))
        super().__init__(schema, embedded.inputs, outputs, hyperparameters, dtype=dtype, **kwargs)


def _network(embedded: EmbeddedInputs, given: Mapping[str, Any]) -> dict[str, Any]:
    """One member: from embedded inputs to an output for each task."""
    schema, dtype = embedded.schema, embedded.dtype
    flat = SchemaTokens(embedded, given["event_context"]).flat()
    inputs = dict.fromkeys((*schema.task_names, "shared"), flat)
    for level in range(given["num_levels"]):
        last = level == given["num_levels"] - 1
        inputs = _extraction(level, inputs, given, dtype, last)
    return task_outputs(schema, inputs, given["head_dim"], given["dropout"], dtype)


def _extraction(
    level: int, inputs: Mapping[str, Any], given: Mapping[str, Any], dtype: Any, last: bool
) -> dict[str, Any]:
    """Inputs of the next level: a mixture for each task and, but in the last, a shared one."""
    sizes = {group: given["num_task_experts"] for group in inputs}
    sizes["shared"] = given["num_shared_experts"]
    experts = _experts(level, inputs, sizes, given, dtype)
    mixtures = {}
    for group in inputs:
        if group == "shared" and last:
            continue
        read = list(inputs) if group == "shared" else [group, "shared"]
        mixtures[group] = expert_gate(
            inputs[group],
            ops.concatenate([experts[g] for g in read], axis=1),
            [f"{g}_{k}" for g in read for k in range(sizes[g])],
            dtype,
            name=f"level_{level}_{group}",
        )
    return mixtures


def _experts(
    level: int,
    inputs: Mapping[str, Any],
    sizes: Mapping[str, int],
    given: Mapping[str, Any],
    dtype: Any,
) -> dict[str, Any]:
    """Outputs `(batch, experts, dim)` of the experts of each task, and of the shared ones."""
    if level:
        return {
            group: expert_group(
                inputs[group], size, given, dtype, name=f"level_{level}_{group}_experts"
            )
            for group, size in sizes.items()
        }
    # All groups have the same input, so that one product serves them all.
    total = sum(sizes.values())
    outputs = expert_group(inputs["shared"], total, given, dtype, name="level_0_experts")
    experts, start = {}, 0
    for group, size in sizes.items():
        experts[group] = outputs[:, start : start + size]
        start += size
    return experts
