"""INFNet, a task-aware information flow network for multi-task ranking, in Keras 3."""

try:
    import keras as _keras  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("tensorflow", "jax"):
        raise
    raise ImportError(
        f"keras_infnet: Keras's backend is `{error.name}`, which is not installed. Install "
        'TensorFlow with `pip install "keras-infnet[tensorflow-cpu]"` (`[tensorflow]` on a GPU), or'
        ' JAX with `pip install "keras-infnet[jax]"`. The environment variable KERAS_BACKEND '
        "(`tensorflow` or `jax`) chooses between them."
    ) from error

from keras_infnet.datasets.kuairand import KuaiRand
from keras_infnet.datasets.qb_video import QBVideo
from keras_infnet.datasets.simulate import Simulation, simulate
from keras_infnet.datasets.simulation_settings import SimulationSettings
from keras_infnet.datasets.split import Split, split_by_date, split_by_order
from keras_infnet.explain.explain import explain
from keras_infnet.explain.explanation import Explanation
from keras_infnet.explain.task_attention import task_attention
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.dense import DenseFeature
from keras_infnet.schema.history import HistoryGroup, History
from keras_infnet.schema.numeric import NumericFeature
from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.encoding.requests import frame_to_request
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.schema.vocabulary import Vocabulary
from keras_infnet.layers.augru import AUGRU
from keras_infnet.layers.bi_interaction import BiInteraction
from keras_infnet.layers.bucket_embedding import BucketEmbedding
from keras_infnet.layers.cross_layer import CrossLayer
from keras_infnet.layers.expert_gate import ExpertGate
from keras_infnet.layers.expert_group import ExpertGroup
from keras_infnet.layers.fused_embedding import FusedEmbedding
from keras_infnet.layers.gated_cross_layer import GatedCrossLayer
from keras_infnet.layers.grouped_pooling import GroupedPooling
from keras_infnet.layers.history_token_embedding import HistoryTokenEmbedding
from keras_infnet.layers.hstu_layer import HSTULayer
from keras_infnet.layers.local_activation_unit import LocalActivationUnit
from keras_infnet.layers.next_event_loss import NextEventLoss
from keras_infnet.layers.proxy_cross_attention import ProxyCrossAttention
from keras_infnet.layers.proxy_gated_unit import ProxyGatedUnit
from keras_infnet.layers.sequence_encoder import SequenceEncoder
from keras_infnet.layers.task_head import TaskHead
from keras_infnet.layers.task_token_embedding import TaskTokenEmbedding
from keras_infnet.layers.wukong_layer import WuKongLayer
from keras_infnet.metrics.auc import auc
from keras_infnet.metrics.calibration_error import (
    ExpectedCalibrationError,
    expected_calibration_error,
)
from keras_infnet.metrics.group_auc import GroupAUC, group_auc
from keras_infnet.metrics.log_loss import log_loss
from keras_infnet.metrics.normalized_entropy import NormalizedEntropy, normalized_entropy
from keras_infnet.metrics.regression_error import mean_absolute_error, mean_squared_error
from keras_infnet.metrics.reliability_plot import plot_reliability
from keras_infnet.metrics.task_metrics import task_metrics
from keras_infnet.models.dcnv2 import GDCN, DCNv2
from keras_infnet.models.dien import DIEN
from keras_infnet.models.din import DIN
from keras_infnet.models.fm import FM
from keras_infnet.models.hstu import HSTU
from keras_infnet.models.infnet import Form, INFNet
from keras_infnet.models.mmoe import MMoE, OMoE
from keras_infnet.models.ple import PLE
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.registry import MODELS
from keras_infnet.models.shared_bottom import SharedBottom
from keras_infnet.models.stem import STEM
from keras_infnet.models.wukong import WuKong
from keras_infnet.data.dataset import make_dataset
from keras_infnet.data.histories import Histories
from keras_infnet.data.predict import predict_frame
from keras_infnet.data.prepare import prepare
from keras_infnet.data.stream import stream_dataset
from keras_infnet.search.infnet_hyper_model import INFNetHyperModel
from keras_infnet.search.latency_tradeoff import LatencyTradeoff
from keras_infnet.search.pareto import pareto_front
from keras_infnet.search.proxy_search import ProxySearch
from keras_infnet.search.search_config import load_config
from keras_infnet.search.search_space import SearchSpace
from keras_infnet.search.trial_records import search_trials
from keras_infnet.serving.c_api import run_c_api
from keras_infnet.serving.calibration import Calibration
from keras_infnet.serving.calibration_fit import fit_calibration
from keras_infnet.serving.client import Client
from keras_infnet.serving.negative_sampling import correct_negative_sampling
from keras_infnet.serving.onnx_export import export_onnx
from keras_infnet.serving.saved_model import export_saved_model, verify_saved_model
from keras_infnet.serving.versions import export_version
from keras_infnet.training.checkpoints import Checkpoints
from keras_infnet.training.data_parallel import data_parallel
from keras_infnet.training.expert_shares_callback import ExpertSharesCallback
from keras_infnet.training.group_auc_callback import GroupAUCCallback
from keras_infnet.training.lazy_adam import LazyAdam, LazyAdamW
from keras_infnet.training.optimizers import split_optimizer
from keras_infnet.training.policy import PolicyScore, TaskPolicy
from keras_infnet.training.recipe import fit_ranker
from keras_infnet.training.seeds import set_seeds
from keras_infnet.training.sparse_adagrad import SparseAdagrad
from keras_infnet.training.table_shards import shard_tables

