"""torch-rechub: its models and trainers. Its MLPs have a batch normalisation in each layer."""

import tempfile
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
    LEVELS,
    SHARED_EXPERTS,
    TASK_EXPERTS,
    Rows,
    Work,
)


class TorchRecHub(TorchAdapter):
    """Steps are those of `train_one_epoch`."""

    library = "torch-rechub"
    requirements = (TORCH, "torch-rechub==0.9.0")
    models = ("SharedBottom", "MMoE", "PLE", "DIN", "DCNv2")

    def module(self, work: Work) -> Any:
        from torch_rechub.basic.features import SequenceFeature, SparseFeature
        from torch_rechub.models import multi_task, ranking
        from torch_rechub.trainers import CTRTrainer, MTLTrainer

        fields = [SparseFeature(name, size, DIM) for name, size in work.sizes.items()]
        shared = {"shared_with": FIELDS[ITEM], "padding_idx": 0}
        size = fields[ITEM].vocab_size
        seen = SequenceFeature("seen", size, DIM, "mean", **shared)
        several = {
            "features": [*fields, seen],
            "task_types": ["classification"] * len(work.tasks),
            "tower_params_list": [{"dims": [HEAD]}] * len(work.tasks),
        }
        expert = {"expert_params": {"dims": list(EXPERT_HIDDEN)}}
        if work.model == "SharedBottom":
            model = multi_task.SharedBottom(bottom_params={"dims": list(HIDDEN)}, **several)
        elif work.model == "MMoE":
            model = multi_task.MMOE(n_expert=EXPERTS, **expert, **several)
        elif work.model == "PLE":
            experts = {"n_expert_specific": TASK_EXPERTS, "n_expert_shared": SHARED_EXPERTS}
            model = multi_task.PLE(n_level=LEVELS, **experts, **expert, **several)
        elif work.model == "DIN":
            events = SequenceFeature("seen", size, DIM, "concat", **shared)
            attention = {"dims": list(ATTENTION_HIDDEN)}
            others = fields[:ITEM] + fields[ITEM + 1 :]
            mlp = {"dims": [*HIDDEN, HEAD]}
            model = ranking.DIN(others, [events], [fields[ITEM]], mlp, attention)
        else:
            mlp = {"dims": list(HIDDEN)}
            model = ranking.DCNv2([*fields, seen], CROSSES, mlp, use_low_rank_mixture=False)
        adam: dict[str, Any] = {"optimizer_params": {"lr": LEARNING_RATE}, "n_epoch": 1}
        if len(work.tasks) > 1:
            self.trainer = MTLTrainer(model, several["task_types"], **adam)
        else:
            self.trainer = CTRTrainer(model, **adam)
        return model

    def optimizer(self) -> Any:
        return self.trainer.optimizer

    def inputs(self, ids: np.ndarray, history: np.ndarray) -> dict[str, Any]:
        import torch

        columns = dict(zip(FIELDS, ids.T, strict=True))
        found = {name: torch.from_numpy(np.ascontiguousarray(c)) for name, c in columns.items()}
        return {**found, "seen": torch.from_numpy(history)}

    def labels(self, labels: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(labels if len(self.work.tasks) > 1 else labels[:, 0])

    def steps(self, batches: list[tuple[Any, Any]]) -> None:
        self.trainer.train_one_epoch(batches)

    def learn_rows(self, train: Rows, test: Rows) -> list[float]:
        from torch_rechub.utils.data import DataGenerator

        x, y = ([f(r) for r in (train, test)] for f in (self._columns, lambda r: r.labels))
        loaders = DataGenerator(x[0], y[0]).generate_dataloader(
            x_val=x[1], y_val=y[1], x_test=x[1], y_test=y[1], batch_size=self.work.batch
        )
        with tempfile.TemporaryDirectory() as self.trainer.model_path:
            (log,) = self.trainer.fit(*loaders[:2])
        return log[-len(self.work.tasks) :]

    def _columns(self, rows: Rows) -> dict[str, np.ndarray]:
        return {**dict(zip(FIELDS, rows.ids.T, strict=True)), "seen": rows.history}
