import re

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from keras_infnet.datasets.kuairand import KuaiRand
from keras_infnet.datasets.kuairand_files import STATISTICS
from keras_infnet.datasets.simulate import simulate
from keras_infnet.datasets.simulation_world import SimulationSettings
from tests.datasets import tiny_kuairand

LABELS = {"click": "is_click", "like": "is_like", "long_view": "long_view"}
SMALL = {"rows": 2_000, "users": 60, "items": 150}


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    path = tmp_path_factory.mktemp("simulation") / "log"
    return simulate(path, rows=60_000, users=1_500, items=1_200, seed=3)


@pytest.fixture(scope="module")
def frame(simulation):
    return KuaiRand(simulation.path).frame()


def contents(path):
    return {file.name: file.read_bytes() for file in (path / "data").iterdir()}


def logit(probability):
    return np.log(probability / (1 - probability))


def test_the_same_seed_writes_the_same_files(tmp_path):
    paths = [simulate(tmp_path / name, seed=7, **SMALL).path for name in ("a", "b")]
    assert contents(paths[0]) == contents(paths[1])


@pytest.mark.parametrize("change", [{"seed": 8}, {"same_tasks": True}])
def test_another_seed_or_setting_writes_other_logs(tmp_path, change):
    first = contents(simulate(tmp_path / "a", seed=7, **SMALL).path)
    second = contents(simulate(tmp_path / "b", **{"seed": 7, **SMALL, **change}).path)
    log = "log_standard_4_22_to_5_08_pure.csv"
    assert first.keys() == second.keys() and first[log] != second[log]


def test_files_have_the_columns_of_the_original(simulation):
    frames = {
        "log_standard_4_08_to_4_21": tiny_kuairand.log_rows([18]),
        "log_standard_4_22_to_5_08": tiny_kuairand.log_rows([18]),
        "log_random_4_22_to_5_08": tiny_kuairand.log_rows([18]),
        "user_features": tiny_kuairand.users(),
        "video_features_basic": tiny_kuairand.videos(),
        "video_features_statistic": pd.DataFrame(columns=["video_id", *STATISTICS]),
    }
    for name, expected in frames.items():
        found = pd.read_csv(simulation.path / "data" / f"{name}_pure.csv", nrows=5)
        assert sorted(found.columns) == sorted(expected.columns), name
        assert len(found) == 5


def test_sizes_days_and_keys(frame):
    assert len(frame) == 60_000
    assert frame["user_id"].between(0, 1_499).all() and frame["video_id"].between(0, 1_199).all()
    assert sorted(frame["date"].unique()) == [
        20220421,
        *range(20220422, 20220431),
        *(range(20220501, 20220509)),
    ]
    assert not frame.duplicated(["user_id", "time_ms"]).any()
    assert frame["is_rand"].eq(0).all()


def test_date_and_hour_are_those_of_time_ms_in_china(frame):
    local = pd.to_datetime(frame["time_ms"], unit="ms", utc=True).dt.tz_convert("Asia/Shanghai")
    assert (local.dt.strftime("%Y%m%d").astype(int) == frame["date"]).all()
    assert (local.dt.hour == frame["hour"]).all()
    first = frame["date"] < 20220422
    assert first[: first.sum()].all()
    for half in (frame[first], frame[~first]):
        assert half["time_ms"].is_monotonic_increasing


def test_rates_are_those_of_short_video_apps(frame):
    rates = frame[["is_click", "long_view", "is_like", "is_follow"]].mean()
    assert 0.3 < rates["is_click"] < 0.5
    assert 0.2 < rates["long_view"] < 0.4
    assert 0.02 < rates["is_like"] < 0.05
    assert 0 < rates["is_follow"] < 0.01


def test_videos_follow_zipf_and_are_shown_again(frame):
    counts = frame["video_id"].value_counts().to_numpy()
    ranks = np.arange(1, len(counts) + 1)
    slope = np.polyfit(np.log(ranks[10:300]), np.log(counts[10:300]), 1)[0]
    assert -1.2 < slope < -0.5
    assert frame.duplicated(["user_id", "video_id"]).mean() > 0.05


def test_users_see_more_in_the_evening_than_at_night(frame):
    hours = frame["hour"].value_counts(normalize=True)
    assert hours[[19, 20, 21]].sum() > 3 * hours[[3, 4, 5]].sum()


def test_interest_in_a_topic_grows_with_clicks_and_fades(simulation, frame):
    log = frame.assign(topic=frame["tag"].str.split(",").str[0], best=simulation.best["click"])
    log = log.sort_values(["user_id", "topic", "time_ms"])
    of_topic = [log["user_id"], log["topic"]]
    clicked_at = log["time_ms"].where(log["is_click"] == 1).groupby(of_topic).ffill()
    hours = (log["time_ms"] - clicked_at.groupby(of_topic).shift()) / 3_600_000
    fresh, faded, never = hours.between(6, 24), hours > 7 * 24, hours.isna()
    assert log["best"][fresh].mean() > log["best"][faded].mean() + 0.05
    assert log["best"][fresh].mean() > log["best"][never].mean() + 0.05


