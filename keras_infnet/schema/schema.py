"""The one description of a model's inputs and outputs: all else is built from it."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.schema.dense import DenseFeature
from keras_infnet.schema.feature import Feature
from keras_infnet.schema.history import History, HistoryGroup
from keras_infnet.schema.numeric import NumericFeature

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet.features.schema_checks import check_names, check_references, checked_parts
from keras_infnet.schema.categorical import CategoricalFeature

_FEATURE_KINDS = {
    "categorical": CategoricalFeature,
    "numeric": NumericFeature,
    "dense": DenseFeature,
}


@dataclass(frozen=True)
class FeatureSchema:
    """Features, histories and tasks of a ranking problem.

    A model's inputs are a few packed tensors; the schema knows which column is what:

    - `categorical (batch, fields)` int32: one-valued categorical and numeric features, in schema
      order;
    - `bags (batch, width)` int32 and `bag_weights (batch, width)` float32: all bags side by side;
    - `dense (batch, width)` float32: all dense vectors side by side;
    - for each history `h`: `h (batch, length, columns)` int32, oldest event first and padded on the
      left, with the columns of `history_columns(h)`, and `h_age (batch, length)` int32, bucketised
      ages.

    Args:
        features: `CategoricalFeature`, `NumericFeature` and `DenseFeature` in any order.
        tasks: One or more `Task`.
        sequences: `History`, one a history.
        user_key: Column that tells users apart: histories and per-user metrics go by it.
        time_key: Column of Unix milliseconds. `None`: the order of a user's rows is the order of
            time.
        sample_weight: Column with the weight of a row in loss and weighted metrics.
        vocabulary: Digest of the encoder's vocabularies. `FeatureEncoder.fit` sets it.

    Raises:
        ValueError: A name occurs twice, or a part names a feature that is not there.

    Example:
        >>> schema = keras_infnet.FeatureSchema(
        ...     features=[keras_infnet.CategoricalFeature("video_id", "item", dtype="int")],
        ...     histories=[keras_infnet.History("liked", ("video_id",), where="is_like")],
        ...     tasks=[keras_infnet.BinaryTask("click"), keras_infnet.BinaryTask("like", "is_like")],
        ... )
        >>> schema.task_names
        ('click', 'like')
    """

    features: tuple[Feature, ...]
    tasks: tuple[Task, ...]
    sequences: tuple[History, ...] = ()
    user_key: str = "user_id"
    time_key: str | None = "time_ms"
    sample_weight: str | None = None
    vocabulary: str | None = None

    def __post_init__(self) -> None:
        for part in ("features", "tasks", "sequences"):
            object.__setattr__(self, part, checked_parts(part, getattr(self, part)))
        if not self.features or not self.tasks:
            raise ValueError("FeatureSchema: expected at least one feature and one task.")
        check_names(self)
        check_references(self)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in schema order."""
        return tuple(task.name for task in self.tasks)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the field tokens, in the order of the model: one-valued, bags, dense."""
        packed = self.one_valued + self.bags + self.dense
        return tuple(feature.name for feature in packed)

    @property
    def one_valued(self) -> tuple[CategoricalFeature | NumericFeature, ...]:
        """The features of the packed input `categorical`."""
        return tuple(f for f in self.features if _width(f) == 1)

    @property
    def bags(self) -> tuple[CategoricalFeature, ...]:
        """The features of the packed inputs `bags` and `bag_weights`, `max_values` columns each."""
        return tuple(f for f in self.features if isinstance(f, CategoricalFeature) and f.is_bag)

    @property
    def dense(self) -> tuple[DenseFeature, ...]:
        """The features of the packed input `dense`, `dim` columns each."""
        return tuple(f for f in self.features if isinstance(f, DenseFeature))

    @property
    def fitted(self) -> bool:
        """Whether sizes are known: `FeatureEncoder.fit` has seen training rows."""
        embedded = [f for f in self.features if not isinstance(f, DenseFeature)]
        return all(f.num_ids for f in embedded) and all(
            s.num_actions for s in self.histories if s.actions
        )

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that differ when a name, a size or a vocabulary differs."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def feature(self, name: str) -> Feature:
        """The feature of this name; an unknown name is a ValueError that suggests the nearest."""
        return self._find(self.features, "feature", name)

    def task(self, name: str) -> Task:
        """The task of this name; an unknown name is a ValueError that suggests the nearest."""
        return self._find(self.tasks, "task", name)

    def sequence(self, name: str) -> History:
        """The history of this name; an unknown name is a ValueError that suggests the nearest."""
        return self._find(self.histories, "history", name)

    def table_of(self, name: str) -> str:
        """Name of the feature whose table embeds feature `name`."""
        table = getattr(self.feature(name), "table", None)
        return name if table is None else self.table_of(table)

    def table_rows(self) -> dict[str, int]:
        """Rows of each embedding table, by the name of its feature, in schema order."""
        self.require_fitted()
        embedded = [f for f in self.features if not isinstance(f, DenseFeature)]
        return {f.name: f.num_ids for f in embedded if f.table is None}

    def history_columns(self, name: str) -> dict[str, slice]:
        """Columns of a packed history: fields (a bag has several), `#action`, `#ratio`, `#groups`.

        `#action` and `#ratio` are ids with 0 for unknown; bit `g` of `#groups` tells whether the
        event belongs to group `g`. A position whose first column is 0 is padding.
        """
        sequence = self.history(name)
        widths = {field: _width(self.feature(field)) for field in sequence.fields}
        extra = {"#action": sequence.actions, "#ratio": sequence.ratio, "#groups": sequence.groups}
        widths |= {column: 1 for column, there in extra.items() if there}
        ends = [sum(list(widths.values())[: i + 1]) for i in range(len(widths))]
        return {c: slice(end - widths[c], end) for c, end in zip(widths, ends, strict=True)}

    def group_names(self, name: str) -> tuple[str, ...]:
        """Names of a history's groups; one group named like the history if it declares none."""
        return tuple(g.name for g in self.history(name).groups) or (name,)

    def packed_inputs(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape without batch, and dtype, of each packed input of a model."""
        bag_width = sum(f.max_values for f in self.bags)
        dense_width = sum(f.dim for f in self.dense)
        inputs: dict[str, tuple[tuple[int, ...], str]] = {}
        if self.one_valued:
            inputs["categorical"] = ((len(self.one_valued),), "int32")
        if bag_width:
            inputs |= {"bags": ((bag_width,), "int32"), "bag_weights": ((bag_width,), "float32")}
        if dense_width:
            inputs["dense"] = ((dense_width,), "float32")
        for s in self.histories:
            width = max(columns.stop for columns in self.history_columns(s.name).values())
            inputs[s.name] = ((s.max_length, width), "int32")
            if s.ages:
                inputs[f"{s.name}_age"] = ((s.max_length,), "int32")
        return inputs

    def raw_inputs(self) -> dict[str, tuple[tuple[int | None, ...], str]]:
        """Shape without batch, and dtype, of each raw input of a request (`None`: any length)."""
        inputs: dict[str, tuple[tuple[int | None, ...], str]] = {}
        for f in self.features:
            inputs[f.name] = _raw_shape(f), _raw_dtype(f)
            if getattr(f, "weights", None):
                inputs[f.weights] = _raw_shape(f), "float32"
        for s in self.histories:
            for field in s.fields:
                f = self.feature(field)
                inputs[f"{s.name}_{field}"] = (None, *_raw_shape(f)), _raw_dtype(f)
            inputs |= {f"{s.name}_{action}": ((None,), "int64") for action in s.actions}
            if s.ratio:
                inputs[f"{s.name}_ratio"] = (None,), "float32"
            if s.ages:
                inputs[f"{s.name}_age_seconds"] = (None,), "int64"
        return inputs

    def require_fitted(self) -> None:
        """Raises a ValueError if sizes are unknown."""
        if not self.fitted:
            raise ValueError(
                "FeatureSchema: the sizes of its tables are unknown. Fit an encoder on training "
                "rows, and build "
                "from its schema: `encoder = FeatureEncoder(schema).fit(frame)`, "
                "`INFNet(encoder.schema)`."
            )

    def to_dict(self) -> dict[str, Any]:
        """The schema as JSON values; `from_dict` reads it."""
        kinds = {cls: kind for kind, cls in _FEATURE_KINDS.items()}
        plain = dataclasses.asdict(self)
        plain["features"] = [
            {"type": kinds[type(f)], **dataclasses.asdict(f)} for f in self.features
        ]
        return json.loads(json.dumps(plain))

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "FeatureSchema":
        """The schema that `to_dict` wrote."""
        features = [
            _FEATURE_KINDS[f["type"]](**{k: v for k, v in f.items() if k != "type"})
            for f in plain["features"]
        ]
        sequences = [
            History(**{**s, "groups": tuple(HistoryGroup(**g) for g in s["groups"])})
            for s in plain["sequences"]
        ]
        tasks = [BinaryTask(**t) for t in plain["tasks"]]
        return cls(**{**plain, "features": features, "sequences": sequences, "tasks": tasks})

    def _find(self, parts: Iterable[Any], kind: str, name: str) -> Any:
        by_name = {part.name: part for part in parts}
        if name not in by_name:
            raise ValueError(f"FeatureSchema: no {kind} `{name}`.{did_you_mean(name, by_name)}")
        return by_name[name]


def _width(feature: Feature) -> int:
    """Columns of an embedded feature in a packed tensor; 0 for a dense vector."""
    return 0 if isinstance(feature, DenseFeature) else getattr(feature, "max_values", 1)


def _raw_shape(feature: Feature) -> tuple[int | None, ...]:
    if isinstance(feature, DenseFeature):
        return (feature.dim,)
    return (None,) if _width(feature) > 1 else ()


def _raw_dtype(feature: Feature) -> str:
    if isinstance(feature, CategoricalFeature):
        return "string" if feature.dtype == "string" else "int64"
    return "float32"
