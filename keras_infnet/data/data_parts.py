"""Parts of RankingData: rows of a log in memory, or of a prepared folder; and their files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.whole_files import tidy, whole_folder
from keras_infnet.data.batches import Batches, EncodedRows
from keras_infnet.data.histories import (
    FreezeAt,
    Histories,
    freezes_by_history,
    lacking_histories,
    read_times,
)
from keras_infnet.data.notices import repeated_in_frame, warn_of_repeated_rows
from keras_infnet.data.prepared_rows import read_manifest, read_row_columns
from keras_infnet.data.rates import Rates, lacking_rates, past_of_log
from keras_infnet.data.relative import with_relative
from keras_infnet.data.row_source import as_table
from keras_infnet.data.shards import ENCODER, ROW
from keras_infnet.data.splits import PARTS
from keras_infnet.data.whole_files import (
    check_replaceable,
    read_json,
    read_parquet,
    write_json,
    write_parquet,
)
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.labels import read_labels
from keras_infnet.schema.frames import to_frame
from keras_infnet.schema.instants import Time
from keras_infnet.schema.schema import FeatureSchema

_FORMAT = 2
_STATE, _ROWS = "data.json", "rows.parquet"
# Frames by history, a folder each.
_WARM, _EVENTS = "warm", "events"
# Rows that `Rates.update` added to those of the log.
_PAST = "past.parquet"
_WHO = "RankingData"
# Columns of saved rows that are none of the log's.
_INDEX, _PART = "#index", "#part"

Labels = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


class _Parts:
    """What both kinds of parts do alike with a part, by its name, or with a frame."""

    encoder: FeatureEncoder
    histories: Histories | None
    rates: Rates | None

    def frame(self, rows: str | pd.DataFrame) -> pd.DataFrame:
        """The rows of a part as far as they are kept; a frame is itself."""
        raise NotImplementedError

    def start(self, rows: str | pd.DataFrame) -> np.datetime64:
        """The first time of rows."""
        schema = self.encoder.schema
        if schema.time_key is None:
            raise ValueError(
                'RankingData: freeze_at="part" needs times, and the schema has no time_key. Use '
                '"first_row".'
            )
        return np.datetime64(int(read_times(schema, self.frame(rows), _WHO).min()), "ms")

    def labels(self, rows: str | pd.DataFrame) -> Labels:
        """Labels and weights by task."""
        return read_labels(self.encoder.schema, self.frame(rows))

    def lacking(self, frame: pd.DataFrame) -> list[str]:
        """Names of the histories that the rows lack as list columns."""
        return lacking_histories(self.encoder.schema, frame)

    def holds_all(self, frame: pd.DataFrame) -> bool:
        """Whether the rows hold all histories and features of the past, and there are some."""
        schema = self.encoder.schema
        computed = bool(schema.histories or schema.past)
        return computed and not self.lacking(frame) and not lacking_rates(schema, frame)

    def encoded(self, frame: pd.DataFrame) -> EncodedRows:
        """Rows that hold all of their histories need none from the log."""
        holds_all = self.encoder.schema.histories and not self.lacking(frame)
        return EncodedRows(self.encoder, frame, None if holds_all else self.histories, _WHO)


class LogParts(_Parts):
    """Rows of a log in memory, by part.

    Args:
        encoder: A fitted encoder.
        log: All rows.
        codes: Part of each row, an index of `PARTS`.
        warm: Events from before the log, by history.
        events: Logs of their own, by history.
        rates: The past rows of the log; `None` where no feature needs them.
        computed: Columns of the training rows that have been computed of them, to fit the encoder.
    """

    def __init__(
        self,
        encoder: FeatureEncoder,
        log: pd.DataFrame,
        codes: np.ndarray,
        warm: Mapping[str, pd.DataFrame],
        events: Mapping[str, pd.DataFrame],
        rates: Rates | None,
        computed: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.rates = rates
        if rates is not None:
            rates.schema = encoder.schema
        self.encoder, self.log, self.codes = encoder, log, codes
        self.warm, self.events = dict(warm), dict(events)
        counts = np.bincount(codes, minlength=len(PARTS))
        self.rows = {part: int(n) for part, n in zip(PARTS, counts, strict=True) if n}
        from_log = lacking_histories(encoder.schema, log)
        if twice := [name for name in self.events if name not in from_log]:
            raise ValueError(
                f"{_WHO}: `events` gives the histories {', '.join(twice)}, which the rows hold as "
                "list columns too. Leave one of them out."
            )
        self.histories = Histories(encoder, log, self.warm, self.events) if from_log else None
        if self.histories is None:
            warn_of_repeated_rows(repeated_in_frame(encoder.schema, log), len(log), _WHO, 4)
        # Features of the past depend on when they are frozen, encoded histories don't.
        self._encoded: dict[tuple[str, Time | None], EncodedRows] = {}
        if computed:
            train = self.frame("train").assign(**computed)
            self._encoded["train", None] = EncodedRows(encoder, train, self.histories, _WHO)

    def frame(self, rows: str | pd.DataFrame) -> pd.DataFrame:
        """The rows of a part; a frame is itself."""
        if not isinstance(rows, str):
            return rows
        places = np.flatnonzero(self.codes == PARTS.index(rows))
        if places[-1] - places[0] + 1 == len(places):
            # Rows that follow one another are not copied.
            return self.log.iloc[places[0] : places[-1] + 1]
        return self.log.iloc[places]

    def attach(self, rows: str | pd.DataFrame, freeze_at: FreezeAt | None) -> pd.DataFrame:
        """The rows with their raw histories as list columns, and features of the past."""
        frame = self._with_rates(rows, freeze_at)
        return frame.copy() if self.histories is None else self.histories.attach(frame, freeze_at)

    def batches(self, rows: str | pd.DataFrame, **options: Any) -> Batches:
        """Batches of a part, which is encoded once, or of a frame."""
        freeze_at = options["freeze_at"]
        if not isinstance(rows, str):
            encoded = self.encoded(self._with_rates(rows, freeze_at))
        else:
            encoded = self._encoded_part(rows, freeze_at)
        return encoded.batches(**options)

    def _encoded_part(self, part: str, freeze_at: FreezeAt | None) -> EncodedRows:
        """The rows of a part, encoded once unless each has a time of its own."""
        # A dict freezes histories alone.
        key: Any = None if self.rates is None or freezes_by_history(freeze_at) else freeze_at
        kept = not np.ndim(key)
        if kept and (part, key) in self._encoded:
            return self._encoded[part, key]
        frame = self._with_rates(part, freeze_at)
        encoded = EncodedRows(self.encoder, frame, self.histories, _WHO)
        if kept:
            self._encoded[part, key] = encoded
        return encoded

    def _with_rates(self, rows: str | pd.DataFrame, freeze_at: FreezeAt | None) -> pd.DataFrame:
        given: Any = freeze_at
        freeze = None if freezes_by_history(given) else given
        # The lists of a part are whole; those of other rows may not be.
        log = None if isinstance(rows, str) else self.log
        return with_rates(self.encoder.schema, self.rates, self.frame(rows), freeze, log)


class FolderParts(_Parts):
    """Rows of a folder that `prepare` wrote, by split.

    Args:
        folder: The folder.
        options: Arguments of `Batches.from_folder` for training rows.
    """

    histories = None
    rates = None

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        self._folder, self._options = folder, dict(options)
        self._manifest = read_manifest(folder)
        self.encoder = FeatureEncoder.load(folder / ENCODER)
        self.rows = {split: rows for split, rows in self._manifest["rows"].items() if rows}

    def frame(self, rows: str | pd.DataFrame) -> pd.DataFrame:
        """The raw columns that the folder keeps of a split; a frame is itself."""
        if not isinstance(rows, str):
            return rows
        table = self._columns(rows, (ROW, "raw/"))
        frame = to_frame(table.drop_columns(ROW), np.asarray(table[ROW]))
        return frame.rename(columns=lambda name: name.removeprefix("raw/"))

    def labels(self, rows: str | pd.DataFrame) -> Labels:
        """Labels and weights by task."""
        if not isinstance(rows, str):
            return super().labels(rows)
        table = self._columns(rows, ("label/", "weight/"))
        tasks = self.encoder.schema.task_names
        labels, weights = (
            {task: np.asarray(table[f"{kind}/{task}"]) for task in tasks}
            for kind in ("label", "weight")
        )
        return labels, weights

    def attach(self, rows: str | pd.DataFrame, freeze_at: FreezeAt | None) -> pd.DataFrame:
        """Refused where there are histories: the folder has no raw events."""
        if not isinstance(rows, str) and not (
            self.lacking(rows) or lacking_rates(self.encoder.schema, rows)
        ):
            return rows.copy()
        raise ValueError(
            f"RankingData.attach: {self._folder} is a prepared folder, which has ids but no raw "
            "events and columns. Attach by a RankingData, or Histories, of the log's own rows."
        )

    def batches(self, rows: str | pd.DataFrame, **options: Any) -> Batches:
        """Batches of a split, or of a frame that holds its histories."""
        past = [f"`{f.name}`" for f in self.encoder.schema.past]
        if isinstance(rows, str):
            if options.pop("by", "row") != "row":
                raise ValueError(
                    f"RankingData: {self._folder} is a prepared folder, whose lists may lie in "
                    'several blocks; by="list" needs rows in memory: `RankingData(schema, log)`.'
                )
            if past and options["freeze_at"] is not None:
                raise ValueError(
                    f"RankingData: {self._folder} is a prepared folder, in which {', '.join(past)} "
                    "are encoded as they roll on; `freeze_at` can't freeze them. Leave it out, or "
                    "make a RankingData of the log."
                )
            if rows == "train" and options["shuffle"]:
                options |= self._options
            return Batches.from_folder(self.encoder, self._folder, rows, **options)
        lacking = self.lacking(rows)
        if lacking:
            raise ValueError(
                f"RankingData: {self._folder} is a prepared folder, which has no raw events, and "
                f"the rows lack the histories {', '.join(lacking)} as list columns. Attach them "
                "by a RankingData, or Histories, of the log's own rows."
            )
        if lacking := lacking_rates(self.encoder.schema, rows):
            raise ValueError(
                f"RankingData: {self._folder} is a prepared folder, which has no past rows, and "
                f"the rows lack {', '.join(f'`{name}`' for name in lacking)}. Attach them by Rates."
            )
        return self.encoded(rows).batches(**options)

    def _columns(self, split: str, starts: tuple[str, ...]) -> pa.Table:
        return read_row_columns(self._folder, self._manifest, split, starts)


def with_rates(
    schema: FeatureSchema,
    rates: Rates | None,
    frame: pd.DataFrame,
    freeze_at: Any = None,
    log: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Rows with the features of the past, and those that are relative to them in their lists."""
    if rates is None:
        return frame
    return with_relative(schema, rates.attach(frame, freeze_at), _WHO, log)


