"""RankingData: a log, its encoder, histories and splits; what models train and are measured on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet._base.paths import local_path
from keras_infnet.calibration.fit import fit_calibration
from keras_infnet.data.batches import Batches, By, check_by_lists, check_whole
from keras_infnet.data.data_parts import FolderParts, LogParts, load_parts, save_parts, with_rates
from keras_infnet.data.histories import Histories, event_logs, freezes_by_history, read_times
from keras_infnet.data.rates import Rates, past_of_log
from keras_infnet.data.relative import check_whole_lists, with_relative
from keras_infnet.data.splits import PARTS, Boundary, split_log
from keras_infnet.data.unknown_ids import checked_rates
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.metrics.group_auc import Weighting
from keras_infnet.metrics.task_metrics import calibration_measures, list_measures
from keras_infnet.schema.canonical import column
from keras_infnet.schema.frames import Frame, as_frame, as_rows
from keras_infnet.schema.schema import FeatureSchema

# Rows of a batch that is not trained on: more take no less time, and more memory.
_EVALUATION_BATCH = 512

Groups = str | Sequence[str] | Mapping[str, str | Sequence[str]]
Freeze = Boundary | Literal["part", "first_row", "never"] | pd.Series | np.ndarray
FreezeAt = Freeze | Mapping[str, Freeze]


class RankingData:
    """A log, the encoder and histories of it, and its training, validation and test rows.

    The encoder learns from training rows (and `warm` events) alone; histories and features of the
    past reach over the whole log, each row's up to its own time. Rows are encoded when they are
    first asked for, and once.

    Args:
        schema: The schema, or a fitted encoder, which is used as it is.
        log: Rows in any order: a pandas, Polars or Arrow frame.
        validation: Where the validation begins: a time (a date such as `"2026-11-20"`, a datetime,
            or an integer as the log may have; without a zone it is UTC), or with `split_key` a
            value of that column. Or its rows as a frame: rows of the log itself (of the same index,
            user and time) then don't train; others are added to the log. Frames of Polars and Arrow
            have no index, so that their rows are others. Defaults to none.
        test: The same for the test, which ends the validation.
        split_key: Column to split by, such as a date that differs from the time. Defaults to the
            schema's `time_key`.
        warm: Events from before the log, as a frame for all histories, or by history name. They
            may lack a time, actions and ratio, and count in no feature of the past.
        events: Logs of their own by history name, such as the reads of a log of exposures: with
            users, times and the history's columns. No row of `log` is an event of these histories.
            The encoder learns from those that are not later than the last training row.
        freeze_at: From when on no event enters a history of validation, test and other rows, and no
            row counts as their past: `"part"`: the first time of the rows that are asked for,
            `"first_row"`: each user's first row among them, a time, or `"never"`: histories and
            rates roll on. Or one of these by history name; those that the dict lacks roll on, and
            so do rates. Those of training rows always do, and those that rows hold as columns stay.
            Methods that take rows also take one time a row: an array, or a series with the index of
            the rows. Defaults to `"never"`.
        batch_size: Rows of a training batch; batches that are not trained on have 512 or more.
        seed: Seed of the order of training rows.
        length_buckets: Lengths that training batches are cut to; see `Batches.from_folder`.
        unknown_rate: Share of training rows, by feature, in which a known id counts as unknown,
            such as `{"video_id": 0.05}`: what a model says of items that it has not seen is then
            trained. Of shuffled batches alone; see `Batches.from_rows`. Defaults to none.
        by: Of what training batches are made, `"row"` or `"list"`; see `batches`.

    Attributes:
        schema: The fitted schema: what models are built from.
        encoder: The `FeatureEncoder`.
        histories: The `Histories`; `None` where rows hold them as list columns, or there are none.
        rates: The `Rates`, which compute the features of the past; `None` where there are none.
        train: Shuffled training batches. Each time they begin with the same first epoch.
        validation: Validation batches; `None` without a validation.
        test: Test batches; `None` without a test.

    Raises:
        ValueError: A boundary is beyond the log or out of order, a part has no row, a column is
            missing or holds what it must not, or an argument is out of range.

    Example:
        >>> import pandas as pd
        >>> schema = keras_infnet.FeatureSchema(
        ...     features=[keras_infnet.CategoricalFeature("video_id", "item", dtype="int")],
        ...     histories=[keras_infnet.History("seen", ("video_id",), max_length=3)],
        ...     tasks=[keras_infnet.BinaryTask("click")],
        ... )
        >>> log = pd.DataFrame(
        ...     {"user_id": 1, "time_ms": [10, 20, 30], "video_id": [7, 8, 9], "click": [0, 1, 1]}
        ... )
        >>> log["time_ms"] += 1_790_000_000_000
        >>> data = keras_infnet.RankingData(schema, log, validation=1_790_000_000_030)
        >>> data.rows
        {'train': 2, 'validation': 1}
        >>> [x["seen"][:, :, 0].tolist() for x, y, weight in data.validation.as_numpy_iterator()]
        [[[0, 2, 3]]]
    """

    def __init__(
        self,
        schema: FeatureSchema | FeatureEncoder,
        log: Frame,
        *,
        validation: Boundary | Frame | None = None,
        test: Boundary | Frame | None = None,
        split_key: str | None = None,
        warm: Frame | Mapping[str, Frame] | None = None,
        events: Mapping[str, Frame] | None = None,
        freeze_at: FreezeAt = "never",
        batch_size: int = 256,
        seed: int = 0,
        length_buckets: Sequence[int] | None = None,
        unknown_rate: Mapping[str, float] | None = None,
        by: By = "row",
    ) -> None:
        given = isinstance(schema, FeatureEncoder)
        encoder = schema if given else FeatureEncoder(schema)
        log = as_rows(log, "RankingData")
        log, codes = split_log(encoder.schema, log, validation, test, split_key)
        log = with_relative(encoder.schema, log, "RankingData")
        before = _warm_events(encoder.schema, warm)
        logs = event_logs(encoder.schema, events, "RankingData")
        check_whole_lists(encoder.schema, log, codes)
        training = None if given and encoder.schema.fitted else log[codes == 0]
        rates = past_of_log(encoder.schema, log, training)
        computed: dict[str, Any] = {}
        if training is not None:
            known = _known_by(encoder.schema, logs, training)
            rows = with_rates(encoder.schema, rates, training)
            encoder.fit(rows, before, known)
            computed = {n: rows[n].to_numpy() for n in rows.columns.difference(training.columns)}
            # Of what was computed only the columns are held on to, not the rows.
            del rows, training
        parts = LogParts(encoder, log, codes, before, logs, rates, computed)
        self._set(parts, freeze_at, batch_size, seed, length_buckets, unknown_rate, by)
        # Arrow keeps what encoding needed in between.
        pa.default_memory_pool().release_unused()

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        freeze_at: FreezeAt = "never",
        batch_size: int = 256,
        seed: int = 0,
        length_buckets: Sequence[int] | None = None,
        shard: tuple[int, int] = (0, 1),
        mix_blocks: int = 16,
        unknown_rate: Mapping[str, float] | None = None,
    ) -> "RankingData":
        """The data of a folder that `prepare` wrote, read in bounded memory.

        Parts are the splits of `prepare`. The folder has no raw events: other rows than its own
        must hold their histories as list columns, and their features of the past; `attach` is
        refused, and `freeze_at` where the folder has features of the past.

        Args:
            folder: What `prepare` wrote.
            freeze_at: As in `RankingData`.
            batch_size: As in `RankingData`.
            seed: As in `RankingData`.
            length_buckets: As in `RankingData`.
            shard: This worker's index, and the number of workers that share the training rows.
            mix_blocks: As in `Batches.from_folder`.
            unknown_rate: As in `RankingData`.

        Raises:
            ValueError: There is no such folder, or a file is missing or damaged.
        """
        data = cls.__new__(cls)
        parts = FolderParts(
            local_path(folder, "RankingData.open", "folder"),
            {"shard": shard, "mix_blocks": mix_blocks},
        )
        data._set(parts, freeze_at, batch_size, seed, length_buckets, unknown_rate)
        return data

    @property
    def schema(self) -> FeatureSchema:
        return self.encoder.schema

    @property
    def rows(self) -> dict[str, int]:
        """Number of rows by part."""
        return dict(self._parts.rows)

    @property
    def train(self) -> Batches | None:
        if "train" not in self.rows:
            return None
        lengths = self._length_buckets
        return self.batches("train", shuffle=True, length_buckets=lengths, by=self._by)

    @property
    def validation(self) -> Batches | None:
        return self.batches("validation") if "validation" in self.rows else None

    @property
    def test(self) -> Batches | None:
        return self.batches("test") if "test" in self.rows else None

    def batches(
        self,
        rows: str | Frame,
        *,
        shuffle: bool = False,
        labels: bool = True,
        batch_size: int | None = None,
        seed: int | None = None,
        freeze_at: FreezeAt | None = None,
        drop_remainder: bool = False,
        length_buckets: Sequence[int] | None = None,
        by: By = "row",
    ) -> Batches:
        """Batches of a part, or of other rows.

        By lists, each batch holds whole lists of the schema's `list_key`, for list losses. All are
        of `batch_size` places; in those that the next list would not fit into, rows of weight 0
        stand, which count in no loss. Lists are shuffled, not their rows; a row in no list is one
        by itself. Labels have besides the tasks the lists, which are no input of a model.

        Args:
            rows: Name of a part, or a frame.
            shuffle: Whether rows come in another order in each epoch.
            labels: Whether batches have labels and weights, or are inputs alone.
            batch_size: Rows of a batch. Defaults to that of the data where rows are shuffled, and
                to 512 or more where not.
            seed: Seed of the order. Defaults to that of the data.
            freeze_at: As in `RankingData`. Defaults to that of the data.
            drop_remainder: Whether a last, smaller batch is left out.
            length_buckets: As in `Batches.from_folder`. Defaults to none.
            by: Of what batches are made, `"row"` or `"list"`.

        Raises:
            ValueError: There is no such part, rows lack a column or a history; or by lists, the
                schema has no `list_key`, a list is of several users or has more rows than a batch,
                the data are a prepared folder, or labels are not wanted or length buckets are.
        """
        rows = self._part_or_frame(rows, "batches")
        size = self._batch_size if shuffle else max(self._batch_size, _EVALUATION_BATCH)
        return self._parts.batches(
            rows,
            labels=labels,
            freeze_at=self._freeze_at_of(rows, freeze_at),
            shuffle=shuffle,
            batch_size=size if batch_size is None else batch_size,
            seed=self._seed if seed is None else seed,
            drop_remainder=drop_remainder,
            length_buckets=length_buckets,
            unknown_rate=self._unknown_rate if shuffle and by == "row" else None,
            by=by,
        )

    def predict(
        self,
        model: Any,
        rows: str | Frame,
        *,
        freeze_at: FreezeAt | None = None,
        batch_size: int | None = None,
        verbose: int | str = 0,
    ) -> pd.DataFrame:
        """Predictions of a model, with the index of the rows.

        Args:
            model: A model of this library, built from `schema`.
            rows: Name of a part, or a frame; labels are not needed.
            freeze_at: As in `RankingData`. Defaults to that of the data.
            batch_size: Rows of a batch. Defaults to 512, or the data's batch size where that is
                larger. A last, smaller batch is compiled for itself.
            verbose: As in `keras.Model.predict`.

        Returns:
            A frame with one column a task, of probabilities or values; a task of several classes
            has one a class, `task/class`.

        Raises:
            ValueError: The model is of another schema, or as `batches`.
        """
        self.encoder.check_model(model, "RankingData.predict")
        rows = self._part_or_frame(rows, "predict")
        batches = self.batches(rows, labels=False, freeze_at=freeze_at, batch_size=batch_size)
        predicted = model.predict(batches, verbose=verbose)
        columns = [column for task in self.schema.tasks for column in task.columns]
        outputs = [np.asarray(predicted[task]) for task in self.schema.task_names]
        return pd.DataFrame(np.concatenate(outputs, axis=1), self._parts.frame(rows).index, columns)

    def evaluate(
        self,
        model: Any,
        rows: str | Frame,
        groups: Groups | None = None,
        *,
        freeze_at: FreezeAt | None = None,
        weighting: Weighting = "impressions",
        calibration: bool = False,
        ndcg_at: int = 10,
        batch_size: int | None = None,
        verbose: int | str = 0,
    ) -> pd.DataFrame:
        """Exact measures of a model on a part or other labelled rows.

        Args:
            model: A model of this library, built from `schema`.
            rows: Name of a part, or a frame with labels.
            groups: Column, or columns together, inside whose values gAUC ranks: `gauc`; or a dict
                name -> column(s), giving `gauc_{name}` each; `()`: none. Rows without a value there
                are in no group. Defaults to the user.
            freeze_at: As in `RankingData`. Defaults to that of the data.
            weighting: Weighting of gAUC; see `group_auc`.
            calibration: Whether to measure calibration, too; see `task_metrics`.
            ndcg_at: Ranks that NDCG counts.
            batch_size: As in `predict`.
            verbose: As in `keras.Model.predict`.

        Returns:
            A frame with one row a task and the measures of its kind, such as `auc`, `gauc` and
            `log_loss`, or `mse` and `mae` of a regression; NaN where one is not defined. Rows count
            by the schema's weights, and only where a task is observed. Where the schema has a
            `list_key`, binary tasks have besides, unless `groups` is `()`, the measures within
            lists of both classes: `gauc_list`, `ndcg@{ndcg_at}` and `mrr`.

        Raises:
            ValueError: As `predict`, a label or group column is missing, or a prediction is NaN or
                infinite.
        """
        rows = self._part_or_frame(rows, "evaluate")
        keys = self._group_keys(rows, groups)
        lists = None
        if self.schema.list_key and (groups is None or len(groups)):
            check_whole("RankingData.evaluate", 1, "a whole number, ", ndcg_at=ndcg_at)
            lists = self.schema.lists_of(self._parts.frame(rows), "RankingData.evaluate")
        labels, weights = self._parts.labels(rows)
        predicted = self.predict(
            model, rows, freeze_at=freeze_at, batch_size=batch_size, verbose=verbose
        )
        _check_finite(predicted)
        measured: dict[str, dict[str, float]] = {}
        for task in self.schema.tasks:
            outputs, observed = predicted[list(task.columns)].to_numpy(), weights[task.name]
            measured[task.name] = task.measures(
                labels[task.name], outputs, observed, keys, weighting
            )
            if lists is not None and task.calibrates:
                measured[task.name] |= list_measures(
                    labels[task.name], outputs, observed, lists, weighting, ndcg_at
                )
            if calibration and task.calibrates:
                measured[task.name] |= calibration_measures(labels[task.name], outputs, observed)
        return pd.DataFrame.from_dict(measured, orient="index").rename_axis("task")

    def calibrate(
        self,
        model: Any,
        rows: str | Frame = "validation",
        *,
        method: Any = "platt",
        negative_sampling_rate: float | Mapping[str, float] | None = None,
        freeze_at: FreezeAt | None = None,
    ) -> Any:
        """Learns how to turn predictions into rates: `fit_calibration` on validation rows.

        Args:
            model: A model of this library, built from `schema`.
            rows: Name of a part, or a frame with labels, that the model was not trained on.
            method: As in `fit_calibration`.
            negative_sampling_rate: As in `fit_calibration`.
            freeze_at: As in `RankingData`. Defaults to that of the data.

        Returns:
            A `Calibration` of the binary tasks; others stay as they are.

        Raises:
            ValueError: As `predict` and `fit_calibration`, or there is no binary task.
        """
        rows = self._part_or_frame(rows, "calibrate")
        labels, weights = self._parts.labels(rows)
        tasks = [task.name for task in self.schema.tasks if task.calibrates]
        if not tasks:
            kinds = ", ".join(f"`{t.name}` ({type(t).__name__})" for t in self.schema.tasks)
            raise ValueError(
                f"RankingData.calibrate: no task has probabilities that can be calibrated: {kinds}."
            )
        predicted = self.predict(model, rows, freeze_at=freeze_at)[tasks]
        weights = {task: weights[task] for task in tasks}
        return fit_calibration(labels, predicted, method, weights, negative_sampling_rate)

    def frame(self, part: str) -> pd.DataFrame:
        """The rows of a part: as they came, or of a prepared folder the columns that it kept."""
        return self._parts.frame(self._part_or_frame(part, "frame"))

    def attach(self, rows: str | Frame, freeze_at: FreezeAt | None = None) -> pd.DataFrame:
        """Rows with raw histories as list columns and features of the past, as requests have them.

        Args:
            rows: Name of a part, or a frame.
            freeze_at: As in `RankingData`. Defaults to that of the data.

        Raises:
            ValueError: The data are a prepared folder, which has no raw events.
        """
        rows = self._part_or_frame(rows, "attach")
        return self._parts.attach(rows, self._freeze_at_of(rows, freeze_at))

    def verification_rows(self, number: int = 32) -> pd.DataFrame:
        """Rows of the last part, evenly spread, with their histories: to verify an export on.

        Args:
            number: How many; fewer where the part has fewer.
        """
        rows = self.frame(list(self.rows)[-1])
        places = np.linspace(0, len(rows) - 1, min(number, len(rows))).astype(int)
        asked = places
        if any(f.of_list for f in self.schema.features):
            # Numbers relative to the list need all of its rows.
            lists = self.schema.lists_of(rows, "RankingData.verification_rows")
            whole = np.isin(lists, lists[places]) & (lists >= 0)
            asked = np.union1d(places, np.flatnonzero(whole))
        return self.attach(rows.iloc[asked]).iloc[np.searchsorted(asked, places)]

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Writes encoder, rows and warm events as a folder: JSON, arrays and Parquet.

        The folder is there whole or not at all.

        Args:
            folder: Folder to make.
            overwrite: Whether data that were saved there are replaced.

        Raises:
            FileExistsError: `folder` exists, and `overwrite` is not set or it holds no saved data.
            ValueError: The data are a prepared folder, which needs no saving.
        """
        options = {
            "freeze_at": _plain(self._freeze_at),
            "batch_size": self._batch_size,
            "seed": self._seed,
            "length_buckets": self._length_buckets and list(self._length_buckets),
            "unknown_rate": self._unknown_rate,
            "by": self._by,
        }
        folder = local_path(folder, "RankingData.save", "folder", written=True)
        save_parts(self._parts, folder, options, overwrite)

    @classmethod
    def load(cls, folder: str | Path) -> "RankingData":
        """Reads what `save` wrote.

        Raises:
            ValueError: A file is missing or damaged.
        """
        parts, options = load_parts(local_path(folder, "RankingData.load", "folder"))
        data = cls.__new__(cls)
        data._set(parts, **options)
        return data

    def _set(
        self,
        parts: LogParts | FolderParts,
        freeze_at: FreezeAt,
        batch_size: int,
        seed: int,
        length_buckets: Sequence[int] | None,
        unknown_rate: Mapping[str, float] | None = None,
        by: By = "row",
    ) -> None:
        check_whole("RankingData", 1, "a whole number, ", batch_size=batch_size)
        check_whole("RankingData", 0, "a whole number, ", seed=seed)
        self.encoder: FeatureEncoder = parts.encoder
        self.histories: Histories | None = parts.histories
        self.rates: Rates | None = parts.rates
        self._parts, self._batch_size, self._seed = parts, int(batch_size), int(seed)
        self._length_buckets = length_buckets
        self._unknown_rate = checked_rates(self.schema, unknown_rate, "RankingData")
        self._by: By = by
        if by != "row":
            check_by_lists("RankingData", self.schema, by, True, length_buckets, unknown_rate)
        self._freeze_at = _checked_freeze(self.schema, freeze_at)

    def _part_or_frame(self, rows: str | Frame, who: str) -> Any:
        if not isinstance(rows, str):
            frame = as_frame(rows, f"RankingData.{who}", f"or a part ({', '.join(self.rows)})")
            log = getattr(self._parts, "log", None)
            return with_relative(self.schema, frame, f"RankingData.{who}", log)
        if rows in self.rows:
            return rows
        hint = f" Give RankingData `{rows}=`." if rows in PARTS else did_you_mean(rows, self.rows)
        raise ValueError(
            f"RankingData.{who}: the data have no part `{rows}`, but {', '.join(self.rows)}.{hint}"
        )

    def _freeze_at_of(self, rows: str | Frame, given: FreezeAt | None) -> Any:
        """What `Histories.windows` takes."""
        if isinstance(rows, str):
            rolls = rows == "train"
        else:
            rolls = self._parts.holds_all(rows)
        if given is None and rolls:
            return None
        freeze_at = self._freeze_at if given is None else _checked_freeze(self.schema, given, True)

        def resolved(part: Any) -> Any:
            if not isinstance(part, str) or part == "first_row":
                return part
            return None if part == "never" else self._parts.start(rows)

        if (parts := freezes_by_history(freeze_at)) is not None:
            return {name: resolved(part) for name, part in parts.items()}
        return resolved(freeze_at)

    def _group_keys(self, rows: str | pd.DataFrame, groups: Groups | None) -> dict[str, Any]:
        if groups is None:
            groups = self.schema.user_key
        if not isinstance(groups, (str, Mapping)) and not len(groups):
            return {}
        frame = self._parts.frame(rows)

        def keys(names: str | Sequence[str]) -> list[Any]:
            names = [names] if isinstance(names, str) else list(names)
            return [column(frame, name, "RankingData.evaluate, groups") for name in names]

        if isinstance(groups, Mapping):
            return {f"gauc_{name}": keys(names) for name, names in groups.items()}
        return {"gauc": keys(groups)}


