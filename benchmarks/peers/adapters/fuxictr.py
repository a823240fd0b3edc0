"""FuxiCTR: its package has the parts of models, which are put together as its model zoo does."""

import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.adapter import TORCH, TorchAdapter
from benchmarks.peers.work import (
    ATTENTION_HIDDEN,
    CROSSES,
    DIM,
    EXPERT_HIDDEN,
    EXPERTS,
    FIELDS,
    HEAD,
    HIDDEN,
    ITEM,
    LEARNING_RATE,
    Rows,
    Work,
)


class FuxiCTR(TorchAdapter):
    """Steps are those of `train_step`, which clips gradients, as its models always do."""

    library = "fuxictr"
    requirements = (TORCH, "fuxictr==2.3.10")
    models = ("SharedBottom", "MMoE", "DIN", "DCNv2", "FM")

    def module(self, work: Work) -> Any:
        from fuxictr.pytorch.models import BaseModel, MultiTaskModel

        feature_map = _feature_map(work)
        several = len(work.tasks) > 1
        parts, tasks = _parts(work, feature_map), work.tasks

        class Model(MultiTaskModel if several else BaseModel):  # type: ignore[misc]
            def __init__(self, **given: Any) -> None:
                super().__init__(feature_map, verbose=0, model_root="", metrics=["AUC"], **given)
                self.parts = parts
                self.compile("adam", "binary_crossentropy", LEARNING_RATE)
                self.reset_parameters()

            def forward(self, inputs: Any) -> dict[str, Any]:
                logits = self.parts(self.get_inputs(inputs))
                if not several:
                    return {"y_pred": self.output_activation(logits[0])}
                made = zip(tasks, self.output_activation, logits, strict=True)
                return {f"{task}_pred": activate(logit) for task, activate, logit in made}

        kinds = ["binary_classification"] * len(tasks)
        return Model(task=kinds, num_tasks=len(tasks)) if several else Model()

    def optimizer(self) -> Any:
        return self.model.optimizer

    def inputs(self, ids: np.ndarray, history: np.ndarray) -> dict[str, Any]:
        import torch

        columns = dict(zip(FIELDS, ids.T, strict=True))
        found = {name: torch.from_numpy(np.ascontiguousarray(c)) for name, c in columns.items()}
        return {**found, "seen": torch.from_numpy(history)}

    def labels(self, labels: np.ndarray) -> dict[str, Any]:
        import torch

        return dict(zip(self.work.tasks, torch.from_numpy(labels.T.copy()), strict=True))

    def steps(self, batches: list[tuple[Any, Any]]) -> None:
        self.model._max_gradient_norm = 10.0
        for x, y in batches:
            self.model.train_step({**x, **y}).item()

    def predict(self, x: Any) -> np.ndarray:
        return np.concatenate([y.numpy() for y in self.model(x).values()], axis=1)

    def learn_rows(self, train: Rows, test: Rows) -> list[float]:
        from fuxictr.pytorch.dataloaders.npz_dataloader import NpzDataLoader

        loaders = []
        with tempfile.TemporaryDirectory() as folder:
            for name, rows in (("train", train), ("test", test)):
                columns = dict(zip(FIELDS, rows.ids.T, strict=True))
                labels = dict(zip(self.work.tasks, rows.labels.T, strict=True))
                path = Path(folder) / f"{name}.npz"
                np.savez(path, seen=rows.history, **columns, **labels)
                given = {"shuffle": name == "train", "num_workers": 0}
                features, size = self.model.feature_map, self.work.batch
                loaders.append(NpzDataLoader(features, str(path), size, **given))
        self.model.train()
        self.model._max_gradient_norm = 10.0
        for batch in loaders[0]:
            self.model.train_step(batch).item()
        found = self.model.evaluate(loaders[1], metrics=["AUC"])
        return [float(found[f"{task}_AUC"]) for task in self.work.tasks]


