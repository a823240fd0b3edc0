"""RankMixer: tokens trade parts, and each has a feed-forward layer of its own."""

from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import ops

from keras_infnet._base.fields import at_least, depth, one_of, widths
from keras_infnet.layers.feature_tokens import FeatureTokens
from keras_infnet.layers.per_token_feed_forward import PerTokenFeedForward
from keras_infnet.layers.token_mixing import TokenMixing
from keras_infnet.models.features import fields_by_owner, pooled_histories
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.tokens import Tokens


@keras.saving.register_keras_serializable(package="keras_infnet")
class RankMixer(RankingModel):
    """RankMixer on the same tokens as `INFNet`.

    `X_0 = FeatureTokens([C; e; counts])`, `T` tokens of the fields, of what the candidate finds in
    each group of events, `e_f = softmax_l((W_f cand + b_f) S_l / sqrt(d)) S`, and of a projection
    of the counts `log1p(n_f)`. Then for `num_layers` layers `S = LN(X + Mix(X))` and `X' = LN(S +
    pFFN(S))`: `TokenMixing` without weights, and a GELU `PerTokenFeedForward`. With `norm="pre"` it
    is `S = X + Mix(LN(X))`, `X' = S + pFFN(LN(S))`, and a last LN. `y_i = head_i(mean_t X_t)`.
    Without history `X_0` is of the fields alone.

    Features stand in the schema's order, those of the user before those of the context, the item's
    and the histories'; `"group"` cuts between them.

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
        dropout: Rate after each feed-forward layer and in the heads. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        num_layers: Number of layers. Defaults to `2`.
        num_tokens: Number of tokens `T`, a divisor of `dim`. Defaults to `8`.
        expansion: Hidden width of the feed-forward layers, in widths of a token. Defaults to `2`.
        norm: `"post"` or `"pre"`. Defaults to `"post"`.
        tokenizer: `"group"`, `"chunk"` or `"auto"`, the modes of `FeatureTokens`. Defaults to
            `"group"`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted, a hyperparameter is out of range, or `num_tokens` does
            not divide `dim`.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
        >>> schema = schema.with_sizes({"video_id": 10})
        >>> model = keras_infnet.models.RankMixer(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Zhu et al., RankMixer: Scaling Up Ranking Models in Industrial Recommenders, CIKM 2025,
        arXiv:2507.15551, without its sparse experts. Pooling by groups of events, counts, even
        groups of features and sizes are our choice; pre-norm and chunks are UniRank's,
        arXiv:2607.19987.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `RankMixer`, which says what they mean."""

        num_layers: int = depth(2)
        num_tokens: int = at_least(1, default=8)
        expansion: int = widths(default=2)
        norm: Literal["post", "pre"] = one_of("post", "pre")
        tokenizer: Literal["group", "chunk", "auto"] = one_of("group", "chunk", "auto")

        def check(self, model: str) -> None:
            if self.dim % self.num_tokens:
                raise ValueError(
                    f"{model}: num_tokens={self.num_tokens} does not divide dim={self.dim}; "
                    "each token gives a part of equal width to each."
                )

    @staticmethod
    def network(tokens: Tokens, config: "RankMixer.Config") -> dict[str, Any]:
        """Tokens of the features, layer on layer, and the mean for all heads."""
        features = fields_by_owner(tokens) + pooled_histories(tokens, config)
        tokenise = FeatureTokens(config.num_tokens, config.dim, config.tokenizer, name="tokens")
        x = tokenise(features)
        for i in range(config.num_layers):
            mix = TokenMixing(name=f"mixing_{i}")
            feed = PerTokenFeedForward(
                config.expansion, dropout=config.dropout, name=f"feed_forward_{i}"
            )
            for sub_layer in (mix, feed):
                norm = keras.layers.LayerNormalization(name=f"{sub_layer.name}_norm")
                x = norm(x + sub_layer(x)) if config.norm == "post" else x + sub_layer(norm(x))
        if config.norm == "pre":
            x = keras.layers.LayerNormalization(name="norm")(x)
        return dict.fromkeys(tokens.task_names, ops.mean(x, axis=1))