def save_parts(
    parts: LogParts | FolderParts, folder: Path, options: Mapping[str, Any], overwrite: bool
) -> None:
    """Writes a log's parts under a temporary name, then renames."""
    if isinstance(parts, FolderParts):
        raise ValueError(
            "RankingData.save: the data are a prepared folder, which is saved as it is: "
            "RankingData.open reads it."
        )
    check_replaceable(folder, "RankingData.save", _STATE, overwrite)
    with whole_folder(folder, replace=overwrite) as new:
        parts.encoder.save(new / ENCODER)
        frames = {_ROWS: parts.log.assign(**{_PART: parts.codes})}
        known: dict[str, Any] = {"format": _FORMAT}
        for folder_of, by_history in ((_WARM, parts.warm), (_EVENTS, parts.events)):
            (new / folder_of).mkdir()
            known[folder_of] = list(by_history)
            frames |= {f"{folder_of}/{name}.parquet": rows for name, rows in by_history.items()}
        if (added := parts.rates and parts.rates.added) is not None:
            frames[_PAST] = added
        known["checksums"] = {file: _write(new / file, rows) for file, rows in frames.items()}
        write_json(new / _STATE, {**known, **options})


def load_parts(folder: Path) -> tuple[LogParts, dict[str, Any]]:
    """What `save_parts` wrote, and the options."""
    tidy(folder)
    state = read_json(folder / _STATE, "RankingData.load")
    if state.pop("format", None) != _FORMAT:
        raise ValueError(
            f"RankingData.load: {folder} has another format than {_FORMAT}. Save it again with "
            "this version."
        )
    encoder = FeatureEncoder.load(folder / ENCODER)
    checksums = state.pop("checksums")
    log = _read(folder, _ROWS, checksums)
    codes = np.asarray(log.pop(_PART))
    warm, events = (
        {name: _read(folder, f"{kind}/{name}.parquet", checksums) for name in state.pop(kind, ())}
        for kind in (_WARM, _EVENTS)
    )
    rates = past_of_log(encoder.schema, log)
    if rates is not None and _PAST in checksums:
        rates.update(_read(folder, _PAST, checksums))
    return LogParts(encoder, log, codes, warm, events, rates), state


def _write(path: Path, frame: pd.DataFrame) -> str:
    """Writes rows with their index; the checksums."""
    if isinstance(frame.index, pd.MultiIndex):
        raise ValueError(
            "RankingData.save: the rows have an index of several levels; expected one. Use "
            "`reset_index()` on the log."
        )
    index = as_table(frame.index.to_frame(index=False, name="the index"), "RankingData.save")
    table = as_table(frame, "RankingData.save").append_column(_INDEX, index[0])
    return write_parquet(path, table.replace_schema_metadata(None))


def _read(folder: Path, name: str, checksums: Mapping[str, str]) -> pd.DataFrame:
    table = read_parquet(folder / name, checksums[name], "RankingData.load")
    index = pd.Index(table[_INDEX].to_pandas()).rename(None)
    return to_frame(table.drop_columns(_INDEX), index.to_numpy())
