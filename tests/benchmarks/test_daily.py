import json
import sys

import numpy as np
import pandas as pd
import pytest

import keras_infnet
from benchmarks import daily, daily_logs
from keras_infnet.data import FeatureEncoder
from tests.benchmarks.eager import compile_nothing

pytestmark = pytest.mark.one_backend
SMALL = "--simulate --rows 60 --days 4 --first-days 2 --model FM --no-jit --batch-size 32".split()
SMALL += ["--arguments", '{"dim": 2}']


def run(monkeypatch, *arguments):
    compile_nothing(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["daily.py", *SMALL, *map(str, arguments)])
    daily.main()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing stopped: its folder, what it trained on, and labels it was judged by."""
    folder = tmp_path_factory.mktemp("whole")
    trained, judged = [], []
    fit, area_of = keras_infnet.fit_ranker, daily.area_of

    def noted(model, batches, **options):
        trained.append((int(batches.cardinality()), options.get("continue_training", False)))
        return fit(model, batches, **options)

    def judged_by(labels, scores):
        judged.append(labels.tolist())
        return area_of(labels, scores)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keras_infnet, "fit_ranker", noted)
        patched.setattr(daily, "area_of", judged_by)
        run(patched, "--out", folder / "daily.json", "--plot", folder / "daily.png")
    return folder, trained, judged


def test_each_strategy_has_records_of_each_day(whole):
    folder, *_ = whole
    records = json.loads((folder / "daily.json").read_text())
    assert set(records[0]) == {
        "data", "strategy", "day", "rows", "task", "auc", "seconds", "cpu_seconds"
    }  # fmt: skip
    frame = pd.DataFrame(records)
    assert (frame.groupby("strategy").size() == 2 * 3 * 2).all()
    assert set(frame["strategy"]) == set(daily.STRATEGIES)
    assert set(frame["day"]) == {"2026-11-03", "2026-11-04"}
    assert (folder / "daily.png").stat().st_size


def test_all_with_ids_of_their_own_begin_alike_and_part_then(whole):
    folder, *_ = whole
    frame = pd.DataFrame(json.loads((folder / "daily.json").read_text()))
    frame = frame[(frame["rows"] == "all") & (frame["task"] == "click")]
    areas = frame.set_index(["day", "strategy"])["auc"].unstack()
    same = areas.loc["2026-11-03"].drop("hashed")
    np.testing.assert_allclose(same, same["frozen"], atol=1e-3)
    # Two days so far, and three, are all of the last five.
    np.testing.assert_allclose(areas["retrained"], areas["retrained-5"], atol=1e-3)


def test_a_model_that_goes_on_trains_on_the_day_alone(whole):
    _, trained, _ = whole
    # 120 rows of two days are 3 batches of 32, those of three days 5, of one day 1.
    first, anew, on = (3, False), (5, False), (1, True)
    assert trained == [first, first, on, first, on, first, on, first, anew, first, anew]


def test_all_are_judged_by_the_same_rows(whole):
    *_, judged = whole
    # Of each strategy two days; all rows, new and unseen ones; two tasks.
    assert len(judged) == 6 * 12
    assert all(judged[first : first + 12] == judged[:12] for first in range(0, 72, 12))
    assert [len(labels) for labels in judged[:2]] == [60, 60] and 0 < len(judged[2]) < 60
    # On the first day that is scored, ids that are new are unseen; on the next, some are not.
    assert judged[2:4] == judged[4:6] and len(judged[8]) > len(judged[10]) > 0


class Stopped(Exception):
    pass


@pytest.mark.parametrize("written", [True, False])
def test_a_stopped_run_goes_on(whole, monkeypatch, tmp_path, written):
    folder, *_ = whole
    out = tmp_path / "daily.json"
    days, write = [], daily.write_records

    def stopping(records, path):
        days.append(records[-1]["day"])
        if written or len(days) == 1:
            write(records, path)
        if len(days) == 1 + (not written):
            raise Stopped

    only = ("--strategies", "grown", "--out", out)
    monkeypatch.setattr(daily, "write_records", stopping)
    with pytest.raises(Stopped):
        run(monkeypatch, *only)
    monkeypatch.setattr(daily, "write_records", write)
    run(monkeypatch, *only)
    before = json.loads((folder / "daily.json").read_text())
    before = [r for r in before if r["strategy"] == "grown"]
    after = json.loads(out.read_text())
    assert [(r["day"], r["rows"], r["task"]) for r in after] == [
        (r["day"], r["rows"], r["task"]) for r in before
    ]
    np.testing.assert_allclose([r["auc"] for r in after], [r["auc"] for r in before], atol=1e-6)


def test_other_settings_are_no_going_on(whole, monkeypatch):
    folder, *_ = whole
    with pytest.raises(ValueError, match="begun with other settings: epochs. Give them again"):
        run(monkeypatch, "--epochs", 3, "--out", folder / "daily.json")


@pytest.mark.parametrize(("kind", "known_days"), [("new", 1), ("unseen", 2)])
def test_an_encoder_of_the_days_before_lacks_a_user_or_video(kind, known_days):
    log = daily_logs.simulate_days(300, 4, seed=1)
    days, found = list(log.frames), log.rows_by_kind(first_days=1)
    encoder = FeatureEncoder(log.schema).fit(
        pd.concat(log.frames[day] for day in days[:known_days])
    )
    ids = encoder.transform(log.frames[days[2]])["categorical"]
    names = [f.name for f in log.schema.features if isinstance(f, keras_infnet.CategoricalFeature)]
    of_both = ids[:, [names.index(name) for name in daily_logs.NEW_IDS]]
    # The id of unknown values is 1.
    assert found[kind][days[2]].tolist() == (of_both == 1).any(axis=1).tolist()
    assert 0 < found[kind][days[2]].mean() < 1
    assert found[kind][days[0]].all() and found["all"][days[2]].all()


def test_a_tenth_of_users_and_videos_is_new_each_day():
    log = daily_logs.simulate_days(3000, 3)
    first, second, _ = log.frames.values()
    # 250 users and 120 videos are there at a time, of which 25 and 12 go and come.
    for name, most in (("user_id", 250), ("video_id", 120)):
        assert first[name].nunique() <= most
        new = set(second[name]) - set(first[name])
        assert len(new) <= most // 10 + (most - first[name].nunique())
        assert len(set(first[name]) | set(second[name])) <= most + most // 10


def test_hashed_ids_have_more_buckets_than_values():
    log = daily_logs.simulate_days(3000, 3)
    hashed = log.hashed().schema
    # 120 and twice 12 videos are less than 256, 250 and twice 25 users less than 512.
    assert hashed.feature("video_id").hash_buckets == 256
    assert hashed.feature("user_id").hash_buckets == 512
    assert hashed.feature("category") == log.schema.feature("category")


def test_kuairand_is_read_by_its_days(tmp_path):
    keras_infnet.datasets.simulate(tmp_path / "log", rows=400, users=20, items=30)
    log = daily_logs.read_days("kuairand", tmp_path / "log", first_days=2)
    whole = keras_infnet.datasets.KuaiRand(tmp_path / "log").frame()
    dates = pd.to_datetime(whole["date"].astype(str)).dt.strftime("%Y-%m-%d")
    assert {day: len(rows) for day, rows in log.frames.items()} == dates.value_counts().to_dict()
    assert list(log.frames) == sorted(log.frames)
    rows = pd.concat(log.frames.values())
    assert {f.name for f in log.schema.past} <= set(rows.columns)
    with pytest.raises(ValueError, match="expected more than the 2 first ones"):
        daily_logs.read_days("kuairand", tmp_path / "log", first_days=2, most=2)


def test_differences_have_errors_paired_over_days():
    known = {"data": "made up", "task": "click"}
    areas = {"grown": (0.6, 0.7, 0.8), "retrained": (0.5, 0.7, 0.6)}
    seconds = {"grown": (4.0, 1.0, 1.0), "retrained": (4.0, 6.0, 10.0)}
    records = [
        {**known, "strategy": name, "day": f"2026-11-0{day}", "rows": rows}
        | {"auc": None if rows == "new" and day == 2 else area, "cpu_seconds": seconds[name][day]}
        for name, found in areas.items()
        for day, area in enumerate(found)
        for rows in ("all", "new", "unseen")
    ]
    grown = daily.markdown_table(records).splitlines()[2].split(" | ")
    # Differences .1, 0, .2: their deviation is .1, and the error of a mean of three .1 / sqrt(3).
    assert grown[1:3] == ["0.7000", "+0.1000 ± 0.0577"]
    # Without the last day, which has no area, .1 and 0.
    assert grown[3:5] == ["0.6500", "+0.0500 ± 0.0500"]
    assert grown[7:] == ["6.0", "0.30", "1.0", "0.10 |"]
