"""From a model and a frame to an `Explanation`."""

import sys

import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet import FeatureSchema, INFNet
from keras_infnet.data import Batches, FeatureEncoder, Histories
from keras_infnet.explain import explain, task_attention
from keras_infnet.metrics import task_metrics
from keras_infnet.models import SharedBottom
from tests import tiny
from tests.logs import log_schema, make_log

TOKENS = ["click", "like", "shared 0", "shared 1"]


@pytest.fixture(scope="module")
def log():
    return make_log(160).sort_values("time_ms", ignore_index=True)


@pytest.fixture(scope="module")
def encoder(log):
    return FeatureEncoder(log_schema()).fit(log)


@pytest.fixture(scope="module")
def histories(encoder, log):
    return Histories(encoder, log)


@pytest.fixture(scope="module")
def model(encoder, tmp_path_factory):
    """A loaded model."""
    path = tmp_path_factory.mktemp("model") / "infnet.keras"
    tiny.randomise(INFNet(encoder.schema, dim=4, head_dim=6)).save(path)
    return keras.saving.load_model(path)


@pytest.fixture(scope="module")
def rows(log):
    """Rows whose index is not their place."""
    return log.tail(60).iloc[::-1]


@pytest.fixture(scope="module")
def explanation(model, encoder, rows, histories):
    return explain(model, encoder, rows, histories, groups="user_id", repeats=2)


def test_baseline_is_that_of_the_predictions(explanation, model, encoder, rows, histories):
    batches = Batches.from_rows(encoder, rows, histories, labels=False)
    predictions = model.predict(batches, verbose=0)
    labels = {"click": rows["is_click"], "like": rows["is_like"]}
    weights = {"click": np.ones(60), "like": rows["is_click"].to_numpy()}
    expected = task_metrics(labels, predictions, rows["user_id"], weights)
    for task, measured in expected.items():
        for metric, value in measured.items():
            assert explanation.baseline.loc[task, metric] == pytest.approx(value, abs=1e-5)


def test_importance_has_each_feature_and_history_of_each_metric(explanation, encoder):
    importance = explanation.importance
    assert set(importance.index.get_level_values("metric")) == {"auc", "gauc", "log_loss"}
    names = [*encoder.schema.field_names, "seen", "liked"]
    assert list(importance.loc["like", "gauc"].index.get_level_values("name")) == names
    assert np.isfinite(importance.to_numpy()).all()


def test_attention_is_that_of_packed_inputs(explanation, model, encoder, rows, histories):
    expected = task_attention(model, encoder.transform(histories.attach(rows)))
    pd.testing.assert_frame_equal(explanation.task_attention(), expected)
    assert list(expected.index) == TOKENS


def test_events_of_a_request_are_its_newest_raw_events(explanation, model, rows, histories):
    attached = histories.attach(rows)
    row = int(np.argmax([len(liked) for liked in attached["liked_video_id"]]))
    events = explanation.events(row)
    for history, length in (("seen", 5), ("liked", 3)):
        part = events[events["event", "history"] == history]
        newest = list(attached[f"{history}_video_id"].iloc[row])[::-1][:length]
        assert part["event", "video_id"].tolist() == newest
        assert part["event", "position"].tolist() == list(range(len(newest)))
        ages = list(attached[f"{history}_age_seconds"].iloc[row])[::-1][:length]
        assert part["event", "age_seconds"].tolist() == ages
    inputs = {name: values[row : row + 1] for name, values in explanation.inputs.items()}
    weights = np.array(model.attention_weights(inputs)["history"]["tasks"])[0]
    found = events["attention"][["click", "like"]]
    np.testing.assert_allclose(found.sum(), 1, atol=1e-5)
    # The newest event of `seen` stands last of the first five tokens.
    np.testing.assert_allclose(found.iloc[0], weights[:, 4], atol=1e-5)


def test_fields_of_a_request_have_their_raw_values(explanation, rows):
    fields = explanation.fields(3)
    assert fields.loc["video_id", "value"] == rows["video_id"].iloc[3]
    assert list(fields.columns) == ["value", *TOKENS]
    np.testing.assert_allclose(fields[TOKENS].astype(float).sum(), 1, atol=1e-5)


def test_a_request_without_events_has_none_and_no_chart(explanation, encoder, rows, histories):
    attached = histories.attach(rows.head(2), freeze_at="1990-01-01")
    none = explain(explanation.model, encoder, attached, repeats=0)
    assert not len(none.events(1))
    assert (none.task_attention()[["seen", "liked"]] == 0).all(axis=None)
    with pytest.raises(ValueError, match="plot_events: row 1 has no past event"):
        none.plot_events(1)
    with pytest.raises(ValueError, match="expected a place, 0 to 1"):
        none.events(2)
    with pytest.raises(ValueError, match="Explanation.importance: it was made with repeats=0"):
        none.importance  # noqa: B018
    assert "No permutation importance: repeats=0." in str(none)


def test_flow_adds_up(explanation):
    flow = explanation.flow()
    total = flow.groupby(["kind", "target"])["width"].sum()
    for target in ("click", "like"):
        assert total["head", target] == pytest.approx(1, abs=1e-5)
    for target in ("field proxies", "sequence proxies"):
        assert total["made of", target] == pytest.approx(1, abs=1e-5)
    with_events = explanation.attention[["seen", "liked"]].loc[0, 0, "tasks", "click"].sum()
    assert total["attention", "click token"] == pytest.approx(1 + with_events, abs=1e-5)


