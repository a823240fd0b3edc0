"""LONGER: long histories, whose neighbouring events are merged before attention reads them."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_infnet._base.fields import at_least, depth, one_of
from keras_infnet.layers.causal_mask import CausalMask
from keras_infnet.layers.configured_layer import joined
from keras_infnet.layers.feature_tokens import FeatureTokens
from keras_infnet.layers.masked_attention import MaskedAttention
from keras_infnet.models.event_groups import EventGroups
from keras_infnet.models.mlp import dropped
from keras_infnet.models.one_stream import OneStream
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.tokens import Tokens


@keras.saving.register_keras_serializable(package="keras_infnet")
class LONGER(RankingModel):
    """LONGER on the same tokens as `INFNet`.

    With the block `B(x; R, A) = y + FFN(LN(y))`, `y = x + W_O attend(LN(x) W_Q, LN(R) W_K, LN(R)
    W_V, A)`, `FFN(x) = W_2 gelu(W_1 x + b_1) + b_2`:

    - events `H` of all histories, merged by age, oldest first; global tokens `G`: first some of
      the fields of user and context, then some of the candidate and its fields, each `silu(LN(W_j
      flatten + b_j))`;
    - every `K` neighbours, counted from the newest event, read each other: `H' = B(H; H)`, zeros
      where padded, and are merged into one token: `M = W [H'_1; ...; H'_K] + b`, valid if one of
      them is;
    - the first layer: queries are the newest `k` events `O` and `G`. An event reads the merged
      tokens up to its own, `O' = B(O; M)`; a global token reads all of them, itself and the global
      tokens before it, `G' = B(G; [M; G])`;
    - each further layer: the same with the `k` events in place of `M`, of which an event reads
      itself and older ones;
    - `y_i = head_i([flatten(LN(G)); mean of LN(O)])` without what is padding.

    No event sees a global token: the events' part is computed once for all of a user's candidates,
    and that of his own global tokens too.

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
        num_layers: Number of layers that global tokens pass. Defaults to `2`.
        num_heads: Heads of each layer, a divisor of `dim`. Defaults to `2`.
        events_per_token: Number of neighbours that are merged, `K`. Defaults to `4`.
        num_queries: Number of newest events that are queries, `k`. Defaults to `16`.
        queries: `"raw"`: these are events; `"merged"`: they are merged tokens. Defaults to `"raw"`.
        num_user_tokens: Number of global tokens of user and context, if the schema has such fields.
            Defaults to `2`.
        num_item_tokens: Number of global tokens of the candidate. Defaults to `2`.
        head: What heads read: `"mean"` as above, or `"flatten"`: each query's place has weights of
            its own, 0 where it is padding. Defaults to `"mean"`.
        expansion: Hidden width of the feed-forward layers, in widths of a token. Defaults to `4`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted or has no history, or a hyperparameter is out of range.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> liked = keras_infnet.History("liked", ("video_id",), max_length=4, quantities=())
        >>> click = keras_infnet.BinaryTask("click")
        >>> schema = keras_infnet.FeatureSchema([video], [click], [liked])
        >>> schema = schema.with_sizes({"video_id": 10})
        >>> model = keras_infnet.models.LONGER(schema)
        >>> inputs = {"categorical": [[1], [2]], "liked": [[[0], [0], [3], [1]]] * 2}
        >>> inputs = {name: keras.ops.array(ids, "int32") for name, ids in inputs.items()}
        >>> tuple(model(inputs)["click"].shape)
        (2, 1)

    Reference:
        Chai et al., LONGER: Scaling Up Long Sequence Modeling in Industrial Recommenders, RecSys
        2025, arXiv:2505.04421. There merged tokens are `K dim` wide, queries are merged, and global
        tokens stand first, with the newest event next to them. A trunk as wide as a token, queries
        that are events, and `head="flatten"` are those of UniRank, arXiv:2607.19987; that padding
        is in no softmax, the last LN, the mean, and sizes are our choice.
    """

    needs_history = True

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `LONGER`, which says what they mean."""

        num_layers: int = depth(2)
        num_heads: int = at_least(1, default=2)
        events_per_token: int = at_least(1, default=4)
        num_queries: int = at_least(1, default=16)
        queries: str = one_of("raw", "merged")
        num_user_tokens: int = at_least(1, default=2)
        num_item_tokens: int = at_least(1, default=2)
        head: str = one_of("mean", "flatten")
        expansion: int = at_least(1, default=4, width=True)

    @staticmethod
    def network(tokens: Tokens, config: "LONGER.Config") -> dict[str, Any]:
        """Global tokens and newest events after all layers, each layer's events first."""
        stream, parts = OneStream(tokens), _global_tokens(tokens, config)
        merged, merged_mask = _merged(stream, config)
        if config.queries == "merged":
            events, mask, group = merged, merged_mask, 1
        else:
            events, mask, group = stream.tokens, stream.mask, config.events_per_token
        newest = EventGroups(config.num_queries, newest=1)
        events, mask = newest(events)[:, 0], newest(mask)[:, 0]
        # What events read in the first layer.
        memory, memory_mask, causal = merged, merged_mask, CausalMask(group=group)
        for i in range(config.num_layers):
            block = _Block(config, f"layer_{i}")
            x, allowed = block.norm(events), [ops.expand_dims(memory_mask, 1)]
            read = [block.read(block.norm(memory) if i == 0 else x)]
            of_events = causal(events, memory, keys_mask=memory_mask)
            events = block("events", events, x, read, [of_events])
            for p, part in enumerate(parts):
                x, own = block.norm(part), CausalMask()(part, part)
                read = [*read, block.read(x)]
                parts[p] = block(f"globals_{p}", part, x, read, [*allowed, own])
                allowed = [*allowed, None]
            memory, memory_mask, causal = events, mask, CausalMask()
        norm = keras.layers.LayerNormalization(epsilon=1e-6, name="last_norm")
        flat = ops.reshape(norm(joined(parts)), (-1, sum(p.shape[1] for p in parts) * config.dim))
        there = ops.expand_dims(ops.cast(mask, flat.dtype), -1)
        events = norm(events) * there
        if config.head == "flatten":
            of_events = ops.reshape(events, (-1, config.num_queries * config.dim))
        else:
            of_events = ops.sum(events, axis=1) / ops.maximum(ops.sum(there, axis=1), 1.0)
        return dict.fromkeys(tokens.task_names, ops.concatenate([flat, of_events], axis=-1))


