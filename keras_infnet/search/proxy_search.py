"""A search for the number of proxies and INFNet's other hyperparameters."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from keras_infnet.models.infnet import INFNet
from keras_infnet.search.infnet_hyper_model import INFNetHyperModel
from keras_infnet.search.latency_tradeoff import LatencyTradeoff
from keras_infnet.search.search_checks import (
    check_choices,
    check_data,
    check_objective,
    default_objective,
    require_keras_tuner,
)
from keras_infnet.search.search_clock import SearchClock
from keras_infnet.search.search_config import BEST, save_config
from keras_infnet.search.search_folder import check_folder, locked, open_folder
from keras_infnet.search.search_identity import describe_search
from keras_infnet.search.search_oracles import (
    MAX_EPOCHS,
    OracleName,
    is_chief,
    is_distributed,
    make_oracle,
)
from keras_infnet.search.search_progress import progress_line
from keras_infnet.search.search_space import SearchSpace
from keras_infnet.search.trial_records import WEIGHTS, TrialRecords
from keras_infnet.search.trial_runner import make_tuner
from keras_infnet.search.trial_training import TrialTraining
from keras_infnet.search.whole_file import write_whole
from keras_infnet.training.policy import TaskPolicy


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

    Raises:
        ValueError: No validation data, a space that the model does not allow, an objective of an
            unknown task, or the folder holds another search.
        ImportError: keras-tuner is not installed.

    Example:
        ```python
        search = keras_infnet.search.ProxySearch(encoder.schema, train, validation)
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
    ) -> None:
        require_keras_tuner()
        check_data(train, validation)
        objective = default_objective(schema) if objective is None else objective
        hyper_model = INFNetHyperModel(schema, space, fixed)
        self._training = TrialTraining(
            hyper_model, train, validation, objective, groups, tuple(seeds), latency_batch
        )
        check_choices(oracle, seeds, latency_batch)
        check_objective(self._training.policy, schema, groups)
        self.folder = Path(folder)
        self._oracle, self._seed = oracle, seed
        self._about = describe_search(self._training, oracle, seed)
        check_folder(self.folder, self._about)
        self._records = TrialRecords(self.folder)

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
        if max_trials < 1:
            raise ValueError(f"ProxySearch: max_trials is {max_trials}; expected 1 or more.")
        clock = SearchClock(self._records, budget)
        open_folder(self.folder, self._about)
        if is_distributed() and not is_chief():
            self._search(clock, max_trials, lambda: None)
            return self.trials()

        def report() -> None:
            self._write(clock, max_trials, verbose)
            if after_trial is not None:
                after_trial(self)

        with locked(self.folder):
            report()
            stopped = self._search(clock, max_trials, report)
            if stopped == "budget" and verbose:
                print(f"The budget of {budget} has no room for another trial.", flush=True)
        if stopped == "failed":
            raise RuntimeError(
                "ProxySearch: every trial failed; the last with "
                f"{self._records.ended()[-1]['error']}. The records in `{self._records.folder}` "
                "have the tracebacks."
            )
        return self.trials()

    def trials(self) -> pd.DataFrame:
        """The table of all trials, as `search_trials` has it."""
        return self._records.frame()

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
        record = self._records.best() if trial is None else self._records.read(trial)
        if record is None or record["status"] != "finished":
            raise ValueError(
                f"ProxySearch: no finished trial in `{self.folder}`; call `run` first."
            )
        weights = self._records.trial_folder(record["trial"]) / WEIGHTS
        if not weights.is_file():
            raise ValueError(
                f"ProxySearch: the weights of trial {record['trial']} were not kept; only the best "
                "trial and those on the Pareto front have theirs."
            )
        values = record["values"]
        model = self._training.hyper_model.build(values)
        model.load_weights(weights)
        model.compile(self._training.hyper_model.optimizer(values, None))
        return model

    def _search(self, clock: SearchClock, max_trials: int, report: Callable[[], None]) -> Any:
        """keras-tuner's loop; returns why the oracle was stopped, if it was."""
        with warnings.catch_warnings():
            # keras-tuner names its threads the way of Python 2.
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="keras_tuner")
            # scikit-learn's, of a Gaussian process on few trials.
            warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
            num_varied = self._training.hyper_model.space.num_varied
            oracle = make_oracle(self._oracle, max_trials, self._seed, num_varied, clock, report)
            tuner = make_tuner(oracle, self._training, clock, self.folder, MAX_EPOCHS)
            try:
                tuner.search()
            except KeyboardInterrupt:
                # A chief whose workers have all gone only waits.
                if oracle.tuner_ids or oracle.ongoing_trials or not is_chief():
                    raise
        return oracle.stopped

    def _write(self, clock: SearchClock, max_trials: int, verbose: int) -> None:
        write_whole(self.folder / "trials.csv", self.trials().to_csv(index=False))
        best = self._records.best()
        if best is not None:
            schema = self._training.hyper_model.schema.fingerprint
            save_config(self.folder / BEST, best, schema)
            self._records.remove_weights()
        if verbose:
            print(progress_line(self._records, clock, max_trials), flush=True)
