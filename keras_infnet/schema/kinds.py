"""Kinds of columns, quantities and tasks: a class each, which a saved schema says by its name."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self


class Kind:
    """Base of a family of frozen dataclasses, whose kinds are known by their names."""

    # Arguments of a kind that schemas which were saved before do not say: their fingerprints stay.
    unsaid: ClassVar[dict[str, Any]] = {}
    kinds: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if Kind in cls.__bases__:
            cls.kinds = {}
        else:
            cls.kinds[cls.__name__] = cls

    def to_dict(self) -> dict[str, Any]:
        """Kind and arguments, as JSON values."""
        this: Any = self
        plain = {"type": type(self).__name__, **dataclasses.asdict(this)}
        return {k: v for k, v in plain.items() if k not in self.unsaid or v != self.unsaid[k]}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        kind = cls.kinds[plain["type"]]
        return kind(**{**kind.unsaid, **{k: v for k, v in plain.items() if k != "type"}})
