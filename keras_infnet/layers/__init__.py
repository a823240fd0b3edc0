"""Layers: what models are made of, one public layer a file."""

from keras_infnet.layers.adaptive_embedding import AdaptiveEmbedding
from keras_infnet.layers.augru import AUGRU
from keras_infnet.layers.bi_interaction import BiInteraction
from keras_infnet.layers.bucket_embedding import BucketEmbedding
from keras_infnet.layers.causal_mask import CausalMask
from keras_infnet.layers.cross_layer import CrossLayer
from keras_infnet.layers.expert_gate import ExpertGate
from keras_infnet.layers.expert_group import ExpertGroup
from keras_infnet.layers.feature_tokens import FeatureTokens
from keras_infnet.layers.fused_embedding import FusedEmbedding
from keras_infnet.layers.gated_cross_layer import GatedCrossLayer
from keras_infnet.layers.grouped_attention_pooling import GroupedAttentionPooling
from keras_infnet.layers.grouped_pooling import GroupedPooling
from keras_infnet.layers.history_token_embedding import HistoryTokenEmbedding
from keras_infnet.layers.hstu_layer import HSTULayer
from keras_infnet.layers.local_activation_unit import LocalActivationUnit
from keras_infnet.layers.masked_attention import MaskedAttention
from keras_infnet.layers.next_event_loss import NextEventLoss
from keras_infnet.layers.number_embedding import NumberEmbedding
from keras_infnet.layers.per_token_feed_forward import PerTokenFeedForward
from keras_infnet.layers.proxy_combination import ProxyCombination
from keras_infnet.layers.proxy_cross_attention import ProxyCrossAttention
from keras_infnet.layers.proxy_gated_unit import ProxyGatedUnit
from keras_infnet.layers.proxy_objective import ProxyObjective
from keras_infnet.layers.sequence_encoder import SequenceEncoder
from keras_infnet.layers.sinkhorn_mixing import SinkhornMixing
from keras_infnet.layers.task_head import TaskHead
from keras_infnet.layers.task_token_embedding import TaskTokenEmbedding
from keras_infnet.layers.token_mixing import TokenMixing
from keras_infnet.layers.wukong_layer import WuKongLayer

__all__ = [
    "AUGRU",
    "AdaptiveEmbedding",
    "BiInteraction",
    "BucketEmbedding",
    "CausalMask",
    "CrossLayer",
    "ExpertGate",
    "ExpertGroup",
    "FeatureTokens",
    "FusedEmbedding",
    "GatedCrossLayer",
    "GroupedAttentionPooling",
    "GroupedPooling",
    "HSTULayer",
    "HistoryTokenEmbedding",
    "LocalActivationUnit",
    "MaskedAttention",
    "NextEventLoss",
    "NumberEmbedding",
    "PerTokenFeedForward",
    "ProxyCombination",
    "ProxyCrossAttention",
    "ProxyGatedUnit",
    "ProxyObjective",
    "SequenceEncoder",
    "SinkhornMixing",
    "TaskHead",
    "TaskTokenEmbedding",
    "TokenMixing",
    "WuKongLayer",
]
