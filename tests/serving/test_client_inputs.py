"""What a client makes of rows before it sends them, and what it refuses."""

import json
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pandas as pd
import pytest

from keras_infnet.data import FeatureEncoder, Histories
from keras_infnet.serving import Client
from keras_infnet.serving.wire import make_predict_request, rest_outputs
from tests.house.source import ROOT
from tests.logs import log_schema, make_log

ITEM = ["video_id", "page_id", "tag", "length", "image"]


@pytest.fixture(scope="module")
def encoder():
    return FeatureEncoder(log_schema()).fit(make_log())


@pytest.fixture(scope="module")
def schema(encoder):
    return encoder.schema


@pytest.fixture(scope="module")
def rows(encoder):
    log = make_log(60, seed=4)
    return Histories(encoder, log).attach(log)


def test_a_predict_request_holds_every_input(schema, rows):
    import tensorflow as tf

    client = Client(schema, model="feed", version=3)
    inputs = client.inputs(rows.head(3))
    request = client.predict_request(inputs)
    spec = request.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("feed", 3, "serving_default")
    assert set(request.inputs) == set(client.schema.raw_inputs())
    for name, (_, dtype) in client.schema.raw_inputs().items():
        assert tf.dtypes.as_dtype(request.inputs[name].dtype).name == dtype
    np.testing.assert_array_equal(tf.make_ndarray(request.inputs["fans"]), inputs["fans"])


def test_an_output_that_is_the_only_one_has_no_name():
    found = rest_outputs({"outputs": [[0.25], [0.5]]}, ("click",))
    np.testing.assert_array_equal(found["click"], [[0.25], [0.5]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contry": ["NL"]}, "`contry` is not an input. Did you mean `country`"),
        ({"country": None}, "inputs are missing: `country`"),
        ({"country": [3, 4]}, "`country` has values of type int64; expected strings, with None"),
        ({"country": ["NL", 3]}, "`country` has values of type int, str; expected strings"),
        ({"country": [b"\xff", b"a"]}, "`country` has values of type .*expected strings"),
        ({"user_id": [1.0, 2.0]}, "`user_id` has values of type float64; expected integers, wi"),
        ({"user_id": ["1", "2"]}, "`user_id` has values of type str; expected integers"),
        ({"user_id": [None, 2]}, "`user_id` has values of type NoneType, int; .*with -1 where"),
        (
            {"user_id": np.array([2**63, 1], "uint64")},
            "`user_id` has 9223372036854775808; expected integers below",
        ),
        ({"user_id": [[1], [2]]}, r"`user_id` has shape \(2, 1\); expected \(rows\)"),
        ({"user_id": [1, 2, 3]}, "`country` has 2 rows and `user_id` has 3; expected equally"),
        ({"image": [[1, 2]] * 2}, r"`image` has shape \(2, 2\); expected \(rows, 3\)"),
        ({"image": [[1, 2, np.nan]] * 2}, "`image` has 2 values such as nan; expected finite nu"),
        ({"fans": [np.nan, 1]}, "`fans` has 1 values such as nan; expected finite numbers"),
        ({"length": [1e39, 1]}, "`length` has 1 values such as inf; expected .*or NaN if unkno"),
        (
            {"seen_video_id": [[1], [1, 2]]},
            r"`seen_video_id` and `seen_\w+` differ in length in row 0: 1 and",
        ),
        ({"seen_video_id": [1, [1, 2]]}, "`seen_video_id` has .*what is no list among.*rows, any"),
        ({"seen_video_id": [[1.5], [1, 2]]}, "`seen_video_id` has values of type float64; .*integ"),
        ({"image": [[1, 2, 3], [1, 2]]}, r"`image` has lists of different .* expected \(rows, 3\)"),
        ({"word": [["a"], "bc"]}, "`word` has .*what is no list among lists"),
        ({"seen_tag": None}, "inputs are missing: `seen_tag`"),
        (
            {"seen_tag": [["a"], ["b"]]},
            r"`seen_tag` has shape \(2, 1\); expected \(rows, any,",
        ),
    ],
)
def test_what_does_not_fit_the_schema_is_not_sent(schema, rows, change, message):
    client = Client(schema, "http://127.0.0.1:1")
    inputs = client.inputs(rows.head(2)) | change
    inputs = {name: values for name, values in inputs.items() if values is not None}
    with pytest.raises(ValueError, match=message):
        client.predict(inputs)


