"""Growth: a model with rows for further ids, whose other rows, slots and numbers stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._backend.devices import scope_of
from keras_infnet._base.did_you_mean import check_known
from keras_infnet._keras_internals import layers_inside, layout_of, trained_variables
from keras_infnet.layers.adaptive_embedding import AdaptiveEmbedding
from keras_infnet.layers.bucket_embedding import BucketEmbedding
from keras_infnet.layers.fused_embedding import FusedEmbedding
from keras_infnet.models.tokens import quantity_sizes
from keras_infnet.schema.layout import Layout
from keras_infnet.schema.schema import FeatureSchema

_UNKNOWN, _RANDOM, _LIKE = "unknown", "random", "like:"
# A row of a quantity's table: 0 is "missing", then comes "unknown".
_UNKNOWN_PATTERN = 1
# How patterns of actions begin, among the starts of tables.
_PATTERNS = "#action"


@dataclass(frozen=True)
class _Moved:
    """A weight whose rows are those of another, moved, and new ones.

    Args:
        origin: int64 `(rows,)`: the row before, or -1.
        first: Float `(new rows, ...)`: what the new ones begin at; `None`: as they were made.
    """

    origin: np.ndarray
    first: np.ndarray | None = None

    def applied(self, before: np.ndarray, made: np.ndarray, first: bool = True) -> np.ndarray:
        """The rows of `before` where they are now, and else `first`, or those of `made`."""
        values, is_new = np.array(made), self.origin < 0
        values[~is_new] = before[self.origin[~is_new]]
        if first and self.first is not None:
            values[is_new] = self.first
        return values


@dataclass(frozen=True)
class _NewRows:
    """What the new rows of a model's tables begin at.

    Args:
        model: The grown model.
        starts: By table: `"unknown"`, `"random"`, or `"like:"` and a feature.
        pairs: By table that begins like a feature: ids, and codes of its values beside them.
        rng: What noise is drawn by.
    """

    model: Any
    starts: Mapping[str, str]
    pairs: Mapping[str, Any]
    rng: np.random.Generator

    @property
    def renewed(self) -> Mapping[str, Sequence[int]]:
        """Ids whose rows begin anew, by table."""
        return self.model.schema.layout.renewed

    def noise(self, width: int, is_noisy: np.ndarray) -> np.ndarray:
        noise = self.rng.normal(0, self.model.config.embedding_stddev, (len(is_noisy), width))
        return np.where(is_noisy[:, None], noise, 0.0)

    def first(
        self, table: str, rows: np.ndarray, is_new: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What new ids begin at, `(new ids, width of rows)`, and to which noise is added."""
        first = np.zeros((int(is_new.sum()), rows.shape[1]))
        is_noisy = np.ones(len(first), "bool")
        unknown = self.model.schema.feature(table).unknown_ids
        how = self.starts.get(table, _UNKNOWN)
        if how != _RANDOM and unknown:
            first += rows[1 : 1 + unknown].mean(0)
        if how.startswith(_LIKE):
            is_noisy = ~_like(first, rows, is_new, *self.pairs[table])
        return first, is_noisy


def grown(model: Any, extended: Any, start: Any, rows: Any, seed: int) -> Any:
    """As `RankingModel.grow`."""
    who = f"{type(model).__name__}.grow"
    schema, encoder = _schema_and_encoder(who, model.schema, extended)
    _check_extends(who, model.schema, schema)
    starts = _starts(who, schema, start)
    pairs = _pairs(who, encoder, starts, rows)
    _check_layers(who, model)
    config = {**model.get_config(), "schema": schema.to_dict()}
    config.pop("layers", None)
    with scope_of(model):
        new = type(model).from_config(config)
        new_rows = _NewRows(new, starts, pairs, np.random.default_rng(seed))
        moved = _carry_weights(model, new, new_rows)
        if model.compiled:
            _carry_training(model, new, moved)
    return new