def _feature_map(work: Work) -> Any:
    from fuxictr.features import FeatureMap

    found = FeatureMap("peers", "")
    found.default_emb_dim = DIM
    found.features = OrderedDict(
        (name, {"type": "categorical", "source": "", "vocab_size": size, "padding_idx": 0})
        for name, size in work.sizes.items()
    )
    found.features["seen"] = {
        **found.features[FIELDS[ITEM]],
        "type": "sequence",
        "max_len": work.length,
        "share_embedding": FIELDS[ITEM],
    }
    if work.model != "DIN":
        found.features["seen"]["feature_encoder"] = "layers.MaskedAveragePooling()"
    found.labels, found.num_fields = list(work.tasks), found.get_num_fields()
    found.set_column_index()
    return found


def _parts(work: Work, feature_map: Any) -> Any:
    """The network from inputs to a list of logits, one for each task."""
    from fuxictr.pytorch import layers
    from torch import cat, nn, stack

    width = feature_map.sum_emb_out_dim()
    tasks = range(len(work.tasks))

    def towers(inputs: int) -> Any:
        made = [layers.MLP_Block(inputs, [HEAD], output_dim=1) for _ in tasks]
        return nn.ModuleList(made)

    class SharedBottom(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = layers.FeatureEmbedding(feature_map, DIM)
            self.bottom, self.towers = layers.MLP_Block(width, list(HIDDEN)), towers(HIDDEN[-1])

        def forward(self, x: Any) -> list[Any]:
            shared = self.bottom(self.embedding(x, flatten_emb=True))
            return [tower(shared) for tower in self.towers]

    class MMoE(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = layers.FeatureEmbedding(feature_map, DIM)
            experts = [layers.MLP_Block(width, list(EXPERT_HIDDEN)) for _ in range(EXPERTS)]
            self.experts = nn.ModuleList(experts)
            self.gates = nn.ModuleList(nn.Linear(width, EXPERTS) for _ in tasks)
            self.towers = towers(EXPERT_HIDDEN[-1])

        def forward(self, x: Any) -> list[Any]:
            x = self.embedding(x, flatten_emb=True)
            experts = stack([expert(x) for expert in self.experts], dim=1)
            weights = [gate(x).softmax(dim=-1).unsqueeze(-1) for gate in self.gates]
            mixed = [(weight * experts).sum(dim=1) for weight in weights]
            return [tower(y) for tower, y in zip(self.towers, mixed, strict=True)]

    class DIN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = layers.FeatureEmbeddingDict(feature_map, DIM)
            self.attention = layers.DIN_Attention(DIM, list(ATTENTION_HIDDEN))
            self.deep = layers.MLP_Block(width, [*HIDDEN, HEAD], output_dim=1)

        def forward(self, x: Any) -> list[Any]:
            found = self.embedding(x)
            mask = x["seen"] != 0
            found["seen"] = self.attention(found[FIELDS[ITEM]], found["seen"], mask)
            return [self.deep(self.embedding.dict2tensor(found, flatten_emb=True))]

    class DCNv2(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = layers.FeatureEmbedding(feature_map, DIM)
            self.crosses = layers.CrossNetV2(width, CROSSES)
            self.deep = layers.MLP_Block(width, list(HIDDEN))
            self.head = nn.Linear(width + HIDDEN[-1], 1)

        def forward(self, x: Any) -> list[Any]:
            x = self.embedding(x, flatten_emb=True)
            return [self.head(cat([self.crosses(x), self.deep(x)], dim=-1))]

    class FM(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = layers.FeatureEmbedding(feature_map, DIM)
            self.fm = layers.FactorizationMachine(feature_map)

        def forward(self, x: Any) -> list[Any]:
            return [self.fm(x, self.embedding(x))]

    made = (SharedBottom, MMoE, DIN, DCNv2, FM)
    return {model.__name__: model for model in made}[work.model]()
