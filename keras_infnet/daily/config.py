"""DailyConfig: what a daily job reads, builds, allows and keeps; as JSON and as Python."""

import dataclasses
import importlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_infnet._base.checks import bad
from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet._base.digest import digest
from keras_infnet._base.fields import above_zero, at_least, check_field, declared, one_of, rate
from keras_infnet._base.paths import local_path
from keras_infnet._base.whole_files import read_json
from keras_infnet.calibration.calibration import METHODS
from keras_infnet.models import MODELS
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.schema.task import Task
from keras_infnet.serving.signatures import ExportOptions
from keras_infnet.training.policy import TaskPolicy, default_policy

DAY = "{day}"
# Keys of parts that hold a dict; null is their default.
_MAPPINGS = {"arguments", "unknown_rate", "weights", "floors", "warn", "refuse", "score"}
# What is measured of a day's log: a limit of each may be set.
MEASURED = ("unknown_ids", "drift", "label_rate", "event_rate", "duplicates", "missing")


@dataclass(frozen=True, kw_only=True)
class ModelPart:
    """`model`: a class of this library or `module:attribute`, and its arguments but the schema."""

    name: str = declared("INFNet")
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class TrainingPart:
    """`training`.

    `learning_rate` of the first version falls linearly to 0 over `epochs`; that of all others,
    `next_learning_rate`, is constant over one pass, or falls with `warm_restart`. The newest
    `holdout` share of a day's rows calibrates and is gated on; the next version trains on them.
    With `replay_days`, rows of as many days before are mixed in, `replay_share` of them.
    """

    learning_rate: float = above_zero(2e-3)
    next_learning_rate: float = above_zero(1e-3)
    warm_restart: bool = declared(False)
    epochs: int = at_least(1, default=1)
    batch_size: int = at_least(1, default=256)
    holdout: float = rate(0.1)
    replay_days: int = at_least(0, default=0)
    replay_share: float = rate(0.1)
    checkpoint_every: int = at_least(1, default=1000)
    seed: int = at_least(0, default=0)
    unknown_rate: Mapping[str, float] | None = None
    jit_compile: bool | None = None


@dataclass(frozen=True, kw_only=True)
class GrowthPart:
    """`growth`: how `FeatureEncoder.extend` and `model.grow` take new ids."""

    min_frequency: int | Mapping[str, int] | None = None
    start: str | Mapping[str, str] = "unknown"
    keep_days: float | None = None
    max_ids: int | Mapping[str, int] | None = None

    @property
    def reads_rows(self) -> bool:
        """Whether new rows of tables begin like those of the same rows."""
        starts = [self.start] if isinstance(self.start, str) else self.start.values()
        return any(start.startswith("like:") for start in starts)


@dataclass(frozen=True, kw_only=True)
class CalibrationPart:
    """`calibration`: the method of `fit_calibration`; `"none"` leaves outputs as they are."""

    method: str = one_of(*METHODS)


@dataclass(frozen=True, kw_only=True)
class GatePart:
    """`gate`: a version is published if its score is above that of the version that serves.

    The score is that of `TaskPolicy(metric, weights, floors)`; the difference on the same rows must
    be `least + errors * standard error` or more, and no task below its floor.
    """

    metric: str | None = declared(None, kind="")
    weights: Mapping[str, float] | None = None
    floors: Mapping[str, float] | None = None
    least: float = declared(0.0)
    errors: float = declared(0.0)

    def policy(self, schema: FeatureSchema) -> TaskPolicy:
        """The policy that scores."""
        metric = self.metric or default_policy(schema).metric
        policy = TaskPolicy(metric, self.weights, self.floors)
        measured = {task.name: _measured(task) for task in schema.tasks}
        if not any(metric in names for names in measured.values()):
            known = sorted({name for names in measured.values() for name in names})
            raise bad("daily config", "gate.metric", metric, f"one of {', '.join(known)}")
        policy.check_tasks([task for task, names in measured.items() if metric in names])
        return policy