@pytest.mark.parametrize("name", LABELS)
def test_truth_is_calibrated(simulation, frame, name):
    for probability in (simulation.truth[name], simulation.best[name]):
        label = frame[LABELS[name]]
        for part in np.array_split(np.argsort(probability.to_numpy()), 10):
            p = probability.to_numpy()[part]
            sigma = np.sqrt((p * (1 - p)).sum()) / len(p)
            assert abs(label.to_numpy()[part].mean() - p.mean()) < 4.5 * sigma


@pytest.mark.parametrize("name", LABELS)
def test_truth_beats_best_and_best_beats_popularity(simulation, frame, name):
    label = frame[LABELS[name]]
    rate = label.mean()
    seen = frame.groupby("video_id")[LABELS[name]].agg(["sum", "count"])
    # Rates that have seen the labels they predict: more than popularity can honestly know.
    popularity = frame["video_id"].map((seen["sum"] + 20 * rate) / (seen["count"] + 20))
    truth, best = simulation.truth[name], simulation.best[name]
    assert roc_auc_score(label, truth) > roc_auc_score(label, best) + 0.005
    assert roc_auc_score(label, best) > roc_auc_score(label, popularity) + 0.03


def test_tasks_read_different_things_unless_asked_not_to(tmp_path, simulation):
    odds = logit(simulation.best[list(LABELS)])
    assert odds.corr().where(~np.eye(3, dtype=bool)).abs().max().max() < 0.3
    same = simulate(tmp_path / "log", same_tasks=True, **SMALL)
    for probabilities in (same.truth, same.best):
        odds = logit(probabilities[list(LABELS)].astype("float64"))
        assert odds.corr().min().min() > 0.99
    odds = logit(same.truth.astype("float64"))
    difference = odds["click"] - odds["like"]
    np.testing.assert_allclose(difference, difference.iloc[0], atol=1e-3)


def test_truth_is_found_again(simulation, frame):
    truth = KuaiRand(simulation.path).truth()
    for name in LABELS:
        np.testing.assert_array_equal(truth[f"{name}_true"], simulation.truth[name])
        np.testing.assert_array_equal(truth[f"{name}_best"], simulation.best[name])
    assert truth.index.equals(frame.index)


def test_truth_fits_any_subset_of_the_logs(tmp_path):
    simulation = simulate(tmp_path / "log", **SMALL)
    data = KuaiRand(simulation.path, random_log=True)
    frame, truth = data.frame(), data.truth()
    random = frame["is_rand"] == 1
    assert random.sum() == 40 and len(truth) == len(frame) == 2_040
    assert (frame.loc[random, "date"] >= 20220422).all()
    (simulation.path / "data" / "log_standard_4_08_to_4_21_pure.csv").unlink()
    data = KuaiRand(simulation.path)
    frame, truth = data.frame(), data.truth()
    assert len(frame) < 2_000
    expected = simulation.truth["click"].iloc[-len(frame) :].to_numpy()
    np.testing.assert_array_equal(truth["click_true"], expected)


def test_truth_that_does_not_fit_the_log_is_an_error(tmp_path):
    path = simulate(tmp_path / "log", **SMALL).path
    log = path / "data" / "log_standard_4_22_to_5_08_pure.csv"
    log.write_text("\n".join(log.read_text().splitlines()[:-1]) + "\n")
    message = r"truth.parquet: \d+ rows for log_standard_4_22_to_5_08_pure.csv, which has \d+ rows"
    with pytest.raises(ValueError, match=message):
        KuaiRand(path).truth()


def test_all_days_and_one_day(tmp_path):
    for days in (1, 31):
        settings = SimulationSettings(days=days)
        path = simulate(tmp_path / str(days), settings=settings, **SMALL).path
        frame = KuaiRand(path).frame()
        assert frame["date"].nunique() == days and frame["date"].max() == 20220508


def test_it_splits_by_date(simulation, frame):
    split = KuaiRand(simulation.path).split(frame)
    assert split.test["date"].unique().tolist() == [20220507, 20220508]
    assert len(split.train) > 0.7 * len(frame)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 99}, "simulate: rows is 99; expected 100 or more."),
        ({"users": 0}, "simulate: users is 0; expected 1 or more."),
        ({"items": 0}, "simulate: items is 0; expected 1 or more."),
    ],
)
def test_sizes_out_of_range(tmp_path, change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        simulate(tmp_path / "log", **{**SMALL, **change})
    assert not (tmp_path / "log").exists()


def test_the_smallest_log(tmp_path):
    path = simulate(tmp_path / "log", rows=100, users=1, items=1).path
    assert len(KuaiRand(path).frame()) == 100


def test_an_existing_folder_is_replaced_only_if_asked_and_simulated(tmp_path):
    path = simulate(tmp_path / "log", **SMALL).path
    before = contents(path)
    with pytest.raises(FileExistsError, match="log exists. Choose another folder, or pass overw"):
        simulate(path, seed=1, **SMALL)
    assert contents(path) == before
    simulate(path, seed=1, overwrite=True, **SMALL)
    assert contents(path) != before
    assert [folder.name for folder in tmp_path.iterdir()] == ["log"]
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileExistsError, match="photos is no simulated log, so it is not replaced"):
        simulate(tmp_path / "photos", overwrite=True, **SMALL)


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(OSError, match="simulate: can't write .*log: .*No space left on device.*"):
        simulate(tmp_path / "log", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        OSError, match="simulate: can't write .*choose a folder that can be written"
    ):
        simulate(tmp_path / "file" / "log", **SMALL)
