"""One library a file, by its name."""

from benchmarks.peers.adapter import Adapter
from benchmarks.peers.adapters.deepctr_torch import DeepCTRTorch
from benchmarks.peers.adapters.fuxictr import FuxiCTR
from benchmarks.peers.adapters.keras_infnet import KerasINFNet
from benchmarks.peers.adapters.keras_rs import KerasRS
from benchmarks.peers.adapters.torch_rechub import TorchRecHub

OURS = KerasINFNet.library
ADAPTERS: dict[str, type[Adapter]] = {
    adapter.library: adapter
    for adapter in (KerasINFNet, TorchRecHub, FuxiCTR, DeepCTRTorch, KerasRS)
}
