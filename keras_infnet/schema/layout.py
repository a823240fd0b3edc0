"""Layout: what an encoder has learned of a schema: sizes of tables, dtypes and base rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Layout:
    """Sizes, dtypes and base rates that training rows have.

    `FeatureEncoder.fit` makes it; `encoder.schema.layout` is it.

    Args:
        sizes: Number of ids of each embedding table, by the name of its feature, and of what is
            learned of events, by `{history}/#{quantity}`, such as `seen/#action`.
        dtypes: `"string"` or `"int"` of each table of identifiers.
        base_rates: Mean label of the training rows for each task, a number for each of its units;
            heads start there.
        vocabulary: Digest of the encoder's vocabularies and edges; `""` without an encoder.
        action_rates: Rate of each action of a feature of the past in the training rows.
        parent: Fingerprint of the schema that `FeatureEncoder.extend` extended; `""`: it is none
            that was extended.
        renewed: By table, increasing ids whose value is another than in the parent, or none any
            more: `RankingModel.grow` resets their rows.

    Example:
        >>> keras_infnet.data.Layout({"video_id": 10}).sizes
        {'video_id': 10}
    """

    sizes: Mapping[str, int]
    dtypes: Mapping[str, str] = field(default_factory=dict[str, str])
    base_rates: Mapping[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])
    vocabulary: str = ""
    action_rates: Mapping[str, float] = field(default_factory=dict[str, float])
    parent: str = ""
    renewed: Mapping[str, Sequence[int]] = field(default_factory=dict[str, Sequence[int]])

    def __hash__(self) -> int:
        return hash((self.vocabulary, *self.sizes.items()))

    def to_dict(self) -> dict[str, Any]:
        """The layout as JSON values."""
        plain: dict[str, Any] = {
            "sizes": dict(self.sizes),
            "dtypes": dict(self.dtypes),
            "base_rates": {task: list(rate) for task, rate in self.base_rates.items()},
            "vocabulary": self.vocabulary,
        }
        later: dict[str, Any] = {
            "action_rates": dict(self.action_rates),
            "parent": self.parent,
            "renewed": {table: list(ids) for table, ids in self.renewed.items()},
        }
        # Schemas that were saved before keep their fingerprints.
        return plain | {name: value for name, value in later.items() if value}
