"""The client against servers of TensorFlow Serving's interfaces, over loopback."""

import dataclasses
import socket
import ssl
import subprocess

import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet.data import FeatureEncoder, Histories
from keras_infnet.models import SharedBottom
from keras_infnet.serving import Client, export
from tests.logs import log_schema, make_log
from tests.tiny import predict

pytestmark = pytest.mark.one_backend

TASKS = ["click", "like"]
ITEM = ["video_id", "page_id", "tag", "length", "image"]


@pytest.fixture(scope="module")
def encoder():
    return FeatureEncoder(log_schema()).fit(make_log())


@pytest.fixture(scope="module")
def rows(encoder):
    # With histories that are longer than the model's.
    longer = FeatureEncoder(log_schema(max_length=9)).fit(make_log())
    log = make_log(150, seed=4)
    return Histories(longer, log).attach(log.tail(60)).set_index(np.arange(60) * 7)


@pytest.fixture(scope="module")
def model(encoder):
    keras.utils.set_random_seed(0)
    model = SharedBottom(encoder.schema)
    for weight in model.weights:
        weight.assign(weight + 0.1 * keras.random.normal(weight.shape, dtype=weight.dtype))
    return model


@pytest.fixture(scope="module")
def exported(encoder, model, tmp_path_factory):
    return export(model, encoder, tmp_path_factory.mktemp("models") / "ranker")


@pytest.fixture(scope="module")
def urls(exported):
    from tests.serving.prediction_server import serving

    with pytest.MonkeyPatch.context() as patch, serving(exported) as urls:
        patch.setenv("no_proxy", "127.0.0.1")
        yield urls


@pytest.fixture(params=["rest", "grpc"])
def client(request, urls, exported):
    client = Client(exported, urls[request.param])
    yield client
    client.close()


def answers(model, encoder, frame):
    predicted = predict(model, encoder.transform(frame))
    return pd.DataFrame({task: predicted[task][:, 0] for task in TASKS}, index=frame.index)


def pairs(rows, user, candidates):
    """Each candidate's columns beside the user's row."""
    frame = pd.concat([rows.loc[[user]]] * len(candidates))
    return frame.assign(**{c: candidates[c].to_numpy() for c in ITEM}).set_index(candidates.index)


def test_a_frame_is_answered_as_keras_does(client, model, encoder, rows):
    found = client.predict(rows)
    pd.testing.assert_frame_equal(found, answers(model, encoder, rows), atol=1e-5)
    assert found.to_numpy().std() > 1e-3


def test_a_dict_is_answered_by_a_dict(client, model, encoder, rows):
    inputs = {name: values.tolist() for name, values in client.inputs(rows).items()}
    inputs["country"] = [value or None for value in inputs["country"]]
    found = client.predict(inputs)
    expected = answers(model, encoder, rows)
    for task in TASKS:
        np.testing.assert_allclose(found[task], expected[task], atol=1e-5)


def test_one_user_and_candidates_are_ranked(client, model, encoder, rows):
    user, candidates = rows.loc[[70]], rows.loc[140:, ITEM].head(9)
    found = client.rank(user, candidates)
    expected = answers(model, encoder, pairs(rows, 70, candidates))
    pd.testing.assert_frame_equal(found, expected, atol=1e-5)


def test_the_best_candidates_come_first(client, model, encoder, rows):
    user, candidates = rows.loc[[70]], rows.loc[140:, ITEM].head(9)
    expected = answers(model, encoder, pairs(rows, 70, candidates))
    expected.insert(0, "score", expected["click"] ** 2 * expected["like"] ** 0.5)
    expected = expected.sort_values("score", ascending=False).head(4)
    found = client.rank_top_k(user, candidates, {"click": 2, "like": 0.5}, k=4)
    pd.testing.assert_frame_equal(found, expected, atol=1e-5)


def test_a_dict_of_candidates_gets_positions(client, model, encoder, rows):
    arrays = client.rank_inputs(rows.loc[[70]], rows.loc[140:, ITEM].head(9))
    items = {name: arrays.pop(name) for name in ITEM}
    found = client.rank_top_k(arrays, items, {"like": 1}, k=9)
    expected = answers(model, encoder, pairs(rows, 70, rows.loc[140:, ITEM].head(9)))
    np.testing.assert_array_equal(found["index"], np.argsort(-expected["like"].to_numpy()))
    np.testing.assert_allclose(found["score"], np.sort(expected["like"])[::-1], atol=1e-5)


def test_ids_beyond_float_precision_strings_and_nan_arrive(client, rows):
    frame = rows.head(2).assign(video_id=[2**60 + 1, -(2**62)], country=['日本\n"', None])
    frame["length"] = [np.nan, 0.1]
    inputs = client.inputs(frame)
    sent = client.rest_request(inputs)["inputs"]
    assert sent["video_id"] == [2**60 + 1, -(2**62)]
    assert sent["country"] == ['日本\n"', ""]
    assert np.isnan(sent["length"][0]) and sent["length"][1] == np.float32(0.1)
    assert np.isfinite(client.predict(frame).to_numpy()).all()


def test_rows_of_json_are_answered_by_rows(urls, exported, model, encoder, rows):
    from keras_infnet.serving.wire import call, model_url

    client = Client(exported, urls["rest"])
    body = client.rest_request(client.inputs(rows), row_format=True)
    assert body["instances"][3]["user_id"] == rows["user_id"].iloc[3]
    url = model_url(urls["rest"], "ranker", 1)
    found = call(f"{url}:predict", body, 10)["predictions"]
    expected = answers(model, encoder, rows)
    for task in TASKS:
        assert [row[task][0] for row in found] == pytest.approx(expected[task].tolist(), abs=1e-5)


