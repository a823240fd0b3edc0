"""The tuner: keras-tuner's loop over trials, with our training and records."""

import time
import traceback
from pathlib import Path
from typing import Any

from keras_infnet._base.whole_files import write_json
from keras_infnet.search.search_clock import SearchClock
from keras_infnet.search.trial_records import TRIALS, TrialRecords
from keras_infnet.search.trial_training import TrialTraining


class TrialRunner:
    """What `ProxySearch` adds to `keras_tuner.Tuner`; `make_tuner` joins the two."""

    training: TrialTraining
    records: TrialRecords
    clock: SearchClock
    max_epochs: int

    def run_trial(self, trial: Any, *arguments: Any, **kwargs: Any) -> dict[str, float]:
        """Trains a trial; an error is recorded, and keras-tuner marks the trial as failed."""
        given = trial.hyperparameters.values
        values = {name: value for name, value in given.items() if not name.startswith("tuner/")}
        share = given.get("tuner/epochs", self.max_epochs) / self.max_epochs
        start = time.monotonic()
        self.records.begin(trial.trial_id, values)
        try:
            found = self.training.run(values, share, self.records.trial_folder(trial.trial_id))
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            failed = {"error": text, "traceback": traceback.format_exc(), "training_share": share}
            self._end(trial, start, {"status": "failed", **failed})
            raise
        self._end(trial, start, {"status": "finished", **found})
        return {"score": found["score"]}

    def _end(self, trial: Any, start: float, found: dict[str, Any]) -> None:
        times = {"seconds": time.monotonic() - start, "elapsed_seconds": self.clock.elapsed()}
        self.records.end(trial.trial_id, {**found, **times})

    def save(self) -> None:
        """Saves the oracle's state and the tuner's, which is empty."""
        if not self._is_worker():
            self.oracle.save()
        write_json(Path(self._get_tuner_fname()), self.get_state())

    def _populate_initial_space(self) -> None:
        # keras-tuner would build the model for what is known without it.
        hyperparameters = self.oracle.get_space()
        self.hypermodel.build(hyperparameters)
        self.oracle.update_space(hyperparameters)

    def _get_tuner_fname(self) -> str:
        # A search alone and a chief of several workers resume each other's state.
        name = self.tuner_id if self._is_worker() else "tuner"
        return str(Path(self.project_dir) / f"{name}.json")


def make_tuner(
    oracle: Any, training: TrialTraining, clock: SearchClock, folder: Path, max_epochs: int
) -> Any:
    """The tuner of a search, with the state that is in the folder."""
    import keras_tuner

    tuner_class = type("ProxyTuner", (TrialRunner, keras_tuner.Tuner), {})
    tuner = tuner_class(
        oracle,
        training.hyper_model.declare,
        directory=str(folder),
        project_name=TRIALS,
    )
    tuner.training, tuner.records, tuner.clock = training, clock.records, clock
    tuner.max_epochs = max_epochs
    # A process killed in its first trial must find its state, not begin anew.
    tuner.save()
    return tuner
