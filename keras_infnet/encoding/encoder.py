"""Raw columns -> ids, learned from training rows: for frames, tf.data and the SavedModel."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from keras_infnet.schema.numeric import NumericFeature

from keras_infnet._backend.string_hash import hash_buckets
from keras_infnet.encoding.counts import EncoderCounts
from keras_infnet.encoding.events import (
    encode_event_columns,
    encode_list_columns,
    has_list_columns,
)
from keras_infnet.schema import canonical as raw
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.programs import number_ids
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.schema.vocabulary import Vocabulary


class FeatureEncoder:
    """Learns vocabularies and bucket edges from training rows; encodes rows, events, requests.

    Args:
        schema: What the columns are.

    Example:
        >>> import pandas as pd
        >>> schema = keras_infnet.FeatureSchema(
        ...     features=[keras_infnet.CategoricalFeature("country", "user")],
        ...     tasks=[keras_infnet.BinaryTask("click")],
        ... )
        >>> frame = pd.DataFrame({"country": ["NL", "NL", "PT"], "click": [0, 1, 1]})
        >>> encoder = keras_infnet.data.FeatureEncoder(schema).fit(frame)
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
        counts = EncoderCounts(self.schema)
        counts.add_rows(frame)
        for name, more in (events or {}).items():
            counts.add_events(name, more)
        counts.fit(self)
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
        for sequence in self.schema.histories:
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
        return encode_event_columns(self, self.schema.history(name), frame, may_lack)

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
        from keras_infnet.encoding.graph import make_graph_encoder

        self.schema.require_fitted()
        return make_graph_encoder(self)

    def save(self, path: str | Path) -> None:
        """Writes a folder with `schema.json` and `vocabularies.npz`: JSON and arrays, no pickle.

        Raises:
            ValueError: The encoder is not fitted.
        """
        from keras_infnet.encoding.encoder_file import save_encoder

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
        from keras_infnet.encoding.encoder_file import load_encoder

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

    def _numbers(self, frame: pd.DataFrame, name: str, label: str | None = None) -> np.ndarray:
        label = label or f"Feature `{name}`"
        return raw.numbers(raw.column(frame, name, label), self.schema.feature(name), label)

    def _bag_weights(
        self, frame: pd.DataFrame, feature: CategoricalFeature, ids: np.ndarray
    ) -> np.ndarray:
        if feature.weights is None:
            return (ids != 0).astype("float32")
        label = f"Feature `{feature.name}`, weights `{feature.weights}`"
        return raw.bag_weight_values(frame, feature, ids, label)
