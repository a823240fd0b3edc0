"""DeepCTR-Torch: its models; its loop is inside `fit`, so steps are that loop's lines."""

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
    LEVELS,
    SHARED_EXPERTS,
    TASK_EXPERTS,
    Rows,
    Work,
)

_HISTORY = f"hist_{FIELDS[ITEM]}"


class DeepCTRTorch(TorchAdapter):
    """Regularisation, which it has by default, is off."""

    library = "deepctr-torch"
    # It imports `requests`, and does not ask for it.
    requirements = (TORCH, "deepctr-torch==0.3.0", "requests")
    models = ("SharedBottom", "MMoE", "PLE", "DIN", "DCNv2", "FM")

    def module(self, work: Work) -> Any:
        import requests

        # Its import asks a registry which version is the newest; it takes an error for an answer.
        requests.get = None
        from deepctr_torch import models
        from deepctr_torch.inputs import SparseFeat, VarLenSparseFeat

        fields = [SparseFeat(name, size, DIM) for name, size in work.sizes.items()]
        event = SparseFeat(_HISTORY, fields[ITEM].vocabulary_size, DIM, embedding_name=FIELDS[ITEM])
        length = "length" if work.model == "DIN" else None
        columns = [*fields, VarLenSparseFeat(event, work.length, "mean", length)]
        several: dict[str, Any] = {
            "task_types": ["binary"] * len(work.tasks),
            "task_names": work.tasks,
            "tower_dnn_hidden_units": (HEAD,),
        }
        experts: dict[str, Any] = {
            "expert_dnn_hidden_units": EXPERT_HIDDEN,
            "gate_dnn_hidden_units": (),
        }
        plain = {"l2_reg_embedding": 0, "l2_reg_linear": 0}
        if work.model == "SharedBottom":
            given = {"bottom_dnn_hidden_units": HIDDEN, **several}
            model = models.SharedBottom(columns, **given, **plain)
        elif work.model == "MMoE":
            model = models.MMOE(columns, num_experts=EXPERTS, **experts, **several, **plain)
        elif work.model == "PLE":
            sizes = {"shared_expert_num": SHARED_EXPERTS, "specific_expert_num": TASK_EXPERTS}
            given = {"num_levels": LEVELS, **sizes, **experts}
            model = models.PLE(columns, **given, **several, **plain)
        elif work.model == "DIN":
            given = {"dnn_hidden_units": (*HIDDEN, HEAD), "att_hidden_size": ATTENTION_HIDDEN}
            model = models.DIN(columns, [FIELDS[ITEM]], **given, l2_reg_embedding=0)
        elif work.model == "DCNv2":
            given = {"cross_num": CROSSES, "cross_parameterization": "matrix", "l2_reg_cross": 0}
            model = models.DCN([], columns, dnn_hidden_units=HIDDEN, **given, **plain)
        else:
            model = models.DeepFM(columns, columns, dnn_hidden_units=(), **plain)
        several_losses = ["binary_crossentropy"] * len(work.tasks)
        model.compile("adam", several_losses if len(work.tasks) > 1 else several_losses[0])
        return model

    def optimizer(self) -> Any:
        return self.model.optim

    def inputs(self, ids: np.ndarray, history: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(np.concatenate(self._arrays(ids, history), axis=1)).float()

    def _arrays(self, ids: np.ndarray, history: np.ndarray) -> list[np.ndarray]:
        lengths = (history > 0).sum(axis=1, keepdims=True)
        return [ids, history, *([lengths] if self.work.model == "DIN" else [])]

    def labels(self, labels: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(labels)

    def steps(self, batches: list[tuple[Any, Any]]) -> None:
        model, losses = self.model, self.model.loss_func
        losses = losses if isinstance(losses, list) else [losses]
        for x, y in batches:
            predicted = model(x)
            model.optim.zero_grad()
            loss = sum(f(predicted[:, i], y[:, i], reduction="sum") for i, f in enumerate(losses))
            total = loss + model.get_regularization_loss() + model.aux_loss
            total.item()
            total.backward()
            model.optim.step()

    def learn_rows(self, train: Rows, test: Rows) -> list[float]:
        from sklearn.metrics import roc_auc_score

        x = self._by_name(train)
        self.model.fit(x, train.labels, batch_size=self.work.batch, epochs=1, verbose=0)
        predicted = self.model.predict(self._by_name(test), self.work.batch)
        return [float(roc_auc_score(y, p)) for y, p in zip(test.labels.T, predicted.T, strict=True)]

    def _by_name(self, rows: Rows) -> dict[str, np.ndarray]:
        return {**dict(zip(FIELDS, rows.ids.T, strict=True)), _HISTORY: rows.history}
