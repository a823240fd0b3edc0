"""Proxy search: the number of proxies and INFNet's other hyperparameters."""

import dataclasses
import importlib.util
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from keras_infnet._base.checks import check_choice, check_integer
from keras_infnet._base.digest import digest
from keras_infnet.metrics.group_codes import group_codes
from keras_infnet.models.infnet import INFNet
from keras_infnet.schema.input_checks import check_inputs
from keras_infnet.search.clock import Clock, clock_text
from keras_infnet.search.folder import WEIGHTS, SearchFolder
from keras_infnet.search.hyper_model import INFNetHyperModel
from keras_infnet.search.latency_tradeoff import LatencyTradeoff
from keras_infnet.search.space import SearchSpace
from keras_infnet.search.trials import ORACLES, OracleName, TrialTraining, make_tuner
from keras_infnet.training.policy import TaskPolicy, default_policy


class ProxySearch:
    """Searches hyperparameters of `INFNet` on the user's own schema and data, with keras-tuner.

    Each trial trains by `fit_ranker` for one epoch with each seed; its score is the mean of the
    policy's best validation, and its inference time is measured. All of it lies in the folder: a
    search that was stopped, even killed, goes on when the same search is run again, a trial that
    was interrupted is run anew, and `trials.csv` and `best_config.json` are as new as the last
    trial. With the environment variables of keras-tuner's distributed mode, several processes
    share the search.

    Args:
        schema: A fitted schema.
        train: Batched `tf.data.Dataset` of (inputs, labels, weights) with a known number of
            batches, such as `Batches`.
        validation: Like `train`, and unshuffled.
        folder: Folder of the search. Defaults to `"runs/search"`.
        space: Which values are tried. Defaults to `SearchSpace()`.
        objective: What is good: a `TaskPolicy`, or `LatencyTradeoff`. Defaults to the mean AUC of
            the binary tasks, or the mean squared error of regressions.
        groups: One key a row of `validation`, for gAUC. Defaults to `None`: it is not measured.
        oracle: `"random"`, `"bayesian"`, or `"hyperband"`, whose first trials see a ninth and a
            third of the rows. Defaults to `"random"`.
        seeds: Seeds that each trial is trained with. Defaults to `(0,)`.
        fixed: Further arguments of `INFNet`. Defaults to `None`: none.
        latency_batch: Rows of the batch whose inference is timed. Defaults to `256`.
        seed: Seed of the oracle. Defaults to `0`.
        jit_compile: As in `RankingModel.compile`. Defaults to `"auto"`. On JAX the seeds of a
            trial, and trials that differ in their learning rates alone, are compiled once: later
            ones find the program on disk. TensorFlow's programs hold names that are another
            model's in the same process.

    Raises:
        ValueError: No validation data, a space that the model does not allow, an objective of an
            unknown task, or the folder holds another search.
        ImportError: keras-tuner is not installed.

    Example:
        ```python
        search = keras_infnet.search.ProxySearch(data.schema, data.train, data.validation)
        search.run(budget="30m")
        model = search.best_model()
        ```
    """

    def __init__(
        self,
        schema: Any,
        train: Any,
        validation: Any,
        folder: Path | str = "runs/search",
        *,
        space: SearchSpace | None = None,
        objective: TaskPolicy | LatencyTradeoff | None = None,
        groups: Any = None,
        oracle: OracleName = "random",
        seeds: Sequence[int] = (0,),
        fixed: Mapping[str, Any] | None = None,
        latency_batch: int = 256,
        seed: int = 0,
        jit_compile: bool | str = "auto",
    ) -> None:
        if importlib.util.find_spec("keras_tuner") is None:
            raise ImportError(
                "ProxySearch: keras-tuner is not installed. Install it with "
                '`pip install "keras-infnet[tuning]"`.'
            )
        check_choice("ProxySearch", "oracle", oracle, tuple(ORACLES))
        hyper_model = INFNetHyperModel(schema, space, fixed)
        for name, batches in (("train", train), ("validation", validation)):
            check_inputs(f"ProxySearch, {name}", schema, batches)
        objective = default_policy(schema) if objective is None else objective
        is_tradeoff = isinstance(objective, LatencyTradeoff)
        tradeoff = objective if is_tradeoff else LatencyTradeoff(objective, price=0.0)
        self._training = TrialTraining(
            hyper_model,
            train,
            validation,
            tradeoff,
            groups,
            tuple(seeds),
            latency_batch,
            jit_compile,
        )
        self._oracle: OracleName = oracle
        self._seed = seed
        self._about = _description(self._training, objective, oracle, seed)
        self._on_disk = SearchFolder(folder)
        self.folder = self._on_disk.path
        self._on_disk.check(self._about)

    def run(
        self,
        max_trials: int = 50,
        budget: str | float | None = None,
        after_trial: Callable[["ProxySearch"], None] | None = None,
        verbose: int = 1,
    ) -> pd.DataFrame:
        """Runs trials until the number, the budget or the space is used up.

        Args:
            max_trials: Trials of the whole search, earlier ones included.
            budget: Time for the whole search, such as `"30m"`, or seconds. No trial is begun that
                would, with the median duration, end after it. Defaults to `None`: no limit.
            after_trial: Called with this search after each trial, to report.
            verbose: 0: silent; 1: one line a trial.

        Returns:
            The trials, as `trials()`.

        Raises:
            ValueError: `max_trials` is below 1, the budget is not understood, or another process
                searches in the folder.
            RuntimeError: The first three trials all failed; the text has the last error.
        """
        check_integer("ProxySearch", "max_trials", max_trials, 1)
        clock, folder = Clock(self._on_disk, budget), self._on_disk
        folder.open(self._about)

        def report() -> None:
            folder.publish(self._training.hyper_model.schema.fingerprint)
            if verbose:
                print(_progress(folder, clock, max_trials), flush=True)
            if after_trial is not None:
                after_trial(self)

        def tuner() -> Any:
            oracle, seed = self._oracle, self._seed
            return make_tuner(self._training, folder, clock, oracle, seed, max_trials, report)

        # By keras-tuner's environment variables: a chief holds the oracle, workers run the trials.
        is_shared = "KERASTUNER_ORACLE_IP" in os.environ
        if is_shared and "chief" not in os.environ.get("KERASTUNER_TUNER_ID", ""):
            tuner().search()
            return self.trials()
        with folder.locked(), warnings.catch_warnings():
            # scikit-learn's, of a Gaussian process on few trials.
            warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
            report()
            chief = tuner()
            try:
                chief.search()
            except KeyboardInterrupt:
                # A chief whose workers have all gone only waits.
                if not is_shared or chief.oracle.tuner_ids or chief.oracle.ongoing_trials:
                    raise
        if folder.is_hopeless():
            raise RuntimeError(
                "ProxySearch: every trial failed; the last with "
                f"{folder.ended()[-1]['error']}. The records in `{folder.trials}` have the "
                "tracebacks."
            )
        if verbose and not clock.has_room():
            print(f"The budget of {budget} has no room for another trial.", flush=True)
        return self.trials()

    def trials(self) -> pd.DataFrame:
        """The table of all trials, as `search_trials` has it."""
        return self._on_disk.frame()

    def pareto_trials(self) -> pd.DataFrame:
        """The trials that no other beats in both quality and inference time, fastest first."""
        frame = self.trials()
        return frame[frame["on_front"]].sort_values("milliseconds")

    def best_model(self, trial: str | None = None) -> INFNet:
        """A compiled model with the trained weights of its best seed.

        Args:
            trial: A trial on the Pareto front. Defaults to the one of the highest score; with
                Hyperband, of those on the most rows.

        Returns:
            The model.

        Raises:
            ValueError: No trial has finished, or the weights of this one were not kept.
        """
        best = self._on_disk.best() or {}
        record = best if trial is None else self._on_disk.read(trial)
        if record.get("status") != "finished":
            raise ValueError(
                f"ProxySearch: no finished trial in `{self.folder}`; call `run` first."
            )
        weights = self._on_disk.of_trial(record["trial"]) / WEIGHTS
        if not weights.is_file():
            raise ValueError(
                f"ProxySearch: the weights of trial {record['trial']} were not kept; only the best "
                "trial and those on the Pareto front have theirs."
            )
        hyper_model, values = self._training.hyper_model, record["values"]
        model = hyper_model.build(values)
        model.load_weights(weights)
        model.compile(hyper_model.optimizer(values, None))
        return model