def _carry_weights(model: Any, new: Any, new_rows: _NewRows) -> dict[int, _Moved]:
    """Gives a new model the weights of the old one; which of its weights have rows that moved."""
    moved: dict[int, _Moved] = {}
    for before, now in _layers_of_both(model, new):
        for table, columns in getattr(before, "frozen", {}).items():
            now.freeze(table, columns)
    both = _layers_of_both(model, new)
    in_parts = {id(p) for _, x in both if isinstance(x, AdaptiveEmbedding) for p in x.embeddings}
    for before, now in both:
        now.trainable = before.trainable
        if isinstance(now, AdaptiveEmbedding):
            moved |= _moved_parts(before, now, new_rows)
        elif isinstance(now, FusedEmbedding) and id(now) not in in_parts:
            moved |= _moved_tables(before, now, new_rows)
        elif isinstance(now, BucketEmbedding):
            moved |= _moved_quantities(before, now, model, new_rows)
    for before, now in _variables_of_both(model, new):
        _carry(before, now, moved.get(id(now)))
    return moved


def _moved_tables(
    before: FusedEmbedding, now: FusedEmbedding, new_rows: _NewRows
) -> dict[int, _Moved]:
    """The weights of embedding tables, with what new rows begin at."""
    (embeddings, whole), *frozen = now.origins(before, new_rows.renewed)
    firsts: list[np.ndarray] = []
    end = 0
    for table, size in now.table_rows.items():
        start, end = end, end + size
        is_new = whole[start:end] < 0
        if is_new.any():
            first, is_noisy = new_rows.first(table, before.rows_of(table), is_new)
            firsts.append(first + new_rows.noise(now.dim, is_noisy))
    # Rows behind all tables are no id's.
    firsts.append(np.zeros((len(whole) - end, now.dim)))
    found = {id(embeddings): _Moved(whole, np.concatenate(firsts))}
    # No new row is frozen.
    return found | {id(weight): _Moved(origin) for weight, origin in frozen}


def _moved_parts(
    before: AdaptiveEmbedding, now: AdaptiveEmbedding, new_rows: _NewRows
) -> dict[int, _Moved]:
    """The weights of tables of several widths.

    New rows begin where their vectors are next to what those of one width would begin at.
    """
    found: dict[int, _Moved] = {}
    firsts: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for table, is_new in now.new_ids(before, new_rows.renewed).items():
        firsts[table] = (is_new, *new_rows.first(table, before.vectors_of(table), is_new))
    for part, origin, ids_of_part, projection in now.origins(before, new_rows.renewed):
        rows: list[np.ndarray] = []
        for table, ids in ids_of_part.items():
            is_new, first, is_noisy = firsts[table]
            chosen = np.isin(np.flatnonzero(is_new), ids)
            of_part = first[chosen]
            if projection is not None:
                of_part = of_part @ np.linalg.pinv(projection)
            rows.append(of_part + new_rows.noise(part.dim, is_noisy[chosen]))
        behind = int((origin < 0).sum()) - sum(map(len, rows))
        rows.append(np.zeros((behind, part.dim)))
        found[id(part.embeddings)] = _Moved(origin, np.concatenate(rows))
    return found