class _Block:
    """A pre-norm block: `x` reads tokens of which `read` made keys and values."""

    def __init__(self, config: LONGER.Config, name: str) -> None:
        self._name, self._dropout, dim = name, config.dropout, config.dim
        self.norm, self._feed_norm = (
            keras.layers.LayerNormalization(epsilon=1e-6, name=f"{name}_{kind}")
            for kind in ("attention_norm", "norm")
        )
        self._attend = MaskedAttention(config.num_heads, name=f"{name}_attention")
        self._query, self._key, self._value, self._output = (
            keras.layers.Dense(dim, use_bias=False, name=f"{name}_{kind}")
            for kind in ("query", "key", "value", "output")
        )
        hidden = config.expansion * dim
        self._hidden = keras.layers.Dense(hidden, activation="gelu", name=f"{name}_hidden")
        self._feed_forward = keras.layers.Dense(dim, name=f"{name}_feed_forward")

    def read(self, normed: Any) -> tuple[Any, Any]:
        return self._key(normed), self._value(normed)

    def __call__(self, of: str, x: Any, normed: Any, read: list[tuple], allowed: list[Any]) -> Any:
        keys, values = (list(part) for part in zip(*read, strict=True))
        queries, name = self._query(normed), f"{self._name}_{of}"
        attended = self._output(self._attend(queries, keys, values, allowed))
        x = x + dropped(attended, self._dropout, f"{name}_attention_dropout")
        fed = self._feed_forward(self._hidden(self._feed_norm(x)))
        return x + dropped(fed, self._dropout, f"{name}_dropout")


def _merged(stream: OneStream, config: LONGER.Config) -> tuple[Any, Any]:
    """Merged tokens `(batch, groups, dim)`, and their mask `(batch, groups)`."""
    size, block = config.events_per_token, _Block(config, "inner")
    in_groups = EventGroups(size)
    x, there = in_groups(stream.tokens), in_groups(stream.mask)
    normed = block.norm(x)
    x = block("events", x, normed, [block.read(normed)], [ops.expand_dims(there, 2)])
    x = ops.where(ops.expand_dims(there, -1), x, ops.zeros_like(x))
    # Glorot's of the concatenation, `(K dim, dim)`: of three axes Keras would count one twice.
    limit = (6 / (config.dim * (size + 1))) ** 0.5
    start: Any = keras.initializers.RandomUniform(-limit, limit)
    merge = keras.layers.EinsumDense(
        "bgkd,kde->bge",
        (None, config.dim),
        bias_axes="e",
        kernel_initializer=start,
        name="merge",
    )
    return merge(x), ops.any(there, axis=-1)


def _global_tokens(tokens: Tokens, config: LONGER.Config) -> list[Any]:
    """Tokens of user and context, if there are such fields, and those of the candidate."""
    context, dim = tokens.context(), config.dim
    item = FeatureTokens(config.num_item_tokens, dim, name="item_tokens")(tokens.item())
    if context is None:
        return [item]
    return [FeatureTokens(config.num_user_tokens, dim, name="user_tokens")(context), item]