def _description(training: TrialTraining, objective: Any, oracle: str, seed: int) -> dict[str, Any]:
    """What two searches must have in common for one to go on where the other was."""
    hyper_model, groups = training.hyper_model, training.groups
    first = next(iter(training.validation.take(1).as_numpy_iterator()))
    named = [part for pair in keras.tree.flatten_with_path(first) for part in pair]
    return {
        "schema": hyper_model.schema.fingerprint,
        "data": {
            "train_batches": int(training.train.cardinality()),
            "validation_batches": int(training.validation.cardinality()),
            "validation": digest(*named),
            "groups": None if groups is None else digest(group_codes(groups)),
        },
        "space": dataclasses.asdict(hyper_model.space),
        "fixed": hyper_model.fixed,
        "objective": {"kind": type(objective).__name__, **dataclasses.asdict(objective)},
        "oracle": oracle,
        "seeds": list(training.seeds),
        "latency_batch": training.latency_batch,
        "seed": seed,
        "backend": keras.backend.backend(),
    }


def _progress(folder: SearchFolder, clock: Clock, max_trials: int) -> str:
    """Trials, the last and the best score, and the time that is left, in one line."""
    ended, best = folder.ended(), folder.best()
    failed = sum(record["status"] == "failed" for record in ended)
    parts = [f"{len(ended)}/{max_trials} trials", f"{failed} failed" if failed else ""]
    if ended:
        last = max(ended, key=lambda record: record["elapsed_seconds"])
        score = f"score {last['score']:.4f}" if "score" in last else last["error"][:80]
        parts.append(f"trial {last['trial']}: {score} in {clock_text(last['seconds'])}")
    if best:
        parts.append(f"best {best['score']:.4f} (trial {best['trial']})")
    parts.append(f"time left: {clock.time_left(max_trials - len(ended))}")
    return ", ".join(part for part in parts if part)
