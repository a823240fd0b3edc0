"""WuKong: stacked factorization machines."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_infnet._base.fields import at_least, depth, widths
from keras_infnet.layers.wukong_layer import WuKongLayer
from keras_infnet.models.mlp import mlp
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.tokens import Tokens


@keras.saving.register_keras_serializable(package="keras_infnet")
class WuKong(RankingModel):
    """WuKong on the same tokens as `INFNet`.

    `X_{l+1} = LN([FMB(X_l); LCB(X_l)] + R X_l)` for `num_layers` layers, each a `WuKongLayer`, from
    `X_0 = [C; cand; mean_{l in f} S_l; W log1p(n) + b]`; `y_i = head_i(MLP(flatten(X_L)))`. A layer
    doubles the degree of the interactions. Without history `X_0` is the field tokens `C`.

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
        dropout: Rate after each hidden layer of all MLPs and in the heads. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        num_layers: Number of layers. Defaults to `3`.
        num_fmb_tokens: Tokens made of interactions, in each layer. Defaults to `8`.
        num_lcb_tokens: Compressed tokens, in each layer. Defaults to `8`.
        projection_dim: Columns of the compressed matrix of pairs. Defaults to `8`.
        fmb_hidden_dims: Hidden widths of the MLP in each layer. Defaults to `(128,)`.
        hidden_dims: Widths of the MLP on the last layer. Defaults to `(256, 128)`.
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
        >>> model = keras_infnet.models.WuKong(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Zhang et al., Wukong: Towards a Scaling Law for Large-Scale Recommendation, ICML 2024,
        arXiv:2403.02545, of one task. As there, numbers enter as a token of their own: the counts.
        One head a task, the history's tokens and sizes are our choice.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `WuKong`, which says what they mean."""

        num_layers: int = depth(3)
        num_fmb_tokens: int = at_least(1, default=8)
        num_lcb_tokens: int = at_least(1, default=8)
        projection_dim: int = at_least(1, default=8)
        fmb_hidden_dims: tuple[int, ...] = widths(default=(128,))
        hidden_dims: tuple[int, ...] = widths(default=(256, 128))

    @staticmethod
    def network(tokens: Tokens, config: "WuKong.Config") -> dict[str, Any]:
        """Layer on layer from `X_0`, whose last token is the counts of events; one MLP for all."""
        x = tokens.interaction_tokens()
        if tokens.history is not None:
            counts = keras.layers.Dense(config.dim, name="count_token")(tokens.group_means()[1])
            x = ops.concatenate([x, ops.expand_dims(counts, 1)], axis=1)
        for i in range(config.num_layers):
            layer = WuKongLayer(
                config.num_fmb_tokens,
                config.num_lcb_tokens,
                config.projection_dim,
                config.fmb_hidden_dims,
                config.dropout,
                name=f"wukong_{i}",
            )
            x = layer(x)
        flat = ops.reshape(x, (-1, x.shape[1] * config.dim))
        shared = mlp(flat, config.hidden_dims, config.dropout, name="shared")
        return dict.fromkeys(tokens.task_names, shared)
