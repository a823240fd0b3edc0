"""The parts of a schema: features, histories and tasks, checked when made."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

Owner = Literal["user", "item", "context"]
OWNERS = ("user", "item", "context")

# Bucket 0 is "unknown"; bucket 1 + floor(log2(seconds + 1)) up to 2**21 seconds (24 days) and
# older.
NUM_AGE_BUCKETS = 23
# Bucket 0 is "unknown"; these edges cut play time / duration into 13 buckets.
RATIO_EDGES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0, 1.25, 2.0, 3.0)
NUM_RATIO_BUCKETS = len(RATIO_EDGES) + 2


@dataclass(frozen=True)
class CategoricalFeature:
    """A field with one value, or with a bag of up to `max_values` values.

    Ids: 0 is padding and "missing" (`None`, NaN, `""`; `-1` in an integer field), then
        `oov_buckets` ids for
    values that the vocabulary does not hold, then the values.

    Args:
        name: Column of the frame, name in requests.
        owner: Whose the field is: `"user"`, `"item"` or `"context"`. Serving computes a user's part
            once.
        dtype: `"string"` or `"int"`.
        table: Name of an earlier feature whose vocabulary and embeddings this one uses. Defaults to
            its own.
        min_frequency: Values seen in fewer training rows are out of vocabulary.
        oov_buckets: Ids for unknown values; with 0 an unknown value is an error in `transform`.
        hash_buckets: For huge fields: no vocabulary, `1 + hash(value) % hash_buckets`.
        max_values: Above 1 the field is a bag; further values are dropped.
        weights: Column with the weights of a bag's values. Defaults to equal weights. A bag is
            embedded as the weighted mean of its values.
        separator: Bags may be strings such as `"3,17"`, cut here. Lists need no separator.
        num_ids: Rows of the table. `FeatureEncoder.fit` sets it.

    Raises:
        ValueError: An argument is out of range, or two arguments exclude each other.

    Example:
        >>> keras_infnet.CategoricalFeature("video_id", "item", dtype="int").num_ids is None
        True
    """

    name: str
    owner: Owner
    dtype: Literal["string", "int"] = "string"
    table: str | None = None
    min_frequency: int = 1
    oov_buckets: int = 1
    hash_buckets: int | None = None
    max_values: int = 1
    weights: str | None = None
    separator: str | None = None
    num_ids: int | None = None

    def __post_init__(self) -> None:
        _check_name_and_owner(self)
        if self.dtype not in ("string", "int"):
            raise _bad(self, "dtype", self.dtype, '"string" or "int"')
        _check_at_least(self, min_frequency=1, oov_buckets=0, max_values=1)
        if self.hash_buckets is not None:
            _check_at_least(self, hash_buckets=1)
            for name, default in (("min_frequency", 1), ("oov_buckets", 1)):
                if getattr(self, name) != default:
                    raise _bad(
                        self,
                        name,
                        getattr(self, name),
                        "no such argument: there is no vocabulary with `hash_buckets`",
                    )
        if self.separator == "":
            raise _bad(self, "separator", "", "one or more characters, or None")
        if not self.is_bag and (self.weights is not None or self.separator is not None):
            raise _bad(self, "max_values", 1, "2 or more where `weights` or `separator` is given")

    @property
    def is_bag(self) -> bool:
        """Whether the field holds several values."""
        return self.max_values > 1


@dataclass(frozen=True)
class NumericFeature:
    """A number, embedded by its bucket.

    Id 0 is "missing" (NaN), id `1 + k` the `k`-th bucket; edges are learned from the training rows.

    Args:
        name: Column of the frame, name in requests.
        owner: `"user"`, `"item"` or `"context"`.
        buckets: Number of buckets; fewer result where quantiles fall together.
        bucketing: `"quantile"` (equal counts) or `"log"` (equal widths of the logarithm; for values
            that are 0 or more, 0 and below share the lowest bucket).
        allow_missing: Whether NaN is a value of its own. If not, NaN in a frame is an error.
        table: Name of an earlier numeric feature whose edges and embeddings this one uses.
        num_ids: Rows of the table. `FeatureEncoder.fit` sets it.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> keras_infnet.NumericFeature("duration_ms", "item", buckets=16).bucketing
        'quantile'
    """

    name: str
    owner: Owner
    buckets: int = 32
    bucketing: Literal["quantile", "log"] = "quantile"
    allow_missing: bool = False
    table: str | None = None
    num_ids: int | None = None

    def __post_init__(self) -> None:
        _check_name_and_owner(self)
        _check_at_least(self, buckets=2)
        if self.bucketing not in ("quantile", "log"):
            raise _bad(self, "bucketing", self.bucketing, '"quantile" or "log"')


@dataclass(frozen=True)
class DenseFeature:
    """A dense vector, such as a content embedding: one list of `dim` floats a row.

    Args:
        name: Column of the frame, name in requests.
        owner: `"user"`, `"item"` or `"context"`.
        dim: Length of the vector.

    Raises:
        ValueError: `dim` is below 1.

    Example:
        >>> keras_infnet.DenseFeature("image_embedding", "item", dim=128).dim
        128
    """

    name: str
    owner: Owner
    dim: int

    def __post_init__(self) -> None:
        _check_name_and_owner(self)
        _check_at_least(self, dim=1)


@dataclass(frozen=True)
class HistoryGroup:
    """Which events of a history a group holds; groups are masks, so they may overlap.

    Args:
        name: Name of the group, such as `"click"` or `"skip"`.
        any_of: Actions of which at least one is 1. Empty: no condition.
        none_of: Actions that are all known to be 0. Empty: no condition.

    Example:
        >>> keras_infnet.HistoryGroup("skip", none_of=("is_click",)).any_of
        ()
    """

    name: str
    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "any_of", _as_tuple(self, "any_of", self.any_of))
        object.__setattr__(self, "none_of", _as_tuple(self, "none_of", self.none_of))


@dataclass(frozen=True)
class History:
    """The history of one behaviour, or of all exposures with what the user did there.

    Args:
        name: Name of the history; requests have `{name}_{field}`, `{name}_{action}`, `{name}_ratio`
            and `{name}_age_seconds`, oldest event first.
        fields: Features that describe an event, in the order of the token; they use the candidate's
            tables. The first one identifies the event: where it is missing there is no event.
        max_length: Events kept, the newest.
        where: Label column: only events where it is 1 belong to the history. Defaults to every
            event.
        actions: Feedback columns (0, 1, or missing = unknown). The combination seen is the event's
            action.
        ratio: Columns (numerator, denominator), such as play time and duration.
        ages: Whether an event's age, in seconds before the request, is an input.
        groups: Masks over the history. Defaults to one group that holds every event.
        num_actions: Number of action ids. `FeatureEncoder.fit` sets it.

    Raises:
        ValueError: An argument is out of range, or a group names an action that `actions` lacks.

    Example:
        >>> liked = keras_infnet.History("liked", fields=("video_id",), where="is_like")
        >>> liked.max_length
        100
    """

    name: str
    fields: tuple[str, ...]
    max_length: int = 100
    where: str | None = None
    actions: tuple[str, ...] = ()
    ratio: tuple[str, str] | None = None
    ages: bool = True
    groups: tuple[HistoryGroup, ...] = ()
    num_actions: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", _as_tuple(self, "fields", self.fields))
        object.__setattr__(self, "actions", _as_tuple(self, "actions", self.actions))
        _check_name(self)
        for argument in ("fields", "actions"):
            _check_different(self, argument)
        if not isinstance(self.groups, (list, tuple)) or not all(
            isinstance(group, HistoryGroup) for group in self.groups
        ):
            raise _bad(self, "groups", self.groups, "a tuple of HistoryGroup")
        object.__setattr__(self, "groups", tuple(self.groups))
        _check_at_least(self, max_length=1)
        if not self.fields:
            raise _bad(self, "fields", self.fields, "at least one feature name")
        if self.ratio is not None:
            object.__setattr__(self, "ratio", _as_tuple(self, "ratio", self.ratio))
            if len(self.ratio) != 2:
                raise _bad(self, "ratio", self.ratio, "(numerator column, denominator column)")
        if len(self.actions) > 20 or len(self.groups) > 30:
            raise _bad(
                self, "actions", len(self.actions), "at most 20 actions and at most 30 groups"
            )
        for group in self.groups:
            unknown = set(group.any_of + group.none_of) - set(self.actions)
            if unknown:
                raise _bad(
                    self, f"group `{group.name}`", sorted(unknown), f"actions of {self.actions}"
                )

    @property
    def list_columns(self) -> tuple[str, ...]:
        """Columns of a row that holds this history as lists: fields, actions, ratio, ages."""
        further = [("ratio", self.ratio), ("age_seconds", self.ages)]
        parts = [*self.fields, *self.actions, *(part for part, there in further if there)]
        return tuple(f"{self.name}_{part}" for part in parts)


@dataclass(frozen=True)
class Task:
    """One probability (or value) to predict.

    Args:
        name: Name of the model's output.
        label: Label column. Defaults to `name`.
        kind: `"binary"` (labels 0 and 1, cross entropy) or `"regression"` (squared error).
        loss_weight: Weight of the task in the loss.
        observed_when: Column of another label: this one counts only where that one is 1. Loss,
            metrics and the data check follow.
        base_rate: Mean label of the training rows; heads start there. `FeatureEncoder.fit` sets it.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> keras_infnet.BinaryTask("buy", observed_when="click").label
        'buy'
    """

    name: str
    label: str | None = None
    kind: Literal["binary", "regression"] = "binary"
    loss_weight: float = 1.0
    observed_when: str | None = None
    base_rate: float | None = None

    def __post_init__(self) -> None:
        _check_name(self)
        if "/" in self.name:
            raise _bad(self, "name", self.name, "a name without `/`: layers are named after it")
        if self.label is None:
            object.__setattr__(self, "label", self.name)
        for argument in ("label", "observed_when"):
            column = getattr(self, argument)
            if column is not None and not isinstance(column, str):
                raise _bad(self, argument, column, "a column name")
        if self.kind not in ("binary", "regression"):
            raise _bad(self, "kind", self.kind, '"binary" or "regression"')
        is_number = isinstance(self.loss_weight, Real)
        if not (is_number and math.isfinite(self.loss_weight) and self.loss_weight >= 0):
            raise _bad(self, "loss_weight", self.loss_weight, "0 or more")


Feature = CategoricalFeature | NumericFeature | DenseFeature


def _bad(part: object, argument: str, found: object, expected: str) -> ValueError:
    kind = type(part).__name__
    return ValueError(
        f"{kind} `{part.name}`: {argument} is {found!r}; expected {expected}."  # type: ignore[attr-defined]
    )


def _check_name(part: Any) -> None:
    if not isinstance(part.name, str) or not part.name:
        raise ValueError(f"{type(part).__name__}: name is {part.name!r}; expected a name.")


def _check_different(part: Any, argument: str) -> None:
    names = getattr(part, argument)
    twice = sorted({name for name in names if names.count(name) > 1}, key=str)
    if twice:
        raise _bad(part, argument, names, f"each name once, not {', '.join(map(str, twice))} twice")


def _check_name_and_owner(part: Feature) -> None:
    _check_name(part)
    if part.owner not in OWNERS:
        raise _bad(part, "owner", part.owner, f"one of {OWNERS}")


def _check_at_least(part: object, **least: int) -> None:
    for argument, value in least.items():
        found = getattr(part, argument)
        if not isinstance(found, int) or isinstance(found, bool) or found < value:
            raise _bad(part, argument, found, f"an integer of {value} or more")


def _as_tuple(part: object, argument: str, value: object) -> tuple:
    if isinstance(value, str):
        raise _bad(part, argument, value, "a tuple of names, not one string")
    return tuple(value)  # type: ignore[arg-type]
