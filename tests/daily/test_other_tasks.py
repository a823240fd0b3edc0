"""Tasks that are not binary, through all stages of two days."""

import numpy as np
import pytest

from keras_infnet import CountTask, FeatureSchema, MulticlassTask, RegressionTask
from tests.daily.conftest import made_up_export
from tests.daily.small_job import day_frame, day_name, schema, small_job, write_day

pytestmark = pytest.mark.one_backend
CLASSES = ("left", "stayed", "came_back")


def frame(number):
    rows = day_frame(number)
    seconds = 10 * rows["length"] * (1 + rows["click"])
    return rows.assign(
        reaction=np.take(CLASSES, rows["click"] + rows["like"]),
        seconds=seconds,
        plays=(seconds // 10).astype("int64"),
    )


TASKS = {
    "reaction": (MulticlassTask("reaction", classes=CLASSES), "accuracy"),
    "seconds": (RegressionTask("seconds"), "mse"),
    "plays": (CountTask("plays"), "poisson_loss"),
}


@pytest.mark.parametrize("name", TASKS)
def test_days_of_a_task_are_scored_gated_and_published(tmp_path, monkeypatch, name):
    task, measure = TASKS[name]
    monkeypatch.setattr("keras_infnet.daily.train.fit_ranker", lambda *_, **__: None)
    monkeypatch.setattr("keras_infnet.daily.run.export", made_up_export)
    for number in range(2):
        write_day(tmp_path / "logs", day_name(number), frame(number))
    given = schema()
    job, _ = small_job(
        tmp_path / "ranker",
        tmp_path / "logs",
        schema=FeatureSchema(given.features, [task], given.histories),
        gate={"least": -1000.0},
    )
    first, second = job.backfill(day_name(0), day_name(1))
    assert (first.status, second.status) == ("published", "published")
    found = job.versions.metrics(2)
    value, error = found["progressive"]["all"]["tasks"][name][measure]
    assert np.isfinite(value) and error > 0
    assert np.isfinite(found["gate"]["values"]["new"][name])
