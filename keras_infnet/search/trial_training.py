"""What one trial does: trains each seed, and measures quality and inference time."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_infnet._base.whole_files import whole_file
from keras_infnet.search.inference_time import inference_milliseconds
from keras_infnet.search.infnet_hyper_model import INFNetHyperModel
from keras_infnet.search.latency_tradeoff import LatencyTradeoff
from keras_infnet.search.trial_records import WEIGHTS, mean_and_std
from keras_infnet.training.group_auc_callback import GroupAUCCallback
from keras_infnet.training.policy import TaskPolicy
from keras_infnet.training.recipe import fit_ranker
from keras_infnet.training.seeds import set_seeds


@dataclass(frozen=True)
class TrialTraining:
    """Trains a configuration by the recipe; `groups` are those of gAUC, `None` for none."""

    hyper_model: INFNetHyperModel
    train: Any
    validation: Any
    objective: TaskPolicy | LatencyTradeoff
    groups: Any
    seeds: Sequence[int]
    latency_batch: int

    @property
    def policy(self) -> TaskPolicy:
        """What is good, without regard to time."""
        tradeoff = isinstance(self.objective, LatencyTradeoff)
        return self.objective.quality if tradeoff else self.objective

    def run(self, values: Mapping[str, Any], share: float, folder: Path) -> dict[str, Any]:
        """Trains on a share of the batches; the weights of the best seed go to the folder."""
        # Models of past trials would stay in Keras's graph and in memory.
        keras.utils.clear_session()
        runs, models, batches = [], [], self._batches(share)
        for seed in self.seeds:
            set_seeds(seed)
            model = self.hyper_model.build(values)
            runs.append(self._fit(model, values, batches))
            if runs[-1]["quality"] >= max(run["quality"] for run in runs):
                models = [model]
        milliseconds = inference_milliseconds(models[0], self._inputs(), self.latency_batch)
        _save_weights(models[0], folder)
        numbers = [{"quality": run["quality"], **run["metrics"]} for run in runs]
        means, deviations = mean_and_std(numbers)
        quality, quality_std = means.pop("quality"), deviations["quality"]
        return {
            "score": self._score(quality, milliseconds),
            "quality": quality,
            "quality_std": None if math.isnan(quality_std) else quality_std,
            "milliseconds": milliseconds,
            "parameters": models[0].count_params(),
            "metrics": means,
            "training_share": share,
            "runs": [{"seed": seed, **run} for seed, run in zip(self.seeds, runs, strict=True)],
            "arguments": dataclasses.asdict(models[0].config),
        }

    def _fit(self, model: Any, values: Mapping[str, Any], batches: int) -> dict[str, Any]:
        groups = self.groups
        callbacks = [] if groups is None else [GroupAUCCallback(self.validation, groups)]
        history = fit_ranker(
            model,
            self.train.take(batches),
            self.validation,
            optimizer=self.hyper_model.optimizer(values, batches),
            policy=self.policy,
            callbacks=callbacks,
            verbose=0,
        ).history
        scores = history["val_score"]
        best = int(np.argmax(scores))
        if not math.isfinite(scores[best]):
            undefined = sorted(k for k, v in history.items() if not np.isfinite(v).any())
            raise ValueError(
                f"no validation gave a number for {', '.join(undefined)}. The validation data may "
                "lack one of the two labels, for gAUC in every group."
            )
        tasks = self.hyper_model.schema.task_names
        return {
            "quality": scores[best],
            "metrics": _metrics_by_task({k: v[best] for k, v in history.items()}, tasks),
            "validation_scores": scores,
            "training_losses": history["loss"],
        }

    def _score(self, quality: float, milliseconds: float) -> float:
        if isinstance(self.objective, LatencyTradeoff):
            return self.objective.score(quality, milliseconds)
        return quality

    def _batches(self, share: float) -> int:
        return math.ceil(share * int(self.train.cardinality()))

    def _inputs(self) -> Mapping[str, Any]:
        return next(iter(self.validation.take(1).as_numpy_iterator()))[0]


def _metrics_by_task(logs: Mapping[str, float], tasks: Sequence[str]) -> dict[str, float]:
    """`{task}_{metric}` of each task from the logs of one validation."""
    found = {key.removeprefix("val_"): v for key, v in logs.items() if key.startswith("val_")}
    if len(tasks) == 1:
        # Keras leaves out the name of a model's only output.
        found = {k if k.startswith(f"{tasks[0]}_") else f"{tasks[0]}_{k}": found[k] for k in found}
    left_out = {"score", *(f"{task}_score" for task in tasks)}
    named = {k: float(v) for k, v in found.items() if any(k.startswith(f"{t}_") for t in tasks)}
    return {key: value for key, value in named.items() if key not in left_out}


def _save_weights(model: keras.Model, folder: Path) -> None:
    # The optimizer's slots are twice the weights.
    model.optimizer = None
    with whole_file(folder / WEIGHTS) as temporary:
        model.save_weights(temporary)
