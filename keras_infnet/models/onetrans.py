"""OneTrans: one causal transformer over events and field tokens of the candidate."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._base.fields import at_least, declared, depth
from keras_infnet.layers.causal_mask import CausalMask
from keras_infnet.layers.configured_layer import joined
from keras_infnet.layers.feature_tokens import FeatureTokens
from keras_infnet.layers.masked_attention import MaskedAttention
from keras_infnet.layers.per_token_feed_forward import PerTokenFeedForward
from keras_infnet.models.mlp import dropped
from keras_infnet.models.one_stream import OneStream
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.tokens import Tokens


@keras.saving.register_keras_serializable(package="keras_infnet")
class OneTrans(RankingModel):
    """OneTrans on the same tokens as `INFNet`.

    `X_0 = [S; NS]`: the events of all histories, merged by age, oldest first, then `num_tokens`
    tokens of the fields `C`, each `silu(LN(W_j flatten(C) + b_j))`. Each layer is causal:

    - `Z = X + W_O MHA(Q, K, V)` with `Q, K, V = W^Q RMS(X), W^K RMS(X), W^V RMS(X)`, where token
      `i` reads the tokens `j <= i` that are not padding;
    - `X' = Z + FFN(RMS(Z))`, `FFN(x) = W_2 relu(W_1 x + b_1) + b_2`.

    `W^Q`, `W^K`, `W^V` and FFN are shared by all events, and each field token has its own. Events
    never see a field, so that their part is computed once for all of a user's candidates. With
    `pyramid` layer `l` keeps the newest `round(linspace(L, num_tokens, num_layers + 1)[l])` events;
    the last layer keeps none, as only the field tokens are read: `y_i = head_i(flatten(RMS(NS)))`.

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
        dropout: Rate after each attention and feed-forward layer and in the heads. Defaults to
            `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        num_layers: Number of layers. Defaults to `2`.
        num_heads: Heads of each layer, a divisor of `dim`. Defaults to `2`.
        num_tokens: Number of field tokens. Defaults to `4`.
        num_user_tokens: How many of them are made of the fields of user and context alone, and
            stand before the others, which then are made of the candidate and the item's fields:
            they too are computed once for all candidates. Defaults to `0`: all tokens are made of
            all fields.
        pyramid: Whether layers keep fewer and fewer events. Defaults to `True`.
        expansion: Hidden width of the feed-forward layers, in widths of a token. Defaults to `4`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted or has no history, a hyperparameter is out of range,
            or there are tokens of the user's, but no field of user or context.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> liked = keras_infnet.History("liked", ("video_id",), max_length=4, quantities=())
        >>> click = keras_infnet.BinaryTask("click")
        >>> schema = keras_infnet.FeatureSchema([video], [click], [liked])
        >>> schema = schema.with_sizes({"video_id": 10})
        >>> model = keras_infnet.models.OneTrans(schema)
        >>> inputs = {"categorical": [[1], [2]], "liked": [[[0], [0], [3], [1]]] * 2}
        >>> inputs = {name: keras.ops.array(ids, "int32") for name, ids in inputs.items()}
        >>> tuple(model(inputs)["click"].shape)
        (2, 1)

    Reference:
        Zhang et al., OneTrans: Unified Feature Interaction and Sequence Modeling with One
        Transformer in Industrial Recommender, WWW 2026, arXiv:2510.26104. `W_O` shared by all
        tokens, no bias in the projections, a last RMS and the flat field tokens for the heads are
        those of UniRank, arXiv:2607.19987; ages in buckets, the position in an event's token, a
        vector for each history in place of separators, and sizes are our choice.
    """

    needs_history = True

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `OneTrans`, which says what they mean."""

        num_layers: int = depth(2)
        num_heads: int = at_least(1, default=2)
        num_tokens: int = at_least(1, default=4)
        num_user_tokens: int = at_least(0, default=0)
        pyramid: bool = declared(True)
        expansion: int = at_least(1, default=4, width=True)

        def check(self, model: str) -> None:
            if self.num_user_tokens >= self.num_tokens:
                raise ValueError(
                    f"{model}: num_user_tokens={self.num_user_tokens} of num_tokens="
                    f"{self.num_tokens} leave none of the candidate's. Take fewer, or more tokens."
                )

        def newest_events(self, length: int) -> list[int]:
            """How many events each layer keeps, of `length` at most."""
            if not self.pyramid:
                return [length] * (self.num_layers - 1) + [0]
            levels = np.linspace(length, self.num_tokens, self.num_layers + 1)[1:-1]
            return [min(length, round(level)) for level in levels] + [0]

    @staticmethod
    def network(tokens: Tokens, config: "OneTrans.Config") -> dict[str, Any]:
        """The field tokens after all layers: those of the user, if any, are a part of their own."""
        stream, parts = OneStream(tokens), _field_tokens(tokens, config)
        events, mask = stream.tokens, stream.mask
        for i, newest in enumerate(config.newest_events(stream.length)):
            layer = _Layer(config, i)
            x, shared = layer.norm(events), layer.shared(newest)
            read, allowed = [(shared["key"](x), shared["value"](x))], [ops.expand_dims(mask, 1)]
            if newest:
                x, events = x[:, -newest:], events[:, -newest:]
                causal = CausalMask()(x, read[0][0], keys_mask=mask)
                events = layer.attended("event", events, shared["query"](x), read, [causal])
                events = layer.fed("event", events, shared["feed_forward"])
                mask = mask[:, -newest:]
            for p, part in enumerate(parts):
                name, x = f"field_{p}", layer.norm(part)
                own = layer.own(name, part.shape[1])
                read = [*read, (own["key"](x), own["value"](x))]
                causal = CausalMask()(x, x)
                part = layer.attended(name, part, own["query"](x), read, [*allowed, causal])
                parts[p] = layer.fed(name, part, own["feed_forward"])
                allowed = [*allowed, None]
        x = keras.layers.RMSNormalization(name="last_norm")(joined(parts))
        flat = ops.reshape(x, (-1, config.num_tokens * config.dim))
        return dict.fromkeys(tokens.task_names, flat)


class _Layer:
    """The parts of one layer: what all tokens share, what events do, and each field token's own."""

    def __init__(self, config: OneTrans.Config, index: int) -> None:
        self._config, self._index = config, index
        self.norm = keras.layers.RMSNormalization(name=f"attention_norm_{index}")
        self._feed_norm = keras.layers.RMSNormalization(name=f"feed_forward_norm_{index}")
        self._attend = MaskedAttention(config.num_heads, name=f"attention_{index}")
        self._output = self._dense("output", config.dim, use_bias=False)

    def shared(self, newest: int) -> dict[str, Any]:
        """What events share, by use; in the last layer, where none queries, keys and values."""
        dim, expansion = self._config.dim, self._config.expansion
        kinds = ("key", "value", "query") if newest else ("key", "value")
        parts: dict[str, Any] = {k: self._dense(f"event_{k}", dim, use_bias=False) for k in kinds}
        if newest:
            hidden = self._dense("event_hidden", expansion * dim, activation="relu")
            output = self._dense("event_feed_forward", dim)
            parts["feed_forward"] = lambda x: output(hidden(x))
        return parts

    def own(self, name: str, number: int) -> dict[str, Any]:
        """The same of field tokens, of which each has its own."""
        # As Glorot's of one matrix: Keras would count the tokens as inputs.
        limit = (3 / self._config.dim) ** 0.5
        parts: dict[str, Any] = {}
        for kind in ("key", "value", "query"):
            # One object would start all three alike.
            start: Any = keras.initializers.RandomUniform(-limit, limit)
            parts[kind] = keras.layers.EinsumDense(
                "btd,tde->bte",
                (number, self._config.dim),
                kernel_initializer=start,
                name=self._name(name, kind),
            )
        feed_forward = self._name(name, "feed_forward")
        expansion = self._config.expansion
        parts["feed_forward"] = PerTokenFeedForward(expansion, "relu", name=feed_forward)
        return parts

    def attended(
        self, name: str, x: Any, queries: Any, read: list[tuple], allowed: list[Any]
    ) -> Any:
        keys, values = zip(*read, strict=True)
        attended = self._output(self._attend(queries, list(keys), list(values), allowed))
        return x + dropped(attended, self._config.dropout, self._name(name, "attention_dropout"))

    def fed(self, name: str, x: Any, feed_forward: Any) -> Any:
        fed = feed_forward(self._feed_norm(x))
        return x + dropped(fed, self._config.dropout, self._name(name, "dropout"))

    def _dense(self, name: str, units: int, **options: Any) -> keras.layers.Dense:
        return keras.layers.Dense(units, name=f"{name}_{self._index}", **options)

    def _name(self, of: str, kind: str) -> str:
        return f"{of}_{kind}_{self._index}"


def _field_tokens(tokens: Tokens, config: OneTrans.Config) -> list[Any]:
    """Tokens of all fields, or those of user and context, then those of candidate and item."""
    number, of_user, dim = config.num_tokens, config.num_user_tokens, config.dim
    if not of_user:
        flat = ops.reshape(tokens.fields, (-1, tokens.fields.shape[1] * dim))
        return [FeatureTokens(number, dim, name="field_tokens")(flat)]
    context = tokens.context()
    if context is None:
        raise ValueError(
            f"OneTrans: num_user_tokens={of_user}, and the schema has no feature of user or "
            "context. Set num_user_tokens=0, or declare one."
        )
    user = FeatureTokens(of_user, dim, name="user_tokens")(context)
    return [user, FeatureTokens(number - of_user, dim, name="item_tokens")(tokens.item())]