def test_fixed_widths_change_no_answer(urls, exported, model, encoder, rows):
    client = Client(exported, urls["grpc"], fixed_width=True)
    inputs = client.inputs(rows)
    widths = {"seen_video_id": (5,), "seen_tag": (5, 3), "seen_ratio": (5,), "tag": (3,)}
    widths |= {"liked_age_seconds": (3,), "word": (2,), "word_weight": (2,), "fans": ()}
    assert {name: inputs[name].shape for name in widths} == {n: (60, *w) for n, w in widths.items()}
    assert Client(exported).inputs(rows)["seen_video_id"].shape[1] > 5
    found = client.predict(rows)
    pd.testing.assert_frame_equal(found, answers(model, encoder, rows), atol=1e-5)
    client.close()


def test_the_served_model_is_checked(client, encoder, urls):
    client.check()
    schema = encoder.schema
    renamed = [
        dataclasses.replace(f, name="city") if f.name == "country" else f for f in schema.features
    ]
    tables = {"city" if n == "country" else n: size for n, size in schema.layout.sizes.items()}
    other = dataclasses.replace(schema, features=renamed, layout=None).with_sizes(tables)
    with pytest.raises(ValueError, match="lacks the inputs `city`; .*schema.json of the model"):
        Client(other, client.url).check()


def test_no_candidate_is_no_score_by_grpc(urls, exported, rows):
    client = Client(exported, urls["grpc"])
    inputs = client.rank_inputs(rows.head(1), rows.head(1))
    items = {name: inputs.pop(name)[:0] for name in ITEM}
    found = client.rank(inputs, items)
    assert {task: values.shape for task, values in found.items()} == {"click": (0,), "like": (0,)}
    client.close()


def test_a_dict_of_lists_without_histories_is_answered_as_keras_does(client, model, encoder, rows):
    history = [n for n in encoder.schema.raw_inputs() if n.startswith(("seen_", "liked_"))]
    inputs = client.inputs(rows.head(5))
    some = {n: v.tolist() for n, v in inputs.items() if n not in history}
    some["word"] = [[word for word in words if word] for words in some["word"]]
    some["word_weight"] = rows["word_weight"].head(5).tolist()
    empty = pd.Series([[]] * 5, rows.index[:5])
    frame = rows.head(5).assign(**dict.fromkeys(history, empty))
    for found in (client.predict(some), client.predict(frame)):
        for task, expected in answers(model, encoder, frame).items():
            np.testing.assert_allclose(found[task], expected, atol=1e-5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split()
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", "key", "-out", "cert"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert", folder / "key"


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_an_encrypted_server_is_verified(exported, model, encoder, rows, certificate, scheme):
    import grpc

    from tests.serving.prediction_server import serving

    expected = answers(model, encoder, rows)
    with serving(exported, certificate=certificate) as urls:
        url = urls["rest" if scheme == "https" else "grpc"]
        assert url.startswith(f"{scheme}://")
        with pytest.raises(ConnectionError, match=f"{scheme}://.* can't be reached"):
            Client(exported, url).predict(rows)
        if scheme == "https":
            credentials = ssl.create_default_context(cafile=certificate[0])
        else:
            credentials = grpc.ssl_channel_credentials(certificate[0].read_bytes())
        client = Client(exported, url, credentials=credentials)
        client.check()
        pd.testing.assert_frame_equal(client.predict(rows), expected, atol=1e-5)
        client.close()


@pytest.mark.parametrize("scheme", ["rest", "grpc"])
def test_what_the_server_says_is_shown(urls, exported, rows, scheme):
    def ask(**arguments):
        Client(exported, urls[scheme], **arguments).predict(rows.head(2))

    with pytest.raises(RuntimeError, match="(404|NOT_FOUND): Servable not found .*Latest.feed"):
        ask(model="feed")
    with pytest.raises(RuntimeError, match="(404|NOT_FOUND): .*Specific.ranker, 7"):
        ask(version=7)
    client = Client(exported, urls[scheme])
    with pytest.raises(RuntimeError, match='(400|FAILED_PRE.*): .*signature key "best" not found'):
        client._ask(client.inputs(rows.head(2)), "best", ("click",))


@pytest.mark.parametrize("scheme", ["rest", "grpc"])
def test_a_server_that_does_not_answer_is_named(urls, exported, rows, scheme):
    client = Client(exported, urls[scheme], model="stuck", timeout=0.2)
    with pytest.raises(TimeoutError, match="127.0.0.1.* gave no answer within 0.2 seconds"):
        client.predict(rows.head(2))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        url = f"{'http' if scheme == 'rest' else 'grpc'}://127.0.0.1:{port}"
        with pytest.raises(ConnectionError, match=f"127.0.0.1:{port}.* can't be reached"):
            Client(exported, url).predict(rows.head(2))


def test_a_model_of_another_schema_is_told_by_its_outputs(urls, encoder, rows):
    tasks = [dataclasses.replace(encoder.schema.tasks[0], name="watch")]
    client = Client(dataclasses.replace(encoder.schema, tasks=tasks), urls["rest"])
    with pytest.raises(RuntimeError, match="without `watch`; .*It gave: click, like"):
        client.predict(rows.head(2))
