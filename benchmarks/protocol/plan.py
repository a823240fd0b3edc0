"""Which run comes next: trials, then the chosen configuration's seeds, members and test rows."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.protocol.ablations import ablation_run, ablations_of
from benchmarks.protocol.pool import Job
from benchmarks.protocol.runs import RunConfig
from benchmarks.protocol.space import table_widths, trial_arguments, without_defaults
from benchmarks.protocol.trees import TREES

Records = Mapping[str, Mapping[str, Any]]
ABLATED = "INFNet"


@dataclass(frozen=True)
class Plan:
    """What a command asks for.

    Args:
        models: Names of models and variants.
        histories: Kinds of history; configurations are chosen for each by itself.
        members: Numbers of members. Configurations are chosen with one member.
        trials: Configurations tried for each model.
        seeds: Runs of the chosen configuration; the first is its trial.
        tasks: Names of the tasks.
        data: Fingerprint of the log's files.
        log: Name of the log, of `LOGS`.
        epochs: Passes over the training rows.
        alone: Whether each task is trained alone too.
        ablations: Whether changes of `ablations_of` the log are run.
        changes: Names of the changes, beside `default`; empty: all.
        given: Arguments and learning rate of models that are not tuned.
    """

    models: tuple[str, ...]
    histories: tuple[str, ...]
    members: tuple[int, ...]
    trials: int
    seeds: int
    tasks: tuple[str, ...]
    data: str
    log: str = "kuairand"
    epochs: int = 1
    alone: bool = False
    ablations: bool = False
    changes: tuple[str, ...] = ()
    given: Mapping[str, tuple[dict[str, Any], float]] = field(default_factory=dict)

    def trial_runs(self, model: str, histories: str) -> list[RunConfig]:
        """The runs that a model's configuration is chosen from, seed 0.

        They are fewer than trials where a model has no width or depth: trials then coincide.
        """
        runs = [
            RunConfig(
                model,
                arguments,
                learning_rate,
                members=1,
                histories=histories,
                tasks=self.tasks,
                data=self.data,
                log=self.log,
                epochs=self.epochs,
            )
            for arguments, learning_rate in self._trials(model)
        ]
        return list({run.name: run for run in runs}.values())

    def _trials(self, model: str) -> list[tuple[dict[str, Any], float]]:
        if model in self.given:
            return [self.given[model]]
        return trial_arguments(model, self.trials, len(self.tasks))

    def chosen(self, model: str, histories: str, records: Records) -> RunConfig | None:
        """The trial of the highest mean validation AUC, when all have ended; the first of equals.

        None too where all trials have failed.
        """
        trials = self.trial_runs(model, histories)
        if any(run.name not in records for run in trials):
            return None
        finished = [run for run in trials if records[run.name]["status"] == "finished"]
        # A mean is NaN where the rows of a task are of one class.
        scores = {run.name: _or_lowest(records[run.name]["mean_auc"]) for run in finished}
        return max(finished, key=lambda run: scores[run.name], default=None)

    def seed_runs(self, chosen: RunConfig, members: int) -> list[RunConfig]:
        """The runs that a model is reported by."""
        run = replace(chosen, members=members)
        return [run.with_seed(seed) for seed in range(self.seeds)]

    def alone_runs(self, chosen: RunConfig, task: str) -> list[RunConfig]:
        """The chosen configuration trained on one task, within the same embedding budget."""
        arguments = {**chosen.arguments, **table_widths(chosen.model, 1)}
        arguments = without_defaults(chosen.model, arguments)
        run = replace(chosen, tasks=(task,), arguments=arguments)
        return self.seed_runs(run, 1)

    def ablation_runs(self, chosen: RunConfig) -> list[tuple[str, str, RunConfig]]:
        """(ablation, setting, run) of each change and seed."""
        names, known = ("default", *self.changes), ablations_of(self.log)
        asked = [a for a in known if not self.changes or a.name in names]
        changed = [(a.name, a.setting, ablation_run(a, chosen)) for a in asked]
        return [
            (name, setting, run.with_seed(seed))
            for name, setting, run in changed
            for seed in range(self.seeds)
        ]

    def jobs(self, records: Records) -> list[Job]:
        """All jobs that can be done now, most urgent first.

        A run without record is to be trained; one that is reported and not tested, tested. A run
        that has failed is not repeated.
        """
        return list({job.config.name: job for job in self._jobs(records)}.values())

    def _jobs(self, records: Records) -> Iterator[Job]:
        pairs = [(model, h) for h in self.histories for model in self.models]
        for model, histories in pairs:
            for run in self.trial_runs(model, histories):
                if run.name not in records:
                    yield Job("train", run)
        chosen = [self.chosen(model, histories, records) for model, histories in pairs]
        for run in (run for found in chosen if found for run in self._reported(found)):
            yield from _train_and_test(run, records)
        if self.ablations:
            base = self.chosen(ABLATED, self.histories[0], records)
            for _, _, run in self.ablation_runs(base) if base else ():
                if run.name not in records:
                    yield Job("train", run)

    def count(self, records: Records) -> int:
        """Trainings that are left, those that depend on a choice still open included."""
        left = sum(job.kind == "train" for job in self.jobs(records))
        pairs = [(model, histories) for histories in self.histories for model in self.models]
        for model, histories in pairs:
            trials = self.trial_runs(model, histories)
            if any(run.name not in records for run in trials):
                later = self._reported(trials[0])
                if self.ablations and (model, histories) == (ABLATED, self.histories[0]):
                    later += [run for _, _, run in self.ablation_runs(trials[0])]
                left += len({run.name for run in later} - {trials[0].name})
        return left

    def _reported(self, chosen: RunConfig) -> list[RunConfig]:
        members = (1,) if chosen.model in TREES else self.members
        runs = [run for number in members for run in self.seed_runs(chosen, number)]
        if self.alone and chosen.model not in TREES and len(self.tasks) > 1:
            runs += [run for task in self.tasks for run in self.alone_runs(chosen, task)]
        return runs


def _or_lowest(score: float) -> float:
    return -math.inf if math.isnan(score) else score


def _train_and_test(run: RunConfig, records: Records) -> Iterator[Job]:
    if run.name not in records:
        yield Job("train", run)
    elif records[run.name]["status"] == "finished" and not records[run.name]["tested"]:
        yield Job("test", run)
