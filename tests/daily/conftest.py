import shutil

import numpy as np
import pandas as pd
import pytest

from keras_infnet.daily.day_data import DayData, data_of
from tests.daily import small_job


def made_up_export(model, encoder, path, rows, version, **_):
    """In place of `serving.export`: a folder that is no SavedModel."""
    folder = path / str(version)
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_text(encoder.schema.fingerprint)
    return folder


class MadeUpData(DayData):
    """Predictions of nobody: the same numbers for the same number of rows."""

    def predict(self, model, rows):
        draw = np.random.default_rng(len(rows))
        tasks = self.encoder.schema.task_names
        return pd.DataFrame(draw.random((len(rows), len(tasks))), rows.index, tasks)


def made_up_data(*arguments):
    data = data_of(*arguments)
    return MadeUpData(data.encoder, data.rows, data.histories)


@pytest.fixture
def untrained(monkeypatch):
    """Versions are neither trained nor exported: a model says what it said as it began."""
    monkeypatch.setattr("keras_infnet.daily.train.fit_ranker", lambda *_, **__: None)
    monkeypatch.setattr("keras_infnet.daily.run.export", made_up_export)
    monkeypatch.setattr("keras_infnet.daily.run.data_of", made_up_data)


@pytest.fixture(scope="module")
def two_days(tmp_path_factory):
    """Logs of four days, and a job that has done two of them, untrained; both are copied."""
    folder = tmp_path_factory.mktemp("two_days")
    logs = small_job.write_days(folder, days=4)
    with pytest.MonkeyPatch.context() as patched:
        untrained.__wrapped__(patched)
        job, _ = small_job.small_job(folder / "ranker", logs)
        job.backfill(small_job.day_name(0), small_job.day_name(1))
    return folder


@pytest.fixture
def go_on(two_days, tmp_path, untrained):
    """Makes a job that goes on from the third day, in a folder of its own."""
    shutil.copytree(two_days, tmp_path / "copy")

    def made(**changes):
        return small_job.small_job(
            tmp_path / "copy" / "ranker", tmp_path / "copy" / "logs", **changes
        )

    made.logs = tmp_path / "copy" / "logs"
    return made
