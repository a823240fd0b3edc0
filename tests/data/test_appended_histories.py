"""Histories that go on day by day, through files, against loops over the rows of all days."""

import dataclasses
import os

import numpy as np
import pandas as pd
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, History, SincePrevious
from keras_infnet.data import FeatureEncoder, Histories
from tests.logs import log_schema, make_log

pytestmark = pytest.mark.one_backend

START = 1_650_000_000_000
# Days end between these times; rows of the first lie in both days.
MIDNIGHTS = (START + 15_000, START + 33_000)


def days_of(log, seed=0):
    """Three days, of which the first two share a millisecond."""
    times = log.time_ms.to_numpy()
    day = np.searchsorted(MIDNIGHTS, times, side="right")
    tied = (times == MIDNIGHTS[0]) & (np.random.default_rng(seed).random(len(log)) < 0.5)
    day[tied] = 0
    return [log[day == number].reset_index(drop=True) for number in range(3)]


@pytest.fixture(scope="module")
def log():
    log = make_log(rows=300)
    # Nobody, a user of one day alone, and rows at midnight.
    log.loc[log.index % 29 == 0, "user_id"] = -1
    log.loc[log.time_ms > MIDNIGHTS[1], "user_id"] += 4
    log.loc[log.index % 13 == 0, "time_ms"] = MIDNIGHTS[0]
    return log


@pytest.fixture(scope="module")
def encoder(log):
    return FeatureEncoder(log_schema(max_length=3)).fit(log)


def slow_history(past, row, length, where=None):
    """The newest events of the row's user strictly before it, by a loop in the order of time."""
    events = [
        event
        for event in past
        if event.user_id == row.user_id != -1
        and event.time_ms < row.time_ms
        and (where is None or getattr(event, where) == 1)
    ]
    return events[-length:]


def in_order(past):
    return list(past.sort_values("time_ms", kind="stable").itertuples())


