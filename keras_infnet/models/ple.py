"""PLE: shared and task experts, extracted level by level."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_infnet._base.fields import at_least, depth, widths
from keras_infnet.layers.expert_group import ExpertGroup
from keras_infnet.models.expert_model import ExpertModel, check_task_names, mixture
from keras_infnet.models.tokens import Tokens
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
        schema: A fitted schema, such as `RankingData(schema, log).schema`.
        dim: Token width. Defaults to `32`.
        head_dim: Hidden width of the heads. Defaults to `64`.
        event_context: What an event's token knows besides its item, where the schema has it; it
            may have `"match"` too: which of its fields equal the candidate's. Defaults to `None`:
            all that its histories have, and the position.
        members: Number of networks on shared tables, each with its own loss; their outputs are
            averaged. Defaults to `1`.
        own_tables: Whether each member has tables of its own. Defaults to `False`.
        dropout: Rate after each layer of the experts and in the heads. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        num_levels: Number of levels. Defaults to `2`.
        num_shared_experts: Number of shared experts of a level. Defaults to `2`.
        num_task_experts: Number of a task's experts of a level. Defaults to `2`.
        expert_dims: Widths of an expert's layers. Defaults to `(128,)`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted, a task is called "shared", or a hyperparameter is out
            of range.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
        >>> schema = schema.with_sizes({"video_id": 10})
        >>> model = keras_infnet.models.PLE(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model
        for Personalized Recommendations, RecSys 2020. Sizes are our choice.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ExpertModel.Config):
        """Arguments of `PLE`, which says what they mean."""

        num_levels: int = depth(2)
        num_shared_experts: int = at_least(1, default=2)
        num_task_experts: int = at_least(1, default=2)
        expert_dims: tuple[int, ...] = widths(default=(128,))

    @classmethod
    def check_schema(cls, schema: FeatureSchema) -> None:
        check_task_names(cls.__name__, schema.task_names)

    @staticmethod
    def network(tokens: Tokens, config: "PLE.Config") -> dict[str, Any]:
        """Level by level: a mixture for each task and, but in the last level, a shared one."""
        inputs = dict.fromkeys((*tokens.task_names, "shared"), tokens.flat())
        sizes = dict.fromkeys(inputs, config.num_task_experts)
        sizes["shared"] = config.num_shared_experts
        for level in range(config.num_levels):
            experts = _experts(level, inputs, sizes, config)
            last = level == config.num_levels - 1
            found = {}
            for group in tokens.task_names if last else inputs:
                read = list(inputs) if group == "shared" else [group, "shared"]
                outputs = ops.concatenate([experts[g] for g in read], axis=1)
                names = [f"{g}_{k}" for g in read for k in range(sizes[g])]
                found[group] = mixture(inputs[group], outputs, names, f"level_{level}_{group}")
            inputs = found
        return inputs


def _experts(
    level: int, inputs: Mapping[str, Any], sizes: Mapping[str, int], config: PLE.Config
) -> dict[str, Any]:
    """Outputs `(batch, experts, dim)` of the experts of each task, and of the shared ones."""

    def group(x: Any, size: int, name: str) -> Any:
        return ExpertGroup(size, config.expert_dims, config.dropout, name=name)(x)

    if level:
        return {g: group(inputs[g], n, f"level_{level}_{g}_experts") for g, n in sizes.items()}
    # All groups have the same input, so that one product serves them all.
    outputs = group(inputs["shared"], sum(sizes.values()), "level_0_experts")
    experts, start = {}, 0
    for name, size in sizes.items():
        experts[name] = outputs[:, start : start + size]
        start += size
    return experts