def _check_finite(predicted: pd.DataFrame) -> None:
    """A ValueError for a prediction that is no finite number."""
    bad = ~np.isfinite(predicted.to_numpy())
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"RankingData.evaluate: predictions of {int(bad.any(axis=1).sum())} of {len(bad)} rows "
            f"are NaN or infinite, such as {predicted.iloc[row, column]} of "
            f"`{predicted.columns[column]}` in row {predicted.index[row]}. The training of the "
            "model has diverged: train again with a lower learning rate, or load earlier weights."
        )


def _checked_freeze(schema: FeatureSchema, freeze_at: Any, of_rows: bool = False) -> Any:
    """Words as they are, times as instants; one time a row only where rows are given with it."""
    if (parts := freezes_by_history(freeze_at)) is not None:
        return {
            schema.history(name).name: _checked_freeze(schema, part, of_rows)
            for name, part in parts.items()
        }
    if np.ndim(freeze_at):
        if of_rows:
            return freeze_at
        raise ValueError(
            f"RankingData: freeze_at holds {len(freeze_at)} times, and the data have several "
            "parts; expected one time, or one by history name. Give one time a row to `batches`, "
            "`predict`, `evaluate`, `calibrate` or `attach`, with the rows."
        )
    if isinstance(freeze_at, str) and freeze_at in ("part", "first_row", "never"):
        return freeze_at
    label = "RankingData: freeze_at (also 'part', 'first_row' or 'never')"
    return np.datetime64(schema.instants.of_value(freeze_at, label), "ms")


def _plain(freeze_at: Any) -> Any:
    """What `_checked_freeze` gave, as JSON values that it reads again."""
    if (parts := freezes_by_history(freeze_at)) is not None:
        return {name: str(part) for name, part in parts.items()}
    return str(freeze_at)


def _known_by(
    schema: FeatureSchema, logs: dict[str, pd.DataFrame], train: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Events that are not later than the last training row."""
    if not logs:
        return {}
    end = read_times(schema, train, "RankingData").max()
    return {
        name: rows[read_times(schema, rows, f"RankingData, events `{name}`") <= end]
        for name, rows in logs.items()
    }


def _warm_events(schema: FeatureSchema, warm: Any) -> dict[str, pd.DataFrame]:
    """Events from before the log, by history."""
    if warm is None:
        return {}
    events: dict[str, Any]
    if issubclass(type(warm), Mapping):
        events = dict(warm)
    else:
        events = {history.name: warm for history in schema.histories}
    for name in events:
        schema.history(name)
    return {name: as_frame(rows, f"RankingData, warm `{name}`") for name, rows in events.items()}
