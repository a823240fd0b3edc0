"""TensorFlow Serving's messages, written without its package.

`PredictRequest`, `ModelSpec` and `PredictionLog` are few fields around TensorFlow's own
`TensorProto`, so an export needs no extra; tests read them with `tensorflow_serving.apis`.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_infnet._base.did_you_mean import did_you_mean


def predict_request(model_name: str, signature: str, inputs: Mapping[str, np.ndarray]) -> bytes:
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


def rest_json(signature: str, inputs: Mapping[str, np.ndarray]) -> str:
    """A request of the REST interface in columnar form; `NaN` as TensorFlow Serving reads it."""
    plain = {name: _plain(values.tolist()) for name, values in inputs.items()}
    return json.dumps({"signature_name": signature, "inputs": plain}, ensure_ascii=False)


def parse_rest_json(
    text: str, dtypes: Mapping[str, Mapping[str, str]]
) -> tuple[str, dict[str, np.ndarray]]:
    """Signature and arrays of a columnar REST request.

    Args:
        text: The JSON.
        dtypes: By signature, the dtype of each input.

    Returns:
        Name of the signature, and arrays by input name.

    Raises:
        ValueError: It is no such request, or an input is unknown, ragged or of another dtype.
    """
    try:
        plain = json.loads(text)
        name, inputs = plain.get("signature_name", "serving_default"), dict(plain["inputs"])
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            'check: the request is not REST JSON in columnar form; expected {"signature_name": '
            f'..., "inputs": {{name: values}}}}. ({type(error).__name__}: {error})'
        ) from error
    if name not in dtypes:
        raise ValueError(f"check: there is no signature `{name}`." + did_you_mean(name, dtypes))
    arrays = {}
    for key, values in inputs.items():
        if key not in dtypes[name]:
            found = did_you_mean(key, dtypes[name])
            raise ValueError(f"check: signature `{name}` has no input `{key}`.{found}")
        arrays[key] = _array(key, values, dtypes[name][key])
    return name, arrays


def _array(name: str, values: Any, dtype: str) -> np.ndarray:
    try:
        if dtype != "string":
            return np.array(values, dtype)
        # Of objects: numpy's own strings lose zero bytes at their ends.
        array = np.array(_decoded(values), object)
        strange = {type(v).__name__ for v in array.ravel() if not isinstance(v, str | bytes)}
        if strange:
            raise ValueError(f"found {', '.join(sorted(strange))}")
        return array
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"check: input `{name}`: expected {dtype} values in lists of one length. ({error})"
        ) from error


def _decoded(values: Any) -> Any:
    if isinstance(values, list):
        return [_decoded(value) for value in values]
    return base64.b64decode(values["b64"]) if isinstance(values, dict) else values


def _plain(values: Any) -> Any:
    if isinstance(values, list):
        return [_plain(value) for value in values]
    if isinstance(values, bytes):
        return {"b64": base64.b64encode(values).decode()}
    return values


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    digits = []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])
