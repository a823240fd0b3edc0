"""LightGBM on the inputs of the networks: the model that most teams run today.

Columns: numbers and features of the past as they are; ids of few values as categories; ids of many
by the rate of each task in the rows before, and as categories too where that has the lower log loss
on validation rows, or without times by the rate in the training rows, out of fold; histories by
counts of each group, and of the events of each group that agree with the candidate. `LightGBM-raw`
has ids as categories, without rates of their own and without counts: what one gets without any
work.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import keras_infnet
from keras_infnet import CategoricalFeature, NumericFeature, RateFeature, RelativeFeature
from keras_infnet.data import Rates

TREES = ("LightGBM", "LightGBM-raw")
# Trials in the place of the networks'; the first is the library's defaults.
TRIALS = (
    {},
    {"num_leaves": 63, "learning_rate": 0.05, "min_child_samples": 100, "feature_fraction": 0.7},
    {"num_leaves": 127, "learning_rate": 0.03, "min_child_samples": 200, "feature_fraction": 0.5},
    {"num_leaves": 15, "learning_rate": 0.05, "min_child_samples": 50, "feature_fraction": 0.7},
)
_MOST_TREES, _PATIENCE = 2_000, 50
# By LightGBM's name; the first stops.
_METRICS = {"binary_logloss": "log_loss", "auc": "auc"}
_FEW_VALUES = 255
_FOLDS, _PRIOR = 5, 20.0
_CLOCK = ("user_key", "time_key", "time_unit", "time_origin")


class Columns:
    """The table of a log that trees read, learned from its training rows.

    Args:
        data: The log.
        raw: Whether ids are categories, and histories are left out.
    """

    def __init__(self, data: keras_infnet.RankingData, raw: bool) -> None:
        self._data, self._schema, self._raw = data, data.schema, raw
        self._train = self._rows("train", None)
        self._labels = {t.name: observed_labels(self._train, t) for t in data.schema.tasks}
        self._categories = {
            f.name: pd.Index(_first_values(self._train[f.name], f).dropna().unique())
            for f in data.schema.features
            if isinstance(f, CategoricalFeature)
        }
        # Where negatives are sampled for each positive, rates out of fold tell a training row's own
        # label: the fewer of its id's positives lie outside its fold, the more are in it.
        has_times = data.schema.time_key is not None
        many = [name for name, values in self._categories.items() if len(values) > _FEW_VALUES]
        features = [data.schema.feature(name) for name in many]
        self._before = RatesBefore(data, features) if has_times and not raw else None
        # Categories of ids that have rates too: trees do with or without them.
        self.optional = many if self._before is not None else []

    def of(self, part: str, freeze_at: Any = None) -> pd.DataFrame:
        """The columns of a part's rows, with its past frozen where that is asked for."""
        rows = self._train if part == "train" and freeze_at is None else self._rows(part, freeze_at)
        parts = [self._of_feature(f, rows, part == "train") for f in self._schema.features]
        if self._before is not None:
            parts.append(self._before.of(rows, freeze_at))
        if not self._raw and self._schema.histories:
            parts.append(self._of_histories(part, freeze_at))
        return pd.concat([p.reset_index(drop=True) for p in parts], axis=1)

    def _rows(self, part: str, freeze_at: Any) -> pd.DataFrame:
        rows, rates = self._data.frame(part), self._data.rates
        rows = rows if rates is None else rates.attach(rows, freeze_at)
        for f in self._schema.features:
            if isinstance(f, RelativeFeature) and f.name not in rows:
                lists = self._schema.lists_of(rows, "LightGBM")
                rows = rows.assign(**{f.name: f.of_frame(rows, self._schema.feature(f.of), lists)})
        return rows

    def _of_feature(self, feature: Any, rows: pd.DataFrame, trains: bool) -> pd.DataFrame:
        if isinstance(feature, NumericFeature):
            return rows[[feature.name]].astype("float64")
        if not isinstance(feature, CategoricalFeature):
            raise ValueError(f"LightGBM: feature `{feature.name}` is a {type(feature).__name__}.")
        known = self._categories[feature.name]
        codes = known.get_indexer(_first_values(rows[feature.name], feature))
        if self._raw or self._before is not None or len(known) <= _FEW_VALUES:
            kept = pd.Categorical.from_codes(codes, categories=range(len(known)))
            return pd.DataFrame({feature.name: kept})
        own = known.get_indexer(_first_values(self._train[feature.name], feature))
        return pd.DataFrame(
            {
                f"{feature.name}_{task}": out_of_fold_rates(own, labels, None if trains else codes)
                for task, labels in self._labels.items()
            }
        )

    def _of_histories(self, part: str, freeze_at: Any) -> pd.DataFrame:
        """Counts of the events of each group, and of those that agree in a field."""
        batches = self._data.batches(part, labels=False, freeze_at=freeze_at)
        found = [dict(self._counts(x)) for x in batches.as_numpy_iterator()]
        return pd.DataFrame({name: np.concatenate([f[name] for f in found]) for name in found[0]})

    def _counts(self, x: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        schema = self._schema
        places = {f.name: i for i, f in enumerate(schema.one_valued)}
        for history in schema.histories:
            packed, columns = x[history.name], schema.history_columns(history.name)
            there = np.any(packed != 0, axis=-1)
            groups = {"all": there}
            if history.groups:
                bits = packed[:, :, columns["#groups"].start]
                groups = {
                    g.name: there & (bits >> i & 1 == 1) for i, g in enumerate(history.groups)
                }
            for group, inside in groups.items():
                yield f"{history.name}_{group}", inside.sum(axis=1)
            fields = schema.field_columns(history.name)
            for field in (f for f in fields if f in places):
                candidate = x["categorical"][:, places[field], None]
                same = (packed[:, :, fields[field].start] == candidate) & (candidate > 0)
                for group, inside in groups.items():
                    yield f"{history.name}_{group}_same_{field}", (inside & same).sum(axis=1)


class RatesBefore:
    """Rates of each task in the rows before a row, by ids: `(n_1 + 20 p) / (n + 20)`.

    Args:
        data: The log, all of whose rows are the past of later ones.
        features: The ids; those of which the schema has such rates already are left out.
    """

    def __init__(
        self, data: keras_infnet.RankingData, features: Sequence[CategoricalFeature]
    ) -> None:
        schema = data.schema
        self._user_key, self._time_key = schema.user_key, schema.time_key
        rates = [f for f in schema.past if isinstance(f, RateFeature) and f.window is None]
        held = {(f.keys, f.action) for f in rates}
        self._tasks = schema.tasks
        wanted = [
            (f, t.name) for f in features for t in self._tasks if ((f.name,), t.label) not in held
        ]
        self._features = {f.name: f for f, _ in wanted}
        self._names = [f"{f.name}_{task}_before" for f, task in wanted]
        if not wanted:
            return
        log = pd.concat([data.frame(part) for part in data.rows])
        self._ids = {
            name: pd.Index(_first_values(log[name], f).dropna().unique())
            for name, f in self._features.items()
        }
        of_rates = [
            RateFeature(name, "item", keys=(f.name,), action=task, prior=_PRIOR)
            for name, (f, task) in zip(self._names, wanted, strict=True)
        ]
        clock = {key: getattr(schema, key) for key in _CLOCK}
        tasks = [keras_infnet.BinaryTask(task.name) for task in self._tasks]
        train = data.frame("train")
        means = {t.name: float(np.nanmean(observed_labels(train, t))) for t in self._tasks}
        rated = keras_infnet.FeatureSchema(of_rates, tasks, **clock)
        self._rates = Rates(rated, self._keyed(log), means)

    def of(self, rows: pd.DataFrame, freeze_at: Any) -> pd.DataFrame:
        """The rates, a column a feature and task."""
        if not self._names:
            return pd.DataFrame(index=rows.index)
        return self._rates.attach(self._keyed(rows), freeze_at)[self._names].astype("float64")

    def _keyed(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Users, times, a number for each id, and labels."""
        codes = {
            name: self._ids[name].get_indexer(_first_values(rows[name], f))
            for name, f in self._features.items()
        }
        labels = {t.name: observed_labels(rows, t) for t in self._tasks}
        return rows[[self._user_key, self._time_key]].assign(**codes, **labels)


def observed_labels(rows: pd.DataFrame, task: Any) -> np.ndarray:
    """Labels float64 `(rows,)` as the networks are trained on, NaN where they do not count."""
    labels = rows[task.label].to_numpy("float64", na_value=np.nan)
    observed = [rows[c].eq(1).fillna(False).to_numpy(bool) for c in task.conditions]
    return np.where(np.all(observed, axis=0), labels, 0.0 if task.counts_unobserved else np.nan)


def out_of_fold_rates(
    own: np.ndarray, labels: np.ndarray, codes: np.ndarray | None = None
) -> np.ndarray:
    """Smoothed rates `(n_1 + 20 p) / (n + 20)` of ids in training rows.

    Args:
        own: Code of each training row, -1 if it has none.
        labels: 0, 1 or NaN, of the training rows.
        codes: Rows that are asked for. Defaults to the training rows, whose rate is that of the
            rows outside their own fold: else it would tell their own label.
    """
    known = ~np.isnan(labels)
    size, p = own.max() + 2, labels[known].mean()

    def rates(counted: np.ndarray) -> np.ndarray:
        n = np.bincount(own[counted] + 1, minlength=size)
        ones = np.bincount(own[counted] + 1, labels[counted], minlength=size)
        return (ones + _PRIOR * p) / (n + _PRIOR)

    if codes is not None:
        return rates(known)[codes + 1]
    folds = np.random.default_rng(0).integers(0, _FOLDS, len(own))
    found = np.empty(len(own))
    for fold in range(_FOLDS):
        found[folds == fold] = rates(known & (folds != fold))[own[folds == fold] + 1]
    return found


class Trees:
    """A LightGBM model for each task, stopped early by the log loss of the validation rows.

    Not by AUC, which a first tree may have by chance before probabilities are anything like it.

    Args:
        data: The log.
        model: `"LightGBM"` or `"LightGBM-raw"`.
        arguments: Those of LightGBM that differ from its defaults.
        seed: LightGBM's seed.
    """

    def __init__(
        self, data: keras_infnet.RankingData, model: str, arguments: Mapping[str, Any], seed: int
    ) -> None:
        self._data, self._tasks = data, data.schema.tasks
        self.columns = Columns(data, raw=model == "LightGBM-raw")
        self._given = {"verbosity": -1, "objective": "binary", "seed": seed, **arguments}
        self.boosters: dict[str, Any] = {}

    def fit(self) -> dict[str, list[float]]:
        """Trains; returns the validation AUC and log loss of each task by tree."""
        parts = {part: self.columns.of(part) for part in ("train", "validation")}
        choices = [parts]
        if left_out := self.columns.optional:
            choices.append({part: found.drop(columns=left_out) for part, found in parts.items()})
        curves = {}
        for task in self._tasks:
            fits = [self._fit_task(task, columns) for columns in choices]
            self.boosters[task.name], curve = min(fits, key=lambda fit: min(fit[1]["log_loss"]))
            curves |= {f"val_{task.name}_{metric}": found for metric, found in curve.items()}
        return curves

    def _fit_task(
        self, task: Any, columns: Mapping[str, pd.DataFrame]
    ) -> tuple[Any, dict[str, list[float]]]:
        """A booster on these columns of both parts, and its validation metrics by tree."""
        import lightgbm

        sets, weights = [], self._data.schema.sample_weight
        for part, of_part in columns.items():
            rows = self._data.frame(part)
            labels = observed_labels(rows, task)
            known = ~np.isnan(labels)
            weight = None if weights is None else rows.loc[known, weights]
            given = {"reference": sets[0] if sets else None, "weight": weight}
            sets.append(lightgbm.Dataset(of_part[known], labels[known], **given))
        curve: dict[str, Any] = {}
        booster = lightgbm.train(
            {**self._given, "metric": list(_METRICS)},
            sets[0],
            _MOST_TREES,
            valid_sets=[sets[1]],
            callbacks=[
                lightgbm.early_stopping(_PATIENCE, first_metric_only=True, verbose=False),
                lightgbm.record_evaluation(curve),
            ],
        )
        return booster, {name: curve["valid_0"][metric] for metric, name in _METRICS.items()}

    def predict(self, part: str, freeze_at: Any = None) -> pd.DataFrame:
        """Probabilities by task, as `RankingData.predict` gives those of a network."""
        columns, index = self.columns.of(part, freeze_at), self._data.frame(part).index
        scores = {
            task: booster.predict(columns[booster.feature_name()])
            for task, booster in self.boosters.items()
        }
        return pd.DataFrame(scores, index=index)

    def save(self, folder: Path) -> None:
        """Writes a text file a task."""
        for task, booster in self.boosters.items():
            booster.save_model(str(folder / f"{task}.txt"))

    def load(self, folder: Path) -> None:
        """Reads what `save` wrote."""
        import lightgbm

        tasks = [task.name for task in self._tasks]
        self.boosters = {t: lightgbm.Booster(model_file=str(folder / f"{t}.txt")) for t in tasks}

    def count_leaves(self) -> int:
        """Leaves of all trees, in the place of a number of parameters."""
        tables = [booster.trees_to_dataframe() for booster in self.boosters.values()]
        return sum(int(table["left_child"].isna().sum()) for table in tables)


def _first_values(values: pd.Series, feature: CategoricalFeature) -> pd.Series:
    """The value of each row; of a bag its first."""
    if feature.separator is not None:
        return values.astype("str").str.partition(feature.separator)[0]
    if feature.is_bag:
        return values.map(lambda bag: next(iter(bag), None), na_action="ignore")
    return values