def test_words_say_what_is_important_and_whether_attention_agrees(explanation):
    text = str(explanation)
    for task in ("click", "like"):
        largest = explanation.importance.loc[task, "auc"]["importance"].idxmax()[1]
        assert f"\n{task}: auc {explanation.baseline.loc[task, 'auc']:.4f}" in text
        assert f"most auc by {largest} (" in text
        row = explanation.agreement.loc[task, "auc", 0, "fields"]
        assert f"rank correlation with it {row['correlation']:+.2f}" in text
    assert repr(explanation) == text


def test_figures_show_every_name(explanation, rows, histories, encoder):
    names = {
        "attention": [*encoder.schema.field_names, *TOKENS],
        "gates": ["block 0, tasks"],
        "proxies": ["field proxy 3", "seen: skip", "liked", "image"],
        "flow": ["user fields", "history seen", "shared task tokens", "like token", "like"],
        "importance": [*encoder.schema.field_names, "seen", "liked", "auc: loss when shuffled"],
        "agreement": ["attention, mean weight"],
    }
    figures = {name: getattr(explanation, f"plot_{name}") for name in names}
    row = int(np.argmax([len(liked) for liked in histories.attach(rows)["liked_video_id"]]))
    figures["events"] = lambda: explanation.plot_events(row)
    names["events"] = ["seen", "liked", *TOKENS, "position, 0 the newest"]
    for name, figure in figures.items():
        drawn = figure()
        drawn.canvas.draw()
        texts = {t.get_text() for t in drawn.findobj(lambda artist: hasattr(artist, "get_text"))}
        assert set(names[name]) <= texts, name


def test_without_matplotlib_the_error_names_the_extra(explanation, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "keras-infnet\[plots\]"'):
        explanation.plot_gates()


def test_an_unknown_metric_is_an_error_that_lists_the_known(explanation):
    with pytest.raises(
        ValueError, match="no task has the metric `mse`. Known: auc, gauc, log_loss"
    ):
        explanation.plot_importance("mse")


def test_another_model_has_importance_and_no_attention(encoder, rows, histories):
    bottom = tiny.randomise(SharedBottom(encoder.schema, dim=4))
    found = explain(bottom, encoder, rows, histories, repeats=2)
    assert len(found.importance) == 2 * 2 * 12
    assert "No attention: SharedBottom has no task tokens" in str(found)
    for name in ("attention", "gates", "field_proxies", "heads"):
        with pytest.raises(ValueError, match=f"{name}: SharedBottom has none; only INFNet has"):
            getattr(found, name)
    for name in ("task_attention", "flow", "plot_attention"):
        with pytest.raises(ValueError, match="SharedBottom has no task tokens"):
            getattr(found, name)()


def test_bad_input_is_an_error_that_says_what_to_do(model, encoder, rows, histories, log):
    with pytest.raises(ValueError, match=r"histories \(seen, liked\).*Pass `Histories"):
        explain(model, encoder, rows)
    with pytest.raises(ValueError, match="freeze_at` can't cut the histories seen, liked"):
        explain(model, encoder, histories.attach(rows), freeze_at="first_row")
    with pytest.raises(ValueError, match="repeats is 1; expected 2 or more"):
        explain(model, encoder, rows, histories, repeats=1)
    with pytest.raises(ValueError, match="is_like"):
        explain(model, encoder, rows.drop(columns="is_like"), Histories(encoder, log))
    with pytest.raises(ValueError, match="explain, groups.*session"):
        explain(model, encoder, rows, histories, groups=["user_id", "session"], repeats=2)
    with pytest.raises(ValueError, match="explain: .*no rows|explain.*empty|explain.*row"):
        explain(model, encoder, rows.head(0), histories)
    plain = FeatureSchema(log_schema().features, log_schema().tasks)
    other = FeatureEncoder(plain).fit(log)
    with pytest.raises(ValueError, match="explain: the model is of another schema"):
        explain(model, other, rows)


def test_a_history_that_may_come_shorter_is_read_too(log):
    schema = log_schema()
    schema = FeatureSchema(schema.features[:3], schema.tasks, schema.histories[1:])
    encoder = FeatureEncoder(schema).fit(log)
    model = tiny.randomise(INFNet(encoder.schema, dim=4, head_dim=6))
    assert model._inputs_struct["liked_age"].shape == (None, None)
    found = explain(model, encoder, log.head(20), Histories(encoder, log), repeats=0)
    assert list(found.task_attention()["liked"].columns) == [2, 1, 0]


def test_a_schema_without_histories_has_fields_alone(log):
    encoder = FeatureEncoder(FeatureSchema(log_schema().features, log_schema().tasks)).fit(log)
    model = tiny.randomise(INFNet(encoder.schema, dim=4, head_dim=6))
    found = explain(model, encoder, log.head(20), repeats=0)
    assert set(found.task_attention().columns.get_level_values(0)) == {"fields"}
    with pytest.raises(ValueError, match="events: the schema has no histories"):
        found.events(0)