def test_lists_of_different_lengths_are_padded(schema, rows):
    client = Client(schema)
    expected = client.inputs(rows.head(9))
    history = [n for n in expected if n.startswith(("seen_", "liked_"))]
    ragged = {name: values.tolist() for name, values in expected.items()}
    for name in history:
        ragged[name] = rows[name].head(9).tolist()
    # An event's own bag, as the values that are there.
    bags = [[[t for t in tags if t] for tags in events] for events in expected["seen_tag"].tolist()]
    there = rows["seen_video_id"].head(9).map(len)
    ragged["seen_tag"] = [events[:n] for events, n in zip(bags, there, strict=True)]
    for name in ("word", "word_weight"):
        ragged[name] = rows[name].head(9).tolist()
    assert len({*map(len, ragged["seen_video_id"])}) > 2 and len({*map(len, ragged["word"])}) > 2
    found = client.inputs(ragged)
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
        assert found[name].dtype == values.dtype, name


def test_a_history_that_is_left_out_is_empty(schema, rows):
    client = Client(schema)
    history = [n for n in schema.raw_inputs() if n.startswith(("seen_", "liked_"))]
    empty = pd.Series([[], None], rows.index[:2])
    expected = client.inputs(rows.head(2).assign(**dict.fromkeys(history, empty)))
    given = {name: values for name, values in expected.items() if name not in history}
    found = client.inputs(given)
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    with pytest.raises(ValueError, match="frame lacks the histories `seen`, `liked` as .* None th"):
        client.inputs(rows.drop(columns=history))
    items = {name: expected[name] for name in ITEM}
    user = {name: values[:1] for name, values in given.items() if name not in ITEM}
    assert set(client.rank_inputs(user, items)) == set(expected)


@pytest.mark.parametrize("nothing", [[[]], [None], np.zeros((1, 0))], ids=["[]", "None", "array"])
def test_lists_that_are_all_empty_hold_nothing(schema, rows, nothing):
    client = Client(schema)
    listed = [n for n in schema.raw_inputs() if n.startswith(("seen_", "liked_", "word"))]
    empty = pd.Series([[]], rows.index[:1])
    expected = client.inputs(rows.head(1).assign(**dict.fromkeys(listed, empty)))
    found = client.inputs(expected | dict.fromkeys(listed, nothing))
    for name, values in expected.items():
        # An empty bag may have no column, or one of what means missing.
        there = values[values != schema.raw_missing()[name]]
        kept = found[name][found[name] != schema.raw_missing()[name]]
        assert found[name].ndim == values.ndim, name
        np.testing.assert_array_equal(kept[kept == kept], there[there == there], err_msg=name)


