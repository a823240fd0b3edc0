"""Requests, good and bad, through TensorFlow's C API: an answer or an error, never a crash."""

import os
import signal

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_infnet.data import frame_to_request
from keras_infnet.serving import run_c_api
from keras_infnet.serving.c_api import CApiProcess
from keras_infnet.serving.requests import item_inputs, read_signatures, signature_requests

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the same graph, whatever trained it"
)
SEEN = ("video_id", "tag", "length", "page_id", "is_click", "is_like", "ratio", "age_seconds")


@pytest.fixture(scope="module")
def process(ranker):
    with CApiProcess(ranker.path, 1, 1) as process:
        yield process


@pytest.fixture(scope="module")
def request_of_rows(ranker):
    return frame_to_request(ranker.encoder.schema, ranker.rows.iloc[:6])


@pytest.fixture(scope="module")
def expected(process, request_of_rows):
    return process.run("serving_default", request_of_rows)[0]


def check_answer(found, rows):
    assert set(found) == {"click", "like"}
    for values in found.values():
        assert values.shape == (rows, 1) and values.dtype == np.float32
        assert ((values >= 0) & (values <= 1)).all()


BAD = {
    "an unknown input": ({"videoid": np.zeros(6)}, "the signature has no input `videoid`"),
    "a missing input": ({"country": None}, "the request lacks input `country`"),
    "another dtype": ({"user_id": np.zeros(6, "int32")}, "to be int64 but int32 is provided"),
    "strings for ids": ({"user_id": np.full(6, "1")}, "to be int64 but string is provided"),
    "ids for strings": ({"country": np.zeros(6, "int64")}, "to be string but int64"),
    "a scalar": ({"user_id": np.int64(3)}, r"user_id\w* \[\] is not compatible"),
    "one dimension more": ({"user_id": np.zeros((6, 1), "int64")}, r"user_id\w* \[6,1\] is not"),
    "a flat history": ({"liked_video_id": np.zeros(6, "int64")}, r"liked_video_id\w* \[6\] is not"),
    "a narrow vector": ({"image": np.zeros((6, 2), "float32")}, r"image\w* \[6,2\] is not"),
    "fewer rows": (
        {"user_id": np.zeros(5, "int64")},
        r"the inputs differ in rows: user_id,.*\[5\]",
    ),
    "a short column": ({"seen_ratio": np.zeros((6, 1), "float32")}, "history `seen` differ in"),
    "few ages": ({"liked_age_seconds": np.zeros((6, 9), "int64")}, "history `liked` differ in"),
    "few weights": ({"word_weight": np.ones((6, 1), "float32")}, "bag `word` and its weights diff"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_request_is_refused_by_name(process, request_of_rows, expected, case):
    changes, message = BAD[case]
    request = {k: v for k, v in (request_of_rows | changes).items() if v is not None}
    with pytest.raises(ValueError, match=f"(?s)signature `serving_default`: .*{message}"):
        process.run("serving_default", request)
    found, _ = process.run("serving_default", request_of_rows)
    np.testing.assert_array_equal(found["click"], expected["click"])


def test_an_unknown_signature_is_refused(process, request_of_rows):
    with pytest.raises(ValueError, match="the model has no signature `rnak`"):
        process.run("rnak", request_of_rows)


def test_values_that_mean_nothing_have_their_documented_defaults(process, request_of_rows):
    nothing = np.float32([np.nan, np.inf, -np.inf, np.nan, np.nan, np.nan])
    zero = np.zeros(6, "float32")
    pairs = [
        ("image", nothing[:, None] * np.ones((1, 3), "float32"), np.zeros((6, 3), "float32")),
        ("word_weight", np.repeat([[np.nan], [np.inf], [-1]] * 2, 3, 1), np.zeros((6, 3))),
        ("user_id", np.full(6, -77), np.full(6, 10**9)),
        ("length", np.full(6, np.nan), np.full(6, np.nan)),
        ("fans", zero - 1e30, zero - 1e37),
    ]
    for name, strange, default in pairs:
        kind = request_of_rows[name].dtype
        found, _ = process.run("serving_default", request_of_rows | {name: strange.astype(kind)})
        check_answer(found, 6)
        same, _ = process.run("serving_default", request_of_rows | {name: default.astype(kind)})
        np.testing.assert_array_equal(found["click"], same["click"], err_msg=name)


def test_of_too_long_a_history_the_newest_events_count(process, request_of_rows, expected):
    columns = {f"seen_{c}": request_of_rows[f"seen_{c}"] for c in SEEN}
    full = np.flatnonzero((columns["seen_video_id"] >= 0).sum(1) >= 5)
    longer = {k: np.concatenate([np.roll(v, 1, 0)] * 40 + [v], axis=1) for k, v in columns.items()}
    found, _ = process.run("serving_default", request_of_rows | longer)
    assert len(full)
    np.testing.assert_allclose(found["click"][full], expected["click"][full], atol=1e-6)


def test_no_row_and_very_many(process, request_of_rows):
    empty = {name: values[:0] for name, values in request_of_rows.items()}
    check_answer(process.run("serving_default", empty)[0], 0)
    many = {
        k: np.tile(v, (20_000, *(1,) * (v.ndim - 1)))[:100_000] for k, v in request_of_rows.items()
    }
    check_answer(process.run("serving_default", many)[0], 100_000)


NUMBERS = st.sampled_from([0, -1, -2, 7, 2**31, 2**63 - 1, -(2**63), 10**12])
FLOATS = st.sampled_from([0.0, -0.0, 1e-42, -1e38, 3e38, np.nan, np.inf, -np.inf, 0.5])
TEXTS = st.one_of(st.sampled_from([b"", b"NL", b"\xff\xfe", b"a\x00b", b"x" * 5000]), st.binary())
DTYPES = st.sampled_from(["int8", "int32", "int64", "float16", "float32", "float64", "bool", "S1"])


@st.composite
def damaged(draw, request):
    """A request with a few inputs of other values, shapes or dtypes, missing or besides."""
    request = dict(request)
    for name in draw(st.lists(st.sampled_from(sorted(request)), max_size=3, unique=True)):
        values = request[name]
        kind = draw(st.sampled_from(["values", "shape", "dtype", "missing", "unknown", "rows"]))
        if kind == "values" and values.size:
            choice = {"O": TEXTS, "f": FLOATS}.get(values.dtype.kind, NUMBERS)
            some = draw(st.lists(choice, min_size=1, max_size=5))
            flat = np.resize(np.array(some, values.dtype), values.size)
            request[name] = flat.reshape(values.shape)
        elif kind == "shape":
            shape = draw(st.lists(st.integers(0, 4), max_size=4))
            request[name] = np.resize(values.ravel()[:1], shape)
        elif kind == "dtype":
            request[name] = np.zeros(values.shape, draw(DTYPES))
        elif kind == "rows":
            request[name] = values[: draw(st.integers(0, 3))]
        elif kind == "missing":
            del request[name]
        else:
            request[f"{name}_"] = values
    return request


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_request_ends_the_process(ranker, process, request_of_rows, expected, data):
    signatures = read_signatures(ranker.path)
    asked = {n: signatures[n] for n in ("serving_default", "rank") if n in signatures}
    made = signature_requests(asked, ranker.encoder.schema, request_of_rows)
    name = data.draw(st.sampled_from(sorted(made)))
    request = data.draw(damaged(made[name]))
    try:
        found, _ = process.run(name, request)
    except ValueError as error:
        assert len(str(error)) > len(f"check: signature `{name}`: ")
    else:
        check_answer(found, len(request[sorted(item_inputs(ranker.encoder.schema))[0]]))
    again, _ = process.run("serving_default", request_of_rows)
    np.testing.assert_array_equal(again["click"], expected["click"])


def test_a_process_that_died_is_an_error_and_not_a_hang(ranker, request_of_rows):
    with CApiProcess(ranker.path) as process:
        os.kill(process._process.pid, signal.SIGKILL)
        with pytest.raises(OSError, match="the process of the C API ended with exit code -9"):
            process.run("serving_default", request_of_rows)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ValueError, match="the model can't be loaded: Could not find SavedModel"):
        run_c_api(tmp_path, "serving_default", [])


def test_without_a_compiler_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(OSError, match="`no-such-compiler` was not found.*apt-get install gcc"):
        run_c_api(tmp_path, "serving_default", [])


def test_without_headers_the_error_names_the_wheel(tmp_path, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.sysconfig, "get_include", lambda: str(tmp_path))
    with pytest.raises(OSError, match=r"c_api.h` was not found; expected TensorFlow's wheel"):
        run_c_api(tmp_path, "serving_default", [])


def test_a_compiler_that_fails_is_quoted(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "gcc --no-such-option")
    with pytest.raises(OSError, match="(?s)the C program can't be built:.*no-such-option"):
        run_c_api(tmp_path, "serving_default", [])


def test_arguments_out_of_range(ranker, process, request_of_rows):
    with pytest.raises(ValueError, match="expected one run or more. Received: runs=0"):
        process.run("serving_default", request_of_rows, runs=0)
    with pytest.raises(ValueError, match="expected 0 to 127 threads. Received: intra_threads=128"):
        run_c_api(ranker.path, "serving_default", [], intra_threads=128)


def test_an_array_that_is_no_tensor_is_refused(process, request_of_rows):
    with pytest.raises(ValueError, match="input `user_id` has dtype complex128; expected a tens"):
        process.run("serving_default", request_of_rows | {"user_id": np.zeros(6, "complex128")})


def test_each_request_may_have_a_signature_of_its_own(ranker, request_of_rows):
    from keras_infnet.serving.requests import rank_request

    ranked = rank_request(ranker.encoder.schema, request_of_rows)
    names, requests = ["serving_default", "rank"], [request_of_rows, ranked]
    (pairs, rank), seconds = run_c_api(ranker.path, names, requests)
    assert seconds.shape == (2, 1) and not np.array_equal(pairs["click"], rank["click"])
    # The first row's item is ranked for its own user.
    np.testing.assert_allclose(rank["click"][0], pairs["click"][0], atol=1e-5)
    with pytest.raises(ValueError, match="2 signatures for 1 requests; expected one name for all"):
        run_c_api(ranker.path, names, requests[:1])
