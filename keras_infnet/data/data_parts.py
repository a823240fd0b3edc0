"""Parts of RankingData: rows of a log in memory, or of a prepared folder; and their files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from keras_infnet._base.whole_files import whole_folder, write_json
from keras_infnet.data.batches import Batches, EncodedRows, RowOrder
from keras_infnet.data.histories import Histories
from keras_infnet.data.prepared_rows import read_manifest, read_row_columns
from keras_infnet.data.row_source import to_frame
from keras_infnet.data.shards import ENCODER, ROW, TIME
from keras_infnet.data.splits import PARTS
from keras_infnet.data.whole_files import read_json
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.events import has_list_columns
from keras_infnet.encoding.labels import read_labels
from keras_infnet.schema.canonical import column
from keras_infnet.schema.schema import FeatureSchema

_FORMAT = 1
_STATE, _ROWS, _WARM = "data.json", "rows.parquet", "warm"
_WHO = "RankingData"
# Columns of saved rows that are none of the log's.
_INDEX, _PART = "#index", "#part"

Labels = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


class LogParts:
    """Rows of a log in memory, by part.

    Args:
        encoder: A fitted encoder.
        log: All rows.
        codes: Part of each row, an index of `PARTS`.
        warm: Events from before the log, by history.
    """

    def __init__(
        self,
        encoder: FeatureEncoder,
        log: pd.DataFrame,
        codes: np.ndarray,
        warm: Mapping[str, pd.DataFrame],
    ) -> None:
        self.encoder, self.log, self.codes, self.warm = encoder, log, codes, dict(warm)
        counts = np.bincount(codes, minlength=len(PARTS))
        self.rows = {part: int(n) for part, n in zip(PARTS, counts, strict=True) if n}
        from_log = [s for s in encoder.schema.histories if not has_list_columns(s, log)]
        self.histories = Histories(encoder, log, self.warm) if from_log else None
        self._encoded: dict[str, EncodedRows] = {}

    def frame(self, rows: str | pd.DataFrame) -> pd.DataFrame:
        """The rows of a part; a frame is itself."""
        if not isinstance(rows, str):
            return rows
        places = np.flatnonzero(self.codes == PARTS.index(rows))
        if places[-1] - places[0] + 1 == len(places):
            # Rows that follow one another are not copied.
            return self.log.iloc[places[0] : places[-1] + 1]
        return self.log.iloc[places]

    def index(self, part: str) -> pd.Index:
        """Index of the rows of a part."""
        return self.log.index[self.codes == PARTS.index(part)]

    def start(self, rows: str | pd.DataFrame) -> int:
        """The first time of rows."""
        return _first_time(self.frame(rows), self.encoder.schema.time_key)

    def labels(self, rows: str | pd.DataFrame) -> Labels:
        """Labels and weights by task."""
        return read_labels(self.encoder.schema, self.frame(rows))

    def attach(self, rows: str | pd.DataFrame, freeze_at: int | str | None) -> pd.DataFrame:
        """The rows with their raw histories as list columns."""
        frame = self.frame(rows)
        return frame.copy() if self.histories is None else self.histories.attach(frame, freeze_at)

    def batches(
        self,
        rows: str | pd.DataFrame,
        *,
        labels: bool,
        freeze_at: int | str | None,
        length_buckets: Any,
        **order: Any,
    ) -> Batches:
        """Batches of a part, which is encoded once, or of a frame."""
        if not isinstance(rows, str):
            encoded = _encoded_frame(self.encoder, rows, self.histories)
        else:
            if rows not in self._encoded:
                frame = self.frame(rows)
                self._encoded[rows] = EncodedRows(self.encoder, frame, self.histories, _WHO)
            encoded = self._encoded[rows]
        order = RowOrder(encoded.rows, **order)
        return encoded.batches(order, length_buckets, freeze_at, labels)


class FolderParts:
    """Rows of a folder that `prepare` wrote, by split.

    Args:
        folder: The folder.
        options: Arguments of `Batches.from_folder` for training rows.
    """

    histories = None

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        self._folder, self._options = folder, dict(options)
        self._manifest = read_manifest(folder)
        self.encoder = FeatureEncoder.load(folder / ENCODER)
        self.rows = {split: rows for split, rows in self._manifest["rows"].items() if rows}

    def frame(self, rows: str | pd.DataFrame) -> pd.DataFrame:
        """The raw columns that the folder keeps of a split; a frame is itself."""
        if not isinstance(rows, str):
            return rows
        table = self._columns(rows, lambda name: name == ROW or name.startswith("raw/"))
        frame = to_frame(table.drop_columns(ROW), np.asarray(table[ROW]))
        return frame.rename(columns=lambda name: name.removeprefix("raw/"))

    def index(self, part: str) -> pd.Index:
        """Numbers of a split's rows in the log."""
        return pd.Index(np.asarray(self._columns(part, lambda name: name == ROW)[ROW]))

    def start(self, rows: str | pd.DataFrame) -> int:
        """The first time of rows."""
        if not isinstance(rows, str):
            return _first_time(rows, self.encoder.schema.time_key)
        times = self._columns(rows, lambda name: name == TIME)[TIME]
        return _first_time(pd.DataFrame({TIME: np.asarray(times)}), TIME)

    def labels(self, rows: str | pd.DataFrame) -> Labels:
        """Labels and weights by task."""
        if not isinstance(rows, str):
            return read_labels(self.encoder.schema, rows)
        table = self._columns(rows, lambda name: name.startswith(("label/", "weight/")))
        tasks = self.encoder.schema.task_names
        labels, weights = (
            {task: np.asarray(table[f"{kind}/{task}"]) for task in tasks}
            for kind in ("label", "weight")
        )
        return labels, weights

    def attach(self, rows: str | pd.DataFrame, freeze_at: int | str | None) -> pd.DataFrame:
        """Refused where there are histories: the folder has no raw events."""
        if not isinstance(rows, str) and not self._lacking(rows):
            return rows.copy()
        raise ValueError(
            f"RankingData.attach: {self._folder} is a prepared folder, which has ids but no raw "
            "events and columns. Attach by a RankingData, or Histories, of the log's own rows."
        )

    def batches(
        self, rows: str | pd.DataFrame, *, labels: bool, freeze_at: int | str | None, **order: Any
    ) -> Batches:
        """Batches of a split, or of a frame that holds its histories."""
        if isinstance(rows, str):
            options = self._options if rows == "train" and order["shuffle"] else {}
            return Batches.from_folder(
                self.encoder,
                self._folder,
                rows,
                labels=labels,
                freeze_at=freeze_at,
                **order,
                **options,
            )
        lacking = self._lacking(rows)
        if lacking:
            raise ValueError(
                f"RankingData: {self._folder} is a prepared folder, which has no raw events, and "
                f"the rows lack the histories {', '.join(lacking)} as list columns. Attach them "
                "by a RankingData, or Histories, of the log's own rows."
            )
        encoded = _encoded_frame(self.encoder, rows, None)
        buckets = order.pop("length_buckets")
        return encoded.batches(RowOrder(encoded.rows, **order), buckets, freeze_at, labels)

    def _lacking(self, frame: pd.DataFrame) -> list[str]:
        sequences = self.encoder.schema.histories
        return [s.name for s in sequences if not has_list_columns(s, frame)]

    def _columns(self, split: str, wanted: Any) -> pa.Table:
        return read_row_columns(self._folder, self._manifest, split, wanted)