def test_events_come_oldest_first(schema, rows):
    client = Client(schema)
    inputs = client.inputs(rows)
    ages = inputs["seen_age_seconds"]
    row = int(np.argmax((ages >= 0).sum(axis=1)))
    there = ages[row][ages[row] >= 0]
    now, user = rows.iloc[row][["time_ms", "user_id"]]
    log = make_log(60, seed=4).sort_values("time_ms", kind="stable")
    earlier = log[(log["user_id"] == user) & (log["time_ms"] < now)].tail(len(there))
    # From the log, by hand: the newest event is the last.
    np.testing.assert_array_equal(there, (now - earlier["time_ms"].to_numpy()) // 1000)
    assert there[0] > there[-1]
    # Times are distinct but for repeats, whose order the log does not tell.
    once = ~earlier["time_ms"].duplicated(keep=False).to_numpy()
    found = inputs["seen_video_id"][row][: len(there)]
    np.testing.assert_array_equal(found[once], earlier["video_id"].to_numpy()[once])
    seen = [name for name in inputs if name.startswith("seen_")]
    with pytest.raises(ValueError, match="Client: `seen_age_seconds`: events are out of order .*o"):
        client.inputs(inputs | {name: inputs[name][:, ::-1] for name in seen})


def test_credentials_belong_to_an_encrypted_url(schema):
    context = ssl.create_default_context()
    for url in ("http://a:1", "grpc://a:1", "grpcs://a:1"):
        with pytest.raises(ValueError, match=f"credentials are SSLContext for {url}; "):
            Client(schema, url, credentials=context)
    with pytest.raises(ValueError, match="credentials are object for https://a:1"):
        Client(schema, "https://a:1", credentials=object())


def test_frames_that_do_not_fit_are_not_sent(schema, rows):
    client = Client(schema, "http://127.0.0.1:1")
    user, items = rows.head(1), rows[ITEM]
    with pytest.raises(ValueError, match="Feature `fans`: the frame has no column `fans`"):
        client.predict(rows.drop(columns="fans"))
    with pytest.raises(ValueError, match="Feature `tag`: the frame has no column `tag`"):
        client.rank(user, items.drop(columns="tag"))
    with pytest.raises(ValueError, match="the user's `user_id` has 2 rows; expected one"):
        client.rank(rows.head(2), items)
    with pytest.raises(ValueError, match="the frame is empty; expected at least one row"):
        client.rank(user, items.head(0))
    with pytest.raises(ValueError, match="`fans` is not an input of item"):
        client.rank(user, {"fans": [1]})
    with pytest.raises(ValueError, match="found list; expected a DataFrame, or a dict"):
        client.predict([1, 2])
    with pytest.raises(ValueError, match="no task `clik`. Did you mean `click`"):
        client.rank_top_k(user, items, {"clik": 1}, 3)
    with pytest.raises(ValueError, match="k is 0; expected 1 or more"):
        client.rank_top_k(user, items, k=0)


def test_classes_of_a_task_are_columns_and_other_shapes_are_an_error(schema, monkeypatch):
    columns = {"click": ("click",), "like": ("like/much", "like/little")}
    of_task = property(lambda task: columns[task.name])
    monkeypatch.setattr(type(schema.tasks[0]), "columns", of_task)
    outputs = {"index": np.array([1, 0]), "click": np.array([[0.5], [0.25]])}
    found = Client(schema)._columns(outputs | {"like": np.array([[0.1, 0.2], [0.3, 0.4]])})
    assert {name: values.tolist() for name, values in found.items()} == {
        "index": [1, 0],
        "click": [0.5, 0.25],
        "like/much": np.float32([0.1, 0.3]).tolist(),
        "like/little": np.float32([0.2, 0.4]).tolist(),
    }
    with pytest.raises(RuntimeError, match=r"`like` of shape \(2, 1\); expected \(rows, 2\)"):
        Client(schema)._columns(outputs | {"like": np.array([[0.1], [0.3]])})


def test_json_can_not_tell_some_shapes(schema, rows):
    client = Client(schema)
    inputs = client.inputs(rows.head(2)) | {"image": np.zeros((0, 3), "float32")}
    with pytest.raises(ValueError, match=r"`image` has shape \(0, 3\), which JSON can't tell"):
        client.rest_request(inputs)
    inputs = client.rank_inputs(rows.head(1), rows.head(3))
    with pytest.raises(ValueError, match="inputs of `rank` differ in their first dimension"):
        client.rest_request(inputs, "rank", row_format=True)


def test_no_candidate_has_no_output_whatever_json_tells(schema):
    found = Client(schema)._columns({task: np.asarray([]) for task in ("click", "like")})
    assert {name: values.shape for name, values in found.items()} == {"click": (0,), "like": (0,)}


ANSWERS = {
    "cut off": (b"HTTP/1.0 200 OK\r\nContent-Length: 999\r\n\r\n{", ConnectionError),
    "no HTTP": (b"garbage\r\n\r\n", ConnectionError),
    "a refusal cut off": (b"HTTP/1.0 500 Broken\r\nContent-Length: 999\r\n\r\n{", RuntimeError),
    "no text": (b"HTTP/1.0 200 OK\r\n\r\n\xff", RuntimeError),
    "a list": (b"HTTP/1.0 200 OK\r\n\r\n[1]", RuntimeError),
    "another object": (b'HTTP/1.0 200 OK\r\n\r\n{"error": "odd"}', RuntimeError),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_no_answer_is_an_error_of_the_client(schema, rows, name, monkeypatch):
    answer, error = ANSWERS[name]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(answer)

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        asked = threading.Thread(target=server.handle_request)
        asked.start()
        with pytest.raises(error, match="^Client: "):
            Client(schema, f"http://127.0.0.1:{server.server_port}").predict(rows.head(1))
        asked.join()


def test_the_schema_is_read_from_the_export(schema, tmp_path):
    file = tmp_path / "1" / "assets.extra" / "schema.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(schema.to_dict()))
    assert Client(tmp_path / "1").schema == Client(str(file)).schema == schema
    with pytest.raises(ValueError, match="schema.json` can't be read; expected the folder of an"):
        Client(tmp_path)
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(ValueError, match="other.json` holds no schema"):
        Client(tmp_path / "other.json")


def test_an_address_without_a_known_scheme_is_an_error(schema):
    with pytest.raises(ValueError, match="url is 'localhost:8501'; expected http://host:port"):
        Client(schema, "localhost:8501")


def test_grpc_without_its_package_names_the_extra(schema, rows, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("tensorflow_serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    with pytest.raises(ImportError, match=r'pip install "keras-infnet\[serving\]"'):
        Client(schema, "grpc://127.0.0.1:1").predict(rows.head(2))


ALONE = """
import sys, types
for name in ("keras", "tensorflow", "jax", "tensorflow_serving"):
    sys.modules[name] = None
for name in ("keras_infnet", "keras_infnet.serving"):
    # Packages without their `__init__`, which offers all the rest too.
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = [sys.argv[1] + "/" + name.replace(".", "/")]
# The kinds of columns and tasks, which the package's `__init__` would import.
from keras_infnet.schema import binary_task, categorical, dense, numeric
from keras_infnet.serving.client import Client
client = Client(sys.argv[2])
print(client.rest_request({}), len(client.schema.tasks))
"""


def test_its_code_needs_neither_keras_nor_tensorflow(schema, tmp_path):
    (tmp_path / "schema.json").write_text(json.dumps(schema.to_dict()))
    command = [sys.executable, "-c", ALONE, str(ROOT), str(tmp_path / "schema.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == "{'signature_name': 'serving_default', 'inputs': {}} 2", (
        done.stderr
    )


@pytest.mark.parametrize(
    "values",
    [
        np.array([["a", "é☃", b"\xff\x00"], ["", "x", "y"]], "O"),
        np.arange(6, dtype="int64").reshape(2, 3) - 2**40,
        np.arange(12, dtype="float32").reshape(3, 4).T[:, ::2],
        np.array([[1.5, np.nan, -np.inf]], "float16"),
        np.zeros((0, 2), "int64"),
    ],
    ids=lambda values: f"{values.dtype} {values.shape}",
)
def test_a_request_by_grpc_has_the_tensors_that_tensorflow_would_make(values):
    pytest.importorskip("tensorflow_serving.apis")
    import tensorflow as tf

    found = make_predict_request({"x": values}, "rank", "ranker", 3).inputs["x"]
    expected = tf.make_tensor_proto(values, tf.as_dtype(values.dtype), values.shape)
    assert (found.dtype, found.tensor_shape) == (expected.dtype, expected.tensor_shape)
    read, of_tensorflow = tf.make_ndarray(found), tf.make_ndarray(expected)
    assert read.dtype == of_tensorflow.dtype and read.shape == values.shape
    np.testing.assert_array_equal(read, of_tensorflow)
