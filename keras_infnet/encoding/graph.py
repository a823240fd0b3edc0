"""The encoder as a TensorFlow graph: raw requests to packed inputs, checked by name."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from keras_infnet.schema.feature import OWNERS, Owner
from keras_infnet.schema.history import History
from keras_infnet.schema.number_forms import numbers_as_ids_graph
from keras_infnet.schema.schema import FeatureSchema


def make_graph_encoder(encoder: Any) -> Any:
    """A `tf.Module`: `module(raw)` encodes tensors named as `schema.raw_inputs()`.

    Request histories may be padded anywhere, with what means "missing" in the history's first
    field; their events come oldest first. Unknown values are served, not refused: a negative or
    unheard-of id as out of vocabulary, NaN as missing, a dense value that is no number as 0.
    Tensors whose batch is known to be 1 stand for all rows of those they are packed with.

    `module(raw, owners)` encodes what belongs to `owners` alone, histories with the user. `given`
    are the user's packed columns, from such a call, beside which they are packed. With `trim`
    histories have as many positions as the most events of a row, at least 1.
    """
    import tensorflow as tf

    class GraphEncoder(tf.Module):
        """The encoder's programs as functions, and the look-up tables that they need."""

        def __init__(self) -> None:
            tf.Module.__init__(self, name="feature_encoder")
            self.schema = encoder.schema
            self.resources: list[Any] = []
            # Functions, which TensorFlow need not track: what they hold is in `resources`.
            self._lookups = _Functions(
                {
                    table.name: encoder.programs[table.name].graph(tf, self.resources)
                    for table in self.schema.table_owners()
                }
            )
            self._quantities = _Functions(
                {
                    (h.name, q.key): q.graph(
                        tf, encoder.programs.get(f"{h.name}/#{q.key}"), self.resources
                    )
                    for h in self.schema.histories
                    for q in h.all_quantities
                }
            )

        def __call__(
            self,
            raw: dict[str, Any],
            owners: Collection[Owner] = OWNERS,
            given: Mapping[str, Any] | None = None,
            trim: bool = False,
        ) -> dict[str, Any]:
            raw = _checked_request(tf, self.schema, raw, owners)
            lookups, quantities = self._lookups.functions, self._quantities.functions
            columns_of = _columns_of_user(self.schema, given or {})
            parts: dict[str, list[Any]] = {}
            for feature in self.schema.packing_order:
                lookup = lookups.get(self.schema.table_of(feature.name))
                if feature.owner in owners:
                    columns_of[feature.name] = feature.encode_graph(tf, lookup, raw)
                for name, columns in columns_of.get(feature.name, {}).items():
                    parts.setdefault(name, []).append(columns)
            packed = {
                name: tf.concat(_with_all_rows(tf, parts[name]), axis=1)
                for name in self.schema.packed_inputs()
                if name in parts
            }
            for history in self.schema.histories if "user" in owners else ():
                packed |= _history(tf, self.schema, history, lookups, quantities, raw, trim)
            return packed

    return GraphEncoder()


class _Functions:
    """Functions by name, out of sight of `tf.Module`, which would wrap a dict of them."""

    def __init__(self, functions: dict[Any, Any]) -> None:
        self.functions = functions


def _history(
    tf: Any,
    schema: FeatureSchema,
    history: History,
    lookups: Mapping[str, Any],
    quantities: Mapping[tuple[str, str], Any],
    request: Mapping[str, Any],
    trim: bool,
) -> dict[str, Any]:
    """Packed history, and the quantities that depend on the row."""
    raw = {suffix: request[f"{history.name}_{suffix}"] for suffix in history.suffixes}
    columns: list[Any] = []
    for field in history.fields:
        lookup = lookups[schema.table_of(field)]
        columns.append(schema.feature(field).pack_graph(tf, lookup, raw[field]))
    for quantity in history.of_event:
        columns.append(quantities[history.name, quantity.key](raw)[..., None])
    for feature in schema.numeric_fields(history):
        values = raw[feature.name]
        numbers = feature.pack_numbers_graph(lookups[schema.table_of(feature.name)], values)
        columns.append(numbers_as_ids_graph(tf, numbers, (values == values)[..., None]))
    for quantity in history.of_row:
        columns.append(quantities[history.name, quantity.key](raw)[..., None])
    packed = _newest(tf, tf.concat(columns, axis=-1), history.max_length, trim)
    width = packed.shape[-1] - len(history.of_row)
    of_row = {
        f"{history.name}_{quantity.key}": packed[..., width + i]
        for i, quantity in enumerate(history.of_row)
    }
    return {history.name: packed[..., :width] if of_row else packed, **of_row}


