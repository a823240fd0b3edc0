import shutil

import pytest

from keras_infnet.daily import Version, Versions

pytestmark = pytest.mark.one_backend


def fill(folder, text="weights"):
    (folder / "saved_model").mkdir()
    (folder / "saved_model" / "graph").write_text(text)
    (folder / "model.keras").write_text(text)
    (folder / "report.html").write_text("<p>")


def add(versions, day, decision="published", **known):
    number = versions.reserve()
    version = Version(number=number, day=day, decision=decision, reason="made up", **known)
    return versions.add(version, fill)


def published(versions, day, **known):
    version = add(versions, day, **known)
    versions.publish(version)
    versions.enter(version)
    return version


@pytest.fixture
def versions(tmp_path):
    return Versions(tmp_path / "ranker")


def test_a_version_is_whole_and_served_by_its_number(versions):
    assert versions.serving is None
    version = published(versions, "2026-11-01", data={"2026-11-01": "ab"})
    assert versions.serving == versions.record(1) == version
    assert (versions.serving_folder / "1" / "graph").read_text() == "weights"
    assert {*version.files} == {"model.keras", "saved_model/graph", "report.html"}
    assert [*versions.lineage(version)] == [version]


def test_numbers_are_never_used_again(versions):
    for day in ("2026-11-01", "2026-11-02"):
        published(versions, day)
    shutil.rmtree(versions.path(2))
    shutil.rmtree(versions.serving_folder / "2")
    for end in ("json", "html"):
        (versions.folder / "runs" / f"2.{end}").unlink()
    assert versions.reserve() == 3
    (versions.folder / "numbers.json").unlink()
    # What serves elsewhere counts too.
    (versions.serving_folder / "9").mkdir()
    assert versions.reserve() == 10


def test_what_fails_while_it_is_written_leaves_nothing(versions):
    def fails(folder):
        fill(folder)
        raise OSError(28, "No space left on device")

    version = Version(number=versions.reserve(), day="2026-11-01", decision="published", reason="")
    with pytest.raises(OSError, match="version 1 can't be written: .*No space left"):
        versions.add(version, fails)
    assert versions.numbers() == []
    assert [*(versions.folder / "versions").iterdir()] == []


@pytest.mark.parametrize("step", ["whole_folder", "write_json", "whole_file"])
def test_what_was_killed_while_it_was_published_is_published_next_time(versions, monkeypatch, step):
    published(versions, "2026-11-01")
    second = add(versions, "2026-11-02", base=1)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"keras_infnet.daily.versions.{step}", killed)
        with pytest.raises(KeyboardInterrupt):
            versions.publish(second)
            versions.enter(second)
    assert versions.serving.number in (1, 2)
    versions.recover()
    assert versions.serving.number == 2
    assert (versions.serving_folder / "2" / "graph").is_file()
    assert (versions.folder / "runs" / "2.html").is_file()
    assert [v.number for v in versions.records()] == [1, 2]


def test_a_version_that_was_kept_back_is_not_published_afterwards(versions):
    published(versions, "2026-11-01")
    add(versions, "2026-11-02", "kept", base=1)
    versions.recover()
    assert versions.serving.number == 1


@pytest.mark.parametrize(
    ("where", "name", "damage", "said"),
    [
        ("versions/1", "model.keras", "change", "is not as it was written"),
        ("versions/1", "saved_model/graph", "remove", "is missing"),
        ("serving/ranker/1", "graph", "change", "is not as it was written"),
    ],
)
def test_damage_is_found_by_name_and_not_served(versions, where, name, damage, said):
    version = published(versions, "2026-11-01")
    file = versions.folder / where / name
    if damage == "remove":
        file.unlink()
    else:
        file.write_text("other")
    with pytest.raises(ValueError, match=f"version 1 is damaged: .*{name} {said}.*roll back"):
        versions.check(1)
    shutil.rmtree(versions.serving_folder)
    if where == "versions/1":
        with pytest.raises(ValueError, match="damaged"):
            versions.publish(version)
        assert not versions.serving_folder.exists()


def test_a_damaged_record_and_pointer_are_said(versions):
    published(versions, "2026-11-01")
    record, pointer = versions.path(1) / "version.json", versions.folder / "serving.json"
    record.write_text(record.read_text().replace("published", "kept"))
    with pytest.raises(ValueError, match="version 1 can't be read: .*checksum differs"):
        versions.record(1)
    pointer.write_text("{")
    with pytest.raises(ValueError, match="serving.json, which says what serves, can't be read"):
        assert versions.serving


def test_a_damaged_version_that_was_never_published_does_not_hinder_a_rollback(versions):
    published(versions, "2026-11-01")
    (versions.path(add(versions, "2026-11-02", base=1).number) / "model.keras").write_text("other")
    with pytest.raises(ValueError, match="version 2 is damaged"):
        versions.recover()
    assert versions.serving.number == 1
    assert not versions.recover(publish=False)


def test_old_versions_go_and_their_records_stay(versions):
    for number in range(1, 6):
        published(versions, f"2026-11-0{number}", base=number - 1 or None)
    assert versions.clean(2) == [1, 2, 3]
    assert versions.numbers() == [4, 5]
    assert sorted(p.name for p in versions.serving_folder.iterdir()) == ["4", "5"]
    assert [v.number for v in versions.records()] == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="version 2 is not on disk any more; there are 4, 5"):
        versions.check(2)


def test_what_serves_stays_however_old_it_is(versions):
    published(versions, "2026-11-01")
    published(versions, "2026-11-02", base=1)
    for number in range(3, 7):
        versions.enter(add(versions, f"2026-11-0{number}", "kept", base=2))
    assert versions.clean(2) == [3, 4]
    assert versions.numbers() == [1, 2, 5, 6]


def test_leftovers_of_killed_jobs_are_taken_away(versions):
    published(versions, "2026-11-01")
    for folder in (versions.folder / "versions", versions.serving_folder):
        (folder / ".7.0123abcd.partial").mkdir()
        (folder / ".1.gone.partial").mkdir()
    versions.recover()
    left = [p for p in versions.folder.rglob("*.partial")]
    assert left == []
