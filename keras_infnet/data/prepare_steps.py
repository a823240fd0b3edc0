"""Steps of a preparation that are the same on every engine: work folder, rows, counts, shards."""

import contextlib
import re
import shutil
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.checks import check_integer
from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet._base.locks import locked
from keras_infnet._base.whole_files import put_in_place, remove_partial, tidy
from keras_infnet.data.histories import lacking_histories, read_times
from keras_infnet.data.log_files import list_files
from keras_infnet.data.past_columns import PastColumns, Run
from keras_infnet.data.prepared_base import Base
from keras_infnet.data.relative import check_no_relative
from keras_infnet.data.row_source import RowSource, WantedColumns, describe
from keras_infnet.data.shards import (
    ENCODER,
    FORMAT,
    MANIFEST,
    PAST,
    SHARDS,
    VALUES,
    ShardHistories,
    ShardWriter,
    shard_file,
)
from keras_infnet.data.spool import Spool
from keras_infnet.data.whole_files import check_replaceable, new_folder, read_json, write_json
from keras_infnet.encoding.counts import EncoderCounts
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.growth import GrowthCounts
from keras_infnet.encoding.translation import Translation
from keras_infnet.schema.canonical import column
from keras_infnet.schema.schema import FeatureSchema

# Name of the log among the sources; all others are events from before it.
ROWS = "rows"
_SPOOL, _SPOOLED, _REQUEST, _LOCK = "spool", "spooled.json", "request.json", ".lock"


