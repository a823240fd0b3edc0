"""Days that are appended to a prepared folder, against all days through memory at once."""

import dataclasses
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from keras_infnet import (
    BinaryTask,
    CategoricalFeature,
    CountFeature,
    FeatureSchema,
    History,
    RankingData,
    RateFeature,
    SecondsSinceFeature,
    SincePrevious,
)
from keras_infnet.data import Batches, FeatureEncoder, Histories, Rates, prepare, prepare_steps
from keras_infnet.data.shards import ShardWriter
from tests.logs import log_schema
from tests.prepared import SMALL, collect, expected, large_log, row_numbers

pytestmark = pytest.mark.one_backend

DAYS = (0, 400, 650, 900)


@pytest.fixture(scope="module")
def log():
    """Three days, of which the first two share a millisecond; items and countries come and go."""
    log = large_log().sort_values("time_ms", kind="stable", ignore_index=True)
    day = np.searchsorted(DAYS[1:-1], log.index, side="right")
    log["video_id"] += 15 * day
    log["country"] = np.where((day == 2) & (log.index % 3 == 0), "BR", log["country"])
    # A combination of actions that the first day lacks, and a user of one day alone.
    log.loc[(day == 0) & (log.is_click == 0), "is_like"] = 0
    log.loc[(day == 1) & (log.user_id == 4), "user_id"] = 77
    log.loc[log.index % 31 == 0, "user_id"] = -1
    assert log.time_ms[399] == log.time_ms[400]
    return log


@pytest.fixture(scope="module")
def days(log):
    return [log[a:b].reset_index(drop=True) for a, b in zip(DAYS, DAYS[1:], strict=False)]


def append(out, day, number, schema=None, **kwargs):
    arguments = {"splits": {f"day{number}": None}, "append": True, **SMALL, **kwargs}
    return prepare(schema or log_schema(), day, out, **arguments)


def check_rows(out, encoder, wanted, splits):
    """Each row is what it is with all days through memory, and none is lacking."""
    seen = []
    for split in splits:
        rows = row_numbers(out, split)
        found = collect(Batches.from_folder(encoder, out, split, batch_size=64, mix_blocks=2))
        for name, array in found.items():
            np.testing.assert_array_equal(array, wanted[name][rows], err_msg=f"{split} {name}")
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(next(iter(wanted.values())))))


@pytest.fixture(scope="module")
def appended(days, tmp_path_factory):
    """A folder of three days, and its encoder after each."""
    out = tmp_path_factory.mktemp("appended") / "out"
    encoders = [append(out, day, number) for number, day in enumerate(days)]
    return out, encoders


NAMES = ("day0", "day1", "day2")


def test_appended_days_are_all_days_at_once(appended, days, log):
    out, encoders = appended
    check_rows(out, encoders[-1], expected(encoders[-1], log), NAMES)
    by_hand = FeatureEncoder(log_schema()).fit(days[0])
    # Each day's rows have extended the encoder, as `extend` does.
    for day, encoder in zip(days[1:], encoders[1:], strict=True):
        by_hand = by_hand.extend(day)
        assert encoder.schema == by_hand.schema
    assert FeatureEncoder.load(out / "encoder").schema == encoders[-1].schema
    known = {p.name for p in out.iterdir()}
    assert known == {"encoder", "events", "manifest.json", "past", "rows", "shards", "values"}
    assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_any_encoder_of_the_same_edges_reads_all_days(appended, days, log):
    """Values that it knows no more, and ids that have another owner, included."""
    out, encoders = appended
    first, fitted = encoders[0], encoders[-1]
    check_rows(out, first, expected(first, log), NAMES)
    freed = fitted.extend(days[2].assign(video_id=range(500, 750)), max_ids={"video_id": 260})
    assert freed.schema.layout.renewed["video_id"]
    check_rows(out, freed, expected(freed, log), NAMES)


def plain_schema():
    """Without numbers, whose edges would be others where an encoder is fitted anew."""
    whole = log_schema()
    features = [f for f in whole.features if isinstance(f, CategoricalFeature)]
    quantities = (*whole.history("liked").quantities, SincePrevious())
    histories = (
        History("seen", ("video_id", "tag"), 4, actions=("is_click", "is_like")),
        dataclasses.replace(whole.history("liked"), quantities=quantities),
    )
    return FeatureSchema(features, whole.tasks, histories)


def test_an_encoder_that_is_fitted_anew_reads_the_rows_of_all_days(days, log, tmp_path):
    for number, day in enumerate(days):
        append(tmp_path / "out", day, number, plain_schema())
    anew = FeatureEncoder(plain_schema()).fit(log)
    check_rows(tmp_path / "out", anew, expected(anew, log), NAMES)
    assert sum(anew.schema.layout.sizes.values()) > 100


