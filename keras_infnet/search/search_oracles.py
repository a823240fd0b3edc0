"""keras-tuner's oracles, with a budget, and with a state that survives a kill at any time."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from keras_infnet._base.whole_files import write_json
from keras_infnet.search.search_clock import SearchClock

OracleName = Literal["random", "bayesian", "hyperband"]
ORACLES = ("random", "bayesian", "hyperband")
# Of Hyperband: the first rungs train on a ninth and a third of the rows.
MAX_EPOCHS = 9
_HOPELESS = 3


class SearchOracle:
    """What `ProxySearch` adds to an oracle of keras-tuner; `make_oracle` joins the two."""

    clock: SearchClock
    after_trial: Callable[[], None]
    stopped: str | None = None

    def create_trial(self, tuner_id: str) -> Any:
        """The next trial, or the end where the budget has no room for one."""
        if self.stopped is None and not self.clock.has_room():
            self.stopped = "budget"
        if self.stopped is None:
            return super().create_trial(tuner_id)
        from keras_tuner.engine.trial import Trial

        self.tuner_ids.discard(tuner_id)
        return Trial(self.get_space(), status="STOPPED")

    def end_trial(self, trial: Any) -> None:
        """Notes the end of a trial, then calls `after_trial`."""
        super().end_trial(trial)
        # keras-tuner saves before it takes the trial from those under way.
        self.save()
        ended = self.clock.records.ended()
        if len(ended) >= _HOPELESS and all(r["status"] == "failed" for r in ended):
            self.stopped = "failed"
        self.after_trial()

    def save(self) -> None:
        """Writes the state whole: keras-tuner writes in place."""
        write_json(Path(self._get_oracle_fname()), self.get_state())

    def reload(self) -> None:
        """Reads the state; what was interrupted comes first, what had ended is not run again."""
        super().reload()
        for trial_id in [name for name in self.trials if name not in self.start_order]:
            # Killed between the file of the trial and that of the oracle: it has not begun.
            del self.trials[trial_id]
            with contextlib.suppress(FileNotFoundError):
                (Path(self._get_trial_dir(trial_id)) / "trial.json").unlink()
        done = ("COMPLETED", "FAILED")
        ended = [name for name in self._retry_queue if self.trials[name].status in done]
        self.end_order += [name for name in ended if name not in self.end_order]
        self._retry_queue = [n for n in self._retry_queue if n not in self.end_order]

    def _save_trial(self, trial: Any) -> None:
        path = Path(self._get_trial_dir(trial.trial_id)) / "trial.json"
        write_json(path, trial.get_state())


def make_oracle(
    name: OracleName,
    max_trials: int,
    seed: int,
    num_varied: int,
    clock: SearchClock,
    after_trial: Callable[[], None],
) -> Any:
    """An oracle of keras-tuner for the highest score over `num_varied` hyperparameters."""
    import keras_tuner

    known = {
        "random": keras_tuner.oracles.RandomSearchOracle,
        "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
        "hyperband": keras_tuner.oracles.HyperbandOracle,
    }
    oracle_class = type("SearchOracle", (SearchOracle, known[name]), {})
    # Failed trials are counted here: keras-tuner's limit raises before it saves the state.
    options = {"objective": keras_tuner.Objective("score", "max"), "seed": seed}
    options |= {"max_consecutive_failed_trials": 1_000_000_000}
    if name == "hyperband":
        options |= {"max_epochs": MAX_EPOCHS, "hyperband_iterations": 100}
    if name == "bayesian":
        # keras-tuner's rule, which counts hyperparameters of one value too.
        options["num_initial_points"] = max(3, 3 * num_varied)
    oracle = oracle_class(**options)
    oracle.max_trials, oracle.verbose = max_trials, 0
    oracle.clock, oracle.after_trial = clock, after_trial
    return oracle


def is_distributed() -> bool:
    """Whether keras-tuner's environment variables make this process a chief or a worker."""
    return "KERASTUNER_ORACLE_IP" in os.environ


def is_chief() -> bool:
    """Whether this process holds the oracle for workers."""
    return is_distributed() and "chief" in os.environ.get("KERASTUNER_TUNER_ID", "")
