"""RelativeFeature: how a number of a row stands among those of its list."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from keras_infnet._base.checks import bad
from keras_infnet.schema.canonical import column
from keras_infnet.schema.feature import Feature
from keras_infnet.schema.numeric import NumericFeature


@dataclass(frozen=True)
class RelativeFeature(NumericFeature):
    """A number's rank in its list, or its difference to the list's mean, encoded as a number.

    `rank = (rows below + (rows equal - 1) / 2) / (rows - 1)`, from 0 for the lowest to 1 for the
    highest, 1/2 alone; `difference = x - mean x`. Rows whose `x` is missing count in neither, and
    have no number themselves, like rows in no list (our choice).

    `RankingData` computes it from whole lists of the schema's `list_key`, before rows are split,
    and of other frames from the rows that are given; a column of its name that is there is used as
    it is, as all else that encodes rows needs it. Of a number of the past, such as a `RateFeature`,
    lists must lie in one part each, and `freeze_at` holds for it too. In requests, `rank` and
    `rank_top_k` compute it from the candidates that are asked for together; `serving_default`,
    whose rows are of no known list, takes it by its name.

    Args:
        name: Name of the feature, and in requests.
        owner: `"item"`: what is ranked differs in items alone.
        buckets: As in `NumericFeature`.
        bucketing: As in `NumericFeature`.
        allow_missing: As in `NumericFeature`. Defaults to `True`.
        table: As in `NumericFeature`.
        encoding: As in `NumericFeature`.
        token: As in `NumericFeature`.
        of: Name of a numeric feature of the item, `x`, which may be one of the past.
        relative: `"rank"` or `"difference"`.

    Raises:
        ValueError: An argument is out of range; in a schema, `of` is no numeric feature of the
            item, or there is no `list_key`.

    Example:
        >>> keras_infnet.RelativeFeature("price_rank", "item", of="price").relative
        'rank'
    """

    of: str = ""
    relative: Literal["rank", "difference"] = "rank"
    allow_missing: bool = True

    of_list: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.relative not in ("rank", "difference"):
            raise bad(self, "relative", self.relative, '"rank" or "difference"')
        if self.owner != "item":
            raise bad(self, "owner", self.owner, '"item", whose rows a list has several of')

    @property
    def label(self) -> str:
        return f"Feature `{self.name}`, which RankingData computes of `{self.of}` and lists"

    @property
    def log_columns(self) -> tuple[str, ...]:
        return ()

    def check_in(self, schema: Any) -> None:
        features: dict[str, Feature] = {f.name: f for f in schema.features}
        found = features.get(self.of)
        if not isinstance(found, NumericFeature) or found.of_list or found.owner != "item":
            known = [n for n, f in features.items() if isinstance(f, NumericFeature)]
            shown = ", ".join(f"`{n}`" for n in known if n != self.name) or "none"
            raise ValueError(
                f"Feature `{self.name}`: of is {self.of!r}; expected a NumericFeature of the item "
                f"(numeric features: {shown})."
            )
        if schema.list_key is None:
            raise ValueError(
                f"Feature `{self.name}` is relative to a list, and the schema knows none. Say "
                'which column tells lists apart: `FeatureSchema(..., list_key="impression_id")`.'
            )

    def of_frame(self, frame: pd.DataFrame, number: NumericFeature, lists: np.ndarray) -> Any:
        """Float32 `(rows,)`, NaN where there is none.

        Args:
            frame: Rows of whole lists.
            number: The feature `of`.
            lists: A code of each row's list, -1 for none.
        """
        values = number.values(column(frame, self.of, self.label), None, number.label)
        return self.of_lists(np.asarray(values), lists)

    def of_lists(self, values: np.ndarray, lists: np.ndarray) -> np.ndarray:
        """Float32 `(rows,)` of float32 values and codes of lists."""
        known = np.flatnonzero(np.isfinite(values) & (lists >= 0))
        result = np.full(len(values), np.nan, "float32")
        if not len(known):
            return result
        order = known[np.lexsort((values[known], lists[known]))]
        x, codes = values[order].astype("float64"), lists[order]
        firsts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
        sizes = np.diff(np.append(firsts, len(codes)))
        if self.relative == "difference":
            result[order] = x - np.repeat(np.add.reduceat(x, firsts) / sizes, sizes)
            return result
        starts = np.append(True, x[1:] != x[:-1])
        starts[firsts] = True
        ties = np.flatnonzero(starts)
        equal = np.diff(np.append(ties, len(x)))
        below = np.repeat(ties, equal) - np.repeat(firsts, sizes)
        others = np.repeat(sizes, sizes) - 1
        place = (below + (np.repeat(equal, equal) - 1) / 2) / np.maximum(others, 1)
        result[order] = np.where(others > 0, place, 0.5)
        return result

    def of_candidates(self, tf: Any, raw: Any) -> Any:
        """`of_lists` as a graph, of a request's numbers `(candidates,)`, which are one list."""
        known = tf.math.is_finite(raw)
        x = tf.sort(tf.cast(tf.boolean_mask(raw, known), "float64"))
        values, number = tf.cast(raw, "float64"), tf.cast(tf.size(x), "float64")
        if self.relative == "difference":
            result = values - tf.reduce_sum(x) / tf.maximum(number, 1)
        else:
            below, upto = (
                tf.cast(tf.searchsorted(x, values, side), "float64") for side in ("left", "right")
            )
            place = (below + (upto - below - 1) / 2) / tf.maximum(number - 1, 1)
            result = tf.where(number > 1, place, tf.constant(0.5, "float64"))
        return tf.where(known, tf.cast(result, "float32"), np.float32(np.nan))
