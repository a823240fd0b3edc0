import json
import sys

import numpy as np
import pandas as pd
import pytest

from benchmarks import number_forms


@pytest.mark.one_backend
def test_each_form_stands_beside_buckets_alone(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(0, 90, 400), "sex": rng.choice(["f", "m"], 400)})
    frame["det_ind_code"] = rng.integers(0, 5, 400)
    for task in number_forms.CENSUS_TASKS:
        frame[task] = (rng.random(400) < frame.age / 90).astype("int8")
    frame.to_parquet(tmp_path / "train.parquet")
    schema = number_forms.census_schema(frame)
    assert [type(f).__name__ for f in schema.features] == [
        "NumericFeature",
        "CategoricalFeature",
        "CategoricalFeature",
    ]
    out = tmp_path / "forms.json"
    arguments = ["--census", str(tmp_path), "--forms", "value+ple", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", ["number_forms", *arguments, "--out", str(out)])
    number_forms.main()
    records = json.loads(out.read_text())
    records = records if isinstance(records, list) else records["records"]
    assert [r["form"] for r in records] == ["bucket", "value+ple"]
    assert records[0]["difference"] == 0
    assert records[1]["difference"] == pytest.approx(records[1]["auc"] - records[0]["auc"])
