"""Trials: what one trains and measures, and keras-tuner's loop over them."""

import math
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pandas as pd

from keras_infnet._base.checks import check_integer
from keras_infnet._base.whole_files import read_json, whole_file, write_json
from keras_infnet.search.clock import Clock
from keras_infnet.search.folder import WEIGHTS, SearchFolder
from keras_infnet.search.hyper_model import INFNetHyperModel
from keras_infnet.search.latency_tradeoff import LatencyTradeoff, inference_milliseconds
from keras_infnet.training.group_auc_callback import GroupAUCCallback
from keras_infnet.training.recipe import check_batches, fit_ranker
from keras_infnet.training.seeds import set_seeds

OracleName = Literal["random", "bayesian", "hyperband"]
ORACLES = {
    "random": "RandomSearchOracle",
    "bayesian": "BayesianOptimizationOracle",
    "hyperband": "HyperbandOracle",
}
# Of Hyperband: the first rungs train on a ninth and a third of the rows.
_MAX_EPOCHS = 9


@dataclass(frozen=True)
class TrialTraining:
    """Trains a configuration by the recipe; `groups` are those of gAUC, `None` for none."""

    hyper_model: INFNetHyperModel
    train: Any
    validation: Any
    objective: LatencyTradeoff
    groups: Any
    seeds: Sequence[int]
    latency_batch: int
    jit_compile: bool | str

    def __post_init__(self) -> None:
        if self.validation is None:
            raise ValueError(
                "ProxySearch: no validation data, by which trials are compared. Pass "
                "`data.validation` of a RankingData."
            )
        check_batches("ProxySearch", self.train, self.validation)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(
                f"ProxySearch: seeds are {list(self.seeds)}; expected one or more, all different."
            )
        check_integer("ProxySearch", "latency_batch", self.latency_batch, 1, "1 or more rows")
        self.objective.quality.check_tasks(self.hyper_model.schema.task_names)
        if self.objective.quality.metric == "gauc" and self.groups is None:
            raise ValueError(
                "ProxySearch: the objective is gAUC, and `groups` is None. Pass one key a row of "
                'the validation data, such as `groups=data.frame("validation")["user_id"]`.'
            )

    def run(self, values: Mapping[str, Any], share: float, folder: Path) -> dict[str, Any]:
        """Trains on a share of the batches; the weights of the best seed go to the folder."""
        # Models of past trials would stay in Keras's graph and in memory.
        keras.utils.clear_session()
        runs: list[dict[str, Any]] = []
        best: Any = None
        for seed in self.seeds:
            set_seeds(seed)
            model = self.hyper_model.build(values)
            runs.append({"seed": seed, **self._fit(model, values, share)})
            if runs[-1]["quality"] >= max(run["quality"] for run in runs):
                best = model
        inputs, *_ = next(iter(self.validation.take(1).as_numpy_iterator()))
        milliseconds = inference_milliseconds(best, inputs, self.latency_batch)
        # The optimizer's slots are twice the weights.
        best.optimizer = None
        with whole_file(folder / WEIGHTS) as temporary:
            best.save_weights(temporary)
        config, qualities = best.get_config(), pd.Series([run["quality"] for run in runs])
        quality = float(qualities.mean())
        return {
            "status": "finished",
            "score": self.objective.score(quality, milliseconds),
            "quality": quality,
            "quality_std": float(qualities.std()) if len(runs) > 1 else None,
            "milliseconds": milliseconds,
            "parameters": best.count_params(),
            "metrics": pd.DataFrame([run["metrics"] for run in runs]).mean().to_dict(),
            "training_share": share,
            "runs": runs,
            "arguments": {f.name: config[f.name] for f in fields(best.config)},
        }

    def _fit(self, model: Any, values: Mapping[str, Any], share: float) -> dict[str, Any]:
        """The policy's best validation."""
        batches = math.ceil(share * int(self.train.cardinality()))
        gauc = [] if self.groups is None else [GroupAUCCallback(self.validation, self.groups)]
        history = fit_ranker(
            model,
            self.train.take(batches),
            self.validation,
            optimizer=self.hyper_model.optimizer(values, batches),
            policy=self.objective.quality,
            jit_compile=self.jit_compile,
            callbacks=gauc,
            verbose=0,
        ).history
        logs = pd.DataFrame(history)
        best: Any = logs.iloc[int(np.argmax(logs["val_score"]))].to_dict()
        if not math.isfinite(best["val_score"]):
            undefined = sorted(str(name) for name in logs if not np.isfinite(logs[name]).any())
            raise ValueError(
                f"no validation gave a number for {', '.join(undefined)}. The validation data may "
                "lack one of the two labels, for gAUC in every group."
            )
        metrics = _metrics_by_task(best, self.hyper_model.schema.task_names)
        return {"quality": best["val_score"], "metrics": metrics}


