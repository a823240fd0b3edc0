"""TokenFormer: fields, events and the candidate in one stream, windows that shrink with height."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_infnet._base.fields import at_least, declared
from keras_infnet.layers.causal_mask import CausalMask
from keras_infnet.layers.configured_layer import ConfiguredLayer, event_positions, joined
from keras_infnet.layers.feature_tokens import FeatureTokens
from keras_infnet.layers.masked_attention import MaskedAttention
from keras_infnet.layers.task_token_embedding import TaskTokenEmbedding
from keras_infnet.models.mlp import dropped
from keras_infnet.models.one_stream import OneStream
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.tokens import Tokens


@keras.saving.register_keras_serializable(package="keras_infnet")
class TokenFormer(RankingModel):
    """TokenFormer on the same tokens as `INFNet`.

    `X_0 = [F_1; ..; F_M; SEP_1; H_1; ..; H_L; SEP_2; V]`: a token for each field of user and
    context, the events of all histories, merged by age, oldest first, the candidate with its
    fields, and two learned vectors; `F`, `H` and `V` are `silu(LN(W x + b))`. Layer `l`, with
    `X_n = RMS(X)`:

    - `A = W_O attend(rope(X_n W_Q), rope(X_n W_K), X_n W_V)`, where token `i` reads tokens `j <= i`
      that are not padding;
    - `Z = X + sigmoid(X_n W_g) * A`;
    - `X' = Z + W_3 (silu(W_1 RMS(Z)) * (W_2 RMS(Z)))`.

    Above the first `num_full_layers` layers token `i` reads the newest `w_l` places up to its own
    alone, `i - j < w_l`, and fields and `SEP_1` are read no more. `y_i = head_i(RMS(V))`; what it
    does not reach through the windows is not computed. Rotary places are 0 for fields and `SEP_1`,
    `L - p` for the event with `p` newer ones, `L + 1` for `SEP_2` and `V`, where `L` is the most
    events that there may be.

    No token sees the candidate: all others are computed once for all of a user's candidates.

    Args:
        schema: A fitted schema, such as `RankingData(schema, log).schema`.
        dim: Token width. Defaults to `32`.
        head_dim: Hidden width of the heads. Defaults to `64`.
        event_context: What an event's token knows besides its item, where the schema has it; it
            may have `"match"` too: which of its fields equal the candidate's. Defaults to `None`:
            all that its histories have, and without `rope` the position.
        members: Number of networks on shared tables, each with its own loss; their outputs are
            averaged. Defaults to `1`.
        own_tables: Whether each member has tables of its own. Defaults to `False`.
        dropout: Rate after each attention and feed-forward layer and in the heads. Defaults to
            `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        num_full_layers: Number of layers without a window; with 0 no field of user and context is
            read. Defaults to `1`.
        windows: Window `w_l` of each layer above, in places, 2 or more. Defaults to `(16,)`.
        num_heads: Heads of each layer, a divisor of `dim`. Defaults to `2`.
        rope: Whether queries and keys are rotated by their places, which takes heads of an even
            width. Defaults to `True`.
        expansion: Hidden width of the feed-forward layers, in widths of a token. Defaults to `4`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted or has no history, a hyperparameter is out of range,
            or there is no layer.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> liked = keras_infnet.History("liked", ("video_id",), max_length=4, quantities=())
        >>> click = keras_infnet.BinaryTask("click")
        >>> schema = keras_infnet.FeatureSchema([video], [click], [liked])
        >>> schema = schema.with_sizes({"video_id": 10})
        >>> model = keras_infnet.models.TokenFormer(schema)
        >>> inputs = {"categorical": [[1], [2]], "liked": [[[0], [0], [3], [1]]] * 2}
        >>> inputs = {name: keras.ops.array(ids, "int32") for name, ids in inputs.items()}
        >>> tuple(model(inputs)["click"].shape)
        (2, 1)

    Reference:
        TokenFormer, arXiv:2604.13737. The gate on the normalised input, without bias, is that of
        UniRank, arXiv:2607.19987, which reads `SEP_1` in all layers. Binary cross-entropy of the
        tasks for a softmax over actions, one token an event, `V` of candidate and fields together,
        places counted from the newest event, and sizes are our choice.
    """

    needs_history = True

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `TokenFormer`, which says what they mean."""

        num_full_layers: int = at_least(0, default=1, depth=True)
        windows: tuple[int, ...] = at_least(2, default=(16,))
        num_heads: int = at_least(1, default=2)
        rope: bool = declared(True)
        expansion: int = at_least(1, default=4, width=True)

        @property
        def adds_positions(self) -> bool:
            """Whether an event's token knows its position: rotations say it already."""
            return not self.rope

        def check(self, model: str) -> None:
            if not self.windows and not self.num_full_layers:
                raise ValueError(
                    f"{model}: there is no layer. Set num_full_layers, windows or both."
                )

    @staticmethod
    def network(tokens: Tokens, config: "TokenFormer.Config") -> dict[str, Any]:
        """The candidate after all layers; `prefix` is what stands before it."""
        stream, dim, full = OneStream(tokens), config.dim, config.num_full_layers
        candidate = FeatureTokens(1, dim, name="candidate_token")(tokens.item())
        separators = TaskTokenEmbedding(2 if full else 1, dim, name="separators")(candidate)
        before = [*_field_tokens(tokens, dim), separators[:, :1]] if full else []
        prefix = joined([*before, _event_tokens(stream.tokens, dim), separators[:, -1:]])
        there = [ops.ones_like(x[:, :, 0], "bool") for x in (*before, separators[:, -1:])]
        valid = joined([*there[:-1], stream.mask, there[-1]])
        first = sum(x.shape[1] for x in before)
        places = TokenPlaces(stream.length, first)(prefix) if config.rope else None
        windows = (*[None] * full, *config.windows)
        reach, *kept = _kept(windows)
        if reach is not None:
            prefix, valid, places = (_newest(x, reach) for x in (prefix, valid, places))
        for i, (window, keep) in enumerate(zip(windows, kept, strict=True)):
            layer = _Layer(config, i)
            x, v = layer.norm(prefix), layer.norm(candidate)
            place = _newest(places, 1)
            read = [layer.key(x), layer.value(x), valid, places]
            near = [_newest(part, window and window - 1) for part in read]
            near[2] = ops.expand_dims(near[2], 1)
            own = [layer.key(v), layer.value(v), None, place]
            candidate = layer("candidate", candidate, v, place, [near, own])
            if keep == 0:
                continue
            # No later layer reads a field.
            skip = first if window is None and keep is not None else 0
            prefix, x, valid, at = (_newest(y, keep, skip) for y in (prefix, x, valid, places))
            causal = CausalMask(window)(x, read[0], keys_mask=read[2])
            prefix = layer("prefix", prefix, x, at, [[*read[:2], causal, places]])
            places = at
        norm = keras.layers.RMSNormalization(name="last_norm")
        return dict.fromkeys(tokens.task_names, norm(candidate)[:, 0])


class _Layer:
    """One layer, with the same weights for all tokens."""

    def __init__(self, config: TokenFormer.Config, index: int) -> None:
        self._index, self._dropout, dim = index, config.dropout, config.dim
        self.norm = keras.layers.RMSNormalization(name=f"attention_norm_{index}")
        self._feed_norm = keras.layers.RMSNormalization(name=f"feed_forward_norm_{index}")
        self._attend = MaskedAttention(config.num_heads, name=f"attention_{index}")
        dense, hidden = self._dense, config.expansion * dim
        self.key, self.value, self._query = (
            dense("key", dim),
            dense("value", dim),
            dense("query", dim),
        )
        self._output, self._gate = dense("output", dim), dense("gate", dim, activation="sigmoid")
        self._hidden = dense("hidden", hidden, activation="silu")
        self._linear, self._feed_forward = dense("linear", hidden), dense("feed_forward", dim)

    def __call__(self, of: str, x: Any, normed: Any, places: Any, read: list[Any]) -> Any:
        """The tokens `x` after the layer; `read` has parts of keys, values, mask and places."""
        keys, values, allowed, of_keys = (list(part) for part in zip(*read, strict=True))
        rotary = () if places is None else (places, of_keys)
        attended = self._attend(self._query(normed), keys, values, allowed, *rotary)
        attended = self._gate(normed) * self._output(attended)
        x = x + dropped(attended, self._dropout, f"{of}_attention_dropout_{self._index}")
        y = self._feed_norm(x)
        fed = self._feed_forward(self._hidden(y) * self._linear(y))
        return x + dropped(fed, self._dropout, f"{of}_dropout_{self._index}")

    def _dense(self, name: str, units: int, **options: Any) -> keras.layers.Dense:
        name = f"{name}_{self._index}"
        return keras.layers.Dense(units, use_bias=False, name=name, **options)


@keras.saving.register_keras_serializable(package="keras_infnet")
class TokenPlaces(ConfiguredLayer):
    """Rotary places of what stands before the candidate, int32 `(1, length)`.

    0 for the first `first` tokens; then events up to `length - 0`, the newest, and `length + 1`
    for the separator behind it. Oldest events may be lacking.
    """

    def __init__(self, length: int, first: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length = length
        self.first = first

    def call(self, prefix: Any) -> Any:
        index = ops.convert_to_tensor(event_positions(prefix))
        places = self.length + 2 - ops.shape(prefix)[1] + index
        return ops.expand_dims(ops.where(index < self.first, 0, places), 0)

    def compute_output_spec(self, prefix: Any) -> keras.KerasTensor:
        return keras.KerasTensor((1, prefix.shape[1]), dtype="int32")


def _kept(windows: Sequence[int | None]) -> list[int | None]:
    """How many of the newest places before the candidate are read later, before and after layers.

    None is all: a layer without a window reads them. After the last layer none is read.
    """
    kept: list[int | None] = [0]
    for window in reversed(windows):
        later = kept[0]
        kept.insert(0, None if window is None or later is None else later + window - 1)
    return kept


def _newest(x: Any, keep: int | None, skip: int = 0) -> Any:
    """The newest places of `(batch, length, ...)`, of those behind the first `skip`; None: all."""
    if x is None or keep is None:
        return x
    return x[:, skip:][:, -keep:] if skip else x[:, -keep:]


def _event_tokens(events: Any, dim: int) -> Any:
    """`silu(LN(W x + b))` of each event."""
    norm = keras.layers.LayerNormalization(epsilon=1e-6, name="event_tokens_norm")
    return ops.silu(norm(keras.layers.Dense(dim, name="event_tokens")(events)))


def _field_tokens(tokens: Tokens, dim: int) -> list[Any]:
    """A token for each field of user and context; a list of none where there are none."""
    context = tokens.context()
    if context is None:
        return []
    number = context.shape[-1] // dim
    # The gradient of each slice would be as wide as all fields.
    fields = ops.split(context, number, axis=1)
    return [FeatureTokens(number, dim, "group", name="field_tokens")(fields)]
