"""AITM: what the network knows of a task is handed on to the next one of the funnel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_infnet._base.fields import at_least, widths
from keras_infnet.layers.configured_layer import ConfiguredLayer
from keras_infnet.models.mlp import mlp
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.tokens import Tokens
from keras_infnet.schema.funnel import parents_of
from keras_infnet.schema.schema import FeatureSchema


@keras.saving.register_keras_serializable(package="keras_infnet")
class AITM(RankingModel):
    """Adaptive Information Transfer Multi-task model on the same tokens as `INFNet`.

    `q_t = tower_t(x)`, with `x` the flat tokens that `SharedBottom` reads and a tower an MLP of
    its own. The first task of a path has `z_t = q_t`; another, with `p_t = relu(V_t z_parent)`,

    `z_t = sum_{u in (q_t, p_t)} softmax_u(<K_t u, Q_t u> / sqrt(k)) W_t u`,

    attention over the two, `k` the width of the towers' last layer. `y_t = head_t(z_t)`. In
    training `penalty mean(max(y_t - y_parent, 0))` is added to the loss for each task with a
    parent: a purchase is no more probable than the click before it.

    The parent of a task is the one before it in the funnel that the schema's tasks declare, such
    as `BinaryTask("buy", observed_when="click", entire_space=True)`: from frequent to rare.
    Outputs are probabilities in all exposures. Several tasks may have one parent. A binary task
    that no other comes before is the first of a path; tasks that are not binary have a tower alone.

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
        dropout: Rate after each layer of the towers and in the heads. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        hidden_dims: Widths of a tower. Defaults to `(128, 64, 32)`.
        penalty: Factor of the penalty; 0: none. Defaults to `0.6`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted, a hyperparameter is out of range, a binary task is
            observed where another's label is 1 and is not of the entire space, or no task or
            several are just before one.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> click = keras_infnet.BinaryTask("click")
        >>> buy = keras_infnet.BinaryTask("buy", observed_when="click", entire_space=True)
        >>> schema = keras_infnet.FeatureSchema([video], [click, buy])
        >>> model = keras_infnet.models.AITM(schema.with_sizes({"video_id": 10}))
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["buy"].shape)
        (2, 1)

    Reference:
        Xi et al., Modeling the Sequential Dependence among Audience Multi-step Conversions with
        Multi-task Learning in Targeted Display Advertising, KDD 2021, arXiv:2105.08489. Widths and
        penalty are those of its code; one rate of dropout, Glorot's start of `K`, `Q` and `W`
        (0.01 there), a hidden layer in the heads and paths that branch are our choice.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `AITM`, which says what they mean."""

        hidden_dims: tuple[int, ...] = widths(default=(128, 64, 32), depth=True)
        penalty: float = at_least(0, default=0.6)

    @classmethod
    def check_schema(cls, schema: FeatureSchema) -> None:
        parents_of(schema.tasks, cls.__name__)

    @staticmethod
    def network(tokens: Tokens, config: "AITM.Config") -> dict[str, Any]:
        """A tower for each task, and from its parent what is handed on."""
        x, found = tokens.flat(), {}
        for task, parent in parents_of(tokens.schema.tasks, "AITM").items():
            own = mlp(x, config.hidden_dims, config.dropout, name=f"{task}_tower")
            found[task] = own if parent is None else _transferred(own, found[parent], task)
        return found

    @classmethod
    def heads(cls, found: Mapping[str, Any], schema: FeatureSchema, config: Any) -> dict[str, Any]:
        """The usual heads, with the penalty added."""
        outputs = super().heads(found, schema, config)
        # Losses of members are averaged, as those of the tasks are.
        weight = config.penalty / config.members
        for task, parent in parents_of(schema.tasks, cls.__name__).items():
            if parent is not None and weight:
                penalty = PathPenalty(weight, dtype="float32", name=f"{task}_penalty")
                outputs[task] = penalty(outputs[task], outputs[parent])
        return outputs


@keras.saving.register_keras_serializable(package="keras_infnet")
class PathPenalty(ConfiguredLayer):
    """Adds `weight mean(max(y - y_parent, 0))` to the loss of training; `y` passes through."""

    # For who asks which task reads which weights: the output is the first input.
    passes_through = True

    def __init__(self, weight: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, y: Any, y_parent: Any, training: bool | None = None) -> Any:
        if training:
            self.add_loss(self.weight * ops.mean(ops.relu(y - y_parent)))
        return y

    def compute_output_shape(self, y_shape: tuple, y_parent_shape: tuple) -> tuple:
        return y_shape


def _transferred(own: Any, parent: Any, task: str) -> Any:
    """Attention over a task's own tower and what its parent hands on, `(batch, k)`."""
    width = own.shape[-1]
    handed = keras.layers.Dense(width, activation="relu", name=f"{task}_transfer")(parent)
    pair = ops.stack([own, handed], axis=1)
    keys, queries, values = (
        keras.layers.Dense(width, use_bias=False, name=f"{task}_{part}")(pair)
        for part in ("keys", "queries", "values")
    )
    scores = ops.sum(keys * queries, axis=-1, keepdims=True) / width**0.5
    shares = ops.softmax(ops.cast(scores, "float32"), axis=1)
    return ops.sum(ops.cast(shares, values.dtype) * values, axis=1)
