"""HyFormer: queries of each history read its events, and meet in mixing with the fields."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import keras
from keras import ops

from keras_infnet._base.fields import at_least, depth, one_of, widths
from keras_infnet.layers.configured_layer import joined
from keras_infnet.layers.feature_tokens import FeatureTokens
from keras_infnet.layers.masked_attention import MaskedAttention
from keras_infnet.layers.per_token_feed_forward import PerTokenFeedForward
from keras_infnet.layers.proxy_cross_attention import ProxyCrossAttention
from keras_infnet.layers.token_mixing import TokenMixing
from keras_infnet.models.features import fields_by_owner, means_of_histories
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.separate_histories import HistoryParts
from keras_infnet.models.tokens import Tokens

# Added to the score of an event of another group: its weight is 0, and half precision holds it.
_NEVER = -3e4
# From here on attention between all events costs more than what it finds.
_LONG = 200


@keras.saving.register_keras_serializable(package="keras_infnet")
class HyFormer(RankingModel):
    """HyFormer on the same tokens as `INFNet`.

    There are `A` groups of events: the histories of the schema or, where it has one alone, its
    groups. Each has `g` queries, made of all fields, of the mean of each group and of a projection
    of the counts, `Q = FeatureTokens([C; means; counts])`; `N = T - A g` tokens of the fields
    stand beside them. Then for `num_layers` layers

    - encoding: `H' = H + W_o Attention(LN(H))`, `H' <- H' + W_2 gelu(W_1 LN(H') + b_1) + b_2`,
      where all events of a history read each other; or `H' = H + W_3 (silu(W_1 LN(H)) *
      (W_2 LN(H)))`, event by event;
    - decoding: `Q_a <- Q_a + W_o softmax(LN(Q_a) W_q (LN(H') W_k)^T / sqrt(d_k)) LN(H') W_v` over
      the events of group `a`, with weights of its own, and 0 without any;
    - boosting: `U = [Q_1; ..; Q_A; tokens of fields]`, `U <- U + pFFN(Mix(LN(U)))`, with
      `TokenMixing` and a GELU `PerTokenFeedForward`; with `boost="two"` it is `U <- U +
      Mix(LN(U))`, `U <- U + pFFN(LN(U))`.

    `y_i = head_i(flatten(LN(U)))`. Events never see queries, so that a user's are encoded once for
    all candidates. Padding is read by nothing. Without history there are tokens of the fields alone
    and boosting is all.

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
        dropout: Rate after each feed-forward layer of boosting and in the heads. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        num_layers: Number of layers. Defaults to `2`.
        num_queries: Queries `g` of each group of events. Defaults to `1`.
        num_tokens: Number of tokens `T` that are mixed, a divisor of `dim` above `A g`. Defaults to
            `None`: the smallest from 8 on, or else the largest.
        num_heads: Heads of all attention, a divisor of `dim`. Defaults to `2`.
        expansion: Hidden width of all feed-forward layers, in widths of a token. Defaults to `2`.
        encoder: `"transformer"`, `"swiglu"`, or `"auto"`: `"swiglu"` for a history of more than 200
            events, whose attention would cost its length squared. Defaults to `"auto"`.
        boost: `"one"` or `"two"` residuals in boosting. Defaults to `"one"`.
        tokenizer: `"group"`, `"chunk"` or `"auto"`, the modes of `FeatureTokens` for the tokens of
            the fields. Defaults to `"group"`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted, a hyperparameter is out of range, `num_heads` or
            `num_tokens` does not divide `dim`, or queries leave the fields no token.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> liked = keras_infnet.History("liked", ("video_id",), max_length=4, quantities=())
        >>> click = keras_infnet.BinaryTask("click")
        >>> schema = keras_infnet.FeatureSchema([video], [click], [liked])
        >>> schema = schema.with_sizes({"video_id": 10})
        >>> model = keras_infnet.models.HyFormer(schema)
        >>> inputs = {"categorical": [[1], [2]], "liked": [[[0], [0], [3], [1]]] * 2}
        >>> inputs = {name: keras.ops.array(ids, "int32") for name, ids in inputs.items()}
        >>> tuple(model(inputs)["click"].shape)
        (2, 1)

    Reference:
        HyFormer, arXiv:2601.12681, SIGIR 2026. Pre-norm everywhere, groups of one history read in
        one encoding, a head on all tokens, counts, the number of tokens and sizes are our choice;
        two residuals in boosting are those of UniRank, arXiv:2607.19987.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `HyFormer`, which says what they mean."""

        num_layers: int = depth(2)
        num_queries: int = at_least(1, default=1)
        num_tokens: int | None = at_least(1, default=None, kind=8)
        num_heads: int = at_least(1, default=2)
        expansion: int = widths(default=2)
        encoder: Literal["auto", "transformer", "swiglu"] = one_of("auto", "transformer", "swiglu")
        boost: Literal["one", "two"] = one_of("one", "two")
        tokenizer: Literal["group", "chunk", "auto"] = one_of("group", "chunk", "auto")

        def check(self, model: str) -> None:
            for name in ("num_heads", "num_tokens"):
                number = getattr(self, name)
                if number is not None and self.dim % number:
                    raise ValueError(
                        f"{model}: {name}={number} does not divide dim={self.dim}. Take a divisor."
                    )

    @staticmethod
    def network(tokens: Tokens, config: "HyFormer.Config") -> dict[str, Any]:
        """Queries and tokens of fields, layer on layer, and all of them for all heads."""
        sequences = histories_apart(tokens)
        queries = config.num_queries * sum(s.groups.shape[1] for s in sequences)
        total = number_of_tokens(queries, config)
        fields, number = fields_by_owner(tokens), total - queries
        x = FeatureTokens(number, config.dim, config.tokenizer, name="field_tokens")(fields)
        if sequences:
            make = FeatureTokens(queries, config.dim, name="queries")
            x = ops.concatenate([make(fields + means_of_histories(tokens, config)), x], axis=1)
        for i in range(config.num_layers):
            sequences = [s.encoded(config, f"encoder_{i}_{k}") for k, s in enumerate(sequences)]
            if sequences:
                decoded = _decoded(x[:, :queries], sequences, config, f"decoder_{i}")
                x = ops.concatenate([decoded, x[:, queries:]], axis=1)
            x = _boosted(x, config, f"boost_{i}")
        x = ops.reshape(_norm("norm")(x), (-1, total * config.dim))
        return dict.fromkeys(tokens.task_names, x)


@dataclass(frozen=True)
class EventSequence:
    """Events of one history, `(batch, length, dim)`, and what is read of them together.

    `mask (batch, length)` is True where there is an event, `groups (batch, groups, length)` 1 where
    one is in a group; the length is at most `max_length`.
    """

    tokens: Any
    mask: Any
    groups: Any
    max_length: int

    def encoded(self, config: HyFormer.Config, name: str) -> "EventSequence":
        """The sequence after one layer of its encoder."""
        long = config.encoder == "auto" and self.max_length > _LONG
        layer = _gated if long or config.encoder == "swiglu" else _attended
        return replace(self, tokens=layer(self, config, name))


def histories_apart(tokens: Tokens) -> list[EventSequence]:
    """Each history with all its events as one group, or one alone with its groups."""
    if tokens.history is None:
        return []
    if len(tokens.histories) == 1:
        length = tokens.histories[0].max_length
        return [EventSequence(tokens.history, tokens.history_mask, tokens.groups[0], length)]
    apart, found = HistoryParts(), []
    events = apart(tokens.history, tokens.packed_histories)
    masks = apart(tokens.history_mask, tokens.packed_histories)
    for history, x, mask in zip(tokens.histories, events, masks, strict=True):
        group = ops.cast(ops.expand_dims(mask, 1), "float32")
        found.append(EventSequence(x, mask, group, history.max_length))
    return found


def _attended(sequence: EventSequence, config: HyFormer.Config, name: str) -> Any:
    """A layer of a transformer, where all events read each other."""
    x, hidden = sequence.tokens, config.expansion * config.dim
    normed = _norm(f"{name}_attention_norm")(x)
    parts = _dense(3 * config.dim, f"{name}_query_key_value", bias=False)(normed)
    attend = MaskedAttention(config.num_heads, name=f"{name}_attention")
    read = attend(*ops.split(parts, 3, axis=-1), ops.expand_dims(sequence.mask, 1))
    x = x + _dense(config.dim, f"{name}_attention_output", bias=False)(read)
    feed = _dense(hidden, f"{name}_hidden", keras.activations.gelu)(_norm(f"{name}_norm")(x))
    return x + _dense(config.dim, f"{name}_output")(feed)


def _gated(sequence: EventSequence, config: HyFormer.Config, name: str) -> Any:
    """A SwiGLU layer, event by event."""
    x, hidden = sequence.tokens, config.expansion * config.dim
    normed = _norm(f"{name}_norm")(x)
    feed = _dense(hidden, f"{name}_hidden", "silu", bias=False)(normed)
    feed = feed * _dense(hidden, f"{name}_gate", bias=False)(normed)
    return x + _dense(config.dim, f"{name}_output", bias=False)(feed)


def number_of_tokens(queries: int, config: HyFormer.Config) -> int:
    """How many tokens are mixed: queries, and at least one of fields.

    Args:
        queries: Number of queries of all groups of events.
        config: Configuration of the model.

    Returns:
        `num_tokens`, or the smallest divisor of `dim` from 8 on that is above `queries`, or else
        the largest.

    Raises:
        ValueError: Queries leave no token.
    """
    given = config.num_tokens
    divisors = range(1, config.dim + 1) if given is None else [given]
    room = [t for t in divisors if config.dim % t == 0 and t > queries]
    if not room:
        raise ValueError(
            f"HyFormer: {queries} queries of all groups of events, num_queries="
            f"{config.num_queries} of each, leave no token for fields with num_tokens={given} and "
            f"dim={config.dim}; expected a divisor of dim above {queries}. Give dim or num_tokens "
            "another value, or the history fewer groups."
        )
    return next((t for t in room if t >= 8), room[-1])


def _decoded(x: Any, sequences: list[EventSequence], config: HyFormer.Config, name: str) -> Any:
    """Queries `(batch, queries, dim)` with what each found in its group of events."""
    normed, number, found = _norm(f"{name}_query_norm")(x), config.num_queries, []
    for k, sequence in enumerate(sequences):
        first, groups = len(found), range(sequence.groups.shape[1])
        asking = [normed[:, number * (first + a) : number * (first + a + 1)] for a in groups]
        there = ops.repeat(sequence.groups, number, axis=1)
        attend = ProxyCrossAttention(
            config.dim, config.num_heads, len(asking), name=f"{name}_attention_{k}"
        )
        memory = _norm(f"{name}_norm_{k}")(sequence.tokens)
        answers = attend(queries=asking, memory=memory, score_bias=(1.0 - there) * _NEVER)
        # Of an empty group all events have weight.
        any_event = ops.cast(ops.max(sequence.groups, axis=-1), normed.dtype)
        for a, answer in enumerate(answers):
            project = _dense(config.dim, f"{name}_output_{first + a}", bias=False)
            found.append(project(answer * any_event[:, a, None, None]))
    return x + joined(found)


def _boosted(x: Any, config: HyFormer.Config, name: str) -> Any:
    """Tokens after mixing and a feed-forward layer of each token."""
    mix = TokenMixing(name=f"{name}_mixing")
    feed = PerTokenFeedForward(
        config.expansion, dropout=config.dropout, name=f"{name}_feed_forward"
    )
    mixed = mix(_norm(f"{name}_norm")(x))
    if config.boost == "one":
        return x + feed(mixed)
    x = x + mixed
    return x + feed(_norm(f"{name}_feed_forward_norm")(x))


def _norm(name: str) -> keras.layers.Layer:
    return keras.layers.LayerNormalization(name=name)


def _dense(width: int, name: str, activation: Any = None, bias: bool = True) -> keras.layers.Layer:
    return keras.layers.Dense(width, activation, bias, name=name)
