"""Every public layer with arguments and inputs: what the contracts of tests/contracts walk over."""

import numpy as np

import keras_infnet as ki

RNG = np.random.default_rng(0)
BATCH, DIM = 5, 8
MASK = np.arange(6)[None] >= np.array([6, 0, 2, 3, 5])[:, None]


def tokens(number, width=DIM):
    return RNG.normal(size=(BATCH, number, width)).astype("float32")


def ids(length, high):
    return RNG.integers(0, high, (BATCH, length)).astype("int32")


# Class, arguments, call arguments.
CASES = {
    "adaptive_embedding": (
        ki.layers.AdaptiveEmbedding,
        {"table_parts": {"user_id": [(8, 4), (2, 5)], "video_id": [(4, 9)]}, "dim": DIM},
        {"ids": np.arange(2 * BATCH, dtype="int32").reshape(BATCH, 2) % 9},
    ),
    "augru": (
        ki.layers.AUGRU,
        {"dim": 4},
        {"tokens": tokens(6), "attention": tokens(1, 6)[:, 0], "tokens_mask": MASK},
    ),
    "augru_sequences": (
        ki.layers.AUGRU,
        {"dim": 4, "return_sequences": True},
        {"tokens": tokens(6), "tokens_mask": MASK},
    ),
    "bi_interaction": (ki.layers.BiInteraction, {}, {"tokens": tokens(6), "tokens_mask": MASK}),
    "bucket_embedding": (
        ki.layers.BucketEmbedding,
        {"num_buckets": {"age": 23, "action": 4}, "dim": DIM},
        {"buckets": {"age": ids(6, 23), "action": ids(6, 4)}},
    ),
    "causal_mask": (
        ki.layers.CausalMask,
        {"window": 3},
        {"queries": tokens(4), "keys": tokens(6), "keys_mask": MASK},
    ),
    "cross_layer": (ki.layers.CrossLayer, {}, {"x0": tokens(1)[:, 0], "x": tokens(1)[:, 0]}),
    "cross_layer_low_rank": (
        ki.layers.CrossLayer,
        {"projection_dim": 3},
        {"x0": tokens(1)[:, 0], "x": tokens(1)[:, 0]},
    ),
    "expert_gate": (
        ki.layers.ExpertGate,
        {"expert_names": ["shared_0", "click_0", "click_1"]},
        {"inputs": tokens(1)[:, 0], "experts": tokens(3)},
    ),
    "expert_gate_deep": (
        ki.layers.ExpertGate,
        {"expert_names": ["shared_0", "click_0"], "hidden_dims": [6, 4], "use_bias": True},
        {"inputs": tokens(1)[:, 0], "experts": tokens(2)},
    ),
    "expert_group": (
        ki.layers.ExpertGroup,
        {"num_experts": 3, "hidden_dims": [8, 6]},
        {"inputs": tokens(1)[:, 0]},
    ),
    "feature_tokens": (
        ki.layers.FeatureTokens,
        {"num_tokens": 4, "dim": DIM},
        {"features": tokens(1)[:, 0]},
    ),
    "feature_tokens_group": (
        ki.layers.FeatureTokens,
        {"num_tokens": 2, "dim": DIM, "mode": "group"},
        {"features": [tokens(1)[:, 0], tokens(1, 3)[:, 0], tokens(1, 5)[:, 0]]},
    ),
    "feature_tokens_chunk": (
        ki.layers.FeatureTokens,
        {"num_tokens": 4, "dim": DIM, "mode": "chunk"},
        {"features": [tokens(1)[:, 0], tokens(1, 3)[:, 0]]},
    ),
    "fused_embedding": (
        ki.layers.FusedEmbedding,
        {"table_rows": {"user_id": 9, "video_id": 20}, "dim": DIM},
        {"ids": ids(2, 9)},
    ),
    "number_embedding": (
        ki.layers.NumberEmbedding,
        {"bins": {"price": (0, 4), "age": (0,)}, "dim": DIM},
        {"numbers": tokens(1)[:, 0, :3]},
    ),
    "gated_cross_layer": (
        ki.layers.GatedCrossLayer,
        {},
        {"x0": tokens(1)[:, 0], "x": tokens(1)[:, 0]},
    ),
    "grouped_attention_pooling": (
        ki.layers.GroupedAttentionPooling,
        {},
        {"tokens": tokens(6), "groups": [MASK[:, None]], "context": tokens(1, 3)[:, 0]},
    ),
    "grouped_attention_pooling_seeds": (
        ki.layers.GroupedAttentionPooling,
        {},
        {"tokens": tokens(6), "groups": [MASK[:, None, :4], MASK[:, None, 4:]]},
    ),
    "grouped_pooling": (
        ki.layers.GroupedPooling,
        {"dim": DIM},
        {
            "tokens": tokens(6),
            "groups": [np.stack([ids(4, 2)] * 2, 1), MASK[:, None, :2]],
        },
    ),
    "grouped_pooling_sum": (
        ki.layers.GroupedPooling,
        {"dim": DIM, "pooling": "sum"},
        {"tokens": tokens(6), "groups": [MASK[:, None]]},
    ),
    "grouped_pooling_mean": (
        ki.layers.GroupedPooling,
        {"dim": DIM, "pooling": "mean"},
        {"tokens": tokens(6), "groups": [MASK[:, None, :4], MASK[:, None, 4:]]},
    ),
    "history_token_embedding": (
        ki.layers.HistoryTokenEmbedding,
        {"dim": DIM, "num_buckets": {"age": 23}},
        {"events": [tokens(4, 16), tokens(2, 24)], "buckets": {"age": ids(6, 23)}},
    ),
    "hstu_layer": (
        ki.layers.HSTULayer,
        {"num_heads": 2, "max_distance": 4, "num_age_buckets": 23},
        {"tokens": tokens(6), "ages": ids(6, 23), "tokens_mask": MASK},
    ),
    "hstu_layer_last": (
        ki.layers.HSTULayer,
        {"last_only": True},
        {"tokens": tokens(6), "tokens_mask": MASK},
    ),
    "local_activation_unit": (
        ki.layers.LocalActivationUnit,
        {"hidden_dims": (16, 8)},
        {"tokens": tokens(6), "candidate": tokens(1)[:, 0], "tokens_mask": MASK},
    ),
    "masked_attention": (
        ki.layers.MaskedAttention,
        {"num_heads": 2},
        {
            "queries": tokens(3),
            "keys": [tokens(6), tokens(2)],
            "values": [tokens(6, 4), tokens(2, 4)],
            "allowed": [MASK[:, None], np.ones((BATCH, 3, 2), bool)],
        },
    ),
    "masked_attention_places": (
        ki.layers.MaskedAttention,
        {},
        {
            "queries": tokens(3),
            "keys": tokens(6),
            "values": tokens(6),
            "query_places": ids(3, 9),
            "key_places": ids(6, 9),
        },
    ),
    "next_event_loss": (
        ki.layers.NextEventLoss,
        {"weight": 0.5, "shift": 2},
        {"states": tokens(6), "tokens": tokens(6), "tokens_mask": MASK},
    ),
    "per_token_feed_forward": (
        ki.layers.PerTokenFeedForward,
        {"expansion": 2},
        {"tokens": tokens(3)},
    ),
    "per_token_feed_forward_swiglu": (
        ki.layers.PerTokenFeedForward,
        {"activation": "swiglu"},
        {"tokens": tokens(3)},
    ),
    "proxy_combination": (
        ki.layers.ProxyCombination,
        {},
        {"tasks": tokens(3), "own": tokens(6), "shared": tokens(2)},
    ),
    "proxy_combination_own": (
        ki.layers.ProxyCombination,
        {},
        {"tasks": tokens(2, 4), "own": tokens(6)},
    ),
    "proxy_cross_attention": (
        ki.layers.ProxyCrossAttention,
        {"dim": DIM, "num_heads": 2, "query_sets": 2},
        {"queries": [tokens(2, 4), tokens(3)], "memory": tokens(6, 5), "memory_mask": MASK},
    ),
    "proxy_cross_attention_silu": (
        ki.layers.ProxyCrossAttention,
        {"dim": DIM, "activation": "silu"},
        {"queries": tokens(3), "memory": tokens(6, 5), "memory_mask": MASK},
    ),
    "proxy_gated_unit": (
        ki.layers.ProxyGatedUnit,
        {"dim": DIM, "hidden_dim": 16},
        {"tokens": tokens(6), "proxies": tokens(2), "tokens_mask": MASK},
    ),
    "proxy_gated_unit_affine": (
        ki.layers.ProxyGatedUnit,
        {"dim": DIM, "gate": "affine"},
        {"tokens": tokens(6), "proxies": tokens(2), "tokens_mask": MASK},
    ),
    "proxy_gated_unit_interpolate": (
        ki.layers.ProxyGatedUnit,
        {"dim": DIM, "gate": "interpolate"},
        {"tokens": tokens(6), "proxies": tokens(2), "tokens_mask": MASK},
    ),
    "proxy_objective": (
        ki.layers.ProxyObjective,
        {"weight": 0.5},
        {"proxies": tokens(3), "tokens": tokens(6, 5), "tokens_mask": MASK},
    ),
    "sequence_encoder": (
        ki.layers.SequenceEncoder,
        {"num_layers": 2, "num_heads": 2, "max_distance": 4},
        {"tokens": tokens(6), "tokens_mask": MASK},
    ),
    "sinkhorn_mixing": (ki.layers.SinkhornMixing, {"block_dim": 4}, {"tokens": tokens(2)}),
    "sinkhorn_mixing_lite": (
        ki.layers.SinkhornMixing,
        {"block_dim": 4, "lite": True, "num_bases": 2, "rank": 3, "rounds": 2},
        {"tokens": tokens(2)},
    ),
    "task_head": (
        ki.layers.TaskHead,
        {"hidden_dim": 16, "bias": -1.5},
        {"inputs": tokens(1)[:, 0]},
    ),
    "task_head_softmax": (
        ki.layers.TaskHead,
        {"hidden_dim": None, "units": 3, "activation": "softmax", "bias": [0.5, -1.0, 0.0]},
        {"inputs": tokens(1)[:, 0]},
    ),
    "task_token_embedding": (
        ki.layers.TaskTokenEmbedding,
        {"num_tokens": 3, "dim": DIM},
        {"inputs": tokens(2)},
    ),
    "token_mixing": (ki.layers.TokenMixing, {}, {"tokens": tokens(4)}),
    "wukong_layer": (
        ki.layers.WuKongLayer,
        {"num_fmb_tokens": 3, "num_lcb_tokens": 2, "projection_dim": 4, "hidden_dims": (16,)},
        {"tokens": tokens(6)},
    ),
}
# Call arguments whose padded positions, by the mask above, may hold anything.
PADDED = {
    "augru": ("tokens",),
    "augru_sequences": ("tokens",),
    "bi_interaction": ("tokens",),
    "grouped_attention_pooling": ("tokens",),
    "grouped_attention_pooling_seeds": ("tokens",),
    "grouped_pooling_mean": ("tokens",),
    "grouped_pooling_sum": ("tokens",),
    "hstu_layer": ("tokens",),
    "hstu_layer_last": ("tokens",),
    "local_activation_unit": ("tokens",),
    "next_event_loss": ("tokens",),
    "proxy_cross_attention": ("memory",),
    "proxy_gated_unit": ("tokens",),
    "proxy_gated_unit_affine": ("tokens",),
    "proxy_gated_unit_interpolate": ("tokens",),
    "proxy_objective": ("tokens",),
    "sequence_encoder": ("tokens",),
}
