"""Rows of `attach`, written to Parquet: pandas and our batches read what was written."""

import numpy as np
import pandas as pd
import pytest

from keras_infnet.data import Batches, FeatureEncoder, Histories
from tests.logs import log_schema, make_log

pytestmark = pytest.mark.one_backend


def collect(batches):
    parts = list(batches.as_numpy_iterator())
    return {name: np.concatenate([x[name] for x, _, _ in parts]) for name in parts[0][0]}


@pytest.mark.parametrize("change", [lambda f: f, lambda f: pd.concat([f[50:], f[:50]]).iloc[::2]])
def test_rows_of_attach_can_be_read_back(tmp_path, change):
    log = make_log()
    encoder = FeatureEncoder(log_schema()).fit(log)
    rows = change(Histories(encoder, log).attach(log))
    rows.to_parquet(tmp_path / "rows.parquet")
    again = pd.read_parquet(tmp_path / "rows.parquet")
    for name in ("seen_video_id", "liked_video_id", "seen_age_seconds"):
        assert [list(value) for value in again[name]] == [list(value) for value in rows[name]]
    expected = encoder.transform(rows)
    for name, values in encoder.transform(again).items():
        np.testing.assert_array_equal(values, expected[name], name)
    for name, values in collect(Batches.from_rows(encoder, tmp_path / "rows.parquet")).items():
        np.testing.assert_array_equal(values, expected[name], name)
