"""MMoE and OMoE: experts for all tasks, and a gate for each or one for all."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_infnet._base.fields import at_least, widths
from keras_infnet.layers.expert_group import ExpertGroup
from keras_infnet.models.expert_model import ExpertModel, mixture
from keras_infnet.models.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class _MixtureConfig(ExpertModel.Config):
    """What both models are configured by."""

    num_experts: int = at_least(1, default=8)
    expert_dims: tuple[int, ...] = widths(default=(128,), depth=True)


@keras.saving.register_keras_serializable(package="keras_infnet")
class MMoE(ExpertModel):
    """Multi-gate Mixture-of-Experts on the same tokens as `INFNet`.

    `y_i = head_i(sum_k g_{i,k}(x) f_k(x))` with `g_i(x) = softmax(x W_i)`, experts `f_k` (MLPs with
    relu) and `x` the flat tokens that `SharedBottom` reads. `expert_shares` has a gate for each
    task, named like it, over `expert_0`, `expert_1`, ...

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
        num_experts: Number of experts, 2 or more. Defaults to `8`.
        expert_dims: Widths of an expert's layers. Defaults to `(128,)`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted, or a hyperparameter is out of range.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
        >>> schema = schema.with_sizes({"video_id": 10})
        >>> model = keras_infnet.models.MMoE(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts, KDD 2018. Widths are our choice; it has 8 experts too.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(_MixtureConfig):
        """Arguments of `MMoE`, which says what they mean."""

    @staticmethod
    def network(tokens: Tokens, config: "MMoE.Config") -> dict[str, Any]:
        """A mixture of the experts for each task."""
        x = tokens.flat()
        experts = _experts(x, config)
        names = [f"expert_{k}" for k in range(config.num_experts)]
        return {task: mixture(x, experts, names, task) for task in tokens.task_names}


@keras.saving.register_keras_serializable(package="keras_infnet")
class OMoE(ExpertModel):
    """One-gate Mixture-of-Experts on the same tokens as `INFNet`.

    `y_i = head_i(sum_k g_k(x) f_k(x))` with `g(x) = softmax(x W)`, experts `f_k` (MLPs with relu)
    and `x` the flat tokens that `SharedBottom` reads. `expert_shares` has the one gate, `shared`,
    over `expert_0`, `expert_1`, ...

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
        num_experts: Number of experts, 2 or more. Defaults to `8`.
        expert_dims: Widths of an expert's layers. Defaults to `(128,)`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted, or a hyperparameter is out of range.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
        >>> schema = schema.with_sizes({"video_id": 10})
        >>> model = keras_infnet.models.OMoE(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts, KDD 2018, where it is compared with. Widths are our choice.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(_MixtureConfig):
        """Arguments of `OMoE`, which says what they mean."""

    @staticmethod
    def network(tokens: Tokens, config: "OMoE.Config") -> dict[str, Any]:
        """One mixture of the experts for all tasks."""
        x = tokens.flat()
        experts = _experts(x, config)
        names = [f"expert_{k}" for k in range(config.num_experts)]
        return dict.fromkeys(tokens.task_names, mixture(x, experts, names, "shared"))


def _experts(x: Any, config: _MixtureConfig) -> Any:
    """Outputs `(batch, experts, dim)`."""
    group = ExpertGroup(config.num_experts, config.expert_dims, config.dropout, name="experts")
    return group(x)
