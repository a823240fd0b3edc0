"""DayRun: the stages of one day, from its log to a version on disk."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from keras_infnet._base.digest import digest
from keras_infnet._base.whole_files import read_json, write_json
from keras_infnet.calibration.calibration import Calibration
from keras_infnet.calibration.fit import fit_calibration
from keras_infnet.daily import gate, measures
from keras_infnet.daily.checks import (
    REFUSED,
    STRANGE,
    Before,
    Finding,
    check_against,
    check_events,
    check_repeated,
    check_rows,
    event_rate,
    label_rates,
    missing_shares,
)
from keras_infnet.daily.config import DailyConfig
from keras_infnet.daily.day_data import (
    data_of,
    held_events,
    held_out,
    replay_rows,
    save_past,
    save_replay,
    with_past,
)
from keras_infnet.daily.day_log import READ, DayLog, days_between, frame_of, read_day, table_of
from keras_infnet.daily.drift import distributions, has_unknown
from keras_infnet.daily.errors import DailyError, ExitCode
from keras_infnet.daily.report import report_of
from keras_infnet.daily.train import train
from keras_infnet.daily.versions import METRICS, REPORT, SAVED_MODEL, Version, Versions
from keras_infnet.data.histories import read_times
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.labels import read_labels
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.serving.saved_model import export

CHECK = "check"
_ENCODER, _MODEL, _CALIBRATION, _PAST = "encoder", "model.keras", "calibration.json", "past"
_VERIFIED_ROWS = 32

Stage = Callable[[str, str], AbstractContextManager[None]]


class DayRun:
    """One day: what it reads, and the version that it makes.

    Args:
        config: The configuration.
        versions: The versions.
        day: The day.
        stage: Makes the context of a stage.
        event: Logs an event.
        verbose: As in `keras.Model.fit`.
    """

    def __init__(
        self,
        config: DailyConfig,
        versions: Versions,
        day: str,
        stage: Stage,
        event: Callable[..., None],
        verbose: Any,
    ) -> None:
        self.config, self.day, self._versions = config, day, versions
        self._stage, self._event, self._verbose = stage, event, verbose
        self.base: Version | None = None
        self.schema: Any = config.schema
        self._encoder: FeatureEncoder | None = None

    @property
    def key(self) -> str:
        """What a run that goes on has in common with the one that was killed."""
        base = 0 if self.base is None else self.base.number
        return digest(self.day, str(sorted(self.data.items())), self.config.digest(), str(base))

    @property
    def data(self) -> dict[str, str]:
        """Fingerprint of the rows of each day that is trained on."""
        return {log.day: log.fingerprint for log in self._logs}

    def find_base(self) -> None:
        """Finds the version that this day goes on from.

        Raises:
            ValueError: The day is before the last one, or a file of that version is damaged.
            DailyError: The configuration's schema or events are others than those of the version.
        """
        serving = self._versions.serving
        if serving is not None:
            self._versions.check(serving.number)
        for version in self._versions.lineage(serving):
            if version.day < self.day:
                self.base = version
                break
        is_last = serving is None or serving.day <= self.day
        if self.base is not None and is_last:
            self._versions.check(self.base.number)
            self._encoder = FeatureEncoder.load(self._of_base(_ENCODER))
            self.schema = self._encoder.schema
            events = self._versions.metrics(self.base.number).get("events", [])
            self._check_same(
                {**_declared(self.config.schema), "events": sorted(self.config.events)},
                {**_declared(self.schema), "events": events},
            )

    def _check_same(self, now: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        """A DailyError if the configuration declares what the base can't go on with."""
        plain = json.dumps([now, before], default=lambda value: type(value).__name__)
        now, before = json.loads(plain)
        other = [name for name in {**now, **before} if now.get(name) != before.get(name)]
        if other:
            here, there = (values.get(other[0], "not there") for values in (now, before))
            raise DailyError(
                f"`{other[0]}` is {here} in the configuration and {there} in version "
                f"{self._number_of_base}, from which this day goes on. Give such a ranker a "
                "`folder` of its own, whose first day begins anew.",
                READ,
                self.day,
                ExitCode.CONFIG,
            )

    def read(self) -> None:
        """Reads the log of the day, and those of days that were kept back.

        Raises:
            DailyError: A log can't be read, or has no row.
        """
        with self._stage(READ, self.day):
            source = self.config.log
            self._logs: list[DayLog] = [
                read_day(self.schema, source, day, self.config.events)
                for day in (*self._kept_back(), self.day)
            ]
            log = self._logs[-1]
            base_day = self.day if self.base is None else self.base.day
            skipped = [d for d in days_between(base_day, self.day)[1:-1] if d not in self.data]
            if skipped:
                self._event("skipped", day=self.day, days=skipped)
            events = {name: len(table) for name, table in log.events.items()}
            more = {"events": events} if events else {}
            self._event(
                "read", day=self.day, rows=len(log.table), fingerprint=log.fingerprint, **more
            )

    def done_before(self) -> Version | None:
        """The version that has done this day with the same rows, if there is one.

        Raises:
            DailyError: The day is before the last one, with other rows.
        """
        serving, now = self._versions.serving, self._logs[-1].fingerprint
        for version in self._versions.lineage(serving):
            if version.data.get(self.day) == now:
                return version
        for version in reversed(self._versions.records()):
            is_same = (version.base, version.day) == (self._number_of_base, self.day)
            same = version.data == self.data and version.config == self.config.digest()
            if is_same and same and not version.published:
                return version
        if serving is not None and self.day < serving.day:
            raise DailyError(
                f"the day is before {serving.day}, the last one, and was not done with these rows. "
                f"Roll back to a version before it, and backfill from {self.day} on.",
                READ,
                self.day,
                ExitCode.LOG,
            )
        for version in self._versions.lineage(self.base):
            for day, known in version.data.items():
                if known == now:
                    raise DailyError(
                        f"the log has the rows of {day} again. Write that of {self.day}.",
                        CHECK,
                        self.day,
                        ExitCode.LOG,
                    )
        return None

    def make(self, number: int, work: Path) -> Version:
        """Makes the version of the day, whole; publishing it is left.

        Args:
            number: Its number.
            work: Folder of the run, where training may go on.

        Raises:
            DailyError: A stage failed, or the log is refused.
        """
        self._number, self._work = number, work
        self._check_day()
        self._score_before_training()
        model, encoder = self._trained()
        decision, calibration = self._judged(model)
        with self._stage("write", self.day):
            return self._written(model, encoder, calibration, decision)

    @property
    def _number_of_base(self) -> int | None:
        return None if self.base is None else self.base.number

    @property
    def _past(self) -> Path | None:
        return None if self.base is None else self._of_base(_PAST)

    def _of_base(self, name: str) -> Path:
        assert self.base is not None
        return self._versions.path(self.base.number) / name

    def _kept_back(self) -> list[str]:
        """Days after the base's whose versions the gate kept back."""
        after = "" if self.base is None else self.base.day
        days = {
            version.day
            for version in self._versions.records()
            if not version.published
            and version.base == self._number_of_base
            and after < version.day < self.day
        }
        return sorted(days)

    def _check_day(self) -> None:
        """Checks the rows, and gives them the features of the past."""
        with self._stage(CHECK, self.day):
            before, self._reference = self._before()
            self._findings: list[Finding] = []
            for log in self._logs:
                frame, part = frame_of([log.table]), self.config.checks
                self._findings = check_rows(self.schema, log, frame, before, part)
                self._refuse(log.day)
                self._findings += check_events(self.schema, log, frame, before, part)
                self._refuse(log.day)
                self._of_day = {
                    "kinds": log.kinds,
                    "missing": missing_shares(self.schema, frame),
                    "label_rates": label_rates(self.schema, frame),
                    "event_rates": {
                        name: event_rate(self.schema, frame_of([table]), frame)
                        for name, table in log.events.items()
                    },
                }
                # A day that was kept back is before the next as well.
                newest = int(read_times(self.schema, frame, "log").max())
                before = Before(**self._of_day, until=newest, day=log.day)
            tables = [*held_out(self._past), *(log.table for log in self._logs)]
            rows = frame_of(tables)
            self._split(rows)
            self._read_events()
            self._refuse(self.day)
            self._rows = with_past(self.schema, rows, self._train, self._past)
            if self._encoder is not None:
                self._findings += check_against(
                    self._encoder, self._rows[self._is_day], self._reference, self.config.checks
                )
                self._refuse(self.day)
            for finding in self._findings:
                if finding.level == STRANGE:
                    self._event("strange", day=self.day, check=finding.check, text=finding.text)

    def _before(self) -> tuple[Before | None, dict[str, Any]]:
        if self.base is None:
            return None, {}
        known = self._versions.metrics(self.base.number)["reference"]
        distributions_before = known.pop("distributions")
        return Before(**known, until=self.base.until, day=self.base.day), distributions_before

    def _refuse(self, day: str) -> None:
        refused = [finding for finding in self._findings if finding.level == REFUSED]
        if refused:
            more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
            raise DailyError(
                f"the log is refused: {refused[0].text}{more}", CHECK, day, ExitCode.LOG
            )

    def _split(self, rows: pd.DataFrame) -> None:
        """The newest rows of the day are held out."""
        times = read_times(self.schema, rows, "log")
        self._until = int(times.max())
        self._is_day = np.arange(len(rows)) >= len(rows) - len(self._logs[-1].table)
        of_day = np.sort(times[self._is_day])
        place = int(len(of_day) * (1 - self.config.training.holdout))
        self._cut = of_day[min(place, len(of_day) - 1)]
        self._train = times < self._cut
        self._trained_until = int(times[self._train].max(initial=0))
        if not self._train[self._is_day].any():
            raise DailyError(
                f"all {len(of_day)} rows are of one time, so that the newest can't be held out; "
                "expected rows of a day.",
                CHECK,
                self.day,
                ExitCode.LOG,
            )

    def _read_events(self) -> None:
        """Events of logs of their own: all since the past, and which are not held out."""
        self._events: dict[str, pd.DataFrame] = {}
        self._known: dict[str, pd.DataFrame] = {}
        self._later: dict[str, pd.DataFrame] = {}
        for name in self.config.events:
            new = [log.events[name] for log in self._logs]
            events = frame_of([*held_events(self._past, name), *new])
            times = read_times(self.schema, events, f"events of `{name}`")
            known = times < self._cut
            if self.base is None and times.min() >= self._trained_until:
                raise DailyError(
                    f"events of `{name}`: none of {len(events)} is before the last row that is "
                    "trained on, so that nothing is learned of them. Are their times of this day, "
                    "and of the log's unit?",
                    CHECK,
                    self.day,
                    ExitCode.LOG,
                )
            self._findings.append(
                check_repeated(self.schema, name, events, len(new[-1]), self.config.checks)
            )
            self._events[name] = events
            self._known[name], self._later[name] = events[known], events[~known]

    def _score_before_training(self) -> None:
        """Scores the day by the version that it goes on from, before anything learns from it."""
        self._progressive: dict[str, Any] = {}
        self._held_before: pd.DataFrame | None = None
        if self._encoder is None:
            return
        with self._stage("score", self.day):
            model: Any = keras.saving.load_model(self._of_base(_MODEL), compile=False)
            self._check_model(model)
            data = data_of(self._encoder, self._rows, self._past, self._events)
            day = self._rows[self._is_day]
            predicted = data.predict(model, day)
            self._held_before = predicted[~self._train[self._is_day]]
            calibration = Calibration.from_dict(read_json(self._of_base(_CALIBRATION)))
            calibrated = calibration.transform(predicted)
            labelled, new = measures.LabelledRows(self.schema, day), has_unknown(self._encoder, day)
            self._progressive = {
                name: {
                    "rows": int(within.sum()),
                    "tasks": measures.plain(labelled.with_errors(calibrated, within)),
                }
                for name, within in (("all", np.ones(len(day), bool)), ("new", new))
            }
            self._event("scored", day=self.day, version=self.base and self.base.number)

    def _check_model(self, model: Any) -> None:
        """A DailyError if the configuration has another model than the base."""
        part, kind = self.config.model, self.config.model_class()
        known = {field.name for field in dataclasses.fields(kind.Config)}
        given = {name: value for name, value in part.arguments.items() if name in known}
        # What a constructor of a user's own makes of its arguments, it alone knows.
        is_own = kind.__init__ is not RankingModel.__init__
        now = model.config if is_own else kind.Config.checked(part.name, given)
        self._check_same(
            *(
                {"model.name": made.__name__}
                | {f"model.arguments.{k}": v for k, v in dataclasses.asdict(config).items()}
                for made, config in ((kind, now), (type(model), model.config))
            )
        )

    def _trained(self) -> tuple[Any, FeatureEncoder]:
        """The new model and its encoder."""
        rows = self._rows[self._train]
        with self._stage("grow", self.day):
            encoder, grown = self._grown(rows)
            self._data = data_of(encoder, self._rows, self._past, self._events)
        with self._stage("train", self.day):
            earlier = replay_rows(self._past) if self.config.training.replay_days else None
            model, self._curve = train(
                self.config,
                self._data,
                rows,
                grown,
                self._number,
                self._work,
                self._verbose,
                earlier,
            )
        return model, encoder

    def _grown(self, rows: pd.DataFrame) -> tuple[FeatureEncoder, Any]:
        """The encoder that knows the training rows, and the model before with room for them."""
        if self._encoder is None:
            return FeatureEncoder(self.schema).fit(rows, event_logs=self._known), None
        model: Any = keras.saving.load_model(self._of_base(_MODEL))
        part = self.config.growth
        if not part:
            return self._encoder, model
        encoder = self._encoder.extend(
            rows,
            event_logs=self._known,
            min_frequency=part.min_frequency,
            keep_days=part.keep_days,
            max_ids=part.max_ids,
        )
        seed = self.config.training.seed + self._number
        reads = rows if part.reads_rows else None
        return encoder, model.grow(encoder, start=part.start, rows=reads, seed=seed)

    def _judged(self, model: Any) -> tuple[gate.Decision, Calibration]:
        """The gate's decision on the held-out rows, and the calibration that they give."""
        held, failed = self._rows[~self._train], None
        with self._stage("calibrate", self.day):
            predicted = self._data.predict(model, held)
            if not np.isfinite(predicted.to_numpy()).all():
                raise ValueError("predictions are not finite; train with a lower learning rate.")
            try:
                calibration = self._calibration(held, predicted)
            except ValueError as error:
                calibration, failed = Calibration({}), str(error)
        with self._stage("gate", self.day):
            rows = measures.LabelledRows(self.schema, held)
            decision = gate.decide(
                self.schema, self.config.gate, rows, predicted, self._held_before
            )
            if failed is not None and decision.publish:
                reason = f"it can't be calibrated on the held-out rows: {failed}"
                decision = dataclasses.replace(decision, publish=False, reason=reason)
            self._event("gate", day=self.day, publish=decision.publish, reason=decision.reason)
        return decision, calibration

    def _calibration(self, held: pd.DataFrame, predicted: pd.DataFrame) -> Calibration:
        method = self.config.calibration.method
        tasks = [task.name for task in self.schema.tasks if task.calibrates]
        if method == "none" or not tasks:
            return Calibration({})
        labels, weights = read_labels(self.schema, held)
        return fit_calibration(
            labels, predicted[tasks], method, {task: weights[task] for task in tasks}
        )

    def _written(
        self, model: Any, encoder: FeatureEncoder, calibration: Calibration, decision: gate.Decision
    ) -> Version:
        """The version on disk, whole or not at all."""
        serving = self._versions.serving
        version = Version(
            number=self._number,
            day=self.day,
            decision="published" if decision.publish else "kept",
            reason=decision.reason,
            base=self._number_of_base,
            parent=None if serving is None else serving.number,
            data=self.data,
            config=self.config.digest(),
            until=self._until,
            rows={
                "day": int(self._is_day.sum()),
                "train": int(self._train.sum()),
                "holdout": int((~self._train).sum()),
            },
            measured={name: part["tasks"] for name, part in self._progressive.items()},
        )
        found = self._metrics(encoder, decision, calibration)

        def write(folder: Path) -> None:
            encoder.save(folder / _ENCODER)
            model.save(folder / _MODEL)
            write_json(folder / _CALIBRATION, calibration.to_dict())
            held = self._raw_held()
            save_past(
                folder / _PAST,
                encoder,
                self._rows,
                self._train,
                held,
                self._past,
                self._known,
                self._later,
            )
            part = self.config.training
            if part.replay_days:
                save_replay(
                    folder / _PAST,
                    self._data,
                    self._rows[self._train],
                    self._past,
                    part.replay_days,
                    part.replay_share / (1 - part.replay_share),
                    part.seed + self._number,
                )
            write_json(folder / METRICS, found)
            report = report_of(version, found, self._versions.records())
            (folder / REPORT).write_text(report, encoding="utf-8")
            if decision.publish:
                self._export(model, encoder, calibration, decision, folder)

        return self._versions.add(version, write)

    def _raw_held(self) -> Any:
        """The rows that are held out, as they came."""
        tables = [*held_out(self._past), *(log.table for log in self._logs)]
        return table_of(frame_of(tables)[~self._train])

    def _metrics(
        self, encoder: FeatureEncoder, decision: gate.Decision, calibration: Calibration
    ) -> dict[str, Any]:
        trained = self._rows[self._train]
        return {
            "progressive": self._progressive,
            "gate": gate.plain(decision),
            "calibration": calibration.to_dict(),
            "findings": [dataclasses.asdict(finding) for finding in self._findings],
            "curve": self._curve,
            "events": sorted(self.config.events),
            "reference": {**self._of_day, "distributions": distributions(encoder, trained)},
        }

    def _export(
        self,
        model: Any,
        encoder: FeatureEncoder,
        calibration: Calibration,
        decision: gate.Decision,
        folder: Path,
    ) -> None:
        """The SavedModel, verified on held-out rows."""
        part, held = self.config.export, self._rows[~self._train]
        places = np.linspace(0, len(held) - 1, min(_VERIFIED_ROWS, len(held))).astype(int)
        with self._stage("export", self.day):
            written = export(
                model,
                encoder,
                folder / "export" / self._versions.name,
                self._data.attach(held.iloc[places]),
                version=self._number,
                calibration=calibration,
                metrics=dict(decision.values),
                **vars(part),
            )
            written.rename(folder / SAVED_MODEL)
            written.parent.rmdir()
            written.parent.parent.rmdir()


def _declared(schema: Any) -> dict[str, Any]:
    """What a schema declares, by the path of each argument, such as `features.price.buckets`."""
    plain = schema.with_layout(None).to_dict()
    return {
        f"{kind}.{part['name']}.{argument}": value
        for kind in ("features", "tasks", "histories")
        for part in plain.pop(kind)
        for argument, value in part.items()
    } | {f"schema.{name}": value for name, value in plain.items()}
