"""What an encoder learns, counted chunk by chunk: vocabularies, edges, actions, base rates."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from keras_infnet.schema.dense import DenseFeature
from keras_infnet.schema.feature import Feature
from keras_infnet.schema.history import History
from keras_infnet.schema.numeric import NumericFeature

from keras_infnet.encoding.events import (
    action_codes,
    action_values,
    has_list_columns,
    list_events,
)
from keras_infnet.encoding.labels import LabelSums
from keras_infnet.schema import canonical as raw
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.programs import learn_edges
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.schema.value_counts import ValueCounts
from keras_infnet.schema.vocabulary import Vocabulary


class EncoderCounts:
    """Counts training rows and events, in chunks of any size, for one encoder.

    Memory is that of the distinct values of each field, whatever the number of rows; what is
    learned does not depend on how rows are cut into chunks.

    Args:
        schema: What the columns are.
    """

    def __init__(self, schema: FeatureSchema) -> None:
        self.schema = schema
        self._labels = LabelSums(schema)
        self._owners = [
            f for f in schema.features if not isinstance(f, DenseFeature) and f.table is None
        ]
        self._tables = {f.name: ValueCounts(_kind(f)) for f in self._owners if _is_learned(f)}
        self._actions = {s.name: ValueCounts(pa.int64()) for s in schema.histories if s.actions}

    def add_rows(self, frame: pd.DataFrame) -> None:
        """Counts training rows, with the histories that they hold as list columns."""
        self._labels.add(frame)
        for feature in self.schema.features:
            self._add_values(frame, feature, f"Feature `{feature.name}`")
        for sequence in self.schema.histories:
            if has_list_columns(sequence, frame):
                self.add_events(sequence.name, list_events(self.schema, sequence, frame)[0])
            elif sequence.actions:
                self._add_actions(sequence, frame, False)

    def add_events(self, name: str, frame: pd.DataFrame) -> None:
        """Counts events of a history that are no rows; they may lack actions (then unknown)."""
        sequence = self.schema.history(name)
        for field in sequence.fields:
            feature = self.schema.feature(field)
            if isinstance(feature, CategoricalFeature):
                self._add_values(frame, feature, f"History `{name}`, field `{field}`")
        if sequence.actions:
            self._add_actions(sequence, frame, True)

    def merge(self, other: "EncoderCounts") -> None:
        """Adds what another has counted of the same schema, such as a worker."""
        self._labels.merge(other._labels)
        for mine, theirs in ((self._tables, other._tables), (self._actions, other._actions)):
            for name, counts in mine.items():
                counts.merge(theirs[name])

    def fit(self, encoder: Any) -> None:
        """Gives the encoder what was counted.

        Raises:
            ValueError: A task has no observed label, or all of them are equal.
        """
        rates = self._labels.base_rates()
        for owner in self._owners:
            if isinstance(owner, NumericFeature):
                table = self._tables[owner.name].table()
                encoder.edges[owner.name] = learn_edges(
                    np.asarray(table["value"]),
                    owner.buckets,
                    owner.bucketing,
                    np.asarray(table["count"]),
                )
            elif owner.hash_buckets is None:
                encoder.vocabularies[owner.name] = Vocabulary.learn(
                    self._tables[owner.name], owner.dtype, owner.min_frequency, owner.oov_buckets
                )
        for name, counts in self._actions.items():
            encoder.action_vocabularies[name] = Vocabulary.learn(counts, "int")
        encoder.schema = self._fitted_schema(encoder, rates)

    def _add_values(self, frame: pd.DataFrame, feature: Feature, label: str) -> None:
        counts = self._tables.get(self.schema.table_of(feature.name))
        if counts is None:
            return
        series = raw.column(frame, feature.name, label)
        if isinstance(feature, NumericFeature):
            counts.add(pa.array(raw.numbers(series, feature, label)))
        elif feature.is_bag:
            counts.add(raw.bag_values(series, feature, label).flatten())
        else:
            counts.add(raw.categorical_values(series, feature.dtype, label))

    def _add_actions(self, sequence: History, frame: pd.DataFrame, may_lack: bool) -> None:
        codes = action_codes(action_values(sequence, frame, may_lack))
        self._actions[sequence.name].add(pa.array(codes))

    def _fitted_schema(self, encoder: Any, rates: dict[str, float]) -> FeatureSchema:
        sizes = {name: v.num_ids for name, v in encoder.vocabularies.items()}
        sizes |= {name: len(edges) + 2 for name, edges in encoder.edges.items()}
        sizes |= {f.name: 1 + f.hash_buckets for f in self._owners if f.name not in sizes}
        features = [
            f
            if isinstance(f, DenseFeature)
            else dataclasses.replace(f, num_ids=sizes[self.schema.table_of(f.name)])
            for f in self.schema.features
        ]
        actions = encoder.action_vocabularies
        sequences = [
            dataclasses.replace(s, num_actions=actions[s.name].num_ids) if s.actions else s
            for s in self.schema.histories
        ]
        tasks = [dataclasses.replace(t, base_rate=rates[t.name]) for t in self.schema.tasks]
        return dataclasses.replace(
            self.schema,
            features=features,
            histories=sequences,
            tasks=tasks,
            vocabulary=encoder.digest(),
        )


def _is_learned(owner: Feature) -> bool:
    return isinstance(owner, NumericFeature) or owner.hash_buckets is None


def _kind(owner: Feature) -> pa.DataType:
    if isinstance(owner, NumericFeature):
        return pa.float32()
    return pa.string() if owner.dtype == "string" else pa.int64()
