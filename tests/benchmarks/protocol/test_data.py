import pytest
from sklearn.metrics import roc_auc_score

import keras_infnet
from benchmarks.protocol.data import (
    fingerprint,
    load_data,
    simulated_log,
    split_rows,
    train_batches,
    with_scales,
)
from benchmarks.protocol.description import begin, best_possible, check_protocol, protocol_of
from benchmarks.protocol.tables import Tables

TASKS = ("click", "like")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log"
    keras_infnet.datasets.simulate(path, rows=700, users=30, items=50)
    return path


def test_the_fingerprint_is_of_the_files_content(path, tmp_path):
    read = keras_infnet.datasets.KuaiRand
    first = fingerprint(read(path))
    assert first == fingerprint(read(path))
    keras_infnet.datasets.simulate(tmp_path / "other", rows=700, users=30, items=50, seed=1)
    assert fingerprint(read(tmp_path / "other")) != first


@pytest.mark.parametrize(
    ("histories", "names", "length"),
    [
        ("exposures", ["exposures"], 100),
        ("exposures-25", ["exposures"], 25),
        ("positives", ["clicked", "liked", "long_viewed", "followed"], 50),
    ],
)
def test_histories_are_those_asked_for(path, histories, names, length):
    data = load_data(path, TASKS, histories)
    assert [s.name for s in data.schema.histories] == names
    x, y, _ = next(train_batches(data, 32, seed=0).as_numpy_iterator())
    assert set(names) <= set(x) and set(y) == set(TASKS)
    assert {x[name].shape[1] for name in names} == {length}
    sizes = [len(x["categorical"]) for x, *_ in train_batches(data, 200, 0).as_numpy_iterator()]
    assert set(sizes) == {200}


def test_time_scales_are_groups_besides_those_of_the_log(path):
    names = ["hour", "day", "week", "newest"]
    (seen,) = load_data(path, TASKS, "exposures-scales").schema.histories
    groups = {group.name: group for group in seen.groups}
    (plain,) = load_data(path, TASKS, "exposures").schema.histories
    assert list(groups) == [*plain.group_names, *names]
    assert [groups[name].seconds for name in names] == [3600, 86_400, 604_800, None]
    assert groups["newest"].last == 20
    # A history without groups has had one of all its events, and keeps it.
    no_times = keras_infnet.History("seen", ("movie_id",), 9, quantities=())
    movie, task = keras_infnet.CategoricalFeature("movie_id", "item"), keras_infnet.BinaryTask("a")
    schema = keras_infnet.FeatureSchema([movie], [task], [no_times], time_key=None)
    found = with_scales(schema).histories[0].groups
    assert [(group.name, group.last) for group in found] == [("all", None), ("newest", 9)]


def test_tables_are_as_wide_as_asked_for(path):
    plain, auto = (load_data(path, TASKS, "exposures", dims=dims).schema for dims in (None, "auto"))
    assert plain.dims is None and auto.dims == "auto"
    assert plain.table_rows() == auto.table_rows()
    assert sum(auto.table_bytes(32).values()) < sum(plain.table_bytes(32).values())


def test_the_best_possible_auc_is_of_the_known_probabilities(path):
    data = keras_infnet.datasets.KuaiRand(path, tasks=TASKS)
    frame = data.frame()
    split = split_rows(data, frame)
    table = best_possible(data, frame, split, TASKS).set_index(["split", "task"])
    probabilities = data.truth().set_index(frame.index).loc[split.test.index]
    expected = roc_auc_score(split.test["is_click"], probabilities["click_best"])
    assert table.loc[("test", "click"), "best_auc"] == pytest.approx(expected)


def test_a_simulated_log_is_written_once(tmp_path, capsys):
    path = simulated_log(tmp_path, 300, same_tasks=True)
    written = path.stat().st_mtime_ns
    assert simulated_log(tmp_path, 300, same_tasks=True) == path
    assert path.stat().st_mtime_ns == written and path.name == "log-300-same-tasks"
    assert capsys.readouterr().out.count("Simulating 300 rows") == 1


def test_a_folder_keeps_its_protocol_and_refuses_another(path, tmp_path):
    out, results = tmp_path / "out", tmp_path / "results"
    protocol = protocol_of(path, "simulated", TASKS, epochs=1)
    tables = Tables([out, results])
    found = begin([out, results], protocol, path, tables)
    assert sum(found["rows"].values()) == 700
    assert check_protocol([out, results], protocol) == found
    assert not tables["artefact.csv"].empty and not tables["best.csv"].empty
    later = tmp_path / "later"
    begin([out, later], protocol, path, Tables([out, later]))
    assert (later / "best.csv").read_bytes() == (out / "best.csv").read_bytes()
    other = {**protocol, "data": "ba9876543210"}
    with pytest.raises(ValueError, match="out holds runs of another protocol .data .*never mixed"):
        check_protocol([tmp_path / "new", out], other)


def test_a_log_of_too_few_days_is_an_error(tmp_path):
    settings = keras_infnet.datasets.SimulationSettings(days=3)
    keras_infnet.datasets.simulate(
        tmp_path / "log", rows=300, users=20, items=30, settings=settings
    )
    protocol = protocol_of(tmp_path / "log", "simulated", TASKS, epochs=1)
    with pytest.raises(ValueError, match="the frame has 3 days.*expected more than"):
        begin([tmp_path / "out"], protocol, tmp_path / "log", Tables([tmp_path / "out"]))
