"""TensorFlow Serving's wire: REST in JSON by the standard library, gRPC, and its messages.

What an export writes beside its graph needs no package of TensorFlow Serving: `PredictRequest`,
`ModelSpec` and `PredictionLog` are few fields around TensorFlow's own `TensorProto`. A connection
by gRPC needs `tensorflow-serving-api`.
"""

import base64
import json
import ssl
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import numpy as np

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet.serving.requests import Arrays, Signature

Outputs = dict[str, np.ndarray]
# How TensorFlow Serving says that its queue of batches has no place, by a code that it shares with
# servers that can't be reached.
_FULL = "queue to which this task was submitted is full"
# What JSON has for a dtype: `true` and `1.0` are no integers, as in TensorFlow Serving.
_JSON_TYPES = {"i": (int,), "f": (int, float), "O": (str, bytes)}


class BusyError(RuntimeError):
    """A server refuses a request because it has too many."""


class RestServer:
    """A model behind a server's REST interface.

    Args:
        url: `http://host:port` or `https://...`.
        model: Name that the server knows the model by.
        version: Its version; `None`: the newest that the server has loaded.
        timeout: Seconds to wait for an answer.
        context: What certificates are trusted; `None`: those of the system.
    """

    def __init__(
        self,
        url: str,
        model: str,
        version: int | None,
        timeout: float,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.url, self.timeout = model_url(url, model, version), timeout
        self._context = context

    def predict(
        self, inputs: Arrays, signature: str, names: tuple[str, ...], timeout: float | None = None
    ) -> Outputs:
        """Arrays by output; `names` are those that are expected."""
        timeout = self.timeout if timeout is None else timeout
        url, body = f"{self.url}:predict", rest_body(inputs, signature)
        return rest_outputs(call(url, body, timeout, self._context), names)

    def signatures(self) -> dict[str, Any]:
        """`SignatureDef`s in JSON, by name."""
        answer = call(f"{self.url}/metadata", None, self.timeout, self._context)
        return answer["metadata"]["signature_def"]["signature_def"]

    def close(self) -> None:
        """Nothing: each request is a connection of its own."""


def model_url(url: str, model: str, version: int | None) -> str:
    """The address of a model, or of one version of it."""
    versions = "" if version is None else f"/versions/{version}"
    return f"{url.rstrip('/')}/v1/models/{quote(model, safe='')}{versions}"


def rest_body(inputs: Arrays, signature: str, row_format: bool = False) -> dict[str, Any]:
    """The JSON object of a `predict` request.

    The columnar format (`"inputs"`) has one list an input; the row format (`"instances"`) one
    object a row, and needs inputs of one first dimension.

    Args:
        inputs: Arrays by the names of inputs.
        signature: Name of the signature.
        row_format: Whether to write rows.

    Returns:
        An object that `json.dumps` writes; NaN becomes `NaN`, which TensorFlow Serving reads.

    Raises:
        ValueError: JSON can't tell the shape of an empty array, or rows differ in number.
    """
    for name, values in inputs.items():
        if 0 in values.shape[:-1]:
            raise ValueError(
                f"Client: `{name}` has shape {values.shape}, which JSON can't tell. Send it by a "
                "grpc:// URL."
            )
    lists = {name: values.tolist() for name, values in inputs.items()}
    if not row_format:
        return {"signature_name": signature, "inputs": lists}
    counts = {values.shape[:1] for values in inputs.values()}
    if len(counts) != 1 or () in counts:
        raise ValueError(
            f"Client: the inputs of `{signature}` differ in their first dimension; only the "
            "columnar format, row_format=False, holds them."
        )
    rows = zip(*lists.values(), strict=True)
    instances = [dict(zip(lists, row, strict=True)) for row in rows]
    return {"signature_name": signature, "instances": instances}


def rest_json(signature: str, inputs: Arrays) -> str:
    """`rest_body` as text; `NaN` as TensorFlow Serving reads it, bytes in base64."""

    def in_base64(value: bytes) -> dict[str, str]:
        return {"b64": base64.b64encode(value).decode()}

    return json.dumps(rest_body(inputs, signature), ensure_ascii=False, default=in_base64)


def parse_rest_json(text: str, signatures: Mapping[str, Signature]) -> tuple[str, Outputs]:
    """Signature and arrays of a columnar REST request.

    Args:
        text: The JSON.
        signatures: Signatures by name, as `read_signatures` gives them.

    Returns:
        Name of the signature, and arrays by input name.

    Raises:
        ValueError: It is no such request, or an input is unknown, ragged or of another dtype.
    """

    def binary(plain: dict[str, Any]) -> Any:
        return base64.b64decode(plain["b64"]) if list(plain) == ["b64"] else plain

    try:
        plain = json.loads(text, object_hook=binary)
        name, inputs = plain.get("signature_name", "serving_default"), dict(plain["inputs"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            'check: the request is not REST JSON in columnar form; expected {"signature_name": '
            f'..., "inputs": {{name: values}}}}. ({type(error).__name__}: {error})'
        ) from error
    if name not in signatures:
        found = did_you_mean(name, signatures)
        raise ValueError(f"check: there is no signature `{name}`.{found}")
    arrays, known = {}, signatures[name]["inputs"]
    for key, values in inputs.items():
        if key not in known:
            found = did_you_mean(key, known)
            raise ValueError(f"check: signature `{name}` has no input `{key}`.{found}")
        arrays[key] = _array(key, values, known[key][0])
    return name, arrays


def rest_outputs(answer: Mapping[str, Any], names: tuple[str, ...]) -> Outputs:
    """Arrays by output, of the columnar format; the name of an only output is left out."""
    if "outputs" not in answer:
        raise RuntimeError(f"Client: the server's answer lacks `outputs`: {str(answer)[:1000]}")
    outputs = answer["outputs"]
    if not isinstance(outputs, dict):
        outputs = {names[0]: outputs}
    arrays = {name: np.asarray(values) for name, values in outputs.items()}
    # All that a model gives is float32, which JSON writes in digits.
    return {n: x.astype("float32") if x.dtype.kind == "f" else x for n, x in arrays.items()}


def call(
    url: str,
    body: Mapping[str, Any] | None,
    timeout: float,
    context: ssl.SSLContext | None = None,
) -> dict[str, Any]:
    """Posts a JSON object, or gets the address, and reads the answer.

    Raises:
        ConnectionError: Nothing answers there.
        TimeoutError: No answer came in time.
        RuntimeError: The server refused; its text is shown.
    """
    data = None if body is None else json.dumps(body).encode("ascii")
    request = Request(url, data, {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=timeout, context=context) as response:
            text = response.read().decode("utf-8", "replace")
        return dict(json.loads(text))
    except HTTPError as error:
        if error.code in (429, 503):
            raise BusyError(f"Client: {url} is busy: {_told(error)}") from error
        raise RuntimeError(f"Client: {url} answered {error.code}: {_told(error)}") from error
    except (OSError, HTTPException) as error:
        # urllib puts some errors of the connection into one of its own.
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            message = f"Client: {url} gave no answer within {timeout:g} seconds."
            raise TimeoutError(message) from error
        raise ConnectionError(f"Client: {url} can't be reached: {reason}.") from error
    except (TypeError, ValueError) as error:
        raise RuntimeError(f"Client: {url} answered no JSON object: {text[:1000]}") from error


class GrpcServer:
    """A model behind a server's gRPC interface; the first call opens the connection, which stays.

    Args:
        address: `host:port`.
        model: As in `RestServer`.
        version: As in `RestServer`.
        timeout: Seconds to wait for an answer.
        secure: Whether the connection is encrypted, and the server's certificate verified.
        credentials: gRPC's credentials of a secure one; `None`: its own root certificates.
    """

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None,
        timeout: float,
        secure: bool = False,
        credentials: Any = None,
    ) -> None:
        self.address, self.model, self.version = address, model, version
        self.timeout, self._secure, self._credentials = timeout, secure, credentials
        self._channel: Any = None

    def predict(
        self, inputs: Arrays, signature: str, names: tuple[str, ...], timeout: float | None = None
    ) -> Outputs:
        """Arrays by output; all have names here, expected or not."""
        import tensorflow as tf

        request = make_predict_request(inputs, signature, self.model, self.version)
        response = self._call("Predict", request, timeout)
        return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}

    def signatures(self) -> dict[str, Any]:
        """`SignatureDef`s by name, in the form of the REST answer."""
        messages = serving_apis()[1]
        from google.protobuf.json_format import MessageToDict

        request = messages.GetModelMetadataRequest(
            model_spec=_model_spec(self.model, self.version), metadata_field=["signature_def"]
        )
        response, signatures = self._call("GetModelMetadata", request), messages.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return MessageToDict(signatures, preserving_proto_field_name=True)["signature_def"]

    def close(self) -> None:
        """Closes the connection; the next call opens it again."""
        if self._channel is not None:
            self._channel.close()
        self._channel = None

    def _call(self, method: str, request: Any, timeout: float | None = None) -> Any:
        timeout = self.timeout if timeout is None else timeout
        stubs = serving_apis()[2]
        import grpc

        if self._channel is None:
            # The default limit of 4 MB is some thousand candidates with dense vectors.
            sizes = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
            if self._secure:
                credentials = self._credentials or grpc.ssl_channel_credentials()
                self._channel = grpc.secure_channel(self.address, credentials, sizes)
            else:
                self._channel = grpc.insecure_channel(self.address, sizes)
        stub = stubs.PredictionServiceStub(self._channel)
        where = f"Client: grpc{'s' if self._secure else ''}://{self.address}"
        try:
            return getattr(stub, method)(request, timeout=timeout)
        except grpc.RpcError as error:
            code, told = error.code(), error.details()
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                message = f"{where} gave no answer within {timeout:g} seconds."
                raise TimeoutError(message) from error
            if code == grpc.StatusCode.RESOURCE_EXHAUSTED or _FULL in str(told):
                raise BusyError(f"{where} is busy: {told}") from error
            if code == grpc.StatusCode.UNAVAILABLE:
                raise ConnectionError(f"{where} can't be reached: {told}.") from error
            raise RuntimeError(f"{where} answered {code.name}: {told}") from error


def serving_apis() -> Any:
    """The package's messages and stubs, or an ImportError that names the extra."""
    try:
        from tensorflow_serving.apis import (
            get_model_metadata_pb2,
            predict_pb2,
            prediction_service_pb2_grpc,
        )
    except ModuleNotFoundError as error:
        raise ImportError(
            "Client: gRPC needs the package `tensorflow-serving-api`: "
            '`pip install "keras-infnet[serving]"`. A http:// URL needs neither.'
        ) from error
    return predict_pb2, get_model_metadata_pb2, prediction_service_pb2_grpc


def make_predict_request(inputs: Arrays, signature: str, model: str, version: int | None) -> Any:
    """A `PredictRequest` of arrays by the names of inputs."""
    spec = {**_model_spec(model, version), "signature_name": signature}
    request = serving_apis()[0].PredictRequest(model_spec=spec)
    for name, values in inputs.items():
        _write_tensor(request.inputs[name], values)
    return request


def _write_tensor(tensor: Any, values: np.ndarray) -> None:
    """As `tf.make_tensor_proto`, which takes several times as long to find out what it is given."""
    import tensorflow as tf

    tensor.dtype = tf.as_dtype(values.dtype).as_datatype_enum
    for size in values.shape:
        tensor.tensor_shape.dim.add().size = size
    if values.dtype == object:
        texts = values.ravel().tolist()
        tensor.string_val.extend(v if isinstance(v, bytes) else v.encode() for v in texts)
    else:
        tensor.tensor_content = values.tobytes()


def predict_request(model_name: str, signature: str, inputs: Arrays) -> bytes:
    """A serialised `tensorflow.serving.PredictRequest`.

    Args:
        model_name: Name under which the server has the model.
        signature: Name of the signature.
        inputs: Arrays by input name; strings in arrays of `object`.

    Returns:
        The bytes, the same for the same arguments.
    """
    import tensorflow as tf

    model_spec = _field(1, model_name.encode()) + _field(3, signature.encode())
    message = _field(1, model_spec)
    for name, values in sorted(inputs.items()):
        tensor = tf.make_tensor_proto(values).SerializeToString(deterministic=True)
        message += _field(2, _field(1, name.encode()) + _field(2, tensor))
    return message


def prediction_log(request: bytes) -> bytes:
    """A serialised `tensorflow.serving.PredictionLog` of a `PredictRequest`: a warm-up record."""
    return _field(6, _field(1, request))


def _array(name: str, values: Any, dtype: str) -> np.ndarray:
    try:
        # Of objects: numpy would make numbers of other types, and its strings lose zero bytes.
        array = np.array(values, object)
        kinds = _JSON_TYPES[np.dtype(dtype).kind if dtype != "string" else "O"]
        for place, value in np.ndenumerate(array):
            if type(value) not in kinds:
                raise ValueError(f"found {value!r} at {list(place)}")
        return array if dtype == "string" else array.astype(dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"check: input `{name}`: expected {dtype} values in lists of one length. ({error})"
        ) from error


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    digits = []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def _told(error: HTTPError) -> str:
    text = str(error.reason)
    try:
        text = error.read().decode("utf-8", "replace")
        return str(json.loads(text)["error"])
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return text[:1000]


def _model_spec(model: str, version: int | None) -> dict[str, Any]:
    return {"name": model, "version": None if version is None else {"value": version}}