def make_tuner(
    training: TrialTraining,
    folder: SearchFolder,
    clock: Clock,
    oracle: OracleName,
    seed: int,
    max_trials: int,
    after_trial: Callable[[], None],
) -> Any:
    """keras-tuner's loop over trials, which goes on where the folder's state ends.

    Args:
        training: What a trial does.
        folder: The records of trials, and keras-tuner's state: `trials/oracle.json`.
        clock: No trial is begun that has no room.
        oracle: Which of keras-tuner's oracles chooses configurations.
        seed: Seed of the oracle.
        max_trials: Trials of the whole search.
        after_trial: Called when a trial has ended and the state is saved.

    Returns:
        A `keras_tuner.Tuner`; its `search()` takes no arguments.
    """
    import keras_tuner
    from keras_tuner.engine.trial import Trial

    base: Any = getattr(keras_tuner.oracles, ORACLES[oracle])

    class Oracle(base):
        """Its state is one file, so that a kill at any time leaves a whole one."""

        file = folder.trials / "oracle.json"

        def create_trial(self, tuner_id: str) -> Any:
            if clock.has_room() and not folder.is_hopeless():
                return super().create_trial(tuner_id)
            self.tuner_ids.discard(tuner_id)
            return Trial(self.get_space(), status="STOPPED")

        def end_trial(self, trial: Any) -> None:
            super().end_trial(trial)
            # keras-tuner saves before it takes the trial from those under way.
            self.save()
            after_trial()

        def save(self) -> None:
            trials = [trial.get_state() for trial in self.trials.values()]
            write_json(self.file, {"trials": trials, "oracle": self.get_state()})

        def reload(self) -> None:
            found = read_json(self.file)
            self.trials = {state["trial_id"]: Trial.from_state(state) for state in found["trials"]}
            state = found["oracle"]
            # Interrupted trials are run again, at first.
            begun = [t for t in state["ongoing_trials"].values() if t not in state["end_order"]]
            queue = [*state["retry_queue"], *begun]
            self.set_state({**state, "ongoing_trials": {}, "retry_queue": queue})

    class Tuner(keras_tuner.Tuner):
        """Runs our trials; its state is the oracle's."""

        def run_trial(self, trial: Any) -> dict[str, float]:
            given, name, start = trial.hyperparameters.values, trial.trial_id, time.monotonic()
            values = {key: v for key, v in given.items() if not key.startswith("tuner/")}
            share = given.get("tuner/epochs", _MAX_EPOCHS) / _MAX_EPOCHS
            folder.begin(name, values)
            try:
                found = training.run(values, share, folder.of_trial(name))
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
                found = {"status": "failed", "error": text, "training_share": share}
                found["traceback"] = traceback.format_exc()
            times = {"seconds": time.monotonic() - start, "elapsed_seconds": clock.elapsed()}
            folder.note(name, {**found, **times})
            if "error" in found:
                raise keras_tuner.errors.FailedTrialError(found["error"])
            return {"score": found["score"]}

        def save(self) -> None:
            pass

    space = keras_tuner.HyperParameters()
    training.hyper_model.declare(space)
    options: dict[str, Any] = {
        "random": {},
        # keras-tuner's rule, which counts hyperparameters of one value too.
        "bayesian": {"num_initial_points": max(3, 3 * training.hyper_model.space.num_varied)},
        "hyperband": {"max_epochs": _MAX_EPOCHS, "hyperband_iterations": 100},
    }
    chooses = Oracle(
        objective=keras_tuner.Objective("score", "max"),
        hyperparameters=space,
        # keras-tuner draws a seed in place of 0.
        seed=seed + 1,
        # The folder counts them: keras-tuner raises before it has saved the last one.
        max_consecutive_failed_trials=sys.maxsize,
        **options[oracle],
    )
    # An argument of two of the three.
    chooses.max_trials = max_trials
    chooses.verbose = 0
    if chooses.file.is_file():
        chooses.reload()
    return Tuner(chooses, directory=str(folder.path), project_name=folder.trials.name)


def _metrics_by_task(logs: Mapping[str, float], tasks: Sequence[str]) -> dict[str, float]:
    """`{task}_{metric}` of each task from the logs of one validation."""
    found = {}
    for name in (key.removeprefix("val_") for key in logs if key.startswith("val_")):
        if name.startswith(tuple(f"{task}_" for task in tasks)):
            found[name] = logs[f"val_{name}"]
        elif len(tasks) == 1 and name != "score":
            # Keras leaves out the name of a model's only output.
            found[f"{tasks[0]}_{name}"] = logs[f"val_{name}"]
    return found
