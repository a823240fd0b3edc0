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
from keras_infnet.schema.instants import Time
from keras_infnet.schema.programs import Program
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.schema.vocabulary import LAST_SEEN


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

    def extend(
        self,
        rows: Frame,
        events: Mapping[str, Frame] | None = None,
        event_logs: Mapping[str, Frame] | None = None,
        *,
        min_frequency: int | Mapping[str, int] | None = None,
        keep_days: float | None = None,
        max_ids: int | Mapping[str, int] | None = None,
        now: Time | None = None,
    ) -> "FeatureEncoder":
        """A new encoder that also knows the values of later rows; this one stays as it is.

        Ids, edges, forms of numbers, dtypes and base rates stay; unknown values get the ids behind,
        those in most rows first, and so do unknown combinations of actions. What is hashed needs
        none of it. Each call counts its own rows: a value that is in too few of them stays unknown,
        whatever was in earlier ones.

        With `keep_days` or `max_ids`, values that were seen longest ago lose their ids, which new
        values get first. A free id is no value's: what had it is unknown again.

        Args:
            rows: Later rows, with the features' columns and those of the histories. Labels that
                they hold are checked; numbers need not be there.
            events: As in `fit`.
            event_logs: As in `fit`.
            min_frequency: Unknown values in fewer of these rows stay unknown; a dict by feature is
                of these alone. Defaults to `None`: each feature's own.
            keep_days: Days after which a value that was not seen loses its id. Defaults to `None`:
                it keeps it.
            max_ids: Most values that have ids of a feature, or a dict by feature. Defaults to
                `None`: any number.
            now: From when `keep_days` counts back. Defaults to the newest time of `rows`.

        Returns:
            The extended encoder. `schema.layout.parent` is the fingerprint of this one's schema,
            and `schema.layout.renewed` says which ids have another value, or none any more.

        Raises:
            ValueError: The encoder is not fitted; a column is missing, of another dtype than
                before or holds what its feature does not allow; a label is none of its task's, such
                as a new class; an argument is out of range or names a feature without a vocabulary;
                or ids shall be freed, and it is not known when they were seen.

        Warns:
            UserWarning: A column has no value in any row.

        Example:
            >>> import pandas as pd
            >>> schema = keras_infnet.FeatureSchema(
            ...     features=[keras_infnet.CategoricalFeature("video_id", "item")],
            ...     tasks=[keras_infnet.BinaryTask("click")],
            ...     time_key=None,
            ... )
            >>> first = pd.DataFrame({"video_id": [7, 7, 8], "click": [0, 1, 1]})
            >>> encoder = keras_infnet.data.FeatureEncoder(schema).fit(first)
            >>> grown = encoder.extend(pd.DataFrame({"video_id": [9, 8, 5, 9]}))
            >>> grown.transform(pd.DataFrame({"video_id": [7, 8, 9, 5, 6]}))["categorical"].T
            array([[2, 3, 4, 5, 1]], dtype=int32)
            >>> grown.schema.layout.parent == encoder.schema.fingerprint
            True
        """
        from keras_infnet.encoding.growth import GrowthCounts

        rows = as_rows(rows, "FeatureEncoder.extend")
        logs = event_logs or {}
        counts = GrowthCounts(self, apart=logs)
        counts.add_rows(rows)
        for name, more in (*(events or {}).items(), *logs.items()):
            counts.add_events(name, as_frame(more, f"FeatureEncoder.extend, events of `{name}`"))
        return counts.extended(
            min_frequency=min_frequency, keep_days=keep_days, max_ids=max_ids, now=now
        )

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

    def values_beside(self, feature: str, field: str, rows: Any, what: str) -> tuple[Any, Any]:
        """Which ids of a feature stand in rows beside which values of another, each pair once.

        Args:
            feature: Name of a categorical feature.
            field: Name of another one, whose values need no id.
            rows: Rows with both.
            what: Who asks, for messages.

        Returns:
            Ids `(pairs,)` of known values, and codes `(pairs,)` of the values of `field`, from 0.

        Raises:
            ValueError: A feature is unknown or holds numbers, or a column is missing or holds what
                its feature does not allow.
        """
        from keras_infnet.encoding.pairs import values_beside

        return values_beside(self, feature, field, as_frame(rows, what), what)

    def digest(self) -> str:
        """Twelve hexadecimal digits of all vocabularies and edges: of what ids depend on."""
        state = hashlib.sha256()
        for name, array in sorted(self.arrays().items()):
            if name.endswith(f"|{LAST_SEEN}"):
                continue
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