def holds_histories(schema: FeatureSchema, frame: pd.DataFrame) -> bool:
    """Whether rows hold all histories of a schema, of which there are some, as list columns."""
    return bool(schema.histories) and all(has_list_columns(s, frame) for s in schema.histories)


def save_parts(
    parts: LogParts | FolderParts, folder: Path, options: Mapping[str, Any], overwrite: bool
) -> None:
    """Writes a log's parts under a temporary name, then renames."""
    if isinstance(parts, FolderParts):
        raise ValueError(
            "RankingData.save: the data are a prepared folder, which is saved as it is: "
            "RankingData.open reads it."
        )
    if folder.exists() and not (overwrite and (folder / _STATE).is_file()):
        hint = ", or pass overwrite=True to replace it" if (folder / _STATE).is_file() else ""
        raise FileExistsError(f"RankingData.save: {folder} exists. Choose another folder{hint}.")
    with whole_folder(folder, replace=overwrite) as new:
        parts.encoder.save(new / ENCODER)
        (new / _WARM).mkdir()
        _write(new / _ROWS, parts.log, {_PART: parts.codes})
        for name, events in parts.warm.items():
            _write(new / _WARM / f"{name}.parquet", events, {})
        write_json(new / _STATE, {"format": _FORMAT, "warm": list(parts.warm), **options})


def load_parts(folder: Path) -> tuple[LogParts, dict[str, Any]]:
    """What `save_parts` wrote, and the options."""
    state = read_json(folder / _STATE, "RankingData.load")
    if state.pop("format", None) != _FORMAT:
        raise ValueError(
            f"RankingData.load: {folder} has another format than {_FORMAT}. Save it again with "
            "this version."
        )
    encoder = FeatureEncoder.load(folder / ENCODER)
    log, more = _read(folder / _ROWS)
    warm = {name: _read(folder / _WARM / f"{name}.parquet")[0] for name in state.pop("warm")}
    return LogParts(encoder, log, more[_PART], warm), state


def _encoded_frame(
    encoder: FeatureEncoder, frame: pd.DataFrame, histories: Histories | None
) -> EncodedRows:
    """Rows that hold all of their histories need none from the log."""
    given = None if holds_histories(encoder.schema, frame) else histories
    return EncodedRows(encoder, frame, given, _WHO)


def _first_time(frame: pd.DataFrame, time_key: str | None) -> int:
    if time_key is None:
        raise ValueError(
            'RankingData: freeze_at="part" needs times, and the schema has no time_key. Use '
            '"first_row".'
        )
    return int(column(frame, time_key, "RankingData, time key").min())


def _write(path: Path, frame: pd.DataFrame, more: Mapping[str, np.ndarray]) -> None:
    if isinstance(frame.index, pd.MultiIndex):
        raise ValueError(
            "RankingData.save: the rows have an index of several levels; expected one. Use "
            "`reset_index()` on the log."
        )
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.append_column(_INDEX, pa.array(frame.index))
    for name, values in more.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table.replace_schema_metadata(None), path, compression="zstd")


def _read(path: Path) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"RankingData.load: {path} can't be read: {error}") from error
    index = table[_INDEX].to_pandas()
    more = {name: np.asarray(table[name]) for name in (_PART,) if name in table.column_names}
    return to_frame(table.drop_columns([_INDEX, *more]), pd.Index(index).rename(None)), more
