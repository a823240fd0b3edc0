"""UniMixer: token mixing that is learned, in two streams of residuals."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import ops

from keras_infnet._base.fields import above_zero, at_least, declared, depth, one_of, widths
from keras_infnet.layers.feature_tokens import FeatureTokens
from keras_infnet.layers.per_token_feed_forward import PerTokenFeedForward
from keras_infnet.layers.sinkhorn_mixing import SinkhornMixing
from keras_infnet.models.features import fields_by_owner, flat_history, pooled_histories
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.tokens import Tokens


@keras.saving.register_keras_serializable(package="keras_infnet")
class UniMixer(RankingModel):
    """UniMixer, full or Lite, on the same tokens as `INFNet`.

    `X = Y = FeatureTokens([C; e; counts])`, `T` tokens of the fields, of what the candidate finds
    in each group of events, `e_f = softmax_l((W_f cand + b_f) S_l / sqrt(d)) S`, and of a
    projection of the counts `log1p(n_f)`. Then for `num_layers` layers

    - `O = pSwiGLU(Mix(X + RMS(Y)))`, a `SinkhornMixing` and a SwiGLU `PerTokenFeedForward`;
    - `X <- RMS(X + O)`, `Y <- Y + O`;

    and `y_i = head_i(flatten(X + RMS(Y)))`. The temperature of the mixing falls with the steps of
    training, which its layers count. With `history="flat"` the events stand side by side, oldest
    first and zeros for padding, in place of `e` and the counts: weights by place, and histories of
    full length. Without history tokens are of the fields alone.

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
        num_tokens: Number of tokens `T`. Defaults to `4`.
        block_dim: Width of the blocks that are mixed, a divisor of `T * dim`, 2 or more. Defaults
            to `None`: `dim / T`.
        expansion: Hidden width of the feed-forward layers, in widths of a token. Defaults to `2`.
        lite: Whether the mixing's logits are made of a few bases and of a low rank. Defaults to
            `False`.
        num_bases: Matrices that blocks share with `lite`. Defaults to `4`.
        rank: Rank of the mixing across blocks with `lite`. Defaults to `4`.
        last_tau: The mixing's last temperature, 1 or less. Defaults to `0.05`.
        hold_steps: Steps of training at temperature 1. Defaults to `1000`.
        cooling_steps: Steps in which it falls to the last. Defaults to `20000`.
        history: `"pooled"` or `"flat"`. Defaults to `"pooled"`.
        tokenizer: `"group"`, `"chunk"` or `"auto"`, the modes of `FeatureTokens`. Defaults to
            `"group"`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted, a hyperparameter is out of range, or the tokens can't
            be cut into two or more blocks.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
        >>> schema = schema.with_sizes({"video_id": 10})
        >>> model = keras_infnet.models.UniMixer(schema, lite=True)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        UniMixer, arXiv:2604.00590. The block of mixing and SwiGLU has one pair of norms, as in the
        paper; in UniRank, arXiv:2607.19987, each of the two has its own. Four tokens and a head on
        all of them are UniRank's, which flattens the history; pooling by groups of events, counts
        and sizes are our choice.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `UniMixer`, which says what they mean."""

        num_layers: int = depth(2)
        num_tokens: int = at_least(1, default=4)
        block_dim: int | None = at_least(2, default=None, kind=2)
        expansion: int = widths(default=2)
        lite: bool = declared(False)
        num_bases: int = at_least(1, default=4)
        rank: int = at_least(1, default=4)
        last_tau: float = above_zero(0.05)
        hold_steps: int = at_least(0, default=1000, most=math.inf)
        cooling_steps: int = at_least(1, default=20_000, most=math.inf)
        history: Literal["pooled", "flat"] = one_of("pooled", "flat")
        tokenizer: Literal["group", "chunk", "auto"] = one_of("group", "chunk", "auto")

        @property
        def any_length(self) -> bool:
            """Whether histories may come short: flat ones have weights by place."""
            return self.history == "pooled"

        @property
        def block(self) -> int:
            """Width of a block; 0 where there is none."""
            if self.block_dim is not None:
                return self.block_dim
            return 0 if self.dim % self.num_tokens else self.dim // self.num_tokens

        def check(self, model: str) -> None:
            numbers = self.num_tokens * self.dim
            if self.block < 2 or numbers % self.block or numbers == self.block:
                raise ValueError(
                    f"{model}: {self.num_tokens} tokens of width {self.dim} and "
                    f"block_dim={self.block_dim}; expected two or more blocks of width 2 or more, "
                    "each of dim / num_tokens where block_dim is None. Set block_dim or num_tokens."
                )
            if self.last_tau > 1:
                raise ValueError(
                    f"{model}: last_tau={self.last_tau}; expected 1 or less: the temperature falls "
                    "from 1."
                )

    @staticmethod
    def network(tokens: Tokens, config: "UniMixer.Config") -> dict[str, Any]:
        """Tokens of the features, two streams through all layers, and their sum for all heads."""
        events = pooled_histories(tokens, config) if config.any_length else flat_history(tokens)
        tokenise = FeatureTokens(config.num_tokens, config.dim, config.tokenizer, name="tokens")
        x = y = tokenise(fields_by_owner(tokens) + events)
        for i in range(config.num_layers):
            mix = SinkhornMixing(
                config.block,
                config.lite,
                config.num_bases,
                config.rank,
                last_tau=config.last_tau,
                hold_steps=config.hold_steps,
                cooling_steps=config.cooling_steps,
                name=f"mixing_{i}",
            )
            feed = PerTokenFeedForward(
                config.expansion, "swiglu", config.dropout, name=f"feed_forward_{i}"
            )
            update = feed(mix(x + _rms(f"mixing_{i}_norm")(y)))
            x, y = _rms(f"feed_forward_{i}_norm")(x + update), y + update
        x = x + _rms("norm")(y)
        flat = ops.reshape(x, (-1, config.num_tokens * config.dim))
        return dict.fromkeys(tokens.task_names, flat)


def _rms(name: str) -> keras.layers.Layer:
    return keras.layers.RMSNormalization(name=name)
