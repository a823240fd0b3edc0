import pickle

import numpy as np
import pandas as pd
import pytest

from keras_infnet.data import FeatureEncoder, Histories
from keras_infnet.encoding.counts import EncoderCounts
from tests.logs import log_schema, make_log


@pytest.fixture(scope="module")
def log():
    return make_log(rows=2000, users=90)


def fit_in_chunks(log, chunks):
    encoder = FeatureEncoder(log_schema())
    counts = EncoderCounts(encoder.schema)
    for rows in np.array_split(np.arange(len(log)), chunks):
        counts.add_rows(log.iloc[rows])
    counts.fit(encoder)
    return encoder


@pytest.mark.parametrize("chunks", [1, 3, 400])
def test_what_is_learned_is_what_pandas_and_numpy_find_in_the_whole_log(log, chunks):
    encoder = fit_in_chunks(log, chunks)
    seen = log.video_id.value_counts()
    order = seen.to_frame("n").reset_index().sort_values(["n", "video_id"], ascending=[False, True])
    assert encoder.programs["video_id"].values.to_pylist() == order.video_id.tolist()
    often = log.user_id.value_counts()
    known = set(encoder.programs["user_id"].values.to_pylist())
    assert known == set(often.index[often >= 2])
    lengths = log.length.dropna().astype("float32").astype("float64")
    edges = np.quantile(lengths, np.arange(1, 6) / 6, method="higher").astype("float32")
    np.testing.assert_array_equal(encoder.programs["length"].buckets.edges, np.unique(edges))
    fans = log.fans[log.fans > 0].astype("float64")
    expected = np.geomspace(fans.min(), fans.max(), 6)[:5].astype("float32")
    np.testing.assert_array_equal(encoder.programs["fans"].buckets.edges, expected)
    assert encoder.schema.base_rate("click") == (np.float32(log.is_click.mean()),)
    clicked = log[log.is_click == 1]
    assert encoder.schema.base_rate("like") == (np.float32(clicked.is_like.mean()),)


def test_the_number_of_chunks_does_not_show(log):
    expected = FeatureEncoder(log_schema()).fit(log)
    for chunks in (2, 37):
        assert fit_in_chunks(log, chunks).schema == expected.schema


def test_counts_of_workers_are_merged(log):
    merged = EncoderCounts(log_schema())
    for rows in np.array_split(np.arange(len(log)), 3):
        worker = EncoderCounts(log_schema())
        worker.add_rows(log.iloc[rows])
        merged.merge(pickle.loads(pickle.dumps(worker)))
    merged.merge(EncoderCounts(log_schema()))
    merged.fit(encoder := FeatureEncoder(log_schema()))
    assert encoder.schema == FeatureEncoder(log_schema()).fit(log).schema


def test_listed_histories_are_counted_and_their_rows_are_no_events(log):
    listed = Histories(FeatureEncoder(log_schema()).fit(log), log).attach(log)
    whole, parts = FeatureEncoder(log_schema()).fit(listed), fit_in_chunks(listed, 5)
    assert parts.schema == whole.schema
    events = listed.seen_video_id.map(len).sum() + listed.liked_video_id.map(len).sum()
    counts = EncoderCounts(log_schema())
    counts.add_rows(listed)
    assert sum(counts._tables["video_id"].table()["count"].to_pylist()) == len(log) + events


def test_labels_are_judged_over_all_chunks():
    frame = make_log(rows=20).assign(is_click=0)
    counts = EncoderCounts(log_schema())
    counts.add_rows(frame)
    with pytest.raises(ValueError, match="Task `click`: all 20 labels of column `is_click`.*are 0"):
        counts.fit(FeatureEncoder(log_schema()))
    counts.add_rows(frame.assign(is_click=1, is_like=pd.Series([0, 1] * 10)))
    counts.fit(encoder := FeatureEncoder(log_schema()))
    assert encoder.schema.base_rate("click") == (0.5,)
