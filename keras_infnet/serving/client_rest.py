"""TensorFlow Serving's REST interface, by the standard library."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import numpy as np


def model_url(url: str, model: str, version: int | None) -> str:
    """The address of a model, or of one version of it."""
    versions = "" if version is None else f"/versions/{version}"
    return f"{url.rstrip('/')}/v1/models/{quote(model, safe='')}{versions}"


def rest_body(
    inputs: Mapping[str, np.ndarray], signature: str, row_format: bool = False
) -> dict[str, Any]:
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
    counts = {name: np.shape(values)[:1] for name, values in inputs.items()}
    if len(set(counts.values())) != 1 or () in counts.values():
        raise ValueError(
            f"Client: the inputs of `{signature}` differ in their first dimension; only the "
            "columnar format, row_format=False, holds them."
        )
    rows = zip(*lists.values(), strict=True)
    instances = [dict(zip(lists, row, strict=True)) for row in rows]
    return {"signature_name": signature, "instances": instances}


def rest_outputs(answer: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Arrays by output, of the columnar format; the name of an only output is left out."""
    outputs = answer["outputs"]
    if not isinstance(outputs, dict):
        outputs = {names[0]: outputs}
    return {name: np.asarray(values) for name, values in outputs.items()}


def call(url: str, body: Mapping[str, Any] | None, timeout: float) -> dict[str, Any]:
    """Posts a JSON object, or gets the address, and reads the answer.

    Raises:
        ConnectionError: Nothing answers there.
        TimeoutError: No answer came in time.
        RuntimeError: The server refused; its text is shown.
    """
    data = None if body is None else json.dumps(body).encode("ascii")
    request = Request(url, data, {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=timeout) as response:
            text = response.read().decode("utf-8")
        return json.loads(text)
    except HTTPError as error:
        raise RuntimeError(f"Client: {url} answered {error.code}: {_told(error)}") from error
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            message = f"Client: {url} gave no answer within {timeout:g} seconds."
            raise TimeoutError(message) from error
        raise ConnectionError(f"Client: {url} can't be reached: {reason}.") from error
    except ValueError as error:
        raise RuntimeError(f"Client: {url} answered what is no JSON: {text[:1000]}") from error


def _told(error: HTTPError) -> str:
    text = error.read().decode("utf-8", "replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text[:1000]