def test_an_encoder_may_be_given_and_takes_the_place_of_the_folders(days, log, tmp_path):
    first = FeatureEncoder(log_schema()).fit(days[0])
    second = first.extend(days[1], min_frequency=1)
    append(tmp_path / "out", days[0], 0, first)
    given = append(tmp_path / "out", days[1], 1, second)
    assert given is second
    two = log[: DAYS[2]]
    check_rows(tmp_path / "out", second, expected(second, two), NAMES[:2])


def test_the_splits_of_the_folder_go_on(days, log, tmp_path):
    """By time, as they were given first; the rows of the last are no training rows."""
    splits = {"train": int(log.time_ms[300]), "test": None}
    encoders = [append(tmp_path / "out", days[0], 0, splits=splits)]
    encoders += [append(tmp_path / "out", day, 0, splits=None) for day in days[1:]]
    assert encoders[0].schema == encoders[-1].schema
    data = RankingData.open(tmp_path / "out")
    before = int((log.time_ms < splits["train"]).sum())
    assert data.rows == {"train": before, "test": 900 - before}
    check_rows(tmp_path / "out", encoders[0], expected(encoders[0], log), splits)
    kept = data.frame("test").sort_index()
    np.testing.assert_array_equal(kept.time_ms, log.time_ms[kept.index])


def past_schema():
    return FeatureSchema(
        [
            CategoricalFeature("video_id", "item", dtype="int"),
            CategoricalFeature("page_id", "item", dtype="int", hash_buckets=20),
            RateFeature("ctr", "item", keys=("video_id",), action="is_click", window="7s"),
            CountFeature("shown", "user"),
            SecondsSinceFeature("since", "item", keys=("user_id", "video_id"), action="is_like"),
        ],
        [BinaryTask("click", "is_click")],
    )


def test_features_of_the_past_go_on_from_what_was_counted(days, log, tmp_path):
    for number, day in enumerate(days):
        encoder = append(tmp_path / "out", day, number, past_schema())
    attached = Rates(encoder.schema, log).attach(log)
    wanted = collect(Batches.from_rows(encoder, attached))
    check_rows(tmp_path / "out", encoder, wanted, NAMES)
    held = attached.iloc[-9:].assign(time_ms=log.time_ms.max())
    with pytest.raises(ValueError, match="`ctr`, `shown`, `since` are columns of the log on some"):
        append(tmp_path / "out", held, 3, past_schema())
    states = sorted(p.name for p in (tmp_path / "out" / "past" / "rates").iterdir())
    assert states[:3] == ["keys-0-0", "keys-0-1", "keys-0-2"] and len(states) == 9


def test_shards_of_the_days_before_are_neither_read_nor_written(days, tmp_path):
    out = tmp_path / "out"
    append(out, days[0], 0)
    of_rows = sorted((out / "rows").rglob("*.parquet")) + sorted((out / "events").rglob("*.par*"))
    before = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in of_rows}
    hidden = [p.rename(p.with_name("x")) and p for p in of_rows[:1]]
    # Not even looked at: a day is appended although one is lacking, which reading then tells.
    encoder = append(out, days[1], 1)
    with pytest.raises(ValueError, match=f"{hidden[0].name} is missing"):
        Batches.from_folder(encoder, out, "day0")
    for path in hidden:
        path.with_name("x").rename(path)
    assert {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in before} == before
    of_day = pd.read_parquet(next((out / "events" / "seen").glob("*day00001*")))
    active = days[1].user_id.nunique()
    # Its own events, and at most five of the past of each user who is active.
    assert len(of_day) <= len(days[1]) + 5 * active


class Stopped(Exception):
    pass