def assert_as_by_loop(frame, rows, past):
    past = in_order(past)
    for (_, found), row in zip(frame.iterrows(), rows.itertuples(), strict=True):
        seen = slow_history(past, row, 3)
        assert list(found.seen_video_id) == [e.video_id for e in seen]
        assert list(found.seen_is_click) == [e.is_click for e in seen]
        assert list(found.seen_age_seconds) == [(row.time_ms - e.time_ms) // 1000 for e in seen]
        liked = slow_history(past, row, 3, "is_like")
        assert list(found.liked_video_id) == [e.video_id for e in liked]


@pytest.mark.parametrize("through_files", [False, True])
def test_days_that_are_appended_have_the_histories_of_all_days(
    log, encoder, tmp_path, through_files
):
    first, *later = days_of(log)
    past, before = Histories(encoder, first), [first]
    for number, day in enumerate(later):
        if through_files:
            past.save(tmp_path / str(number))
            past = Histories.load(tmp_path / str(number), encoder)
        kept = past
        past = kept.append(day)
        before.append(day)
        assert_as_by_loop(past.attach(day), day, pd.concat(before))
        whole = Histories(encoder, pd.concat(before, ignore_index=True))
        for name in ("seen", "liked"):
            found, expected = _gathered(past, name, day), _gathered(whole, name, day)
            np.testing.assert_array_equal(found, expected)
        # What a day is appended to stays: its own rows can still be asked for.
        assert kept.until == before[-2].time_ms.max()
        if not (through_files or number):
            assert_as_by_loop(kept.attach(first), first, first)


def _gathered(histories, name, rows):
    """The encoded events of each row, by a loop over its window."""
    columns = histories.events[name].columns
    starts, ends, _ = histories.windows(name, rows)
    length = histories.schema.history(name).max_length
    packed = np.zeros((len(rows), length, columns.shape[1]), "int32")
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        packed[row, length - (end - start) :] = columns[start:end]
    return packed


def test_no_more_than_the_newest_events_of_a_user_are_kept(log, encoder, tmp_path):
    past = Histories(encoder, log)
    past.save(tmp_path / "past")
    kept = Histories.load(tmp_path / "past", encoder).events["seen"]
    until = log.time_ms.max()
    for user, events in log[log.user_id != -1].groupby("user_id"):
        before = int((events.time_ms < until).sum())
        code = Histories.load(tmp_path / "past", encoder).user_codes(events[:1])[0]
        assert (kept.users == code).sum() == min(3, before) + len(events) - before, user


def test_a_later_encoder_knows_what_was_unknown_when_histories_were_saved(log, encoder, tmp_path):
    schema = encoder.schema.with_layout(None)
    narrow = FeatureEncoder(schema).fit(log[log.video_id < 10])
    first, second, _ = days_of(log)
    Histories(narrow, first).save(tmp_path / "past")
    past = Histories.load(tmp_path / "past", encoder).append(second)
    whole = Histories(encoder, pd.concat([first, second], ignore_index=True))
    found, expected = (_gathered(h, "seen", second) for h in (past, whole))
    np.testing.assert_array_equal(found, expected)


def test_what_follows_from_the_order_of_events_survives_the_cut(tmp_path):
    schema = FeatureSchema(
        [CategoricalFeature("video", "item", dtype="int")],
        [BinaryTask("click")],
        [History("s", ("video",), max_length=2, quantities=(SincePrevious(),))],
        time_unit="s",
        time_origin=None,
    )
    log = pd.DataFrame({"user_id": "ann", "time_ms": [1, 3, 7, 15], "video": 5})
    log["click"] = [0, 1] * 2
    encoder = FeatureEncoder(schema).fit(log)
    Histories(encoder, log).save(tmp_path / "past")
    day = pd.DataFrame({"user_id": ["ann", "bob"], "time_ms": 31, "video": 6, "click": 1})
    found = Histories.load(tmp_path / "past", encoder).append(day).attach(day)
    assert found.s_since_previous_seconds.map(list).tolist() == [[4, 8], []]


def test_logs_of_their_own_are_appended_too(log, encoder, tmp_path):
    first, second, third = days_of(log)
    clicks = [day[day.is_click == 1] for day in (first, second, third)]
    past = Histories(encoder, first, events={"liked": clicks[0]})
    past.save(tmp_path / "past")
    past = Histories.load(tmp_path / "past", encoder).append(second, {"liked": clicks[1][:0]})
    found = past.append(third, {"liked": clicks[2]}).attach(third)
    rows = in_order(pd.concat([clicks[0], clicks[2]]))
    for (_, row), plain in zip(found.iterrows(), third.itertuples(), strict=True):
        expected = [e.video_id for e in slow_history(rows, plain, 3, "is_like")]
        assert list(row.liked_video_id) == expected
    with pytest.raises(ValueError, match=r"holds \[\]; expected \['liked'\].*without rows"):
        past.append(third)
    with pytest.raises(ValueError, match="events `liked`: .* are older than the newest past row"):
        past.append(third, {"liked": clicks[0]})


@pytest.mark.parametrize("users", ["text", "mixed"])
def test_users_may_be_texts_or_both(log, encoder, tmp_path, users):
    names = log.user_id.map(lambda u: f"u{u}" if users == "text" or u < 6 else u)
    named = log.assign(user_id=names.where(log.user_id != -1, None).astype(object))
    first, second, _ = days_of(named)
    Histories(encoder, first).save(tmp_path / "past")
    found = Histories.load(tmp_path / "past", encoder).append(second).attach(second)
    plain = days_of(log)
    expected = Histories(encoder, pd.concat(plain[:2], ignore_index=True)).attach(plain[1])
    assert found.seen_video_id.map(list).tolist() == expected.seen_video_id.map(list).tolist()


def test_a_day_twice_or_out_of_order_is_refused(log, encoder):
    first, second, third = days_of(log)
    past = Histories(encoder, first).append(second)
    newest = second.time_ms.max()
    with pytest.raises(ValueError, match=rf"{len(first)} of {len(first)} rows are older.*{newest}"):
        past.append(first)
    with pytest.raises(ValueError, match="rows are older than the newest past row.*each day once"):
        past.append(second)
    with pytest.raises(ValueError, match="asked for at a time before .* newest are kept"):
        past.append(third).attach(second)
    with pytest.raises(ValueError, match="at a time before"):
        past.attach(second, freeze_at=START)
    untimed = FeatureEncoder(log_schema(time_key=None)).fit(log)
    with pytest.raises(ValueError, match="Histories.append: the schema has no time_key"):
        Histories(untimed, log).append(log)
    with pytest.raises(ValueError, match="Histories.save: the schema has no time_key"):
        Histories(untimed, log).save("nowhere")


def test_a_folder_is_replaced_only_when_it_is_asked_for(log, encoder, tmp_path):
    past = Histories(encoder, log)
    past.save(tmp_path / "past")
    with pytest.raises(FileExistsError, match="or pass overwrite=True"):
        past.save(tmp_path / "past")
    past.save(tmp_path / "past", overwrite=True)
    (tmp_path / "other").mkdir()
    with pytest.raises(FileExistsError, match="Choose another folder.$"):
        past.save(tmp_path / "other", overwrite=True)


@pytest.mark.parametrize("name", ["users.parquet", "events/seen.parquet", "histories.json"])
@pytest.mark.parametrize("change", ["bit", "cut", "gone"])
def test_a_damaged_file_is_named(log, encoder, tmp_path, name, change):
    Histories(encoder, log).save(tmp_path / "past")
    file = tmp_path / "past" / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.unlink() if change == "gone" else file.write_bytes(data[:-9] if change == "cut" else data)
    with pytest.raises(ValueError, match=rf"Histories.load: .*{name} can't be read"):
        Histories.load(tmp_path / "past", encoder)


def test_a_run_that_is_killed_while_it_saves_leaves_the_folder_as_it_was(
    log, encoder, tmp_path, monkeypatch
):
    first, second, _ = days_of(log)
    folder = tmp_path / "past"
    Histories(encoder, first).save(folder)
    past, rename = Histories.load(folder, encoder), os.rename

    for fail_at in range(2):
        calls = []

        def killed(old, new, fail_at=fail_at, calls=calls):
            calls.append(new)
            if len(calls) > fail_at:
                raise KeyboardInterrupt
            rename(old, new)

        monkeypatch.setattr(os, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            past.append(second).save(folder, overwrite=True)
        monkeypatch.undo()
        found = Histories.load(folder, encoder)
        assert found.until == first.time_ms.max()
        assert_as_by_loop(found.append(second).attach(second), second, pd.concat([first, second]))


def test_histories_of_another_schema_are_refused(log, encoder, tmp_path):
    Histories(encoder, log).save(tmp_path / "past")
    seen, liked = encoder.schema.histories

    def load(*histories, **kwargs):
        schema = dataclasses.replace(
            encoder.schema, histories=histories or (seen, liked), layout=None, **kwargs
        )
        return Histories.load(tmp_path / "past", FeatureEncoder(schema).fit(log))

    shorter = load(dataclasses.replace(seen, max_length=2), liked)
    assert shorter.append(log[log.time_ms == log.time_ms.max()]).schema.histories[0].max_length == 2
    with pytest.raises(ValueError, match="saved with other histories, `liked`.*'max_length': 3"):
        load(seen, dataclasses.replace(liked, max_length=4))
    with pytest.raises(ValueError, match="no history `disliked`. Did you mean `liked`"):
        load(seen, liked, dataclasses.replace(liked, name="disliked"))
    with pytest.raises(ValueError, match="was saved with other user_key: user_id; .*has country"):
        load(user_key="country")
