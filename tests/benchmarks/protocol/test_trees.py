"""The table that trees read, against loops over rows; trees against LightGBM called by itself."""

import lightgbm
import numpy as np
import pandas as pd
import pytest

import keras_infnet
from benchmarks.protocol import trees
from benchmarks.protocol.data import load_data
from benchmarks.protocol.runs import RunConfig, read_json
from benchmarks.protocol.train import predict_test, train_run
from benchmarks.protocol.trees import (
    Columns,
    RatesBefore,
    Trees,
    observed_labels,
    out_of_fold_rates,
)
from tests.datasets.test_census_income import persons, write_uci

pytestmark = pytest.mark.one_backend
TASKS = ("click", "like")
ITEM = {"shop": {}, "tags": {"max_values": 2}}
SMALL = {"num_leaves": 4, "min_child_samples": 5}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log"
    keras_infnet.datasets.simulate(path, rows=900, users=40, items=60)
    return path


@pytest.fixture(scope="module")
def data(path):
    return load_data(path, TASKS, "exposures", "kuairand")


def test_rates_of_training_rows_never_read_their_own_label():
    rng = np.random.default_rng(3)
    codes, labels = rng.integers(-1, 6, 200), rng.integers(0, 2, 200).astype("float64")
    found = out_of_fold_rates(codes, labels)
    for row in range(0, 200, 7):
        flipped = labels.copy()
        flipped[row] = 1 - flipped[row]
        # All that changes is the overall rate that counts as 20 rows.
        again = out_of_fold_rates(codes, flipped)
        n = np.sum((codes == codes[row]) & (np.arange(200) != row))
        assert abs(again[row] - found[row]) <= 20 / (200 * 20) + 1e-12, n


def test_rates_of_other_rows_are_those_of_all_training_rows():
    own, labels = np.array([0, 0, 1, -1, 1]), np.array([1, 0, 1, 0, np.nan])
    found = out_of_fold_rates(own, labels, np.array([0, 1, -1, 0]))
    p = 2 / 4
    expected = [(1 + 20 * p) / 22, (1 + 20 * p) / 21, (0 + 20 * p) / 21, (1 + 20 * p) / 22]
    assert found == pytest.approx(expected)


def test_ids_of_many_values_have_the_rates_of_the_rows_before(data):
    """Of the authors, for whom the schema has rates with another prior, and of music, with none."""
    before = RatesBefore(data, [data.schema.feature("music_id"), data.schema.feature("author_id")])
    log = pd.concat([data.frame(part) for part in ("train", "validation", "test")])
    p = data.frame("train")["is_like"].mean()
    rows, frozen = data.frame("test"), int(data.frame("test")["time_ms"].min())
    for freeze_at in (None, frozen):
        found = before.of(rows, freeze_at)
        assert found.index.equals(rows.index)
        assert set(found) == {"music_id_click_before", "music_id_like_before"}
        for place, row in list(enumerate(rows.itertuples()))[::7]:
            until = row.time_ms if freeze_at is None else min(row.time_ms, freeze_at)
            past = log[(log["music_id"] == row.music_id) & (log["time_ms"] < until)]["is_like"]
            expected = (past.sum() + 20 * p) / (len(past) + 20)
            assert found["music_id_like_before"].iloc[place] == pytest.approx(expected, rel=1e-6)


def test_trees_of_a_log_with_times_read_all_that_raw_trees_read(data, monkeypatch):
    monkeypatch.setattr(trees, "_FEW_VALUES", 3)
    raw, own = (Columns(data, raw).of("test") for raw in (True, False))
    pd.testing.assert_frame_equal(own[list(raw)], raw)
    assert {"music_id_click_before", "music_id_like_before"} < set(own) - set(raw)


def test_trees_learn_of_rows_in_which_a_task_is_observed():
    rows = pd.DataFrame(
        {"click": [1, 0, 1, 1], "cart": pd.array([1, 1, 0, None], "Int8"), "buy": [1, 1, 1, 0.0]}
    )
    buy = keras_infnet.BinaryTask("buy", observed_when=("click", "cart"))
    np.testing.assert_array_equal(observed_labels(rows, buy), [1, np.nan, np.nan, np.nan])
    path = keras_infnet.BinaryTask("buy", observed_when=("click", "cart"), entire_space=True)
    np.testing.assert_array_equal(observed_labels(rows, path), [1, 0, 0, 0])
    click = keras_infnet.BinaryTask("click")
    np.testing.assert_array_equal(observed_labels(rows, click), [1, 0, 1, 1])


def test_trees_read_numbers_relative_to_the_list_and_the_first_value_of_bags():
    item = [keras_infnet.CategoricalFeature(n, "item", **more) for n, more in ITEM.items()]
    rate = keras_infnet.RateFeature("ctr", "item", keys=("shop",), action="click", prior=1)
    rank = keras_infnet.RelativeFeature("ctr_rank", "item", of="ctr")
    tasks = [keras_infnet.BinaryTask("click")]
    schema = keras_infnet.FeatureSchema([*item, rate, rank], tasks, list_key="shown")
    log = pd.DataFrame({"shown": np.repeat([1, 2, 3], 2), "shop": [1, 2] * 3, "user_id": 1})
    log["time_ms"] = 1_790_000_000_000 + 1000 * log["shown"]
    log["tags"] = [["a", "b"], [], None, ["b"], ["a"], ["c"]]
    log["click"] = [1, 0] * 3
    data = keras_infnet.RankingData(schema, log, validation=1_790_000_003_000)
    found = Columns(data, raw=True).of("train")
    assert found["ctr_rank"].tolist() == [0.5, 0.5, 1, 0]
    assert found["tags"].cat.codes.tolist() == [0, -1, -1, 1]