@pytest.mark.parametrize("moment", ["shards", "publish", "swapping", "swapped"])
def test_a_day_that_is_killed_leaves_the_folder_and_can_be_done_again(
    days, log, tmp_path, monkeypatch, moment
):
    out = tmp_path / "out"
    first = append(out, days[0], 0)
    wanted = expected(first, log[: DAYS[1]])
    child = os.fork()
    if not child:
        rename = Path.rename
        if moment == "shards":
            write, written = ShardWriter.write, []

            def stopping(self, *args):
                written.append(args)
                return write(self, *args) if len(written) < 3 else os._exit(7)

            ShardWriter.write = stopping
        elif moment == "publish":
            prepare_steps.put_in_place = lambda *_: os._exit(7)
        elif moment == "swapping":
            Path.rename = lambda *a: rename(*a) if a[0] == out else os._exit(7)
        else:
            prepare_steps.Preparation._clear_out = lambda self: (
                os._exit(7) if (out / "rows" / "day1").exists() else None
            )
        try:
            append(out, days[1], 1)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    if moment == "swapped":
        with pytest.raises(ValueError, match="are older than the newest past row"):
            append(out, days[1], 1)
    else:
        check_rows(out, first, wanted, NAMES[:1])
        append(out, days[1], 1)
    encoder = append(out, days[2], 2)
    check_rows(out, encoder, expected(encoder, log), NAMES)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_unfinished_day_with_other_rows_begins_again(days, log, tmp_path, monkeypatch):
    out = tmp_path / "out"
    append(out, days[0], 0)
    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "write", lambda *_: (_ for _ in ()).throw(Stopped()))
        with pytest.raises(Stopped):
            append(out, days[1][:100], 1)
    encoder = append(out, days[1], 1)
    check_rows(out, encoder, expected(encoder, log[: DAYS[2]]), NAMES[:2])


def test_what_can_not_be_appended_says_why(appended, days, log, tmp_path):
    out, encoders = appended
    newest = log.time_ms.max()

    def refused(message, day=days[2], schema=None, **kwargs):
        with pytest.raises(ValueError, match=message):
            append(out, day, 3, schema, **kwargs)

    refused(
        f"rows 0 to 169: .*170 of 170 rows are older than the newest past row, of {newest}", days[1]
    )
    refused("Give each day once, in the order of time", days[2])
    later = days[2].assign(time_ms=newest + 5)
    refused("`partitions` is 7; the folder has 3", later, partitions=7)
    refused(r"`keep` is \['page_id'\]; the folder has \[\]", later, keep=["page_id"])
    refused("append=True adds to what is there, and overwrite=True", later, overwrite=True)
    refused("the schema has no time_key", later, log_schema(time_key=None))
    refused("was prepared with another schema", later, log_schema(max_length=4))
    refused("`earlier` gives events from before the log", later, earlier={"seen": days[0]})
    refused("the histories seen are list columns of some days", _listed(log, later, encoders[-1]))
    other = FeatureEncoder(log_schema()).fit(log)
    refused("`length`: it has other edges, buckets or hashes", later, other)
    check_rows(out, encoders[-1], expected(encoders[-1], log), NAMES)
    prepare(log_schema(), days[0], tmp_path / "plain", **SMALL)
    with pytest.raises(ValueError, match="was prepared without append=True"):
        append(tmp_path / "plain", days[1], 1)


def _listed(log, later, encoder):
    rows = Histories(encoder, pd.concat([log, later], ignore_index=True)).attach(later)
    return rows.drop(columns=[c for c in rows if c.startswith("liked_")])


def test_histories_are_frozen_only_where_all_events_are_known(appended, days, log):
    out, encoders = appended
    encoder = encoders[-1]
    late = int(days[2].time_ms.iloc[100])
    frozen = expected(encoder, log, freeze_at=late)
    found = collect(Batches.from_folder(encoder, out, "day2", batch_size=64, freeze_at=late))
    for name, array in found.items():
        np.testing.assert_array_equal(array, frozen[name][row_numbers(out, "day2")])
    early = int(days[0].time_ms.iloc[9])
    with pytest.raises(Exception, match="has rows of a day that was appended, whose histories"):
        collect(Batches.from_folder(encoder, out, "day2", batch_size=64, freeze_at=early))
    collect(Batches.from_folder(encoder, out, "day2", batch_size=64, freeze_at="first_row"))


def test_first_rows_of_a_split_of_several_days_are_not_known(days, tmp_path):
    for number in range(2):
        encoder = append(tmp_path / "out", days[number], number, splits={"train": None})
    with pytest.raises(
        ValueError, match="rows of 2 days that were appended.*first_row.* not known"
    ):
        Batches.from_folder(encoder, tmp_path / "out", freeze_at="first_row")


@pytest.mark.parametrize("name", ["values/vocabularies.npz", "past/histories/shard-00001/users"])
def test_damage_of_what_a_day_needs_is_named(days, tmp_path, name):
    out = tmp_path / "out"
    encoder = append(out, days[0], 0)
    file = next(p for p in out.rglob("*") if str(p).startswith(str(out / name)))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 8
    file.write_bytes(data[:-99] if file.suffix == ".npz" else data)
    where = re.escape(str(out / Path(name).parent))
    with pytest.raises(ValueError, match=where):
        append(out, days[1], 1)
    if name.startswith("values"):
        with pytest.raises(ValueError, match=where):
            Batches.from_folder(encoder, out, "day0")
    assert json.loads((out / "manifest.json").read_text())["days"] == 1
