"""FeatureEncoder: raw columns to ids, learned from training rows, for frames and for requests."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_infnet._base.paths import local_path
from keras_infnet.encoding.counts import EncoderCounts
from keras_infnet.encoding.events import (
    encode_events,
    encode_list_columns,
    has_list_columns,
    log_events,
)
from keras_infnet.schema.feature import PACKED
from keras_infnet.schema.frames import Frame, as_frame, as_rows
from keras_infnet.schema.programs import Program
from keras_infnet.schema.schema import FeatureSchema


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
        # By table, and by `{history}/#{quantity}` for what is learned of events.
        self.programs: dict[str, Program] = {}

    def fit(
        self,
        frame: Frame,
        events: Mapping[str, Frame] | None = None,
        event_logs: Mapping[str, Frame] | None = None,
    ) -> "FeatureEncoder":
        """Learns from training rows.

        Args:
            frame: Training rows, a pandas, Polars or Arrow frame, with features, labels and the
                columns of the histories.
            events: Further events by history name, such as those from before the log's first row.
                They may lack actions (then unknown), not fields. Histories that `frame` holds as
                list columns are found without it.
            event_logs: Logs of their own by history name: the rows of `frame` are no events of
                these histories.

        Returns:
            The encoder itself; `encoder.schema` now knows sizes and base rates.

        Raises:
            ValueError: A column is missing or holds what its feature does not allow; the labels of
                a task are all equal; an unknown history is named.
        """
        frame = as_rows(frame, "FeatureEncoder.fit")
        logs = event_logs or {}
        counts = EncoderCounts(self.schema, apart=logs)
        counts.add_rows(frame)
        for name, more in (*(events or {}).items(), *logs.items()):
            counts.add_events(name, as_frame(more, f"FeatureEncoder.fit, events of `{name}`"))
        counts.fit(self)
        return self

    def transform(self, frame: Frame) -> dict[str, np.ndarray]:
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
        frame = as_rows(frame, "FeatureEncoder.transform")
        parts: dict[str, list[np.ndarray]] = {name: [] for name in PACKED}
        for feature in self.schema.packing_order:
            program = self.programs.get(self.schema.table_of(feature.name))
            columns = feature.encode(frame, program, self.schema.dtype_of(feature.name))
            for name, array in columns.items():
                parts[name].append(array)
        packed = {name: np.concatenate(some, axis=1) for name, some in parts.items() if some}
        for history in self.schema.histories:
            if has_list_columns(history, frame):
                packed |= encode_list_columns(self.schema, self.programs, history, frame)
        return packed

    def encode_events(self, name: str, frame: Frame, may_lack: bool = False) -> np.ndarray:
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
        history, frame = self.schema.history(name), as_frame(frame, "FeatureEncoder.encode_events")
        events = log_events(history, frame, may_lack, self.schema)
        events |= history.of_order(np.arange(len(frame)), None)
        return encode_events(self.schema, self.programs, history, events)

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
        save_encoder(self, local_path(path, "FeatureEncoder.save", "path", written=True))

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

        return load_encoder(cls, local_path(path, "FeatureEncoder.load", "path"), schema)

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

    def rows_of_vectors(
        self, feature: str, vectors: Any, dim: int, what: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a feature's table for vectors of raw values.

        Args:
            feature: Name of a categorical feature with a vocabulary.
            vectors: `(dim,)` numbers for each raw value: a dict, a Series of vectors, or a frame
                with a row for each; the index has the values.
            dim: Expected width.
            what: Who asks, for messages.

        Returns:
            Ids `(ids,)` of the values that the vocabulary has, and rows `(ids, dim)`.

        Raises:
            ValueError: The feature has no vocabulary, a value comes twice, vectors are not of width
                `dim` or not finite, or no value is in the vocabulary.

        Warns:
            UserWarning: Some values are not in the vocabulary, and are left out.
        """
        from keras_infnet.encoding.vectors import rows_of_vectors

        program = self.programs.get(self.schema.table_of(feature))
        where, dtype = f"{what}, feature `{feature}`", self.schema.dtype_of(feature)
        return rows_of_vectors(where, dtype, program, vectors, dim)

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
        """What the programs have learned, by `program|array`."""
        return {
            f"{name}|{key}": array
            for name, program in self.programs.items()
            for key, array in program.arrays().items()
        }
