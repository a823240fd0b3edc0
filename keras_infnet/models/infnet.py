"""INFNet on one page: configuration, three forms, and the graph from tokens to heads."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

import keras
from keras import ops

from keras_infnet._base.fields import above_zero, at_least, declared
from keras_infnet.layers.bucket_embedding import BucketEmbedding
from keras_infnet.layers.configured_layer import joined
from keras_infnet.layers.cross_layer import CrossLayer
from keras_infnet.layers.grouped_attention_pooling import GroupedAttentionPooling
from keras_infnet.layers.grouped_pooling import GroupedPooling
from keras_infnet.layers.proxy_combination import ProxyCombination
from keras_infnet.layers.proxy_cross_attention import ProxyCrossAttention
from keras_infnet.layers.proxy_gated_unit import ProxyGatedUnit
from keras_infnet.layers.proxy_objective import ProxyObjective
from keras_infnet.layers.sequence_encoder import SequenceEncoder
from keras_infnet.layers.task_token_embedding import TaskTokenEmbedding
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.tokens import Tokens
from keras_infnet.schema.schema import FeatureSchema

# Who queries, and the memory that it does not read unless `own_group`; kernels of an attention are
# in this order.
OWN_MEMORY = {
    "field_proxies": "fields",  # C~ of C
    "sequence_proxies": "history",  # S~ of S
    "task_proxies": "tasks",  # T~ of T
    "tasks": "tasks",  # T
    "candidate_proxy": "tasks",  # K, which is no task but reads what T reads
    "own_proxies": "tasks",  # P_1, P_2, ..., which read what T reads
}
# `H`, in this order.
HEAD_PROXIES = ("field_proxies", "sequence_proxies", "task_proxies", "candidate_proxy")
GATED_BY = {"fields": "field_proxies", "history": "sequence_proxies"}
# What the proxies that the heads read stand for.
STANDS_FOR = {"field_proxies": "fields", "sequence_proxies": "history", "task_proxies": "tasks"}
_MEMORIES = ("fields", "history", "tasks")
_HUBS = "tasks_and_task_proxies"
_Pooling = Literal["mean_log_count", "sum", "mean", "attention"]
_POOLINGS = get_args(_Pooling)


@dataclass(frozen=True, repr=False)
class Form:
    """What differs between the library's network and the two versions of the paper.

    `dataclasses.replace(DEFAULT, gate="interpolate")` makes another.

    Args:
        residual: Whether `Q` is added around the heterogeneous flow. Defaults to `True`.
        layer_norm: Whether an LN follows the heterogeneous flow. Defaults to `False`: it would hide
            from the heads how large a proxy is.
        qk_norm: Whether queries and memories are divided by their root mean square for the scores.
            Defaults to `True`.
        share_kv: Whether all that read a memory share its `W_K` and `W_V`. Defaults to `True`.
        score_biases: Whether scores on the history add `B`. Defaults to `True`.
        output_gate: Whether each `CA(Q, X)` is multiplied by `sigmoid(Q W_G)`, with `Q / rms(Q)`
            where there is `qk_norm`, and a `W_G` for each `W_Q`. Defaults to `False`.
        activation: What makes weights of scores: `"softmax"`, or `"silu"`, divided by the number of
            tokens that are no padding. Defaults to `"softmax"`.
        own_group: Whether queries read all three memories, and `[T; T~]` is one group of queries,
            which after the heterogeneous flow gates `T^` as a whole. Defaults to `False`.
        gate: Gate of `ProxyGatedUnit`. Defaults to `"sigmoid"`.
        gate_hidden: Hidden width of the gates' MLP, in token widths; `None`: there is no hidden
            layer. Defaults to `None`.
        pooling: How `GroupedPooling` makes `S~`; with `"attention"` there are the proxies of
            `"mean_log_count"` and those of `GroupedAttentionPooling`. Defaults to
            `"mean_log_count"`.
        uses_candidate: Whether `T` and `T~` start from the candidate, `K` is a proxy, and heads
            read the proxies and their products with the candidate. Defaults to `True`.
        cross_rank: Rank of the two cross layers whose output heads read too; `None`: there are
            none. Defaults to `64`.
    """

    residual: bool = True
    layer_norm: bool = False
    qk_norm: bool = True
    share_kv: bool = True
    score_biases: bool = True
    output_gate: bool = False
    activation: Literal["softmax", "silu"] = "softmax"
    own_group: bool = False
    gate: Literal["sigmoid", "affine", "interpolate"] = "sigmoid"
    gate_hidden: int | None = None
    pooling: _Pooling = "mean_log_count"
    uses_candidate: bool = True
    cross_rank: int | None = 64

    def __repr__(self) -> str:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        changed = {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}
        return f"Form({', '.join(f'{name}={value!r}' for name, value in changed.items())})"


DEFAULT = Form()
_PAPER = replace(
    DEFAULT,
    qk_norm=False,
    share_kv=False,
    score_biases=False,
    uses_candidate=False,
    cross_rank=None,
)
PAPER_V1 = replace(_PAPER, residual=False, pooling="sum", gate_hidden=1)
PAPER_V2 = replace(
    _PAPER, layer_norm=True, own_group=True, gate="affine", gate_hidden=4, pooling="mean"
)


@dataclass(frozen=True)
class Memory:
    """Tokens that queries read, where they are padding, and the gate that they have passed."""

    tokens: Any
    mask: Any = None
    # The running product of sigmoid gates: gated tokens are never written.
    gate: Any = None


@keras.saving.register_keras_serializable(package="keras_infnet")
class INFNet(RankingModel):
    """INFNet: fields, histories and tasks exchange information through a few proxies.

    **Tokens**, all `dim` wide: `C`, the embedding of each field; `S`, one an event, all histories
    side by side, `S_l = W_tok [E_1; E_2; ...] + A[action] + R[ratio] + D[age] + P[position]` with
    the embeddings `E` of the event's fields; `T`, one a task; `cand = W_tok [E_1; E_2; ...] + W_o
    [the item's other field tokens]` of the candidate, made once, `W_o` starting at 0 (without
    history: a projection of the item's fields). In the paper's forms an event of one field has no
    `W_tok`. `event_context` says which of `A`, `R`, `D`
    and `P` there are.

    **Proxies**: `C~ = reshape(W_c flatten(C) + b_c)`; `S~`, one for each group of events; `T~`,
    shared task tokens; `K = W_k cand + b_k`, of the default alone. Task tokens are learned vectors
    `T = t`, `T~ = t~`; in the default the candidate is added, `T = t + reshape(W_t cand)` and
    `T~ = t~ + reshape(W_s cand)`. A group is one that a `History` declares, such as its clicked
    events, or those of the last hour; padding is in none. With `n_f` the number of events `l` in
    group `f`, and matrices `(dim, dim)`,

    - default: `S~_f = W_f mean_l(S_l) + b_f + (log1p(n_f) / 2) c_f`, the mean of no event being 0;
    - `paper_v1`: `S~_f = sum_l (W S_l + b)`, with one `W` and `b` for all groups;
    - `paper_v2`: `S~_f = W'_f mean_l(relu(W_f S_l + b_f)) + b'_f`, and 0 without events;
    - `pooling="attention"`: the default's and, behind them, as many proxies `softmax(s_f S^T /
      sqrt(dim)) S` over the events of the group, 0 without events, with the seeds `s_f = W_f
      [fields of user and context] + b_f`.

    With `num_own_proxies=m` each task `i` has `P_i`, `m` proxies of its own, which start as `T`
    does and read what `T` reads. They gate nothing.

    **A block** is two flows; each block has weights of its own. Heterogeneous: queries `Q` read
    memories `X`, which are `C`, `S` and `T` as they enter the block, by

    `CA(Q, X) = softmax((Q W_Q) (X W_K)^T / sqrt(dim / num_heads) + B) (X W_V)`,

    head by head, with matrices `(dim, dim)` of which each head has its columns, no bias, and a
    `W_Q` for each group of queries in each memory. The heads' outputs stand side by side, with no
    projection after them. Padding in `S` gets no weight; without any event `CA(Q, S) = 0`.

    - Default: `Q' = Q + sum_X CA(Q, X)` over the memories of the other groups: `C~` reads `S` and
      `T`, `S~` reads `C` and `T`, and `T~`, `T` and `K` read `C` and `S`. Each token of `Q` and of
      the gated `X` is divided by its root mean square before `W_Q` and `W_K`, not before `W_V`; all
      that read a memory share its `W_K` and `W_V`. `B`, on `S` alone and equal in all heads,
      has for each query one scalar for each bucket of the event's action, ratio, age and position
      (those in `event_context`), summed.
    - `paper_v1`: `Q' = sum_X CA(Q, X)` over the same memories, each group with a `W_K` and a `W_V`
      of its own, without root mean squares and `B`; there is no `K`.
    - `paper_v2`: `Q' = LN(Q + W [CA(Q, C); CA(Q, S); CA(Q, T)] + b)`, its own group included, with
      a `W (3 dim, dim)`, a `b` and an LN for each group, and `[T; T~]` are one group of queries;
      otherwise as `paper_v1`.

    Homogeneous: the new proxies gate the tokens that they stand for, `C' = PGU(C, C~')`,
    `S' = PGU(S, S~')`, `T' = PGU(T^, T~')`, where `T^` is `Q'` of `Q = T`; in `paper_v2`
    `[T^; T~']` gate `T^`. Proxies are not gated themselves. A gate is one
    vector for all tokens but with `"interpolate"`. Each has weights (and an LN) of its own, and
    every Dense a bias:

    - default: `PGU(X, X~) = X * sigmoid(W_g flatten(X~) + b_g)`;
    - `paper_v1`: `PGU(X, X~) = X * sigmoid(MLP(flatten(X~)))`, `MLP = Dense(dim, relu) ->
      Dense(dim)`;
    - `paper_v2`: `PGU(X, X~) = LN(X + X * sigmoid(alpha) + beta)`, `[alpha; beta] =
      MLP(flatten(X~))`, `MLP = Dense(4 dim, relu) -> Dense(2 dim)`; padding is set to 0;
    - `gate="interpolate"`: each token `x` becomes `g * h + (1 - g) * x` with `p =
      MLP(flatten(X~))`, `g = sigmoid(W_g [x; p] + b_g)` and `h = relu(W_h [x; p] + b_h)`.

    The next block reads `C'`, `S'`, `T'` and the new proxies. The last block computes only what the
    heads read: `C` and `S` are not gated, and in the paper's forms `C~` and `S~` query nothing.

    **Heads** read what the last block gives. With `H = [C~'; S~'; T~'; K']`,

    - default: `y_i = head_i([T'_i; flatten(H); flatten((W_p cand + b_p) * (H W_h)); x_2])`, where
      each token of `H W_h` is multiplied by the same vector, and `x_2` has products of any two
      and three of `x_0 = [flatten(C); cand; mean_{l in f} S_l; log1p(n_f)]`, which `SharedBottom`
      reads too: `x_{l+1} = x_0 * (U_l V_l^T x_l + b_l) + x_l`, with `U_l` and `V_l` `(width of x_0,
      cross_rank)`;
    - paper: `y_i = head_i(T'_i)`;

    With proxies of a task's own it reads, after `T'_i`, what the task combines for each request:
    `z_i = sum_k softmax_k(q_i . k_k / sqrt(dim)) p_k` over `p` of `[P_i'; T~']`, with `q_i = T'_i
    W_q` and `k_k = p_k W_k`, one `W_q` and `W_k` for all tasks.

    `head_i` is Dense(head_dim, relu) and a Dense of the task's units with its activation; `dropout`
    acts on the input of both.

    **The objective of proxies** (`beta`), in training alone: to the tasks' loss is added
    `beta * mean(-I(X~'; X) + lam * R(X~'))` over `(X~', X)` of `(C~', C)`, `(S~', S)` and
    `(T~', T)`, with the proxies that the heads read and the tokens that enter the first block. `I`
    is a bound in the batch of what proxies tell about their tokens, with temperature `tau`, and `R`
    how alike an example's proxies are: see `keras_infnet.layers.ProxyObjective`. `fit` logs the
    means of both over groups and members, `proxy_information` and `proxy_redundancy`; evaluations
    do not.

    Args:
        schema: A fitted schema, such as `RankingData(schema, log).schema`.
        dim: Token width. Defaults to `32`.
        head_dim: Hidden width of the heads. Defaults to `64`.
        event_context: What an event's token knows besides its item, where the schema has it; it
            may have `"match"` too: which of its fields equal the candidate's. Defaults to `None`:
            all that its histories have (action, ratio, age), and the position.
        members: Number of networks on shared tables, each with its own loss; their outputs are
            averaged. Defaults to `1`.
        own_tables: Whether each member has tables of its own. Defaults to `False`.
        dropout: Rate in heads and encoder. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        num_blocks: Number of blocks; 0: the network without flows. Defaults to `1`.
        num_field_proxies: Number of `C~`. Defaults to `4`.
        num_task_proxies: Number of `T~`; with 0 nothing gates `T`. Defaults to `2`.
        num_own_proxies: Number of proxies that each task has of its own. Defaults to `0`.
        num_heads: Heads of each attention. Defaults to `1`.
        num_encoder_layers: Layers of a `SequenceEncoder` on each history; 0: none. Defaults to `0`.
        task_tokens: Whether there is `T`; if not, heads read the rest. Defaults to `True`.
        heterogeneous_flow: Whether blocks have it; if not, queries pass, and `C` and `S` are not
            gated. Defaults to `True`.
        homogeneous_flow: Whether blocks have it; if not, tokens pass. Defaults to `True`.
        beta: Weight of the proxies' objective; 0: there is none. Not in the paper's forms. Defaults
            to `0.0`.
        lam: Weight of `R` in the objective. Defaults to `1.0`.
        tau: Temperature of `I` in the objective. Defaults to `0.1`.
        form: What differs between the library's network and the paper's two. Defaults to `Form()`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted, an argument is out of range, nothing of the inputs
            would reach the heads, or tasks have proxies of their own but no tokens.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
        >>> schema = schema.with_sizes({"video_id": 10})
        >>> model = keras_infnet.INFNet(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Li et al., INFNet, arXiv:2508.11565v1 and v2. The default is the paper's network repaired.
        The paper gates by the proxies "from the heterogeneous stage", which we take as the new
        ones; its equation shows the old ones.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `INFNet`, which says what they mean."""

        num_blocks: int = at_least(0, default=1, depth=True)
        num_field_proxies: int = at_least(1, default=4)
        num_task_proxies: int = at_least(0, default=2)
        num_own_proxies: int = at_least(0, default=0)
        num_heads: int = at_least(1, default=1)
        num_encoder_layers: int = at_least(0, default=0)
        task_tokens: bool = declared(True)
        heterogeneous_flow: bool = declared(True)
        homogeneous_flow: bool = declared(True)
        beta: float = at_least(0, default=0.0)
        lam: float = at_least(0, default=1.0)
        tau: float = above_zero(0.1)
        form: Form = declared(DEFAULT)

        def __post_init__(self) -> None:
            if isinstance(self.form, Mapping):
                object.__setattr__(self, "form", Form(**self.form))

        @property
        def projects_events(self) -> bool:
            # In the paper an event of one field is that field's embedding.
            return self.form.uses_candidate

        @property
        def any_length(self) -> bool:
            return not self.num_encoder_layers

        def check(self, model: str) -> None:
            if self.dim % self.num_heads:
                raise ValueError(
                    f"{model}: `num_heads` must divide `dim`. Received: "
                    f"num_heads={self.num_heads}, dim={self.dim}"
                )
            rank = self.form.cross_rank
            if rank is not None and rank < 1:
                raise ValueError(
                    f"{model}: `cross_rank` must be 1 or more, or None for no crosses. Received: "
                    f"{rank}"
                )
            if self.form.pooling not in _POOLINGS:
                known = ", ".join(f'"{pooling}"' for pooling in _POOLINGS)
                raise ValueError(
                    f"{model}: `pooling` must be one of {known}. Received: {self.form.pooling!r}"
                )
            if self.num_own_proxies and not self.task_tokens:
                raise ValueError(
                    f"{model}: num_own_proxies={self.num_own_proxies} with task_tokens=False, but "
                    "each task combines its own proxies by its token. Keep the task tokens, or set "
                    "num_own_proxies=0."
                )
            if self.form.uses_candidate:
                return
            if self.beta:
                raise ValueError(
                    f"{model}: beta={self.beta} in a form with uses_candidate=False, whose heads "
                    "read no proxies. Set beta=0, or use another form."
                )
            if rank is not None:
                raise ValueError(
                    f"{model}: cross_rank={rank} in a form with "
                    "uses_candidate=False, whose heads read the task tokens alone. Set "
                    "cross_rank=None, or use another form."
                )
            if not self.task_tokens:
                raise ValueError(
                    f"{model}: task_tokens=False leaves the heads nothing to read in a form with "
                    "uses_candidate=False. Keep the task tokens, or use another form."
                )
            if not (self.num_blocks and self.heterogeneous_flow):
                raise ValueError(
                    f"{model}: nothing of the inputs reaches the heads, which read the task tokens "
                    "alone in a form with uses_candidate=False while no attention feeds them. Keep "
                    "num_blocks above 0 and the heterogeneous flow, or use another form."
                )

    @staticmethod
    def network(tokens: Tokens, config: "INFNet.Config") -> dict[str, Any]:
        """From tokens through the blocks to what the heads read."""
        memories, queries = first_tokens(tokens, config)
        entering = {**memories, "tasks": Memory(queries.get("tasks"))}
        for i in range(config.num_blocks):
            block, last = f"block_{i}", i == config.num_blocks - 1
            if "tasks" in queries:
                memories["tasks"] = Memory(queries["tasks"])
            if config.heterogeneous_flow:
                those = asking(queries, config, last)
                queries |= heterogeneous_flow(those, memories, tokens, config, block)
            if config.homogeneous_flow:
                queries |= gated_tasks(queries, config, block)
            if config.homogeneous_flow and config.heterogeneous_flow and not last:
                for name in (name for name in GATED_BY if name in memories):
                    proxies = queries[GATED_BY[name]]
                    memories[name] = gated(memories[name], proxies, config, f"{block}_{name}")
        if config.beta:
            queries |= with_objective(queries, entering, config)
        return head_inputs(tokens, queries, config)

    @classmethod
    def paper_v1(cls, schema: FeatureSchema, **overrides: Any) -> "INFNet":
        """The first version of the paper to the letter: two blocks, heads on `T_i` alone.

        Where the paper is silent: one head, `d_k = dim`, a gate's MLP is Dense(dim, relu) ->
        Dense(dim); an event of one field is that field's embedding, several are projected.

        Args:
            schema: A fitted schema.
            **overrides: Arguments of `INFNet` that differ.

        Returns:
            The model.
        """
        sizes = {"num_blocks": 2, "event_context": ()}
        return cls(schema, **{"form": PAPER_V1, **sizes, **overrides})

    @classmethod
    def paper_v2(cls, schema: FeatureSchema, **overrides: Any) -> "INFNet":
        """The second version of the paper to the letter, "Aggregate and Broadcast".

        Its hub tokens are the proxies here. Where the paper is silent: as in `paper_v1`, but a
        gate's MLP is Dense(4 dim, relu) -> Dense(2 dim). Gated tokens are normalised, so written.

        Args:
            schema: A fitted schema.
            **overrides: Arguments of `INFNet` that differ.

        Returns:
            The model.
        """
        sizes: dict[str, Any] = {"dim": 64, "num_blocks": 4, "event_context": ("age", "position")}
        sizes |= {"num_field_proxies": 16, "num_task_proxies": 4}
        return cls(schema, **{"form": PAPER_V2, **sizes, **overrides})

    def attention_weights(
        self, inputs: Any, block: int = -1, member: int = 0
    ) -> dict[str, dict[str, Any]]:
        """What each query group of a block reads (the paper's Figure 5 for the task groups).

        Args:
            inputs: Dict of packed inputs.
            block: Index of the block. Defaults to `-1`, the last.
            member: Index of the network, of a model with several members. Defaults to `0`.

        Returns:
            `{memory: {query group: (batch, queries, length)}}`, with the memories `fields` (ordered
            as `schema.field_names`), `history` (all histories side by side) and `tasks`; empty
            without heterogeneous flow. Of `own_proxies` those of the first task stand first.

        Raises:
            ValueError: The model has no such block or member.
        """
        number = self.config.num_blocks
        if not -number <= block < number:
            raise ValueError(f"INFNet: no block {block}; it has {number}.")
        calls = self.attention_calls(block % number, member)
        given = self.reading({name: x for name, (_, x) in calls.items()}, member)(inputs)
        tasks = len(self.schema.tasks)
        return {
            memory: tasks_apart(attention.attention_weights(**given[memory]), tasks)
            for memory, (attention, _) in calls.items()
        }

    def attention_calls(
        self, block: int, member: int
    ) -> dict[str, tuple[ProxyCrossAttention, dict[str, Any]]]:
        """By memory, the attentions of a block and what they are called with, symbolic.

        Args:
            block: Index of the block.
            member: Index of the network.

        Returns:
            Dict with the memories that are read.
        """
        layers, calls = {layer.name: layer for layer in self.member(member).layers}, {}
        for memory in _MEMORIES:
            attention = layers.get(f"block_{block}_{memory}_attention")
            if attention is not None:
                given = attention._inbound_nodes[0].arguments.kwargs
                calls[memory] = attention, {k: x for k, x in given.items() if x is not None}
        return calls


def first_tokens(tokens: Tokens, config: INFNet.Config) -> tuple[dict[str, Memory], dict[str, Any]]:
    """What the first block reads: the memories `C` and `S`, and all that query, by group."""
    memories = {"fields": Memory(tokens.fields)}
    if tokens.history is not None:
        memories["history"] = Memory(encoded_history(tokens, config), tokens.history_mask)
    queries = proxies_of(memories, tokens, config)
    if config.num_task_proxies:
        number = config.num_task_proxies
        queries["task_proxies"] = _task_tokens(number, tokens, config, "task_proxies")
    if config.task_tokens:
        queries["tasks"] = _task_tokens(len(tokens.task_names), tokens, config, "tasks")
    if config.num_own_proxies:
        number = len(tokens.task_names) * config.num_own_proxies
        queries["own_proxies"] = _task_tokens(number, tokens, config, "own_proxies")
    if config.form.uses_candidate:
        queries["candidate_proxy"] = _as_tokens(tokens.candidate(), 1, config, "candidate_proxy")
    return memories, queries


def encoded_history(tokens: Tokens, config: INFNet.Config) -> Any:
    """`S`; through the encoder each history by itself: later in `S` is not later in time."""
    if not config.num_encoder_layers:
        return tokens.history
    layers, heads, dropout = config.num_encoder_layers, config.num_heads, config.dropout
    encoder = SequenceEncoder(layers, heads, dropout=dropout, name="sequence_encoder")
    s, mask = tokens.history, tokens.history_mask
    return joined([encoder(s[:, p], tokens_mask=mask[:, p]) for p in tokens.parts_of_history])


def proxies_of(
    memories: Mapping[str, Memory], tokens: Tokens, config: INFNet.Config
) -> dict[str, Any]:
    """`C~ = reshape(W_c flatten(C) + b_c)`, and `S~` by pooling of groups."""
    fields = memories["fields"].tokens
    flat = ops.reshape(fields, (-1, fields.shape[1] * config.dim))
    proxies = {"field_proxies": _as_tokens(flat, config.num_field_proxies, config, "field_proxies")}
    if "history" in memories:
        proxies["sequence_proxies"] = _sequence_proxies(memories["history"].tokens, tokens, config)
    return proxies


def _sequence_proxies(history: Any, tokens: Tokens, config: INFNet.Config) -> Any:
    """One proxy for each group of events, or two."""
    pooling, name = config.form.pooling, "sequence_proxies"
    if pooling != "attention":
        return GroupedPooling(config.dim, pooling, name=name)(history, tokens.groups)
    pooled = GroupedPooling(config.dim, name=name)(history, tokens.groups)
    attend = GroupedAttentionPooling(name="attention_proxies")
    return joined([pooled, attend(history, tokens.groups, tokens.context())])


def asking(queries: Mapping[str, Any], config: INFNet.Config, last: bool) -> dict[str, Any]:
    """The groups of queries whose answers something reads afterwards."""
    groups = {*OWN_MEMORY}
    if not config.form.uses_candidate:
        # Heads read `T` alone, so that proxies have a use only while they gate something.
        gating = {"task_proxies"} if last else groups
        groups = {"tasks"} | (gating if config.homogeneous_flow else set())
        if config.num_own_proxies:
            groups |= {"own_proxies", "task_proxies"}
    return {name: queries[name] for name in OWN_MEMORY if name in queries and name in groups}


def heterogeneous_flow(
    queries: Mapping[str, Any],
    memories: Mapping[str, Memory],
    tokens: Tokens,
    config: INFNet.Config,
    block: str,
) -> dict[str, Any]:
    """`Q' = Q + sum_X CA(Q, X)`, or `LN(Q + W [CA(Q, C); CA(Q, S); CA(Q, T)] + b)`, by group."""
    form, found, queries = config.form, {}, dict(queries)
    if form.own_group and {"tasks", "task_proxies"} <= set(queries):
        hubs = ops.concatenate([queries["tasks"], queries.pop("task_proxies")], axis=1)
        queries = {_HUBS if g == "tasks" else g: x for g, x in queries.items()} | {_HUBS: hubs}
    for name, memory in memories.items():
        readers = {g: x for g, x in queries.items() if form.own_group or OWN_MEMORY[g] != name}
        if readers:
            answers = _read(readers, memory, tokens, config, f"{block}_{name}")
            for group, answer in answers.items():
                found.setdefault(group, []).append(answer)
    for group, answers in found.items():
        if form.own_group:
            fuse = keras.layers.Dense(config.dim, name=f"{block}_{group}_fusion")
            flow = fuse(joined(answers, axis=-1))
        else:
            flow = sum(answers[1:], answers[0])
        if form.residual:
            flow = queries[group] + flow
        if form.layer_norm:
            flow = keras.layers.LayerNormalization(name=f"{block}_{group}_norm")(flow)
        found[group] = flow
    return tasks_apart(found, len(tokens.task_names))


def tasks_apart(groups: Mapping[str, Any], tasks: int) -> dict[str, Any]:
    """Tensors by group of queries, `T` and `T~` apart where they are one group."""
    hubs = groups.get(_HUBS)
    if hubs is None:
        return dict(groups)
    apart = {"tasks": hubs[:, :tasks], "task_proxies": hubs[:, tasks:]}
    return {name: x for name, x in groups.items() if name != _HUBS} | apart


def _read(
    queries: dict[str, Any], memory: Memory, tokens: Tokens, config: INFNet.Config, name: str
) -> dict[str, Any]:
    """`CA(Q, X)` of all groups that read a memory, in one pass over it."""
    form, bias = config.form, None
    on_history = memory.mask is not None
    if on_history and form.score_biases and tokens.num_buckets:
        number = sum(group.shape[1] for group in queries.values())
        scalars = BucketEmbedding(tokens.num_buckets, number, name=f"{name}_score_bias")
        bias = ops.swapaxes(scalars(tokens.buckets), 1, 2)
    attention = ProxyCrossAttention(
        config.dim,
        config.num_heads,
        query_sets=len(queries),
        share_kv=form.share_kv,
        qk_norm=form.qk_norm,
        output_gate=form.output_gate,
        activation=form.activation,
        name=f"{name}_attention",
    )
    return attention(
        queries=queries,
        memory=memory.tokens,
        memory_mask=memory.mask,
        memory_gate=memory.gate,
        score_bias=bias,
    )


def gated(memory: Memory, proxies: Any, config: INFNet.Config, name: str) -> Memory:
    """`PGU(X, X~)`; of a sigmoid gate the vector alone is kept, for the attention to fold in."""
    unit = _gate(config, name)
    if config.form.gate != "sigmoid":
        return replace(memory, tokens=unit(memory.tokens, proxies, tokens_mask=memory.mask))
    # Gating a token of ones gives the gate itself.
    gate = unit(ops.ones_like(proxies[:, :1]), proxies)
    return replace(memory, gate=gate if memory.gate is None else memory.gate * gate)


def gated_tasks(queries: Mapping[str, Any], config: INFNet.Config, block: str) -> dict[str, Any]:
    """`T' = PGU(T^, T~')`, or `PGU(T^, [T^; T~'])` with one group; nothing without both."""
    if not {"tasks", "task_proxies"} <= set(queries):
        return {}
    tasks, proxies = queries["tasks"], queries["task_proxies"]
    if config.form.own_group:
        proxies = ops.concatenate([tasks, proxies], axis=1)
    return {"tasks": _gate(config, f"{block}_tasks")(tasks, proxies)}


def with_objective(
    queries: Mapping[str, Any], entering: Mapping[str, Memory], config: INFNet.Config
) -> dict[str, Any]:
    """The proxies, with the objective added: of groups the mean, and of members."""
    there = {name for name, memory in entering.items() if memory.tokens is not None}
    pairs = {g: entering[m] for g, m in STANDS_FOR.items() if g in queries and m in there}
    weight = config.beta / (config.members * len(pairs))
    return {
        group: ProxyObjective(weight, config.lam, config.tau, name=f"{group}_objective")(
            queries[group], memory.tokens, tokens_mask=memory.mask
        )
        for group, memory in pairs.items()
    }


def head_inputs(
    tokens: Tokens, queries: Mapping[str, Any], config: INFNet.Config
) -> dict[str, Any]:
    """`[T_i; flatten(H); flatten((W_p cand + b_p) * (H W_h)); x_2]` by task, or `T_i` alone.

    With proxies of a task's own `z_i` follows `T_i`.
    """
    of_tasks, shared = [queries["tasks"]] if config.task_tokens else [], []
    if config.num_own_proxies:
        names = ("tasks", "own_proxies", "task_proxies")
        read = [queries[name] for name in names if name in queries]
        of_tasks.append(ProxyCombination(name="proxy_combination")(*read))
    if config.form.uses_candidate:
        found = [queries[name] for name in HEAD_PROXIES if name in queries]
        proxies = ops.concatenate(found, axis=1)
        project = keras.layers.Dense(config.dim, use_bias=False, name="product_proxies")
        scale = _as_tokens(tokens.candidate(), 1, config, "product_candidate")
        width = proxies.shape[1] * config.dim
        products = scale * project(proxies)
        shared = [ops.reshape(proxies, (-1, width)), ops.reshape(products, (-1, width))]
    if config.form.cross_rank is not None:
        shared.append(crossed(tokens, config.form.cross_rank))
    return {
        task: joined([*(x[:, i] for x in of_tasks), *shared])
        for i, task in enumerate(tokens.task_names)
    }


def crossed(tokens: Tokens, rank: int) -> Any:
    """`x_2 (batch, width)`, where each place still stands for its token of `x_0`."""
    first = x = tokens.flat()
    for i in range(2):
        x = CrossLayer(rank, name=f"cross_{i}")(first, x)
    return x


def _gate(config: INFNet.Config, name: str) -> ProxyGatedUnit:
    hidden = config.form.gate_hidden
    width = None if hidden is None else hidden * config.dim
    return ProxyGatedUnit(config.dim, config.form.gate, width, name=f"{name}_gate")


def _task_tokens(number: int, tokens: Tokens, config: INFNet.Config, name: str) -> Any:
    """`T = t`, or `T = t + reshape(W cand)`."""
    learned = TaskTokenEmbedding(number, config.dim, name=name)(tokens.fields)
    if not config.form.uses_candidate:
        return learned
    name = f"{name}_of_candidate"
    return learned + _as_tokens(tokens.candidate(), number, config, name, use_bias=False)


def _as_tokens(x: Any, number: int, config: INFNet.Config, name: str, use_bias: bool = True) -> Any:
    """`reshape(W x + b)`: a vector `(batch, width)` as `(batch, number, dim)`."""
    project = keras.layers.Dense(number * config.dim, use_bias=use_bias, name=name)
    return ops.reshape(project(x), (-1, number, config.dim))