def test_counts_of_histories_are_those_of_the_raw_log(data):
    """Events of a user strictly before the row, at most 100, of an author that the row has."""
    table = Columns(data, raw=False).of("test").reset_index(drop=True)
    log = pd.concat([data.frame(part) for part in ("train", "validation", "test")])
    trained = set(data.frame("train")["author_id"].value_counts().loc[lambda n: n >= 2].index)
    for place, row in list(enumerate(data.frame("test").itertuples()))[::9]:
        past = log[(log["user_id"] == row.user_id) & (log["time_ms"] < row.time_ms)]
        past = past.sort_values("time_ms", kind="stable").tail(100)
        same = past["author_id"].eq(row.author_id) & (row.author_id in trained)
        assert table.loc[place, "exposures_all"] == len(past)
        assert table.loc[place, "exposures_click"] == past["is_click"].sum()
        assert table.loc[place, "exposures_click_same_author_id"] == (past["is_click"] * same).sum()


def plain_table(data, rows, train):
    """Numbers as they are, and categories numbered by their first training row."""
    table = {}
    for feature in data.schema.features:
        values = rows[feature.name]
        if isinstance(feature, keras_infnet.CategoricalFeature):
            values, known = (
                [str(v).split(",")[0] if feature.is_bag else v for v in frame[feature.name]]
                for frame in (rows, train)
            )
            codes = {v: i for i, v in enumerate(dict.fromkeys(known))}
            values = pd.Categorical([codes.get(v) for v in values], categories=range(len(codes)))
        table[feature.name] = values
    return pd.DataFrame(table, index=rows.index)


def fit_clicks(tables, rows):
    """LightGBM by itself."""
    train = lightgbm.Dataset(tables["train"], rows["train"]["is_click"])
    validation = lightgbm.Dataset(
        tables["validation"], rows["validation"]["is_click"], reference=train
    )
    given = {"objective": "binary", "metric": "binary_logloss", "verbosity": -1, "seed": 0, **SMALL}
    stop = lightgbm.early_stopping(50, verbose=False)
    return lightgbm.train(given, train, 2_000, [validation], callbacks=[stop])


def test_raw_trees_are_lightgbm_on_the_raw_columns(data):
    raw = Trees(data, "LightGBM-raw", SMALL, seed=0)
    curves = raw.fit()
    rows = {part: data.rates.attach(data.frame(part)) for part in ("train", "validation", "test")}
    tables = {part: plain_table(data, frame, rows["train"]) for part, frame in rows.items()}
    expected = fit_clicks(tables, rows)
    found = raw.predict("test")
    assert raw.boosters["click"].best_iteration == 1 + np.argmin(curves["val_click_log_loss"])
    assert len(curves["val_click_auc"]) == len(curves["val_click_log_loss"])
    assert found["click"].to_numpy() == pytest.approx(expected.predict(tables["test"]))
    assert found.index.equals(rows["test"].index)


def test_each_task_reads_ids_as_categories_where_that_has_the_lower_log_loss(data, monkeypatch):
    monkeypatch.setattr(trees, "_FEW_VALUES", 3)
    own = Trees(data, "LightGBM", SMALL, seed=0)
    own.fit()
    rows = {part: data.frame(part) for part in ("train", "validation")}
    tables = {part: own.columns.of(part) for part in rows}
    assert set(own.columns.optional) < set(tables["train"])
    by_loss = {}
    for left_out in ([], own.columns.optional):
        kept = {part: table.drop(columns=left_out) for part, table in tables.items()}
        fitted = fit_clicks(kept, rows)
        by_loss[fitted.best_score["valid_0"]["binary_logloss"]] = fitted, kept
    expected, kept = by_loss[min(by_loss)]
    assert len(by_loss) == 2
    assert own.boosters["click"].feature_name() == list(kept["validation"])
    found = own.predict("validation")["click"].to_numpy()
    assert found == pytest.approx(expected.predict(kept["validation"]))


def test_a_run_of_trees_has_the_files_and_numbers_of_a_network_s(data, tmp_path):
    run = RunConfig("LightGBM", SMALL, 0.1, 1, "exposures", TASKS, "0123456789ab")
    predict_test(run, data, tmp_path)
    folder = tmp_path / run.name
    result, test = (read_json(folder / f"{name}.json") for name in ("result", "test"))
    assert set(result["metrics"]["click"]) == set(test["click"])
    assert result["steps"] >= 2 and result["parameters"] > result["steps"]
    assert {"click_frozen", "like"} <= set(pd.read_parquet(folder / "test.parquet"))
    train_run(run.with_seed(1), data, tmp_path)


def test_a_log_without_users_has_no_group_auc(tmp_path):
    folder = tmp_path / "census"
    folder.mkdir()
    for part, number in (("train", 200), ("test", 80)):
        write_uci(folder, part, persons(number))
    data = load_data(folder, ("income", "college"), "exposures", "census-income")
    run = RunConfig(
        "LightGBM", SMALL, 0.1, 1, "exposures", data.schema.task_names, "0", log="census-income"
    )
    train_run(run, data, tmp_path)
    metrics = read_json(tmp_path / run.name / "result.json")["metrics"]
    assert {frozenset(numbers) for numbers in metrics.values()} == {frozenset({"auc", "log_loss"})}