def _like(
    first: np.ndarray, rows: np.ndarray, is_new: np.ndarray, ids: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """Writes the mean of the rows of old ids that share a code into those of new ids; which."""
    new = is_new[ids]
    codes_of_old, ids_of_old = codes[~new], ids[~new]
    groups = int(codes.max(initial=-1)) + 1
    sums, counts = np.zeros((groups, rows.shape[1])), np.bincount(codes_of_old, minlength=groups)
    np.add.at(sums, codes_of_old, rows[ids_of_old].astype("float64"))
    place = np.cumsum(is_new) - 1
    total, number = np.zeros(first.shape), np.zeros(len(first))
    np.add.at(total, place[ids[new]], sums[codes[new]])
    np.add.at(number, place[ids[new]], counts[codes[new]])
    shares = number > 0
    first[shares] = total[shares] / number[shares, None]
    return shares


def _moved_quantities(
    before: BucketEmbedding, now: BucketEmbedding, model: Any, new_rows: _NewRows
) -> dict[int, _Moved]:
    """The tables of what is known of events, such as patterns of actions, that have more rows."""
    found: dict[int, _Moved] = {}
    for name, rows in now.num_buckets.items():
        if rows == before.num_buckets[name]:
            continue
        sizes = [quantity_sizes(m.schema, name) for m in (model, new_rows.model)]
        origin, unknown = np.full(rows, -1), np.zeros(rows, "int64")
        offset = start = 0
        for was, size in zip(*sizes, strict=True):
            origin[start : start + was] = offset + np.arange(was)
            unknown[start : start + size] = offset + _UNKNOWN_PATTERN
            offset, start = offset + was, start + size
        first = new_rows.noise(now.dim, np.ones(int((origin < 0).sum()), "bool"))
        if new_rows.starts.get(_PATTERNS) != _RANDOM:
            first += ops.convert_to_numpy(before.tables[name])[unknown[origin < 0]]
        found[id(now.tables[name])] = _Moved(origin, first)
    return found


def _carry(before: Any, now: Any, moved: _Moved | None, first: bool = True) -> None:
    """Gives a variable the values of another."""
    values = ops.convert_to_numpy(before)
    if moved is not None and len(moved.origin) == now.shape[0]:
        values = moved.applied(values, ops.convert_to_numpy(now), first)
    if tuple(values.shape) != tuple(now.shape):
        raise ValueError(
            f"RankingModel.grow: `{now.path}` has shape {tuple(now.shape)}, and {values.shape} "
            "before: it is no embedding table of the model, so that nothing says which part is "
            "old. Give the model a weight that does not depend on the number of ids."
        )
    now.assign(values)


def _carry_training(model: Any, new: Any, moved: Mapping[int, _Moved]) -> None:
    """Compiles as the model is, and carries the state of its optimizer."""
    config = {**model.get_compile_config(), "trained": False}
    new.compile_from_config(config)
    before, now = model.optimizer, new.optimizer
    if not before.built:
        return
    partner = {id(b): n for b, n in _variables_of_both(model, new)}
    unscaled = getattr(before, "inner_optimizer", before)
    now.build([partner[id(variable)] for variable in trained_variables(unscaled)])
    # A slot is named after the path of its weight.
    of_weights = {
        variable.path.replace("/", "_"): moved[id(variable)]
        for variable in new.trainable_variables
        if id(variable) in moved
    }
    # What `RowUpdates` holds in positions has no meaning between steps.
    states = [[v for v in o.variables if not v.name.endswith("_positions")] for o in (before, now)]
    for was, variable in zip(*states, strict=True):
        paths = [path for path in of_weights if variable.name.startswith(path)]
        found = of_weights[max(paths, key=len)] if paths else None
        # A running mean of weights begins at the weight, all other slots as they were made.
        _carry(was, variable, found, variable.name.endswith("_average"))


def _layers_of_both(model: Any, new: Any) -> list[tuple[Any, Any]]:
    """The layers with weights of two models of one class, a layer before those inside it."""
    both = [[x for x in layers_inside(m) if x.variables] for m in (model, new)]
    return list(zip(*both, strict=True))


def _variables_of_both(model: Any, new: Any) -> list[tuple[Any, Any]]:
    """Weights and states of random numbers."""
    both: list[list[Any]] = []
    for one in (model, new):
        of_metrics = {id(variable) for variable in one.metrics_variables}
        both.append([v for v in one.variables if id(v) not in of_metrics])
    return list(zip(*both, strict=True))


def _schema_and_encoder(who: str, schema: FeatureSchema, extended: Any) -> tuple[Any, Any]:
    """The extended schema, and the encoder that has it, if there is one."""
    encoder = getattr(extended, "encoder", extended)
    if isinstance(extended, Layout):
        return schema.with_layout(extended), None
    if isinstance(extended, FeatureSchema):
        return extended, None
    if not hasattr(encoder, "values_beside"):
        raise ValueError(
            f"{who}: `extended` is a {type(extended).__name__}; expected the FeatureEncoder that "
            "`extend` returned, or its schema or layout."
        )
    return encoder.schema, encoder


def _check_extends(who: str, before: FeatureSchema, now: FeatureSchema) -> None:
    """A ValueError unless one schema is that of an extension of the other's encoder."""
    layout, known = now.require_fitted(), before.require_fitted()
    for part in ("features", "tasks", "histories"):
        if getattr(now, part) != getattr(before, part):
            names = [{p.name for p in getattr(schema, part)} for schema in (now, before)]
            differ = sorted(names[0] ^ names[1]) or sorted(names[0])
            raise ValueError(
                f"{who}: the {part} are others than the model's (see {', '.join(differ)}); "
                "expected those that it was built with. Build a new model for them."
            )
    if layout == known:
        raise ValueError(f"{who}: the model is of this schema already ({before.fingerprint}).")
    if layout.parent != before.fingerprint:
        found = f"extends {layout.parent}" if layout.parent else "extends none"
        raise ValueError(
            f"{who}: the schema (fingerprint {now.fingerprint}) {found}, and the model is of "
            f"{before.fingerprint}. Give what `FeatureEncoder.extend` returned for the encoder of "
            "this model; of several extensions each one in turn."
        )
    for name, size in known.sizes.items():
        if layout.sizes.get(name, 0) < size or layout.dtypes.get(name) != known.dtypes.get(name):
            raise ValueError(
                f"{who}: `{name}` has {layout.sizes.get(name, 0)} ids of dtype "
                f"{layout.dtypes.get(name)}, and the model {size} of dtype "
                f"{known.dtypes.get(name)}; expected no fewer. The layout was changed by hand."
            )


def _starts(who: str, schema: FeatureSchema, start: Any) -> dict[str, str]:
    """How new rows begin, by table."""
    if not isinstance(start, Mapping):
        how = _checked_start(who, schema, start)
        if not how.startswith(_LIKE):
            return dict.fromkeys([*schema.table_rows(), _PATTERNS], how)
        field = schema.feature(how.removeprefix(_LIKE))
        tables = [
            owner.name
            for owner in schema.table_owners()
            if owner.has_dtype
            and owner.owner == field.owner
            and owner.name != schema.table_of(field.name)
        ]
        return dict.fromkeys(tables, how)
    starts: dict[str, str] = {}
    for name, given in start.items():
        table, how = schema.table_of(name), _checked_start(who, schema, given)
        if starts.setdefault(table, how) != how:
            raise ValueError(f"{who}: start has two ways for the table `{table}`; give one.")
    return starts


def _checked_start(who: str, schema: FeatureSchema, start: Any) -> str:
    is_like = isinstance(start, str) and start.startswith(_LIKE)
    if is_like:
        name = start.removeprefix(_LIKE)
        names = [feature.name for feature in schema.features]
        check_known(name, names, f"{who}: start={start!r}: no feature `{name}`.")
    elif start not in (_UNKNOWN, _RANDOM):
        raise ValueError(
            f'{who}: start is {start!r}; expected "unknown", "random", or "like:" and the '
            'name of a feature, such as "like:author_id".'
        )
    return start


def _pairs(who: str, encoder: Any, starts: Mapping[str, str], rows: Any) -> dict[str, Any]:
    """By table that starts like others, its ids and the codes of the values that they share."""
    alike = {table: how for table, how in starts.items() if how.startswith(_LIKE)}
    if not alike:
        if rows is not None:
            raise ValueError(f'{who}: `rows` are given, which start="like:..." alone reads.')
        return {}
    example = next(iter(alike.values()))
    for what, given in (("the FeatureEncoder that `extend` returned", encoder), ("`rows`", rows)):
        if given is None:
            raise ValueError(
                f"{who}: start={example!r} needs {what}, to know which values share one."
            )
    return {
        table: encoder.values_beside(table, how.removeprefix(_LIKE), rows, who)
        for table, how in alike.items()
    }


def _check_layers(who: str, model: Any) -> None:
    """A ValueError for a model whose weights can't be carried."""
    for layer in layers_inside(model):
        if getattr(layer, "quantization_mode", None):
            raise ValueError(
                f"{who}: layer `{layer.name}` is quantized, and such a model isn't trained on. "
                "Grow the model that it was before, and quantize the grown one."
            )
    sharded = any(layout_of(variable) is not None for variable in model.variables)
    if sharded and keras.distribution.distribution() is None:
        raise ValueError(
            f"{who}: the model was made for several devices, within a scope of `shard_tables` or "
            "another distribution. Grow it within that scope."
        )
