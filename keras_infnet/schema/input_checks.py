"""Checks of what a model is given: batches of another encoder, ids beyond a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_infnet._backend.batch_dataset import schemas_of
from keras_infnet.schema.feature import PACKED
from keras_infnet.schema.schema import FeatureSchema


def check_inputs(who: str, schema: FeatureSchema, data: Any) -> None:
    """Raises a ValueError for data that another encoder made; nothing is read but arrays, once.

    Batches say whose they are. Of arrays, ids must lie in the tables of the model. Datasets of
    others are not read.

    Args:
        who: Who asks, for messages.
        schema: The model's schema.
        data: What `fit`, `evaluate` or `predict` is given: a dataset, arrays by name, or a tuple
            that begins with them.
    """
    for found in schemas_of(data):
        _check_schema(who, schema, found)
    x: Any = data[0] if issubclass(type(data), tuple) and data else data
    if issubclass(type(x), Mapping):
        for name, sizes in _sizes(schema).items():
            if isinstance(x.get(name), np.ndarray):
                _check_ids(who, name, x[name], sizes)


def _check_schema(who: str, schema: FeatureSchema, found: FeatureSchema) -> None:
    if found is schema or _encoding(found, schema) == _encoding(schema, schema):
        return
    tables = schema.table_rows()
    differ = {n: r for n, r in found.table_rows().items() if tables.get(n) != r}
    shown = ", ".join(f"`{n}` {r} rows, here {tables.get(n, 'none')}" for n, r in differ.items())
    raise ValueError(
        f"{who}: the batches are of another encoder than the model (fingerprint "
        f"{found.fingerprint}; expected {schema.fingerprint}"
        f"{f'; tables there: {shown}' if shown else ''}): their ids mean other values. Make them "
        "with the encoder whose `schema` the model was built from, or build the model from the "
        "`schema` of these data."
    )


def _encoding(schema: FeatureSchema, of_model: FeatureSchema) -> tuple[Any, ...]:
    """All that ids depend on; tasks may differ. A model from `with_sizes` knows no vocabulary."""
    layout, known = schema.require_fitted(), of_model.require_fitted()
    learned = (layout.dtypes, layout.vocabulary) if known.vocabulary else ()
    return (schema.features, schema.histories, schema.table_rows(), *learned)


def _sizes(schema: FeatureSchema) -> dict[str, dict[str, tuple[slice, int]]]:
    """For each packed input of ids, what is in which columns, and how many ids there are."""
    sizes: dict[str, dict[str, tuple[slice, int]]] = {}
    for name, ids in schema.id_sizes().items():
        if name in PACKED:
            columns, shown = schema.packed_columns(name), "feature `{}`"
        else:
            columns, shown = schema.history_columns(name), f"`{{}}` of history `{name}`"
        sizes[name] = {shown.format(c.lstrip("#")): (columns[c], n) for c, n in ids.items()}
    for h in schema.histories:
        for q in h.of_row:
            whole = (slice(None), schema.quantity_size(h.name, q))
            sizes[f"{h.name}_{q.key}"] = {f"`{q.key}` of history `{h.name}`": whole}
    return sizes


def _check_ids(
    who: str, name: str, ids: np.ndarray, sizes: Mapping[str, tuple[slice, int]]
) -> None:
    for what, (columns, size) in sizes.items():
        part = ids[..., columns]
        if not part.size:
            continue
        least, most = part.min(), part.max()
        if least < 0 or most >= size:
            raise ValueError(
                f"{who}: input `{name}` holds id {least if least < 0 else most} of {what}; expected"
                f" 0 to {size - 1}. Encode the rows with the encoder whose `schema` the model was "
                "built from."
            )