__version__ = "0.1.0"

__all__ = [
    "AUGRU",
    "BiInteraction",
    "BucketEmbedding",
    "Calibration",
    "CategoricalFeature",
    "Checkpoints",
    "Client",
    "CrossLayer",
    "DCNv2",
    "DIEN",
    "DIN",
    "DenseFeature",
    "ExpectedCalibrationError",
    "ExpertGate",
    "ExpertGroup",
    "ExpertSharesCallback",
    "Explanation",
    "FM",
    "FeatureEncoder",
    "FeatureSchema",
    "Form",
    "FusedEmbedding",
    "GDCN",
    "GatedCrossLayer",
    "GroupAUC",
    "GroupAUCCallback",
    "GroupedPooling",
    "HSTU",
    "HSTULayer",
    "Histories",
    "HistoryGroup",
    "HistoryTokenEmbedding",
    "INFNet",
    "INFNetHyperModel",
    "KuaiRand",
    "LatencyTradeoff",
    "LazyAdam",
    "LazyAdamW",
    "LocalActivationUnit",
    "MMoE",
    "MODELS",
    "NextEventLoss",
    "NormalizedEntropy",
    "NumericFeature",
    "OMoE",
    "PLE",
    "PolicyScore",
    "ProxyCrossAttention",
    "ProxyGatedUnit",
    "ProxySearch",
    "QBVideo",
    "RankingModel",
    "STEM",
    "SearchSpace",
    "SequenceEncoder",
    "History",
    "SharedBottom",
    "Simulation",
    "SimulationSettings",
    "SparseAdagrad",
    "Split",
    "Task",
    "TaskHead",
    "TaskPolicy",
    "TaskTokenEmbedding",
    "Vocabulary",
    "WuKong",
    "WuKongLayer",
    "auc",
    "correct_negative_sampling",
    "data_parallel",
    "expected_calibration_error",
    "explain",
    "export_onnx",
    "export_saved_model",
    "export_version",
    "fit_calibration",
    "fit_ranker",
    "frame_to_request",
    "group_auc",
    "load_config",
    "log_loss",
    "make_dataset",
    "mean_absolute_error",
    "mean_squared_error",
    "normalized_entropy",
    "pareto_front",
    "plot_reliability",
    "predict_frame",
    "prepare",
    "run_c_api",
    "search_trials",
    "set_seeds",
    "shard_tables",
    "simulate",
    "split_by_date",
    "split_by_order",
    "split_optimizer",
    "stream_dataset",
    "task_attention",
    "task_metrics",
    "verify_saved_model",
]
