"""Logs of the comparison whose files the tests of the data sets make: MovieLens and EBNeRD."""

import pytest

from benchmarks.protocol.data import fingerprint, load_data, open_log
from benchmarks.protocol.description import begin, protocol_of
from benchmarks.protocol.logs import LOGS
from benchmarks.protocol.tables import Tables
from benchmarks.protocol.trees import Columns
from tests.datasets import test_ebnerd, test_movielens

pytestmark = pytest.mark.one_backend
news = test_ebnerd.folder


@pytest.fixture
def movies(tmp_path):
    test_movielens.write(tmp_path, "1M")
    return tmp_path


def rates(frame, keys, label, time, prior=20.0):
    """The smoothed rate of each row of the rows before it, from the definition."""
    p = frame["p"].iloc[0]
    for row in frame.to_dict("records"):
        before = frame[frame[time] < row[time]]
        for key in keys:
            # Without genres there is no key.
            before = before[(before[key] == row[key]) & (before[key] != "")]
        yield (before[label].sum() + prior * p) / (len(before) + prior)


def check_log(name, path, keys, label, feature, metrics):
    log = LOGS[name]
    data = load_data(path, log.tasks, "exposures", name)
    assert data.schema.task_names == log.tasks and log.metrics == metrics
    p = data.schema.layout.action_rates[label]
    whole = open_log(name, path, log.tasks).frame()
    assert not whole.duplicated(list(log.row_key)).any()
    rows = data.attach("test")
    expected = list(rates(whole.assign(p=p), keys, label, data.schema.time_key))
    assert rows[feature].to_numpy() == pytest.approx([expected[i] for i in rows.index], rel=1e-6)
    assert next(data.train.as_numpy_iterator())[0]["numbers"].shape[1] >= len(data.schema.past)
    assert len(Columns(data, raw=False).of("test")) == data.rows["test"]
    return data


def test_movielens_has_rates_of_user_movie_and_genres(movies):
    metrics = ("auc", "gauc", "gauc_frozen", "log_loss")
    key = ["user_id", "genres"]
    check_log("movielens", movies, key, "like", "user_genres_like_rate", metrics)
    with pytest.raises(ValueError, match="movielens: unknown tasks hate; expected some of like"):
        open_log("movielens", movies, ("hate",))
    read = fingerprint(open_log("movielens", movies, ("like",)))
    (movies / "users.dat").write_text("another file")
    assert fingerprint(open_log("movielens", movies, ("love",))) != read


def test_ebnerd_has_lists_reads_and_rates(news, tmp_path):
    metrics = ("auc", "gauc", "gauc_frozen", "gauc_list", "log_loss")
    data = check_log(
        "ebnerd", news, ["user_id", "category"], "click", "user_category_click_rate", metrics
    )
    assert data.schema.list_key == LOGS["ebnerd"].lists
    assert (data.attach("test")["reads_article_id"].map(len) > 0).any()
    out = tmp_path / "out"
    protocol = protocol_of(news, "real", LOGS["ebnerd"].tasks, epochs=1, log="ebnerd")
    found = begin([out], protocol, news, Tables([out]))
    assert found["rows"] == data.rows and "article_read_rate" in found["past"]
