"""INFNet: the library's default form, and both versions of the paper."""

from collections.abc import Sequence
from typing import Any, Literal

import keras

from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.history_tokens import EVENT_CONTEXT
from keras_infnet.models.hyperparameters import constructor_arguments
from keras_infnet.models.infnet_graph import check_infnet, infnet_network, takes_any_length
from keras_infnet.models.members import member_outputs, network_of, read_tensors
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.schema.schema import FeatureSchema


@keras.saving.register_keras_serializable(package="keras_infnet")
class INFNet(RankingModel):
    """INFNet: fields, histories and tasks exchange information through a few proxies.

    Tokens are `C` (fields), `S` (events of all histories) and `T` (tasks). Proxies are
    `C~ = reshape(W_c flatten(C))`, `S~` (one for each group of events), `T~` (shared task tokens)
    and `K = W_k cand + b_k`, where `cand` is the candidate in the space of the events. They go
    through `num_blocks` of `INFNetBlock`; then, with `H = [C~; S~; T~; K]`,

    `y_i = head_i([T_i; flatten(H); flatten((W_p cand + b_p) * (H W_h))])`.

    The defaults are the paper's network repaired; `INFNet.paper_v1` and `INFNet.paper_v2` are the
    paper to the letter. Numbers with ± are mean AUC of click, like and long-view on KuaiRand-Pure's
    36,543 validation rows, less the default's, and the standard error of that in three seeds, from
    `benchmarks/accuracy.py --models ablation` (docs/results.md).

    Args:
        schema: A fitted schema: `FeatureEncoder(schema).fit(frame).schema`.
        dim: Token width. Defaults to `32`.
        num_blocks: Number of blocks. Defaults to `1`: two give +.0002 ± .0006, three +.0006 ±
            .0004.
        num_field_proxies: Number of `C~`. Defaults to `4`: 1 to 32 lie within .0013 ± .0009.
        num_task_proxies: Number of `T~`; with 0 nothing gates `T`. Defaults to `2`; 8 give +.0010 ±
            .0003.
        num_recent_proxies: Number of the newest events of each history whose tokens `S_l` stand in
            `H` too, zeros where there is no event; they are read by heads alone. 4 give
            +.0009 ± .0005. Defaults to `0`.
        num_heads: Heads of each attention. Defaults to `1`.
        head_dim: Hidden width of the heads. Defaults to `64`.
        own_dim: Width of tables of each task's own; 0: none. Head `i` reads `own_i = relu(W_i
            [flatten(C^i); mean of each group of events; log1p(n_f)/2] + b_i)` of width `head_dim`,
            and `T_i` starts with a projection of it added. 8 give +.0014 ± .0005, with 1.7
            times the parameters. Defaults to `0`.
        residual: Whether the heterogeneous flow has a residual connection; not in version 1.
            -.0002 ± .0002 without. Defaults to `True`.
        layer_norm: Whether a LayerNorm follows it, as in version 2. -.0008 ± .0005 with it.
            Defaults to `False`.
        qk_norm: Whether the flow's queries and memories are divided by their root mean square for
            the scores; not in the paper. +.0011 ± .0003 without; without it and with `layer_norm`
            +.0004 ± .0004, but on a million simulated test rows -.0170 ± .0005. Defaults to
            `True`.
        read_proxies: Whether heads read `H` beside `T_i`, which never sees the proxies in the
            paper. -.0049 ± .0005 without, and without `candidate_products`. Defaults to `True`.
        task_tokens: Whether there is `T`. Without it heads read the rest, and `C~` and `S~` have no
            memory of tasks: `T~` are no memory in the paper. Needs `read_proxies`. +.0003 ± .0010
            without. Defaults to `True`.
        condition_on_candidate: Whether `T_i` and `T~` start from the candidate (`T_i = t_i + W_i
            cand`). Defaults to `True`.
        candidate_proxy: Whether there is `K`; +.0001 ± .0005 without. Defaults to `True`.
        candidate_products: Whether heads read the products with the candidate; needs
            `read_proxies`. -.0004 ± .0009 without. Defaults to `True`.
        event_context: What an event's token knows besides its item, where the schema has it.
            -.0050 ± .0008 with none of it; -.0127 ± .0010 where histories hold positives instead of
            every exposure. It may have `"match"` too, which of its fields equal the candidate's:
            +.0007 ± .0008. Defaults to `("action", "ratio", "age", "position")`.
        score_biases: Whether scores on the history add scalars of `event_context`. Defaults to
            `True`: +.0005 ± .0004 without.
        pooling: How `GroupedPooling` makes `S~`; `"mean"` gives -.0006 ± .0005, `"sum"` +.0004 ±
            .0010. Defaults to `"mean_log_count"`.
        share_kv: Whether the queries of a memory share `W_K` and `W_V`. Defaults to `True`.
        attend_own_group: Whether each group reads its own memory too, and `[T; T~]` is one group
            (version 2). Defaults to `False`.
        proxy_memory: Whether all groups read the proxies too, as a memory of their own: a constant
            cost, whatever the history's length. Needs `read_proxies`. +.0007 ± .0005. Defaults to
            `False`.
        gate: Gate of `ProxyGatedUnit`; `"interpolate"` gives -.0000 ± .0007. Defaults to
            `"sigmoid"`.
        gate_hidden_dim: Hidden width of the gates' MLP. Defaults to `None`: one Dense.
        gate_input: Whether gates read the proxies after a block's heterogeneous flow (`"new"`) or
            before it (`"old"`): -.0002 ± .0002. Defaults to `"new"`.
        flow: Whether there are blocks at all; -.0001 ± .0005 without, but -.0149 ± .0004 on the
            test rows of a million simulated ones whose tasks read different things. Defaults to
            `True`.
        heterogeneous_flow: Whether blocks have it; -.0001 ± .0006 without. Defaults to `True`.
        homogeneous_flow: Whether blocks have it; +.0001 ± .0006 without. Defaults to `True`.
        all_to_all: Ablation without proxies in the blocks: `C' = C + CA(C, S) + CA(C, T)` and
            `S' = S + CA(S, C) + CA(S, T)`, which no gate follows; heads read proxies of the
            last `C'` and `S'`. Costs fields times events a block. +.0012 ± .0009. Defaults to
            `False`.
        num_encoder_layers: Layers of a `SequenceEncoder` on each history; 0: none. One gives
            -.0017 ± .0003. Defaults to `0`.
        members: Number of networks on shared tables, each with its own loss; their outputs are
            averaged: +.0016 ± .0006 with two (test rows: +.0005). Defaults to `1`.
        dropout: Rate in heads and encoder. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start; .05 gives -.0014 ± .0006, .2
            -.0081 ± .0002. Defaults to `0.01`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.
        **kwargs: `name` and `trainable`.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted, a hyperparameter is out of range, arguments exclude
            each other, or nothing of the inputs would reach the heads.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item", num_ids=10)
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
        >>> model = keras_infnet.INFNet(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Li et al., INFNet, arXiv:2508.11565v1 and v2.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int = 32,
        num_blocks: int = 1,
        num_field_proxies: int = 4,
        num_task_proxies: int = 2,
        num_recent_proxies: int = 0,
        num_heads: int = 1,
        head_dim: int = 64,
        own_dim: int = 0,
        residual: bool = True,
        layer_norm: bool = False,
        qk_norm: bool = True,
        read_proxies: bool = True,
        task_tokens: bool = True,
        condition_on_candidate: bool = True,
        candidate_proxy: bool = True,
        candidate_products: bool = True,
        event_context: Sequence[str] = EVENT_CONTEXT,
        score_biases: bool = True,
        pooling: Literal["mean_log_count", "sum", "mean"] = "mean_log_count",
        share_kv: bool = True,
        attend_own_group: bool = False,
        proxy_memory: bool = False,
        gate: Literal["sigmoid", "affine", "interpolate"] = "sigmoid",
        gate_hidden_dim: int | None = None,
        gate_input: Literal["new", "old"] = "new",
        flow: bool = True,
        heterogeneous_flow: bool = True,
        homogeneous_flow: bool = True,
        all_to_all: bool = False,
        num_encoder_layers: int = 0,
        members: int = 1,
        dropout: float = 0.0,
        embedding_stddev: float = 0.01,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        hyperparameters = constructor_arguments(INFNet, locals())
        check_infnet(hyperparameters)
        any_length = takes_any_length(hyperparameters)
        embedded = EmbeddedInputs(
            schema, dim, embedding_stddev, own_dim, own_dim > 0, dtype, any_length
        )
        states: list[list[dict[str, Any]]] = []

        def network(part: EmbeddedInputs) -> dict[str, Any]:
            outputs, states_of_member = infnet_network(part, hyperparameters)
            states.append(states_of_member)
            return outputs

        outputs = member_outputs(embedded, members, network)
        super().__init__(schema, embedded.inputs, outputs, hyperparameters, dtype=dtype, **kwargs)
        self._block_states = states

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
        form = {
            "num_blocks": 2,
            "residual": False,
            "event_context": (),
            "pooling": "sum",
            "gate_hidden_dim": overrides.get("dim", 32),
        }
        return cls(schema, **{**_PAPER, **form, **overrides})

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
        form = {
            "dim": 64,
            "num_blocks": 4,
            "num_field_proxies": 16,
            "num_task_proxies": 4,
            "layer_norm": True,
            "event_context": ("age", "position"),
            "pooling": "mean",
            "attend_own_group": True,
            "gate": "affine",
            "gate_hidden_dim": 4 * overrides.get("dim", 64),
        }
        return cls(schema, **{**_PAPER, **form, **overrides})

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
            as `schema.field_names`), `history` (all histories side by side) and `tasks`. With
            `all_to_all`, groups `field_proxies` and `sequence_proxies` are fields and events.

        Raises:
            ValueError: The model has no such block or member.
        """
        network = network_of(self, member)
        states = self._block_states[member]
        if not -len(states) <= block < len(states):
            raise ValueError(f"INFNet: no block {block}; it has {len(states)}.")
        state = read_tensors(self, inputs, dict(states[block]), member)
        return network.get_layer(f"block_{block % len(states)}").attention_weights(state)


_PAPER = {
    "read_proxies": False,
    "condition_on_candidate": False,
    "candidate_proxy": False,
    "candidate_products": False,
    "score_biases": False,
    "qk_norm": False,
    "share_kv": False,
}
