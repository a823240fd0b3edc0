"""Translation: ids that one encoder has made as those of another that knows other values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.schema.feature import PACKED
from keras_infnet.schema.schema import FeatureSchema


@dataclass(frozen=True)
class Translation:
    """From the packed inputs of one encoder to those of another of the same columns.

    Attributes:
        tables: By packed input, columns with the new id of each old one; others stay.
    """

    tables: Mapping[str, Sequence[tuple[slice, np.ndarray]]]

    @classmethod
    def of(cls, before: FeatureEncoder, after: FeatureEncoder, what: str) -> "Translation":
        """From the ids of `before`, which knows every value, to those of `after`.

        Raises:
            ValueError: The schemas differ in more than what was learned, or edges, hashes, dtypes
                or rates of actions differ.
        """
        schema, other = before.schema, after.schema
        if schema.with_layout(None) != other.with_layout(None):
            raise ValueError(
                f"{what}: it was prepared with other features, histories or tasks than the "
                "encoder's. Use an encoder of the same schema, or prepare it again."
            )
        mine, its = schema.require_fitted(), other.require_fitted()
        for name in ("dtypes", "action_rates"):
            if getattr(mine, name) != getattr(its, name):
                raise ValueError(
                    f"{what}: the encoder has other {name} ({getattr(its, name)}; expected "
                    f"{getattr(mine, name)}). Use one that was extended, or prepare it again."
                )
        programs: dict[str, Any] = dict(after.programs)
        found: dict[str, np.ndarray] = {}
        for name, program in before.programs.items():
            ids = program.translation(programs[name], f"{what}, `{name}`")
            if ids is not None:
                found[name] = ids
        return cls(_of_columns(schema, found))

    def apply(self, name: str, ids: np.ndarray) -> np.ndarray:
        """The ids of a packed input `(..., columns)`, translated."""
        places = self.tables.get(name, ())
        if not places:
            return ids
        ids = ids.copy()
        for columns, table in places:
            ids[..., columns] = table[ids[..., columns]]
        return ids


def _of_columns(
    schema: FeatureSchema, ids: Mapping[str, np.ndarray]
) -> dict[str, list[tuple[slice, np.ndarray]]]:
    """New ids by packed input, from those by program."""
    found: dict[str, list[tuple[slice, np.ndarray]]] = {}
    inputs = {name: schema.packed_columns(name) for name in PACKED if name in schema.id_sizes()}
    for name, columns in inputs.items():
        tables = [(part, ids.get(schema.table_of(feature))) for feature, part in columns.items()]
        found[name] = [(part, table) for part, table in tables if table is not None]
    for history in schema.histories:
        columns = schema.history_columns(history.name)
        programs = {field: schema.table_of(field) for field in history.fields}
        programs |= {f"#{q.key}": f"{history.name}/#{q.key}" for q in history.of_event}
        tables = [(columns[column], ids.get(program)) for column, program in programs.items()]
        found[history.name] = [(part, table) for part, table in tables if table is not None]
    return {name: parts for name, parts in found.items() if parts}
