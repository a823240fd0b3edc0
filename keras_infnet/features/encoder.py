"""Raw columns -> ids, learned from training rows: for frames, tf.data and the SavedModel."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet.features import columns as raw
from keras_infnet.features.buckets import learn_edges, number_ids
from keras_infnet.features.encoder_hash import hash_buckets
from keras_infnet.features.events import (
    action_codes,
    action_values,
    encode_event_columns,
    encode_list_columns,
    has_list_columns,
    list_events,
)
from keras_infnet.features.feature import CategoricalFeature, DenseFeature, NumericFeature
from keras_infnet.features.labels import learn_base_rates
from keras_infnet.features.schema import FeatureSchema
from keras_infnet.features.vocabulary import Vocabulary


class FeatureEncoder:
    """Learns vocabularies and bucket edges from training rows; encodes rows, events, requests.

    Args:
        schema: What the columns are.

    Example:
        >>> import pandas as pd
        >>> schema = keras_infnet.FeatureSchema(
        ...     features=[keras_infnet.CategoricalFeature("country", "user")],
        ...     tasks=[keras_infnet.Task("click")],
        ... )
        >>> frame = pd.DataFrame({"country": ["NL", "NL", "PT"], "click": [0, 1, 1]})
        >>> encoder = keras_infnet.FeatureEncoder(schema).fit(frame)
        >>> encoder.transform(frame)["categorical"].tolist()
        [[2], [2], [3]]
        >>> encoder.schema.fitted
        True
    """

    def __init__(self, schema: FeatureSchema) -> None:
        self.schema = schema
        self.vocabularies: dict[str, Vocabulary] = {}
        self.edges: dict[str, np.ndarray] = {}
        self.action_vocabularies: dict[str, Vocabulary] = {}

    def fit(
        self, frame: pd.DataFrame, events: Mapping[str, pd.DataFrame] | None = None
    ) -> "FeatureEncoder":
        """Learns from training rows.

        Args:
            frame: Training rows, with features, labels and the columns of the histories.
            events: Further events by history name, such as those from before the log's first row.
                They may lack actions (then unknown), not fields. Histories that `frame` holds as
                list columns are found without it.

        Returns:
            The encoder itself; `encoder.schema` now knows sizes and base rates.

        Raises:
            ValueError: A column is missing or holds what its feature does not allow; the labels of
                a task are all equal; `events` names an unknown history.
        """
        raw.require_rows(frame, "FeatureEncoder.fit")
        rates = learn_base_rates(self.schema, frame)
        more = self._event_frames(frame, dict(events or {}))
        for owner in self._table_owners():
            if isinstance(owner, NumericFeature):
                values = np.concatenate(
                    [self._numbers(frame, f.name) for f in self._sharing(owner)]
                )
                self.edges[owner.name] = learn_edges(values, owner.buckets, owner.bucketing)
            elif owner.hash_buckets is None:
                self.vocabularies[owner.name] = Vocabulary.learn(
                    self._training_values(owner, frame, more),
                    owner.dtype,
                    owner.min_frequency,
                    owner.oov_buckets,
                )
        self._learn_actions(frame, more)
        self.schema = self._fitted_schema(rates)
        return self

    def transform(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """Packed inputs of a model.

        Histories are encoded where the frame has them as list columns (`{history}_{field}`, oldest
        event first); from a log, `Histories` finds them.

        Args:
            frame: Rows with the feature columns.

        Returns:
            Arrays by the names of `schema.packed_inputs()`, `(rows, ...)`.

        Raises:
            ValueError: The encoder is not fitted, the frame is empty, or a column is missing or
                holds what its feature does not allow.
        """
        self.schema.require_fitted()
        raw.require_rows(frame, "FeatureEncoder.transform")
        packed: dict[str, np.ndarray] = {}
        one_valued = [self.field_ids(frame, f.name) for f in self.schema.one_valued]
        if one_valued:
            packed["categorical"] = np.concatenate(one_valued, axis=1)
        if self.schema.bags:
            bags = [self.field_ids(frame, f.name) for f in self.schema.bags]
            weights = [
                self._bag_weights(frame, f, ids)
                for f, ids in zip(self.schema.bags, bags, strict=True)
            ]
            packed["bags"] = np.concatenate(bags, axis=1)
            packed["bag_weights"] = np.concatenate(weights, axis=1)
        if self.schema.dense:
            dense = [
                raw.vectors(raw.column(frame, f.name, label), f, label)
                for f in self.schema.dense
                for label in [f"Feature `{f.name}`"]
            ]
            packed["dense"] = np.concatenate(dense, axis=1)
        for sequence in self.schema.sequences:
            if has_list_columns(sequence, frame):
                packed |= encode_list_columns(self, sequence, frame)
        return packed

    def encode_events(self, name: str, frame: pd.DataFrame, may_lack: bool = False) -> np.ndarray:
        """Packed columns of the events of a history, one event a row of `frame`.

        Args:
            name: Name of the history.
            frame: Events, with the columns of the history's fields, actions and ratio.
            may_lack: Whether missing action and ratio columns mean "unknown" rather than an error.

        Returns:
            int32 `(events, columns)`, the columns of `schema.history_columns(name)`.

        Raises:
            ValueError: A column is missing or holds what its feature does not allow.
        """
        self.schema.require_fitted()
        return encode_event_columns(self, self.schema.sequence(name), frame, may_lack)

    def field_ids(self, frame: pd.DataFrame, name: str, label: str | None = None) -> np.ndarray:
        """Ids of one embedded feature, `(rows, 1)`, of a bag `(rows, max_values)`."""
        feature = self.schema.feature(name)
        table = self.schema.table_of(name)
        label = label or f"Feature `{name}`"
        if isinstance(feature, NumericFeature):
            return number_ids(self._numbers(frame, name, label), self.edges[table])[:, None]
        series = raw.column(frame, name, label)
        if not feature.is_bag:
            values = raw.categorical_values(series, feature.dtype, label)
            return self.lookup(table, values, label)[:, None]
        lists = raw.bag_values(series, feature, label)
        ids = pa.array(self.lookup(table, lists.values, label))
        return raw.pad_lists(pa.ListArray.from_arrays(lists.offsets, ids), feature.max_values, 0)

    def lookup(self, table: str, values: Any, label: str) -> np.ndarray:
        """Ids of canonical values in the table of feature `table`."""
        owner = self.schema.feature(table)
        if owner.hash_buckets is None:
            return self.vocabularies[table].lookup(values, label)
        kind = pa.string() if owner.dtype == "string" else pa.int64()
        shape = np.shape(values) if not isinstance(values, pa.Array) else (len(values),)
        if not isinstance(values, pa.Array):
            values = pa.array(np.asarray(values).ravel(), kind)
        missing = raw.MISSING_STRING if owner.dtype == "string" else raw.MISSING_INT
        ids = 1 + hash_buckets(values, owner.hash_buckets)
        is_missing = np.asarray(pa.compute.equal(values, missing))
        return np.where(is_missing, 0, ids).astype("int32").reshape(shape)

    def to_tensorflow(self) -> Any:
        """A `tf.Module` from raw requests to packed inputs, for tf.data and SavedModels.

        Returns:
            A `GraphEncoder`: `module(raw)` takes tensors by the names of `schema.raw_inputs()`.
        """
        from keras_infnet.features.encoder_graph import make_graph_encoder

        self.schema.require_fitted()
        return make_graph_encoder(self)

    def save(self, path: str | Path) -> None:
        """Writes a folder with `schema.json` and `vocabularies.npz`: JSON and arrays, no pickle.

        Raises:
            ValueError: The encoder is not fitted.
        """
        from keras_infnet.features.encoder_file import save_encoder

        self.schema.require_fitted()
        save_encoder(self, Path(path))

    @classmethod
    def load(cls, path: str | Path, schema: FeatureSchema | None = None) -> "FeatureEncoder":
        """Reads what `save` wrote.

        Args:
            path: The folder.
            schema: If given, the schema (of a model, say) that the file must fit.

        Raises:
            ValueError: A file is missing or damaged, or it belongs to another schema.
        """
        from keras_infnet.features.encoder_file import load_encoder

        return load_encoder(cls, Path(path), schema)

    def check_model(self, model: Any, what: str) -> None:
        """A ValueError unless the model was built from this encoder's schema.

        Args:
            model: A model of this library.
            what: Who asks, for the error message.
        """
        schema = getattr(model, "schema", None)
        if schema != self.schema:
            found = "no schema" if schema is None else f"fingerprint {schema.fingerprint}"
            raise ValueError(
                f"{what}: the model is of another schema than the encoder ({found}; expected "
                f"{self.schema.fingerprint}). Build it from `encoder.schema`, or load the encoder "
                "that was saved with it."
            )

    def digest(self) -> str:
        """Twelve hexadecimal digits of all vocabularies and edges."""
        state = hashlib.sha256()
        for name, array in sorted(self.arrays().items()):
            state.update(name.encode())
            state.update(
                json.dumps(array.tolist()).encode() if array.dtype == object else array.tobytes()
            )
        return state.hexdigest()[:12]

    def arrays(self) -> dict[str, np.ndarray]:
        """Vocabularies, edges and actions by `kind/feature`."""
        found = {
            f"vocabulary/{k}": v.values.to_numpy(zero_copy_only=False)
            for k, v in self.vocabularies.items()
        }
        found |= {f"edges/{k}": v for k, v in self.edges.items()}
        actions = self.action_vocabularies.items()
        return found | {f"actions/{k}": v.values.to_numpy(zero_copy_only=False) for k, v in actions}

    def _table_owners(self) -> Iterator[CategoricalFeature | NumericFeature]:
        for f in self.schema.features:
            if not isinstance(f, DenseFeature) and f.table is None:
                yield f

    def _sharing(self, owner: Any) -> list[Any]:
        return [f for f in self.schema.features if self.schema.table_of(f.name) == owner.name]

    def _numbers(self, frame: pd.DataFrame, name: str, label: str | None = None) -> np.ndarray:
        label = label or f"Feature `{name}`"
        return raw.numbers(raw.column(frame, name, label), self.schema.feature(name), label)

    def _event_frames(
        self, frame: pd.DataFrame, events: dict[str, pd.DataFrame]
    ) -> dict[str, list[pd.DataFrame]]:
        """Events other than the rows of `frame` themselves, by history."""
        found = {self.schema.sequence(name).name: [more] for name, more in events.items()}
        for sequence in self.schema.sequences:
            if has_list_columns(sequence, frame):
                flat = list_events(self.schema, sequence, frame)[0]
                found.setdefault(sequence.name, []).append(flat)
        return found

    def _training_values(
        self, owner: CategoricalFeature, frame: pd.DataFrame, more: dict[str, list[pd.DataFrame]]
    ) -> list[pa.Array]:
        values = []
        for feature in self._sharing(owner):
            values.append(self._flat_values(frame, feature, f"Feature `{feature.name}`"))
            for name, frames in more.items():
                if feature.name in self.schema.sequence(name).fields:
                    label = f"History `{name}`, field `{feature.name}`"
                    values += [self._flat_values(events, feature, label) for events in frames]
        return values

    def _flat_values(
        self, frame: pd.DataFrame, feature: CategoricalFeature, label: str
    ) -> pa.Array:
        series = raw.column(frame, feature.name, label)
        if feature.is_bag:
            return raw.bag_values(series, feature, label).flatten()
        return raw.categorical_values(series, feature.dtype, label)

    def _bag_weights(
        self, frame: pd.DataFrame, feature: CategoricalFeature, ids: np.ndarray
    ) -> np.ndarray:
        if feature.weights is None:
            return (ids != 0).astype("float32")
        label = f"Feature `{feature.name}`, weights `{feature.weights}`"
        return raw.bag_weight_values(frame, feature, ids, label)

    def _learn_actions(self, frame: pd.DataFrame, more: dict[str, list[pd.DataFrame]]) -> None:
        for sequence in self.schema.sequences:
            if sequence.actions:
                frames = list(more.get(sequence.name, []))
                # Where rows carry their histories as lists they need not be events themselves.
                if not has_list_columns(sequence, frame):
                    action_values(sequence, frame, False)
                    frames.append(frame)
                codes = [pa.array(action_codes(action_values(sequence, f, True))) for f in frames]
                self.action_vocabularies[sequence.name] = Vocabulary.learn(codes, "int")

    def _fitted_schema(self, rates: dict[str, float]) -> FeatureSchema:
        sizes = {name: v.num_ids for name, v in self.vocabularies.items()}
        sizes |= {name: len(edges) + 2 for name, edges in self.edges.items()}
        for owner in self._table_owners():
            if owner.name not in sizes:
                sizes[owner.name] = 1 + owner.hash_buckets
        return dataclasses.replace(
            self.schema,
            features=[
                f
                if isinstance(f, DenseFeature)
                else dataclasses.replace(f, num_ids=sizes[self.schema.table_of(f.name)])
                for f in self.schema.features
            ],
            sequences=[
                dataclasses.replace(s, num_actions=self.action_vocabularies[s.name].num_ids)
                if s.actions
                else s
                for s in self.schema.sequences
            ],
            tasks=[dataclasses.replace(t, base_rate=rates[t.name]) for t in self.schema.tasks],
            vocabulary=self.digest(),
        )
