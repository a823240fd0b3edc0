"""Limits: which values of later rows get an id, and which of the known ones keep theirs."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Limits:
    """Which values get an id of a vocabulary that is extended, and keep it.

    Args:
        min_frequency: Unknown values in fewer of the later rows stay unknown.
        seen_since: Values that were seen last before this time, in milliseconds, lose their id.
            Defaults to `None`: none does.
        max_ids: Most values; beyond, those seen longest ago have no id, of those seen at the same
            time the ones that are in fewer of the later rows. Defaults to `None`: any number.
    """

    min_frequency: int = 1
    seen_since: int | None = None
    max_ids: int | None = None

    @property
    def frees(self) -> bool:
        """Whether ids may be freed, for which the times of all values must be known."""
        return self.seen_since is not None or self.max_ids is not None

    def chosen(self, last: np.ndarray | None, counts: np.ndarray) -> np.ndarray:
        """Which values have an id, bool `(values,)`.

        Args:
            last: int64 `(values,)`, milliseconds: when each was seen last; known values first, in
                the order of their ids, then new ones, most frequent first. `None`: unknown.
            counts: How many of the later rows each is in.
        """
        chosen = np.ones(len(counts), bool)
        if not self.frees:
            return chosen
        assert last is not None
        if self.seen_since is not None:
            chosen &= last >= self.seen_since
        if self.max_ids is not None:
            # Newest first: `~last` falls where `last` grows, the least int64 included.
            order = np.lexsort((-counts, ~last, ~chosen))
            chosen[order[self.max_ids :]] = False
        return chosen