def _with_all_rows(tf: Any, parts: Sequence[Any]) -> list[Any]:
    """Those of batch 1 repeated, if others have more rows."""
    others = [part for part in parts if part.shape[0] != 1]
    if not others or len(others) == len(parts):
        return list(parts)
    rows = tf.shape(others[0])[0]
    return [tf.repeat(p, rows, axis=0) if p.shape[0] == 1 else p for p in parts]


def _columns_of_user(schema: FeatureSchema, packed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By feature of the user, its columns of packed inputs that hold those alone."""
    found: dict[str, dict[str, Any]] = {}
    for name, columns in packed.items():
        start = 0
        for feature, whole in schema.packed_columns(name).items():
            if schema.feature(feature).owner != "user":
                continue
            stop = start + whole.stop - whole.start
            found.setdefault(feature, {})[name] = columns[:, start:stop]
            start = stop
    return found


def _newest(tf: Any, columns: Any, longest: int, trim: bool) -> Any:
    """The newest events, padding moved to the left and set to 0: `(batch, length, columns)`."""
    there = tf.cast(columns[..., 0] != 0, "int32")
    columns *= there[..., None]
    length: Any = longest
    if trim:
        most = tf.reduce_max(tf.reduce_sum(there, axis=1))
        length = tf.clip_by_value(most, 1, longest)
    columns = tf.pad(columns, [[0, 0], [length, 0], [0, 0]])
    there = tf.pad(there, [[0, 0], [length, 0]])
    order = tf.argsort(there, axis=1, stable=True)[:, -length:]
    return tf.ensure_shape(
        tf.gather(columns, order, batch_dims=1),
        (None, None if trim else longest, columns.shape[-1]),
    )


def _checked_request(
    tf: Any, schema: FeatureSchema, raw: Mapping[str, Any], owners: Collection[Owner]
) -> dict[str, Any]:
    """The request, refused by the names of its inputs if they do not fit together.

    Running the tensors is an error unless each has its known dimensions, all have the same number
    of rows (those whose batch is known to be 1 may stand for all), all columns of a history the
    same number of events, and a bag and its weights the same width.
    """
    raw = {name: tf.ensure_shape(values, values.shape) for name, values in raw.items()}
    one_each = [f.name for f in schema.features if f.owner in owners]
    one_each += [h.list_columns[0] for h in schema.histories if "user" in owners]
    many = [name for name in one_each if raw[name].shape[0] != 1]
    checks = [_check(tf, "the inputs differ in rows", raw, many, 1)]
    columns_of = {h.list_columns: f"the columns of history `{h.name}`" for h in schema.histories}
    for names in (names for names in schema.same_width() if names[0] in raw):
        what = columns_of.get(tuple(names), f"bag `{names[0]}` and its weights")
        checks.append(_check(tf, f"{what} differ in rows or length", raw, names, 2))
    with tf.control_dependencies([check for check in checks if check is not None]):
        return {name: tf.identity(values) for name, values in raw.items()}


def _check(tf: Any, wrong: str, raw: Mapping[str, Any], names: Sequence[str], axes: int) -> Any:
    """An assertion that the inputs agree in their first dimensions; `None` where one is alone."""
    if len(names) < 2:
        return None
    sizes = tf.stack([_sizes(tf, raw[name], axes) for name in names])
    text = f"Request: {wrong}: {', '.join(names)} have"
    return tf.debugging.Assert(tf.reduce_all(sizes == sizes[:1]), [text, sizes], summarize=200)


def _sizes(tf: Any, values: Any, axes: int) -> Any:
    shape = tf.shape(values)
    return shape if len(values.shape) == axes else shape[:axes]
