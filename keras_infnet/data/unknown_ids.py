"""Unknown ids: training rows in which some known ids count as unknown, at random."""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from keras_infnet._base.checks import bad
from keras_infnet.schema.schema import FeatureSchema

# Of SplitMix64.
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_BITS = 53


@dataclass(frozen=True)
class UnknownIds:
    """Replaces ids of some tables by that of "unknown", so that its row of the table is trained.

    Whether an id is replaced in a row is a function of seed, epoch, row and id alone (SplitMix64):
    candidate and history of a row agree, all backends do the same, and training that goes on sees
    what it would have seen.

    Args:
        schema: A fitted schema.
        rates: Share of rows in which an id is replaced, above 0 and below 1, by table.
        seed: Seed.
    """

    schema: FeatureSchema
    rates: Mapping[str, float]
    seed: int

    @classmethod
    def of(
        cls,
        schema: FeatureSchema,
        rates: Mapping[str, float] | None,
        shuffle: bool,
        seed: int,
        who: str,
    ) -> "UnknownIds | None":
        """What replaces ids; `None` where nothing does.

        Args:
            schema: A fitted schema.
            rates: Rates by feature, as given.
            shuffle: Whether rows are shuffled.
            seed: Seed of the order of rows.
            who: Who asks, for error messages.

        Raises:
            ValueError: As `checked_rates`, or rows are not shuffled.
        """
        by_table = checked_rates(schema, rates, who)
        if not by_table:
            return None
        if not shuffle:
            raise ValueError(
                f"{who}: `unknown_rate` is for training rows, which are shuffled; pass "
                "shuffle=True, or leave it out."
            )
        return cls(schema, by_table, seed)

    def applied(self, x: Mapping[str, Any], rows: Any, epochs: Any) -> dict[str, Any]:
        """The inputs of a batch, some ids replaced.

        Args:
            x: Tensors by packed input, `(batch, ..., columns)`.
            rows: int64 `(batch,)`, the number of each row.
            epochs: int64 `(batch,)`, a number that each epoch has another of.
        """
        import tensorflow as tf

        keys = _mixed(
            tf, _mixed(tf, tf.cast(epochs, "uint64") + _one(tf, self.seed)) + _whole(tf, rows)
        )
        replaced = dict(x)
        for name, places in self._places().items():
            parts: list[Any] = []
            end = 0
            for columns, table in places:
                parts.append(x[name][..., end : columns.start])
                parts.append(self._replaced(tf, table, x[name][..., columns], keys))
                end = columns.stop
            replaced[name] = tf.concat([*parts, x[name][..., end:]], axis=-1)
        return replaced

    def _places(self) -> dict[str, list[tuple[slice, str]]]:
        """Columns of ids that may be replaced, with their tables, by packed input."""
        columns = {name: self.schema.packed_columns(name) for name in ("categorical", "bags")}
        columns |= {h.name: self.schema.field_columns(h.name) for h in self.schema.histories}
        places = {
            name: [(part, self.schema.table_of(feature)) for feature, part in of_input.items()]
            for name, of_input in columns.items()
        }
        chosen = {n: [p for p in parts if p[1] in self.rates] for n, parts in places.items()}
        return {name: parts for name, parts in chosen.items() if parts}

    def _replaced(self, tf: Any, table: str, ids: Any, keys: Any) -> Any:
        unknown = self.schema.feature(table).unknown_ids
        salt = sorted(self.rates).index(table)
        of_row = tf.reshape(_mixed(tf, keys + _one(tf, salt)), [-1, *[1] * (len(ids.shape) - 1)])
        drawn = _mixed(tf, of_row + _whole(tf, ids))
        is_chosen = tf.cast(_right(tf, drawn, 64 - _BITS), "int64") < int(
            self.rates[table] * 2**_BITS
        )
        if unknown == 1:
            instead = tf.ones_like(ids)
        else:
            which = tf.cast(_right(tf, _mixed(tf, drawn), 64 - _BITS), "int64") % unknown
            instead = 1 + tf.cast(which, ids.dtype)
        return tf.where(is_chosen & (ids > unknown), instead, ids)


def checked_rates(schema: FeatureSchema, rates: Any, who: str) -> dict[str, float]:
    """Rates above 0, by table.

    Raises:
        ValueError: A rate is out of range, or two are of one table; a feature is not there, or has
            no id for "unknown".
    """
    given: dict[str, Any] = {}
    if issubclass(type(rates), Mapping):
        given = dict(rates)
    elif rates is not None:
        example = "a dict by feature, such as {'video_id': 0.05}"
        raise bad(who, "unknown_rate", rates, example)
    by_table: dict[str, float] = {}
    for name, rate in given.items():
        feature = schema.feature(name)
        is_number = issubclass(type(rate), Real) and not issubclass(type(rate), bool)
        if not is_number or not 0 <= rate < 1:
            raise bad(who, f"unknown_rate of `{name}`", rate, "a share from 0 to below 1")
        table = schema.table_of(feature.name)
        if schema.feature(table).unknown_ids < 1:
            raise ValueError(
                f'{who}: unknown_rate names `{name}`, whose values have no id for "unknown"; '
                "expected a categorical feature with `oov_buckets` of 1 or more and no "
                "`hash_buckets`."
            )
        if table in by_table:
            raise ValueError(
                f"{who}: unknown_rate has two rates for the table `{table}`; give one, which all "
                "its features have."
            )
        by_table[table] = float(rate)
    return {table: rate for table, rate in by_table.items() if rate}


def _whole(tf: Any, numbers: Any) -> Any:
    """Numbers as multiples of an odd constant."""
    return tf.cast(numbers, "uint64") * _one(tf, _STEP)


def _mixed(tf: Any, bits: Any) -> Any:
    """The last steps of SplitMix64."""
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        bits = tf.bitwise.bitwise_xor(bits, _right(tf, bits, shift)) * _one(tf, factor)
    return tf.bitwise.bitwise_xor(bits, _right(tf, bits, 31))


def _right(tf: Any, bits: Any, shift: int) -> Any:
    return tf.bitwise.right_shift(bits, _one(tf, shift))


def _one(tf: Any, number: int) -> Any:
    return tf.constant(number, "uint64")