@dataclass(frozen=True)
class Preparation:
    """What `prepare` was asked for, and its steps; its arguments have the same names.

    Args:
        out: Folder to make, as an absolute path.
        base: The folder as it is, which the rows are appended to; `None`: there is none yet.
        grows: Whether the encoder of `base` learns the values of the rows.

    Raises:
        ValueError: An argument is out of range.
    """

    out: Path
    schema: FeatureSchema
    earlier: tuple[str, ...]
    splits: Mapping[str, int | None]
    split_by: str | None
    keep: tuple[str, ...]
    partitions: int
    chunk_rows: int
    block_rows: int
    append: bool = False
    base: Base | None = None
    grows: bool = False

    def __post_init__(self) -> None:
        for name in ("partitions", "chunk_rows", "block_rows"):
            check_integer("prepare", name, getattr(self, name), 1, "1 or more")
        names, ends = list(self.splits), list(self.splits.values())
        if not names or not all(re.fullmatch(r"\w+", name) for name in names):
            raise ValueError(f"prepare: splits are {names}; expected names such as `train`.")
        until = ends[:-1] if ends[-1] is None else ends
        known = [end for end in until if end is not None]
        if known != until or sorted(set(known)) != known:
            raise ValueError(
                f"prepare: splits end at {ends}; expected ends that grow, and None for no end "
                "in the last one alone."
            )
        if known and self.split_by is None:
            raise ValueError(
                "prepare: the schema has no time_key to split by. Pass `split_by`, a column of "
                "numbers that grow with time."
            )

    @property
    def work(self) -> Path:
        """The folder beside `out` in which a run that was stopped may have finished something."""
        return self.out.with_name(f".{self.out.name}.unfinished")

    def to_dict(self) -> dict[str, Any]:
        """What shards depend on, as JSON values."""
        names = ("split_by", "partitions", "chunk_rows", "block_rows")
        return {
            "format": FORMAT,
            "schema": self.schema.fingerprint,
            "splits": dict(self.splits),
            "keep": list(self.keep),
            **{name: getattr(self, name) for name in names},
        }

    @contextlib.contextmanager
    def open(
        self, sources: Mapping[str, RowSource], overwrite: bool, engine: str
    ) -> Generator[None, None, None]:
        """Makes the work folder, or goes on in it; in its context no other process does.

        Raises:
            FileExistsError: `out` is there already.
            ValueError: The earlier run had other arguments or other rows, or another process
                prepares the folder.
            OSError: The folder can't be written.
        """
        # A run may have been killed after its last step but one.
        tidy(self.out)
        self._clear_out()
        if self.base is None:
            check_replaceable(self.out, "prepare", MANIFEST, overwrite)
        described = {name: describe(rows) for name, rows in sources.items()}
        request = {**self.to_dict(), "rows": described, "engine": engine}
        if self.append:
            request |= {"append": True, "day": self.day}
        new_folder(self.work)
        taken = f"prepare: another process prepares {self.out}. Wait for its end."
        with locked(self.work / _LOCK, taken):
            if self.base is not None:
                self.base.check_unchanged()
            self._begin(request, overwrite)
            yield

    def _begin(self, request: Mapping[str, Any], overwrite: bool) -> None:
        """Goes on with what an earlier run of the same request has finished, or clears it."""
        work = self.work
        # Where nothing was finished there is nothing to go on with, nor where a run was killed
        # while it cleared the folder, which begins with the request.
        finished = any(any(work.rglob(name)) for name in ("*.arrow", _SPOOLED, SHARDS))
        if finished and (work / _REQUEST).exists():
            earlier = self._earlier_request(overwrite or self.append)
            other = sorted(key for key in request if request[key] != earlier.get(key))
            # Days are appended by jobs, of which one may find more files than the one before.
            if other and not (overwrite or self.append):
                raise ValueError(
                    f"prepare: {work} holds an unfinished run with other {', '.join(other)}. "
                    "Repeat its arguments to go on, or pass overwrite=True to start again."
                )
            if not other:
                remove_partial(work, deep=True)
                return
        (work / _REQUEST).unlink(missing_ok=True)
        for path in work.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()
        write_json(work / _REQUEST, dict(request))

    def _earlier_request(self, overwrite: bool) -> dict[str, Any]:
        try:
            return read_json(self.work / _REQUEST, "prepare")
        except ValueError:
            if not overwrite:
                raise
            return {}

    def publish(self) -> None:
        """Makes the finished folder `out`; what was there goes when the new one is in place."""
        if self.base is not None:
            self.base.link_into(self.work)
        remove_partial(self.work, deep=True)
        put_in_place(self.work, self.out)
        self._clear_out()

    def _clear_out(self) -> None:
        """Takes away what was needed only until `out` was in place; the request goes last."""
        if (self.out / _REQUEST).exists() and (self.out / MANIFEST).is_file():
            shutil.rmtree(self.out / _SPOOL, ignore_errors=True)
            (self.out / _LOCK).unlink(missing_ok=True)
            (self.out / _REQUEST).unlink(missing_ok=True)

    def spool(self, source: str) -> Spool:
        """The rows of a source by user."""
        folder = self.work / _SPOOL / (ROWS if source == ROWS else f"earlier-{source}")
        return Spool(folder, self.partitions, (self.schema.user_key,))

    @property
    def past(self) -> PastColumns:
        """The columns of the features of the past."""
        more = () if self.split_by is None else (self.split_by,)
        return PastColumns(
            self.work / _SPOOL / "past",
            self.schema,
            self.partitions,
            more,
            self.work / PAST / "rates" if self.append else None,
            self.base and self.base.folder / PAST / "rates",
        )

    def write(self, source: str, chunk: str, table: pa.Table, place: str) -> bool:
        """Writes a chunk of a source to its spools; tells whether it was written now."""
        if source == ROWS:
            self._check_columns(table.column_names)
            check_no_relative(self.schema, table.column_names)
            if self.base is not None:
                self.base.check_later(self.schema, table)
            self.past.write(chunk, table, place)
        return self.spool(source).write(chunk, table, place)

    def _check_columns(self, names: Collection[str]) -> None:
        """A ValueError if rows lack what is asked for of them long after they were read."""
        schema = self.schema
        needed: list[Any] = [schema.time_key, *(schema.list_key or ()), *self.keep]
        needed += [key for f in schema.past if f.name not in names for key in f.keys]
        for key in needed:
            if key is not None and key not in names:
                raise ValueError(f"no column `{key}`.{did_you_mean(key, names)}")

    def learn(
        self,
        given: FeatureEncoder,
        sources: Mapping[str, RowSource],
        read: Callable[[EncoderCounts | None], None],
        recount: Callable[[EncoderCounts], None],
        run: Run,
    ) -> tuple[FeatureEncoder, int]:
        """The fitted encoder, and the number of rows of the log.

        Args:
            given: An encoder, fitted or not.
            sources: The log and events from before it.
            read: Fills the spools, and counts rows for an encoder that is not fitted.
            recount: Counts the rows in the spools, which now have their features of the past.
            run: As in `PastColumns.compute`.
        """
        done = self.work / _SPOOL / _SPOOLED
        before: dict[str, Any] = read_json(done, "prepare") if done.exists() else {}
        # Files were found unchanged; frames can be compared only by reading them again.
        if before and all(list_files(rows) for rows in sources.values()):
            return FeatureEncoder.load(self.work / ENCODER), before["rows"]
        counts = None if given.schema.fitted and not self.grows else self.new_counts()
        if self.schema.past:
            read(None)
            layout = self.schema.layout
            self.past.compute(layout and layout.action_rates, self._training, run)
            if counts is not None:
                recount(counts)
        else:
            read(counts)
        digests = {name: self.spool(name).digest() for name in sources}
        if before.get("digests") != digests:
            shutil.rmtree(self.work / SHARDS, ignore_errors=True)
        if isinstance(counts, GrowthCounts):
            given = _extended(given, counts)
        elif counts is not None:
            counts.fit(given)
        given.save(self.work / ENCODER)
        if self.append:
            self._learn_values(given, sources)
        number = sum(chunk.place.rows for chunk in self.spool(ROWS).chunks())
        write_json(done, {"rows": number, "digests": digests})
        return given, number

    def new_counts(self) -> EncoderCounts:
        """What counts rows for an encoder that is not fitted, or grows."""
        if self.base is not None and self.grows:
            return GrowthCounts(FeatureEncoder.load(self.base.folder / ENCODER))
        return EncoderCounts(self.schema)

    def _learn_values(self, encoder: FeatureEncoder, sources: Mapping[str, RowSource]) -> None:
        """Writes the encoder that knows all values, with those of these rows behind the others."""
        known = encoder if self.base is None else FeatureEncoder.load(self.base.folder / VALUES)
        counts = GrowthCounts(known)
        for name in sources:
            for chunk in self.spool(name).chunks():
                with named(chunk.place):
                    frame = self.spool(name).rows_of(chunk)
                    if name == ROWS:
                        counts.add_rows(self.past.attach(frame))
                    else:
                        counts.add_events(name, frame)
        values = counts.extended(min_frequency=1)
        # Rows can be given the ids of this encoder.
        Translation.of(values, encoder, "prepare")
        values.save(self.work / VALUES)

    @property
    def day(self) -> int:
        """How often rows were appended before."""
        return 0 if self.base is None else self.base.days

    @property
    def encoder_of_shards(self) -> Path:
        """Where the encoder lies whose ids the shards hold."""
        return self.work / (VALUES if self.append else ENCODER)

    def wanted_columns(self, source: str) -> WantedColumns:
        """The columns that are read of a source."""
        more: tuple[str, ...] = ()
        if source == ROWS:
            more = self.keep
            if self.split_by is not None and self._ends:
                more += (self.split_by,)
        return WantedColumns.of(self.schema, more)

    def time_unit(self, table: pa.Table, before: str | None = None) -> str | None:
        """The unit of a chunk's times.

        Raises:
            ValueError: They are no times, or integers of another unit than in the rows before.
        """
        key = self.schema.time_key
        if key is None or key not in table.column_names:
            return before
        unit = self.schema.instants.unit_of(table[key], f"column `{key}`")
        if None not in (unit, before) and unit != before and pa.types.is_integer(table[key].type):
            raise ValueError(
                f"column `{key}` holds integers of {unit}, but of {before} in the rows before. "
                "Give all files of a log the same unit."
            )
        return unit or before

    def count(self, counts: EncoderCounts | None, source: str, frame: pd.DataFrame) -> None:
        """Counts a chunk for the encoder: of the log, the rows of the first split."""
        if source == ROWS:
            frame = self._training(frame)
        if counts is None or not len(frame):
            return
        counts.add_rows(self.past.attach(frame)) if source == ROWS else counts.add_events(
            source, frame
        )

    def finished_shard(self, number: int) -> dict[str, Any] | None:
        """What is known of the shard of a partition; `None` before it is written."""
        file = shard_file(self.work, self._shard_name(number))
        return read_json(file, "prepare") if file.exists() else None

    def shard(self, encoder: FeatureEncoder, number: int) -> dict[str, Any] | None:
        """What is known of the shard of a partition, which is written now unless it was before.

        `None`: The log has no row of the partition.
        """
        if (known := self.finished_shard(number)) is not None:
            return known
        frame = self.spool(ROWS).partition(number)
        if frame.empty:
            return None
        first = 0 if self.base is None else self.base.rows
        splits, shard = list(self.splits), self._shard_name(number)
        writer = ShardWriter(self.work, encoder, splits, self.keep, self.block_rows, first)
        with named(shard):
            frame = self.past.attach(frame)
            histories = self._histories(encoder, frame, number)
            known = writer.write(shard, frame, self._split_codes(frame), histories)
            return known

    def _histories(
        self, encoder: FeatureEncoder, frame: pd.DataFrame, number: int
    ) -> ShardHistories | None:
        """The histories of a partition's rows; where days are appended, they are kept."""
        lacking = lacking_histories(self.schema, frame)
        if self.base is not None:
            self.base.check_histories(lacking)
        if not lacking:
            return None
        place = Path(PAST, "histories", f"shard-{number:05d}")
        before = None if self.base is None else self.base.folder / place
        histories: Any
        if before is None or not before.exists():
            earlier = {name: self.spool(name).partition(number) for name in self.earlier}
            histories = ShardHistories(encoder, frame, earlier)
        else:
            histories = ShardHistories.load(before, encoder).append(frame)
        if self.append:
            histories.save(self.work / place, overwrite=True)
            histories = histories.of_users(frame)
        return histories

    def _shard_name(self, number: int) -> str:
        # In the order of names, as in the manifest, later days follow.
        return f"shard-day{self.day:05d}-{number:05d}" if self.day else f"shard-{number:05d}"

    @property
    def _ends(self) -> list[int]:
        return [end for end in self.splits.values() if end is not None]

    def _training(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of the first split."""
        return frame.iloc[np.flatnonzero(self._split_codes(frame) == 0)]

    def _split_codes(self, frame: pd.DataFrame) -> np.ndarray:
        """Index of each row's split; -1 for rows after the end of the last."""
        if not self._ends or self.split_by is None:
            return np.zeros(len(frame), "int64")
        if self.split_by == self.schema.time_key:
            values = read_times(self.schema, frame, "prepare")
        else:
            values = self._split_values(frame)
        codes: np.ndarray = np.searchsorted(np.array(self._ends), values, side="right")
        return np.where(codes < len(self.splits), codes, -1)

    def _split_values(self, frame: pd.DataFrame) -> np.ndarray:
        values = column(frame, str(self.split_by), "prepare, split_by")
        if not pd.api.types.is_numeric_dtype(values.dtype) or values.isna().any():
            raise ValueError(
                f"column `{self.split_by}` holds {values.dtype}; to split by it, it must hold "
                "numbers in every row."
            )
        return np.asarray(values)


def split_ends(
    schema: FeatureSchema, splits: Mapping[str, Any], split_by: str | None
) -> dict[str, Any]:
    """Where splits end: milliseconds if it is by time, values of the column if not."""
    if split_by is None or split_by != schema.time_key:
        return dict(splits)
    return {
        name: end
        if end is None
        else schema.instants.of_value(end, f"prepare: the end of split `{name}`")
        for name, end in splits.items()
    }


def _extended(encoder: FeatureEncoder, counts: GrowthCounts) -> FeatureEncoder:
    """The encoder with the values that were counted; itself where it knows them all."""
    extended = counts.extended()
    return encoder if extended.digest() == encoder.digest() else extended


@contextlib.contextmanager
def named(source: Any) -> Generator[None, None, None]:
    """Says in every error where the rows come from."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"prepare: {source}: {error}") from error