@dataclass(frozen=True, kw_only=True)
class ChecksPart:
    """`checks`: above which numbers a day's log is said to be strange, or is refused.

    By name: `unknown_ids` (share of a feature's values that the vocabulary of the version before
    lacks), `drift` (PSI of a feature), `label_rate` (by which factor a task's mean label differs),
    `event_rate` (the same of a history's own events a row), `duplicates` (share of rows, or of
    such events, that equal another), `missing` (share of a feature's values).
    """

    min_rows: int = at_least(1, default=1)
    warn: Mapping[str, float] = field(default_factory=dict[str, float])
    refuse: Mapping[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        defaults = {
            "warn": {
                "unknown_ids": 0.3,
                "drift": 0.25,
                "label_rate": 1.5,
                "event_rate": 2.0,
                "duplicates": 0.01,
            },
            "refuse": {"duplicates": 0.5},
        }
        for name, known in defaults.items():
            limits = getattr(self, name)
            for key, limit in limits.items():
                if key not in MEASURED:
                    raise ValueError(
                        f"daily config: unknown key `checks.{name}.{key}`."
                        + did_you_mean(key, MEASURED)
                    )
                if limit is not None and not isinstance(limit, int | float):
                    raise bad("daily config", f"checks.{name}.{key}", limit, "a number or null")
            object.__setattr__(self, name, {**known, **limits})


@dataclass(frozen=True, kw_only=True)
class ExportPart:
    """`export`: arguments of `serving.export`."""

    table_dtype: str = declared("float32")
    user_state: bool = declared(False)
    state_dtype: str = declared("float32")
    top_k: int | None = at_least(1, default=None, kind=1)
    score: Mapping[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class DailyConfig:
    """What a daily job reads, builds, allows and keeps.

    Args:
        folder: Where versions lie; for one job alone.
        schema: A schema; a file that `FeatureSchema.to_json` gave; or `"module:attribute"`.
        log: Where the log of a day lies: a file, folder or glob of Parquet or CSV, with `{day}` in
            place of the day, such as `"logs/{day}.parquet"`.
        events: By history, where the events of a day lie that come from a log of their own, such as
            `{"reads": "reads/{day}.parquet"}`: with users, times and the history's columns. Rows
            of `log` are then no events of it. The first day's may go back to any time, those of
            all others to the newest row of the day before. Defaults to none.
        name: Name of the model in requests: TensorFlow Serving watches `folder/serving/name`. Of
            the parts below, each key has a default, and `None` takes all.
        model: `{"name": "INFNet", "arguments": {}}`: a class of `keras_infnet.models`, or
            `"module:attribute"`, and its arguments but the schema.
        training: `{"learning_rate", "next_learning_rate", "warm_restart", "epochs", "batch_size",
            "holdout", "replay_days", "replay_share", "checkpoint_every", "seed", "unknown_rate",
            "jit_compile"}`.
        growth: `{"min_frequency", "start", "keep_days", "max_ids"}`, of `FeatureEncoder.extend` and
            `model.grow`; `False`: the ids of the first version are all that there are.
        calibration: `{"method"}`, as in `fit_calibration`.
        gate: `{"metric", "weights", "floors", "least", "errors"}`: the score of a `TaskPolicy` must
            be above that of the version before by `least` and by `errors` standard errors.
        checks: `{"min_rows", "warn", "refuse"}`; the last two hold limits of `"unknown_ids"`,
            `"drift"`, `"label_rate"`, `"event_rate"`, `"duplicates"` and `"missing"`.
        export: `{"table_dtype", "user_state", "state_dtype", "top_k", "score"}`, as in
            `serving.export`.
        keep_versions: How many versions stay on disk; that which serves always does.

    Raises:
        ValueError: A key is unknown, a value is out of range, `log` or one of `events` has no
            `{day}`, or `events` names an unknown history.

    Example:
        ```python
        config = keras_infnet.daily.DailyConfig(
            folder="ranker", schema=schema, log="logs/{day}.parquet", gate={"least": 0.0}
        )
        ```
    """

    folder: str | Path
    schema: FeatureSchema | str | Path
    log: str
    events: Mapping[str, str] = field(default_factory=dict[str, str])
    name: str = "ranker"
    model: Any = None
    training: Any = None
    growth: Any = None
    calibration: Any = None
    gate: Any = None
    checks: Any = None
    export: Any = None
    keep_versions: int = 14

    def __post_init__(self) -> None:
        for name, kind in _PARTS.items():
            object.__setattr__(self, name, _part(name, kind, getattr(self, name)))
        path = local_path(self.folder, "daily config", "folder", written=True)
        object.__setattr__(self, "folder", path)
        if not isinstance(self.log, str) or DAY not in self.log:
            raise bad("daily config", "log", self.log, "a path with {day}")
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise bad("daily config", "name", self.name, "letters, digits and `_`")
        if not isinstance(self.keep_versions, int) or self.keep_versions < 2:
            raise bad("daily config", "keep_versions", self.keep_versions, "2 or more")
        schema = _schema(self.schema)
        object.__setattr__(self, "schema", schema)
        self._check_events()
        self.gate.policy(schema)
        # What a state is made of, only a fitted schema knows.
        ExportOptions(**vars(self.export) | {"user_state": False}).check_schema(schema)
        self.model_class()

    @classmethod
    def load(cls, path: str | Path) -> "DailyConfig":
        """Reads a JSON file; its relative paths are of its own folder.

        Raises:
            ValueError: It can't be read, or as the constructor.
        """
        file = local_path(path, "DailyConfig.load", "path")
        plain = read_json(file, "daily config: {path} can't be read as JSON: {error}")
        if not isinstance(plain, dict):
            raise bad("daily config", str(file), plain, "an object")
        _check_keys(cls, plain, "")
        for name in ("folder", "schema", "log"):
            if name not in plain:
                raise ValueError(f"daily config: {file} has no key `{name}`, which is needed.")
        for name in ("folder", "log", "schema"):
            if not _is_attribute(name, plain[name]):
                plain[name] = _beside(file, plain[name])
        if isinstance(plain.get("events"), dict):
            plain["events"] = {name: _beside(file, path) for name, path in plain["events"].items()}
        return cls(**plain)

    def model_class(self) -> Any:
        """The class of the model."""
        name = self.model.name
        if ":" in name:
            return _attribute(name, "model.name")
        if name not in MODELS:
            raise ValueError(
                f"daily config: model.name is {name!r}, no model of this library, and no "
                f"`module:attribute`.{did_you_mean(name, MODELS)}"
            )
        return MODELS[name]

    def digest(self) -> str:
        """Twelve hexadecimal digits of all that changes what a day gives."""
        assert isinstance(self.schema, FeatureSchema)
        parts = {name: getattr(self, name) for name in _PARTS}
        plain: dict[str, Any] = {
            n: dataclasses.asdict(part) if part else None for n, part in parts.items()
        }
        # Configurations without such events keep the digest that they had before there were some.
        own = [sorted(self.events)] if self.events else []
        if not own:
            plain["checks"]["warn"].pop("event_rate")
        text = json.dumps([plain, self.schema.to_dict(), *own], sort_keys=True, default=str)
        return digest(text)

    def _check_events(self) -> None:
        if not isinstance(self.events, Mapping):
            raise bad("daily config", "events", self.events, "paths by history")
        assert isinstance(self.schema, FeatureSchema)
        known = [history.name for history in self.schema.histories]
        for name, path in self.events.items():
            if name not in known:
                raise ValueError(
                    f"daily config: events.{name} names no history of the schema."
                    f"{did_you_mean(name, known)}"
                )
            if not isinstance(path, str) or DAY not in path:
                raise bad("daily config", f"events.{name}", path, "a path with {day}")


_PARTS = {
    "model": ModelPart,
    "training": TrainingPart,
    "growth": GrowthPart,
    "calibration": CalibrationPart,
    "gate": GatePart,
    "checks": ChecksPart,
    "export": ExportPart,
}


def _part(name: str, kind: Any, given: Any) -> Any:
    """A part of the configuration, of a dict."""
    given = {} if given is None else given
    if isinstance(given, Mapping):
        _check_keys(kind, given, f"{name}.")
        for key in _MAPPINGS & given.keys():
            if not isinstance(given[key], Mapping | None):
                raise bad("daily config", f"{name}.{key}", given[key], "a dict")
        given = kind(**{k: v for k, v in given.items() if k not in _MAPPINGS or v is not None})
    if given is False and name == "growth":
        return False
    if not isinstance(given, kind):
        raise bad("daily config", name, given, "a dict")
    for declaration in dataclasses.fields(kind):
        check_field(f"daily config, {name}", declaration, getattr(given, declaration.name))
    return given


def _measured(task: Task) -> Collection[str]:
    """Names of what a task is measured by, as two rows tell."""
    labels, outputs = np.arange(2.0), np.full((2, task.units), 0.5)
    return task.measures(labels, outputs, np.ones(2), {"gauc": np.zeros(2)}).keys()


def _check_keys(kind: Any, given: Mapping[str, Any], where: str) -> None:
    known = [declaration.name for declaration in dataclasses.fields(kind)]
    for key in given:
        if key not in known:
            raise ValueError(
                f"daily config: unknown key `{where}{key}`.{did_you_mean(str(key), known)}"
            )


def _is_attribute(name: str, text: Any) -> bool:
    return name == "schema" and isinstance(text, str) and ":" in text


def _beside(file: Path, given: Any) -> Any:
    """A relative path, of the folder of a file; anything else as it is."""
    if not isinstance(given, str) or "://" in given:
        return given
    return str(file.parent / Path(given).expanduser())


def _schema(given: Any) -> FeatureSchema:
    """The schema, without what an encoder has learned."""
    found = given
    if isinstance(given, str) and _is_attribute("schema", given):
        found = _attribute(given, "schema")
        found = found() if callable(found) else found
    elif isinstance(given, str | Path):
        path = local_path(given, "daily config", "schema")
        words = "daily config: schema {path} can't be read: {error}"
        found = FeatureSchema.from_dict(read_json(path, words))
    if not isinstance(found, FeatureSchema):
        raise bad("daily config", "schema", given, "a schema, its file, or `module:attribute`")
    if found.time_key is None:
        raise ValueError(
            "daily config: the schema has no time_key; days follow one another in time, so that "
            "the daily job needs one."
        )
    return found.with_layout(None)


def _attribute(text: str, argument: str) -> Any:
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (AttributeError, ImportError, ValueError) as error:
        raise ValueError(
            f"daily config: {argument} is {text!r}, which can't be imported: {error}. Is the "
            "module's folder on PYTHONPATH?"
        ) from error
