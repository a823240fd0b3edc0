"""History: the past events of a user, and the groups that they belong to."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_infnet._base.checks import (
    RENAME,
    as_names,
    bad,
    check_at_least,
    check_different,
    check_integer,
    check_name,
    check_word,
)
from keras_infnet.schema.age_within import AgeWithin
from keras_infnet.schema.duration import milliseconds
from keras_infnet.schema.event_quantity import Actions, Age, EventQuantity, Groups

_MOST_ACTIONS, _MOST_GROUPS = 20, 30


@dataclass(frozen=True)
class HistoryGroup:
    """Which events of a history a group holds; groups are masks, so they may overlap.

    An event is in the group if it fulfils all conditions.

    Args:
        name: Name of the group, such as `"click"` or `"skip"`.
        any_of: Actions of which at least one is 1. Empty: no condition.
        none_of: Actions that are all known to be 0. Empty: no condition.
        within: Age in whole seconds below a duration, such as `"1h"` or `"7d"`, counted at the
            row's own time, also where the history is frozen. An event of exactly that age, or of
            unknown age, is not in the group. Defaults to any age.
        last: Place among the newest `last` events of the history, whichever of them fulfil the
            other conditions: `any_of=("is_click",), last=20` are the clicks among the newest 20
            events. Defaults to any place.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> keras_infnet.HistoryGroup("skip", none_of=("is_click",)).any_of
        ()
        >>> keras_infnet.HistoryGroup("hour", within="1h").seconds
        3600
    """

    name: str
    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    within: str | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        check_name(self)
        object.__setattr__(self, "any_of", as_names(self, "any_of", self.any_of))
        object.__setattr__(self, "none_of", as_names(self, "none_of", self.none_of))
        if self.within is not None:
            milliseconds(self, "within", self.within)
        if self.last is not None:
            check_integer(self, "last", self.last, 1)

    @property
    def seconds(self) -> int | None:
        """Age in seconds below which events are in the group; `None`: any age."""
        if self.within is None:
            return None
        return milliseconds(self, "within", self.within) // 1000

    def to_dict(self) -> dict[str, Any]:
        """Arguments as JSON values."""
        plain = dataclasses.asdict(self)
        # Schemas that were saved before keep their fingerprints.
        return {k: v for k, v in plain.items() if v is not None}


@dataclass(frozen=True)
class History:
    """The history of one behaviour, or of all exposures with what the user did there.

    Args:
        name: Name of the history; requests have `{name}_{field}`, `{name}_{action}` and the values
            of its quantities, such as `{name}_age_seconds`, oldest event first.
        fields: Features that describe an event, in the order of the token; they use the candidate's
            tables. The first one identifies the event: where it is missing there is no event.
        max_length: Events kept, the newest.
        where: Label column: only events where it is 1 belong to the history. Defaults to every
            event.
        actions: Feedback columns (0, 1, or missing = unknown). The combination seen is the event's
            action.
        quantities: What else is known of an event. Defaults to its age alone.
        groups: Masks over the history. Defaults to one group that holds every event.

    Raises:
        ValueError: An argument is out of range, or a group names an action that `actions` lacks,
            goes by ages that `quantities` lack, or by more places than `max_length`.

    Example:
        >>> liked = keras_infnet.History("liked", fields=["video_id"], where="is_like")
        >>> liked.max_length
        100
    """

    name: str
    fields: tuple[str, ...]
    max_length: int = 100
    where: str | None = None
    actions: tuple[str, ...] = ()
    quantities: tuple[EventQuantity, ...] = (Age(),)
    groups: tuple[HistoryGroup, ...] = ()

    def __post_init__(self) -> None:
        for argument in ("fields", "actions"):
            object.__setattr__(self, argument, as_names(self, argument, getattr(self, argument)))
        check_name(self)
        check_word(self, "name", self.name, "Call it")
        for argument in ("fields", "actions"):
            check_different(self, argument)
        for action in self.actions:
            check_word(self, "an input", f"{self.name}_{action}", RENAME)
        for argument, kind in (("quantities", EventQuantity), ("groups", HistoryGroup)):
            found: Any = getattr(self, argument)
            is_list = issubclass(type(found), (list, tuple))
            parts: list[Any] = list(found) if is_list else [found]
            if not all(isinstance(part, kind) for part in parts):
                raise bad(self, argument, found, f"a tuple of {kind.__name__}")
            object.__setattr__(self, argument, tuple(parts))
        check_at_least(self, max_length=1)
        if not self.fields:
            raise bad(self, "fields", self.fields, "at least one feature name")
        if len(self.actions) > _MOST_ACTIONS or len(self.groups) > _MOST_GROUPS:
            expected = f"at most {_MOST_ACTIONS} actions and at most {_MOST_GROUPS} groups"
            raise bad(self, "actions", len(self.actions), expected)
        for group in self.groups:
            unknown = set(group.any_of + group.none_of) - set(self.actions)
            if unknown:
                expected = f"actions of {self.actions}"
                raise bad(self, f"group `{group.name}`", sorted(unknown), expected)
            if group.within is not None and Age() not in self.quantities:
                expected = f"Age() among them: group `{group.name}` goes by it (within)"
                raise bad(self, "quantities", self.quantities, expected)
            if group.last is not None and group.last > self.max_length:
                expected = f"at most max_length, {self.max_length}"
                raise bad(self, f"group `{group.name}`: last", group.last, expected)
        keys = [quantity.key for quantity in self.all_quantities]
        if len(set(keys)) < len(keys):
            raise bad(self, "quantities", keys, "each kind once")

    @property
    def label(self) -> str:
        """What errors call it."""
        return f"History `{self.name}`"

    @property
    def of_event(self) -> tuple[EventQuantity, ...]:
        """Quantities of the event alone, as they follow the fields in a packed history."""
        parts = [Actions(self.actions)] if self.actions else []
        parts += [quantity for quantity in self.quantities if not quantity.of_row]
        return (*parts, self._group_bits()) if self.groups else tuple(parts)

    @property
    def of_row(self) -> tuple[EventQuantity, ...]:
        """Quantities that depend on the row too, each a packed input of its own."""
        of_row = tuple(quantity for quantity in self.quantities if quantity.of_row)
        return of_row if self.age_within is None else (*of_row, self.age_within)

    @property
    def age_within(self) -> AgeWithin | None:
        """By which of the groups' limits an event is younger; `None`: no group has one."""
        limits = {group.seconds for group in self.groups if group.seconds is not None}
        return AgeWithin(tuple(sorted(limits))) if limits else None

    @property
    def all_quantities(self) -> tuple[EventQuantity, ...]:
        """All that is known of an event besides its fields."""
        return self.of_event + self.of_row

    def quantity(self, key: str) -> EventQuantity | None:
        """What is known of events by this name, if it is and may be embedded."""
        return next((q for q in self.all_quantities if q.embedded and q.key == key), None)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What follows `{name}_` in the names of list columns and of inputs of a request."""
        return (*self.fields, *self.read_by)

    @property
    def read_by(self) -> dict[str, EventQuantity]:
        """The raw values of events besides the fields, each with the first quantity of it."""
        found: dict[str, EventQuantity] = {}
        for quantity in self.all_quantities:
            for suffix in quantity.raw_inputs():
                found.setdefault(suffix, quantity)
        return found

    @property
    def list_columns(self) -> tuple[str, ...]:
        """Columns of a row that holds this history as lists."""
        return tuple(f"{self.name}_{suffix}" for suffix in self.suffixes)

    @property
    def log_columns(self) -> tuple[str, ...]:
        """Columns of the log that events are made of; some frames of events may lack some."""
        names = [*self.fields, *([self.where] if self.where else [])]
        for quantity in self.all_quantities:
            names += quantity.log_columns
        return tuple(dict.fromkeys(names))

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the groups; one group named like the history if it declares none."""
        return tuple(group.name for group in self.groups) or (self.name,)

    def of_order(self, users: Any, times: Any) -> dict[str, Any]:
        """Values of the quantities that follow from the order of events; see `EventQuantity`."""
        events: dict[str, Any] = {}
        for quantity in self.of_event:
            events |= quantity.of_order(users, times)
        return events

    def to_dict(self) -> dict[str, Any]:
        """Arguments as JSON values."""
        return {
            **dataclasses.asdict(self),
            "quantities": [quantity.to_dict() for quantity in self.quantities],
            "groups": [group.to_dict() for group in self.groups],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "History":
        """The history that `to_dict` wrote."""
        parts: dict[str, Any] = {
            "quantities": [EventQuantity.from_dict(q) for q in plain["quantities"]],
            "groups": [HistoryGroup(**g) for g in plain["groups"]],
        }
        return cls(**{**plain, **parts})

    def _group_bits(self) -> Groups:
        def places(names: tuple[str, ...]) -> tuple[int, ...]:
            return tuple(self.actions.index(name) for name in names)

        return Groups(
            self.actions,
            tuple(places(group.any_of) for group in self.groups),
            tuple(places(group.none_of) for group in self.groups),
            self.fields[0],
        )
