"""FeatureSchema: the one description of a model's inputs and outputs; all else is built from it."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from keras_infnet._base.checks import bad
from keras_infnet._base.did_you_mean import check_known, did_you_mean
from keras_infnet.schema.event_quantity import EventQuantity
from keras_infnet.schema.feature import OWNERS, PACKED, Feature, Owner, RawInput
from keras_infnet.schema.funnel import check_no_circle
from keras_infnet.schema.history import History
from keras_infnet.schema.instants import Instants
from keras_infnet.schema.layout import Layout
from keras_infnet.schema.list_key import checked_list_key, list_codes
from keras_infnet.schema.number_forms import LARGEST_ID
from keras_infnet.schema.past import PastFeature
from keras_infnet.schema.table_widths import MOST_FREQUENT, TablePart, table_parts
from keras_infnet.schema.task import Task

_FREQUENT = 0.9
_PARTS = {"features": Feature, "tasks": Task, "histories": History}


@dataclass(frozen=True)
class FeatureSchema:
    """Features, histories and tasks of a ranking problem.

    A model's inputs are a few packed tensors; the schema knows which column is what:

    - `categorical (batch, fields)` int32: features of one id, in schema order, those that share a
      token last;
    - `numbers (batch, width)` float32: what numeric features are besides their bucket;
    - `bags (batch, width)` int32 and `bag_weights (batch, width)` float32: all bags side by side;
    - `dense (batch, width)` float32: all dense vectors side by side;
    - for each history `h`: `h (batch, length, columns)` int32, oldest event first and padded on the
      left, with the columns of `history_columns(h)`, and `h_{quantity} (batch, length)` int32 for
      each quantity that depends on the row, such as `h_age`, and `h_within` where groups have
      limits of age.

    Args:
        features: Features of any kind, in any order.
        tasks: One or more tasks.
        histories: Histories of a user's events.
        user_key: Column that tells users apart: histories and per-user metrics go by it. Rows
            without a user (`None`, NaN, `-1` or `""`) are nobody's: they have no history, enter
            none, and are in no group of gAUC.
        time_key: Column of times: datetimes (without a zone they are UTC), or integers. Events of
            the same millisecond happened at once. `None`: the order of a user's rows is the order
            of time.
        time_unit: Unit of integer times: `"s"`, `"ms"`, `"us"` or `"ns"`. Defaults to the one in
            which all times of a column are from 1990 to 2100, in the log and in each other frame.
        time_origin: `"unix"`, whose times are from 1990 to 2100, or `None` for a clock of no known
            origin, which needs a `time_unit`.
        sample_weight: Column with the weight of a row in loss and weighted metrics.
        list_key: Column, or columns together, that tell apart the lists that users saw, such as
            `"impression_id"` or `("user_id", "date")`: integers, strings, dates or datetimes.
            Metrics, batches and losses within a list go by it. A list is one user's; rows without a
            value there are in none. Kept as a tuple. Defaults to none.
        dims: `"auto"`: tables with few ids, and rare ids of all others, have narrower rows, which a
            matrix for each width makes as wide as a token; see `table_parts`. Defaults to `None`:
            all rows are as wide as a token.
        frequent: With `dims="auto"`, the share of the values of training rows that frequent ids
            cover, above 0 and at most 1. Defaults to 0.9.
        layout: Sizes and dtypes, without which no model can be built. `FeatureEncoder.fit` learns
            it from training rows.

    Raises:
        ValueError: A name occurs twice, a part names a feature that is not there, or a label or
            weight of rows is a feature; a task of the entire space comes before itself; or `dims`
            or `frequent` is another than these.

    Example:
        >>> schema = keras_infnet.FeatureSchema(
        ...     features=[keras_infnet.CategoricalFeature("video_id", "item")],
        ...     histories=[keras_infnet.History("liked", ["video_id"], where="is_like")],
        ...     tasks=[
        ...         keras_infnet.BinaryTask("click"),
        ...         keras_infnet.BinaryTask("like", label="is_like"),
        ...     ],
        ... )
        >>> schema.task_names
        ('click', 'like')
    """

    features: tuple[Feature, ...]
    tasks: tuple[Task, ...]
    histories: tuple[History, ...] = ()
    user_key: str = "user_id"
    time_key: str | None = "time_ms"
    time_unit: str | None = None
    time_origin: str | None = "unix"
    sample_weight: str | None = None
    list_key: str | tuple[str, ...] | None = None
    dims: Literal["auto"] | None = None
    frequent: float = _FREQUENT
    layout: Layout | None = None

    def __post_init__(self) -> None:
        for name, kind in _PARTS.items():
            object.__setattr__(self, name, _checked_parts(name, getattr(self, name), kind))
        if not self.features or not self.tasks:
            raise ValueError("FeatureSchema: expected at least one feature and one task.")
        object.__setattr__(self, "list_key", checked_list_key(self.list_key))
        _check_names(self)
        _check_references(self)
        for feature in self.features:
            feature.check_in(self)
        check_no_circle(self.tasks)
        _check_dims(self)
        _check_layout(self)
        Instants(self.time_unit, self.time_origin)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in schema order."""
        return tuple(task.name for task in self.tasks)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the field tokens, in the order of the model: one-valued, bags, dense."""
        packed = self.one_valued + self.bags + self.dense
        return tuple(dict.fromkeys(feature.token_name for feature in packed))

    def shared_tokens(self) -> tuple[str, ...]:
        """Names of the tokens that are no feature's alone."""
        names = (f.token_name for f in self.features if f.token_name != f.name)
        return tuple(dict.fromkeys(names))

    def token_owner(self, token: str) -> Owner:
        """Whose a field token is."""
        return next(f.owner for f in self.features if f.token_name == token)

    @property
    def one_valued(self) -> tuple[Feature, ...]:
        """The features of the packed input `categorical`, one column each; by token if shared."""
        return self._packed_as("categorical")

    @property
    def numeric(self) -> tuple[Feature, ...]:
        """The features of the packed input `numbers`, in the order of `one_valued`."""
        return tuple(f for f in self.one_valued if f.number_bins)

    @property
    def bags(self) -> tuple[Feature, ...]:
        """The features of the packed inputs `bags` and `bag_weights`, `width` columns each."""
        return self._packed_as("bags")

    @property
    def dense(self) -> tuple[Feature, ...]:
        """The features of the packed input `dense`, `width` columns each."""
        return self._packed_as("dense")

    @property
    def past(self) -> tuple[PastFeature, ...]:
        """The features that are computed from the rows before a row."""
        return tuple(f for f in self.features if isinstance(f, PastFeature))

    @property
    def fitted(self) -> bool:
        """Whether sizes are known: `FeatureEncoder.fit` has seen training rows."""
        return self.layout is not None

    @property
    def instants(self) -> Instants:
        """How the times of a log, of rows and of arguments are read."""
        return Instants(self.time_unit, self.time_origin)

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that differ when a name, a size or a vocabulary differs."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def feature(self, name: str) -> Feature:
        """The feature of this name; an unknown name is a ValueError that suggests the nearest."""
        return self._find("feature", name)

    def task(self, name: str) -> Task:
        """The task of this name; an unknown name is a ValueError that suggests the nearest."""
        return self._find("task", name)

    def history(self, name: str) -> History:
        """The history of this name; an unknown name is a ValueError that suggests the nearest."""
        return self._find("history", name)

    def table_of(self, name: str) -> str:
        """Name of the feature whose table embeds feature `name`."""
        table = self.feature(name).shared_table
        return name if table is None else self.table_of(table)

    def table_owners(self) -> tuple[Feature, ...]:
        """Features with a table of their own, in schema order."""
        return tuple(f for f in self.features if f.is_embedded and f.shared_table is None)

    def declared_dtype(self, table: str) -> str | None:
        """The dtype that a feature of the table declares, if one does."""
        return self._declared_dtypes.get(table)

    def dtype_of(self, name: str) -> str | None:
        """`"string"` or `"int"` of the identifiers of feature `name`; `None` if it holds numbers.

        Raises:
            ValueError: It is not declared, and no encoder has read it from a log yet.
        """
        if not self.feature(name).has_dtype:
            return None
        table = self.table_of(name)
        return self.declared_dtype(table) or self.require_fitted().dtypes[table]

    def table_rows(self) -> dict[str, int]:
        """Rows of each embedding table, by the name of its feature, in schema order."""
        sizes = self.require_fitted().sizes
        return {owner.name: sizes[owner.name] for owner in self.table_owners()}

    def table_parts(self, dim: int) -> dict[str, tuple[TablePart, ...]]:
        """Width and number of ids of each part of an embedding table, in the order of its ids.

        With `dims="auto"` a table of `n` ids is `w = min(dim, ceil(6 n^(1/4)))` wide, below `dim`
        rounded down to a power of two. Of tables from 1,024 ids on, the ids of missing and unknown
        values and the most frequent ones, which cover half of all known values of the training
        rows, are `w` wide; those up to the share `frequent` `w / 2`; and the rest `w / 4`. Features
        that share a table are counted together. Ids of hash buckets and numbers have no order:
        their number alone counts. Ids that an encoder was extended by are as wide as the last part,
        and change no width.

        Args:
            dim: Width of a token, the `dim` of a model.

        Returns:
            `(width, ids)` of each part by table, in schema order; without `dims` one of all ids.
        """
        rows = self.table_rows()
        if self.dims is None:
            return {name: ((dim, ids),) for name, ids in rows.items()}
        frequent = self.require_fitted().frequent or {}
        return {n: table_parts(ids, frequent.get(n, ()), dim) for n, ids in rows.items()}

    def table_bytes(self, dim: int) -> dict[str, int]:
        """Bytes of each embedding table's rows in float32, by the name of its feature.

        Args:
            dim: Width of a token, the `dim` of a model.
        """
        tables = self.table_parts(dim).items()
        return {name: 4 * sum(width * ids for width, ids in parts) for name, parts in tables}

    @property
    def frequent_shares(self) -> tuple[float, ...]:
        """Shares that the most frequent, the frequent and all ids cover; `()`: unasked."""
        return (min(MOST_FREQUENT, self.frequent), self.frequent, 1.0) if self.dims else ()

    def num_ids(self, name: str) -> int:
        """Number of ids of an embedded feature: the rows of its table."""
        return self.table_rows()[self.table_of(name)]

    def base_rate(self, task: str) -> tuple[float, ...]:
        """Mean label of a task in training, a number for each unit; empty where it is unknown."""
        return tuple(self.require_fitted().base_rates.get(task, ()))

    def first_bias(self, task: str, after: str | None = None) -> list[float]:
        """Where the bias of a task's head starts: zeros where its base rate is unknown.

        Args:
            task: Name of the task.
            after: Name of the task that comes before it, if the head says how often it is 1 where
                that one is. Defaults to `None`: the head speaks of all rows.
        """
        rate, of_before = self.base_rate(task), (1.0,) if after is None else self.base_rate(after)
        if not rate or not of_before:
            return [0.0] * self.task(task).units
        return self.task(task).first_bias([r / of_before[0] for r in rate])

    def history_columns(self, name: str) -> dict[str, slice]:
        """Columns of a packed history: fields (a bag has several), `#action`, ..., `#groups`.

        `#{quantity}` are ids with 0 for unknown; bit `g` of `#groups` tells whether the event
        belongs to group `g`. Last stands `{field}#numbers`, what a numeric field is besides its
        bucket, as ids of `numbers_as_ids`. A position whose first column is 0 is padding.
        """
        return self._history_columns[self.history(name).name]

    def field_columns(self, history: str) -> dict[str, slice]:
        """Of `history_columns`, those of the fields, which come first."""
        columns = self.history_columns(history)
        return {field: columns[field] for field in self.history(history).fields}

    def numeric_fields(self, history: History) -> tuple[Feature, ...]:
        """The fields of a history that are more than their bucket."""
        fields = (self.feature(field) for field in history.fields)
        return tuple(field for field in fields if field.number_bins)

    def event_kinds(self) -> list[list[History]]:
        """Histories by kind of event: those of one kind have the same fields."""
        kinds = dict.fromkeys(h.fields for h in self.histories)
        return [[h for h in self.histories if h.fields == fields] for fields in kinds]

    def event_tables(self) -> tuple[str, ...]:
        """Names of the tables that events' fields are looked up in."""
        fields = [field for h in self.histories for field in h.fields]
        return tuple(dict.fromkeys(self.table_of(field) for field in fields))

    def event_quantities(self) -> tuple[str, ...]:
        """Names of what is known of events besides their fields, and may be embedded."""
        found = [q for h in self.histories for q in h.all_quantities if q.embedded]
        return tuple(dict.fromkeys(quantity.key for quantity in found))

    def quantity_size(self, history: str, quantity: EventQuantity) -> int:
        """Number of ids of a quantity of a history's events."""
        sizes = self.require_fitted().sizes
        if quantity.learns:
            return sizes[f"{history}/#{quantity.key}"]
        return quantity.program(None).num_ids

    def packed_columns(self, name: str) -> dict[str, slice]:
        """Which columns of `categorical`, `numbers`, `bags`, `bag_weights`, `dense` are whose."""
        if name == "numbers":
            return _slices({f.name: len(f.number_bins) for f in self.numeric})
        features = self._packed_as("bags" if name == "bag_weights" else name)
        return _slices({f.name: f.width for f in features})

    def columns_of_items(self, name: str) -> np.ndarray:
        """Which columns of a packed input, as in `packed_columns`, are of the item, bool."""
        columns = self.packed_columns(name).items()
        is_item = [self.feature(f).owner == "item" for f, _ in columns]
        return np.repeat(is_item, [c.stop - c.start for _, c in columns])

    def packed_inputs(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape without batch, and dtype, of each packed input of a model."""
        inputs: dict[str, tuple[tuple[int, ...], str]] = {}
        for name, dtype in PACKED.items():
            columns = self.packed_columns(name)
            if columns:
                inputs[name] = ((_width(columns),), dtype)
        for h in self.histories:
            inputs[h.name] = ((h.max_length, _width(self.history_columns(h.name))), "int32")
            for quantity in h.of_row:
                inputs[f"{h.name}_{quantity.key}"] = ((h.max_length,), "int32")
        return inputs

    def id_sizes(self) -> dict[str, dict[str, int]]:
        """How many ids the columns of each packed input of ids have, by name of the columns."""
        sizes: dict[str, dict[str, int]] = {}
        for name in ("categorical", "bags"):
            if features := self._packed_as(name):
                sizes[name] = {f.name: self.num_ids(f.name) for f in features}
        for h in self.histories:
            ids = {field: self.num_ids(field) for field in h.fields}
            ids |= {f"#{q.key}": q.packed_size(self.quantity_size(h.name, q)) for q in h.of_event}
            ids |= {f"{f.name}#numbers": LARGEST_ID + 1 for f in self.numeric_fields(h)}
            sizes[h.name] = {column: ids[column] for column in self.history_columns(h.name)}
        return sizes

    def packed_sizes(self) -> dict[str, np.ndarray]:
        """For each packed input of ids, how many ids each of its columns has."""
        sizes: dict[str, np.ndarray] = {}
        for name, ids in self.id_sizes().items():
            is_history = name not in PACKED
            columns = self.history_columns(name) if is_history else self.packed_columns(name)
            widths = [columns[column].stop - columns[column].start for column in ids]
            sizes[name] = np.repeat(list(ids.values()), widths)
        return sizes

    def raw_inputs(self, owners: Collection[Owner] = OWNERS) -> dict[str, RawInput]:
        """Shape without batch, and dtype, of each raw input of a request (`None`: any length).

        Args:
            owners: Whose inputs; histories are the user's. Defaults to all.
        """
        return {name: shape for owner, name, shape in self._raw_inputs if owner in owners}

    def raw_units(self) -> dict[str, str]:
        """The unit of each raw input of a request that has one which its name does not say."""
        units = {f.name: f.unit for f in self.features if f.unit}
        for h in self.histories:
            units |= {f"{h.name}_{field}": units[field] for field in h.fields if field in units}
        return units

    def raw_missing(self) -> dict[str, Any]:
        """What stands for "missing" in each raw input of a request; 0 for the weight of a value."""
        return dict(self._raw_missing)

    def same_width(self) -> tuple[tuple[str, ...], ...]:
        """Raw inputs of any width, those together that must be equally wide."""
        return self._same_width

    @functools.cached_property
    def ranked(self) -> "FeatureSchema":
        """The schema of `rank`'s requests: features relative to a list follow from the others."""
        if not any(f.of_list for f in self.features):
            return self
        given = tuple(f for f in self.features if not f.of_list)
        return dataclasses.replace(self, features=given)

    def log_columns(self) -> tuple[str, ...]:
        """Columns that a frame of training rows must have: features, labels, weight and keys."""
        names = [column for f in self.features for column in f.log_columns]
        for task in self.tasks:
            names += [str(task.label), *task.conditions]
        names += [key for key in (self.user_key, self.time_key, self.sample_weight) if key]
        names += self.list_key or ()
        return tuple(dict.fromkeys(names))

    def lists_of(self, frame: pd.DataFrame, who: str) -> np.ndarray:
        """A code of each row's list, `(rows,)`, -1 where a row is in none; errors name `who`."""
        return list_codes(self.require_lists(who), self.user_key, frame, who)

    def require_lists(self, who: str) -> tuple[str, ...]:
        """The columns of `list_key`; a ValueError that names `who` if there is none."""
        if self.list_key is None:
            raise ValueError(
                f"{who}: the schema knows no lists. Say which column tells them apart: "
                '`FeatureSchema(..., list_key="impression_id")`.'
            )
        return tuple(self.list_key)

    def require_fitted(self) -> Layout:
        """The layout; a ValueError if there is none."""
        if self.layout is None:
            raise ValueError(
                "FeatureSchema: the sizes of its tables are unknown. Fit an encoder on training "
                "rows, as RankingData does, and build from its schema: "
                "`data = RankingData(schema, log)`, `INFNet(data.schema)`."
            )
        return self.layout

    def with_layout(self, layout: Layout | None) -> "FeatureSchema":
        """The same schema with other sizes, dtypes and base rates."""
        return dataclasses.replace(self, layout=layout)

    def with_sizes(
        self,
        sizes: Mapping[str, int],
        dtype: str = "int",
        base_rates: Mapping[str, float | Sequence[float]] | None = None,
    ) -> "FeatureSchema":
        """The schema with sizes that are given, to build a model without a log.

        Args:
            sizes: As in `Layout`; sizes that follow from the schema alone may be left out.
            dtype: Of identifiers whose dtype is not declared.
            base_rates: Mean label by task. Defaults to unknown.

        Raises:
            ValueError: The size of a table is lacking, or a name is unknown.

        Example:
            >>> video = keras_infnet.CategoricalFeature("video_id", "item")
            >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
            >>> schema.with_sizes({"video_id": 10}).table_rows()
            {'video_id': 10}
        """
        tables = {owner.name: owner for owner in self.table_owners()}
        known = {f"{h.name}/#{q.key}" for h in self.histories for q in h.of_event} | set(tables)
        for name in sizes:
            check_known(name, known, f"FeatureSchema: no table `{name}`.")
        fixed = {n: owner.fixed_size for n, owner in tables.items() if owner.fixed_size is not None}
        found = {**fixed, **sizes}
        learned = [f"{h.name}/#{q.key}" for h in self.histories for q in h.of_event if q.learns]
        for name in (*tables, *learned):
            if name not in found:
                raise ValueError(f"FeatureSchema: no size of `{name}` is given.")
        dtypes = {
            name: self.declared_dtype(name) or dtype for name, f in tables.items() if f.has_dtype
        }
        rates = {
            task: list(rate) if isinstance(rate, Sequence) else [rate]
            for task, rate in (base_rates or {}).items()
        }
        return self.with_layout(Layout(found, dtypes, rates))

    def to_dict(self) -> dict[str, Any]:
        """The schema as JSON values; `from_dict` reads it."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain |= {name: [part.to_dict() for part in getattr(self, name)] for name in _PARTS}
        plain["layout"] = None if self.layout is None else self.layout.to_dict()
        later = (("time_unit", None), ("time_origin", "unix"), ("list_key", None))
        later += (("dims", None), ("frequent", _FREQUENT))
        for name, default in later:
            # Schemas that were saved before keep their fingerprints.
            if plain[name] == default:
                del plain[name]
        return json.loads(json.dumps(plain))

    def to_json(self) -> str:
        """The text of a `schema.json`: `to_dict` with the fingerprint, which `from_dict` checks."""
        return json.dumps({"fingerprint": self.fingerprint, **self.to_dict()}, indent=1)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "FeatureSchema":
        """The schema that `to_dict` or `to_json` wrote.

        Raises:
            ValueError: It is not what was written: its fingerprint is another.
        """
        plain = dict(plain)
        written = plain.pop("fingerprint", None)
        parts: dict[str, Any] = {
            name: [kind.from_dict(part) for part in plain[name]] for name, kind in _PARTS.items()
        }
        layout = plain["layout"]
        parts["layout"] = None if layout is None else Layout(**layout)
        schema = cls(**{**plain, **parts})
        if written not in (None, schema.fingerprint):
            raise ValueError(
                f"FeatureSchema: the fingerprint is {schema.fingerprint}, but was {written} when "
                "the schema was written: the file was damaged or changed. Copy it again."
            )
        return schema

    def _find(self, kind: str, name: str) -> Any:
        by_name = self._by_name[kind]
        check_known(name, by_name, f"FeatureSchema: no {kind} `{name}`.")
        return by_name[name]

    # What follows from the parts is kept: a client asks for it in every request.

    @functools.cached_property
    def _by_name(self) -> dict[str, dict[str, Any]]:
        parts = {"feature": self.features, "task": self.tasks, "history": self.histories}
        return {kind: {part.name: part for part in of} for kind, of in parts.items()}

    @functools.cached_property
    def _raw_inputs(self) -> list[tuple[Owner, str, RawInput]]:
        found: list[tuple[Owner, str, RawInput]] = []
        for f in self.features:
            for name, of_name in f.raw_inputs(self.dtype_of(f.name)).items():
                found.append((f.owner, name, of_name))
        for h in self.histories:
            for field in h.fields:
                shape, dtype = self.feature(field).raw_inputs(self.dtype_of(field))[field]
                found.append(("user", f"{h.name}_{field}", ((None, *shape), dtype)))
            for suffix, quantity in h.read_by.items():
                dtype = quantity.raw_inputs()[suffix]
                found.append(("user", f"{h.name}_{suffix}", ((None,), dtype)))
        return found

    @functools.cached_property
    def _raw_missing(self) -> dict[str, Any]:
        fills: dict[str, Any] = {}
        for f in self.features:
            dtype = self.dtype_of(f.name)
            fills |= dict.fromkeys(f.raw_inputs(dtype), 0.0)
            fills[f.name] = f.missing(dtype)
        for h in self.histories:
            fills |= {f"{h.name}_{field}": fills[field] for field in h.fields}
            fills |= {f"{h.name}_{suffix}": q.missing() for suffix, q in h.read_by.items()}
        return fills

    @functools.cached_property
    def _same_width(self) -> tuple[tuple[str, ...], ...]:
        features = [f.raw_inputs(self.dtype_of(f.name)) for f in self.features]
        groups = [tuple(inputs) for inputs in features if None in next(iter(inputs.values()))[0]]
        return (*groups, *(tuple(h.list_columns) for h in self.histories))

    @functools.cached_property
    def _declared_dtypes(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for f in self.features:
            if f.declared_dtype:
                found.setdefault(self.table_of(f.name), f.declared_dtype)
        return found

    @functools.cached_property
    def _history_columns(self) -> dict[str, dict[str, slice]]:
        return {
            h.name: _slices(
                {field: self.feature(field).width for field in h.fields}
                | {f"#{quantity.key}": 1 for quantity in h.of_event}
                | {f"{f.name}#numbers": len(f.number_bins) for f in self.numeric_fields(h)}
            )
            for h in self.histories
        }

    @functools.cached_property
    def packing_order(self) -> tuple[Feature, ...]:
        """Features in schema order, but those that share a token together, behind all others."""
        alone = [f for f in self.features if f.token_name == f.name]
        shared = self.shared_tokens()
        return (*alone, *(f for t in shared for f in self.features if f.token_name == t))

    def _packed_as(self, name: str) -> tuple[Feature, ...]:
        return tuple(f for f in self.packing_order if f.packed == name)


def _slices(widths: Mapping[str, int]) -> dict[str, slice]:
    ends = np.cumsum([0, *widths.values()]).tolist()
    return {name: slice(ends[i], ends[i + 1]) for i, name in enumerate(widths)}


def _width(columns: Mapping[str, slice]) -> int:
    return max(column.stop for column in columns.values())


def _checked_parts(name: str, found: Any, kind: type) -> tuple[Any, ...]:
    """An argument as a tuple; an error if one of its parts is of no such kind."""
    is_list = hasattr(found, "__iter__") and not issubclass(type(found), (str, Mapping))
    parts: tuple[Any, ...] = tuple(found if is_list else (found,))
    wrong = [part for part in parts if not isinstance(part, kind)]
    if wrong or not is_list:
        shown = type(wrong[0] if wrong else found).__name__
        raise ValueError(
            f"FeatureSchema: {name}: found {shown}; expected a list of {kind.__name__}."
        )
    return parts


def _check_names(schema: FeatureSchema) -> None:
    """A ValueError if two inputs or outputs would have one name."""
    _check_unique("features", [f.name for f in schema.features])
    _check_unique("tasks", [t.name for t in schema.tasks])
    _check_unique("histories", [h.name for h in schema.histories])
    of_rows = {f"{h.name}_{quantity.key}" for h in schema.histories for quantity in h.of_row}
    for h in schema.histories:
        _check_unique(f"groups of history `{h.name}`", [g.name for g in h.groups])
        if h.name in PACKED or h.name in of_rows:
            raise ValueError(f"FeatureSchema: a history can't be named `{h.name}`.")
        _check_unique(f"list columns of history `{h.name}`", h.list_columns)
    names = {f.name for f in schema.features}
    listed = [column for h in schema.histories for column in h.list_columns]
    _check_unique("list columns of two histories", listed)
    of_log = {*schema.log_columns(), *(c for h in schema.histories for c in h.log_columns)}
    for h in schema.histories:
        if both := sorted(set(h.list_columns) & of_log):
            raise ValueError(
                f"FeatureSchema: {'feature' if both[0] in names else 'column'} `{both[0]}` has the "
                f"name of a list column of history `{h.name}`. Name one of them otherwise."
            )
    for f in schema.features:
        if len(f.columns) > 1 and (both := sorted(set(f.columns[1:]) & names)):
            raise ValueError(
                f"FeatureSchema: `{both[0]}` is the weights of `{f.name}` and a feature; a request "
                "has one input of the name. Give one of them a column of another name."
            )
    inputs = dict.fromkeys([*(c for f in schema.features for c in f.columns), *listed])
    folded = [name.lower() for name in inputs]
    if alike := sorted(name for name in inputs if folded.count(name.lower()) > 1):
        raise ValueError(
            f"FeatureSchema: {', '.join(f'`{name}`' for name in alike)} differ in case alone, "
            "which names of TensorFlow's inputs must not. Rename one of them."
        )
    _check_tokens(schema)
    _check_no_label(schema)
    _check_no_list(schema)


def _check_tokens(schema: FeatureSchema) -> None:
    """A ValueError if features of two owners share a token, or it has the name of a feature."""
    names = {f.name for f in schema.features}
    fields = {field: h for h in schema.histories for field in h.fields}
    for feature in (f for f in schema.features if f.token_name != f.name):
        token, owner = feature.token_name, schema.token_owner(feature.token_name)
        if token in names:
            raise ValueError(
                f"Feature `{feature.name}`: token is {token!r}, which is a feature; expected a "
                "name of its own, that several numbers share."
            )
        if owner != feature.owner:
            raise ValueError(
                f"Feature `{feature.name}`: token {token!r} is the {owner}'s, and the feature the "
                f"{feature.owner}'s; expected one owner. Give each owner a token."
            )
        if feature.name in fields:
            raise ValueError(
                f"Feature `{feature.name}`: it shares token {token!r}, and history "
                f"`{fields[feature.name].name}` has it as a field, which needs a token of its own. "
                "Leave `token` out."
            )


def _check_no_label(schema: FeatureSchema) -> None:
    """A ValueError if a model would read what it shall predict, or how much a row counts."""
    what = {schema.sample_weight: "the sample weight"}
    for task in schema.tasks:
        what |= {task.label: f"the label of task `{task.name}`"}
        what |= dict.fromkeys(task.conditions, f"`observed_when` of task `{task.name}`")
    for name in (column for f in schema.features for column in f.columns):
        if name in what:
            raise ValueError(
                f"FeatureSchema: feature `{name}` is {what[name]}, which is not known when the "
                "model is asked. Leave it out; a history tells past ones by `actions` and `where`."
            )


def _check_no_list(schema: FeatureSchema) -> None:
    """A ValueError if lists would be told apart by what a row shall predict, or counts."""
    columns = {schema.sample_weight} | {c for t in schema.tasks for c in (t.label, *t.conditions)}
    for name in schema.list_key or ():
        if name in columns:
            raise ValueError(
                f"FeatureSchema: list_key `{name}` is a label or weight of rows; expected ids of "
                "lists, such as an impression's."
            )


def _check_references(schema: FeatureSchema) -> None:
    """A ValueError if a table or a history names a feature that can't be it."""
    earlier: list[str] = []
    for feature in schema.features:
        if feature.shared_table is not None:
            _check_table(schema, feature, earlier)
        earlier.append(feature.name)
    for h in schema.histories:
        for field in h.fields:
            if not schema.feature(field).is_embedded:
                raise ValueError(
                    f"History `{h.name}`: field `{field}` is a dense vector; expected a "
                    "categorical or numeric feature."
                )
        first = schema.feature(h.fields[0])
        if not first.has_dtype or first.width > 1:
            raise ValueError(
                f"History `{h.name}`: its first field `{first.name}` identifies the event; "
                "expected a categorical feature with one value."
            )
        if h.age_within is not None and schema.time_key is None:
            name = next(group.name for group in h.groups if group.within is not None)
            raise ValueError(
                f"History `{h.name}`, group `{name}`: within goes by ages, and the schema has no "
                "time_key. Give the log a column of times, or use `last`."
            )


def _check_dims(schema: FeatureSchema) -> None:
    """A ValueError for widths of tables that there are not."""
    found: Any = schema.frequent
    if schema.dims not in (None, "auto"):
        expected = '"auto", or None: all tables as wide as tokens'
        raise bad("FeatureSchema", "dims", schema.dims, expected)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found <= 1:
        raise bad("FeatureSchema", "frequent", found, "a share above 0 and at most 1")
    if schema.dims is None and found != _FREQUENT:
        raise bad("FeatureSchema", "frequent", found, 'no such argument without dims="auto"')


def _check_layout(schema: FeatureSchema) -> None:
    """A ValueError if a layout is of another schema."""
    layout = schema.layout
    if layout is None:
        return
    for owner in schema.table_owners():
        has_dtype = not owner.has_dtype or owner.name in layout.dtypes
        if owner.name not in layout.sizes or not has_dtype:
            raise ValueError(
                f"FeatureSchema: the layout knows no table `{owner.name}`; it is of another "
                "schema. Fit an encoder, or give `layout=None`."
            )
    if schema.dims is None:
        return
    if layout.vocabulary and layout.frequent is None:
        raise ValueError(
            'FeatureSchema: dims is "auto", and the encoder that made the layout has not learned '
            'which ids are frequent. Fit one on the schema with dims="auto".'
        )
    for table, (most, frequent, learned) in (layout.frequent or {}).items():
        if not 0 <= most <= frequent <= learned <= layout.sizes.get(table, -1):
            raise ValueError(
                f"FeatureSchema: the layout has {most} and {frequent} frequent ids of table "
                f"`{table}`, which has {layout.sizes.get(table, 'none')}. Fit an encoder."
            )


def _check_table(schema: FeatureSchema, feature: Feature, earlier: Sequence[str]) -> None:
    table = str(feature.shared_table)
    if table not in earlier or type(schema.feature(table)) is not type(feature):
        raise ValueError(
            f"Feature `{feature.name}`: table is {table!r}; expected an earlier feature of the "
            f"same kind.{did_you_mean(table, earlier)}"
        )
    if feature.number_bins != schema.feature(table).number_bins:
        raise ValueError(
            f"Feature `{feature.name}`: its encoding is another than that of `{table}`, whose "
            "table it uses; expected the same `encoding` and `buckets`."
        )
    mine, its = feature.declared_dtype, schema.feature(table).declared_dtype
    if None not in (mine, its) and mine != its:
        raise ValueError(
            f"Feature `{feature.name}`: dtype is {mine!r}, and that of `{table}`, whose table it "
            f"uses, {its!r}; expected the same."
        )


def _check_unique(what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"FeatureSchema: {what} with the same name: {', '.join(twice)}.")
