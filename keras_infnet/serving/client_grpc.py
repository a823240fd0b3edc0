"""TensorFlow Serving's gRPC interface; needs the package `tensorflow-serving-api`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# The default limit of 4 MB is some thousand candidates with dense vectors.
_CHANNEL_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


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


def make_predict_request(
    inputs: Mapping[str, np.ndarray], signature: str, model: str, version: int | None
) -> Any:
    """A `PredictRequest` of arrays by the names of inputs."""
    import tensorflow as tf

    request = serving_apis()[0].PredictRequest()
    _set_model(request.model_spec, model, version)
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        dtype = tf.string if values.dtype.kind == "O" else values.dtype
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, dtype, values.shape))
    return request


def metadata_request(model: str, version: int | None) -> Any:
    """A `GetModelMetadataRequest` for the signatures."""
    request = serving_apis()[1].GetModelMetadataRequest()
    _set_model(request.model_spec, model, version)
    request.metadata_field.append("signature_def")
    return request


def outputs_of(response: Any) -> dict[str, np.ndarray]:
    """Arrays by output of a `PredictResponse`."""
    import tensorflow as tf

    return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}


def signatures_of(response: Any) -> dict[str, Any]:
    """Signatures of a `GetModelMetadataResponse`, in the form of the REST answer."""
    from google.protobuf.json_format import MessageToDict

    signatures = serving_apis()[1].SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    plain = MessageToDict(signatures, preserving_proto_field_name=True)
    return plain["signature_def"]


class Channel:
    """A connection to a server, opened at the first call and kept.

    Args:
        address: `host:port`.
        timeout: Seconds to wait for an answer.
    """

    def __init__(self, address: str, timeout: float) -> None:
        self.address = address
        self.timeout = timeout
        self._channel: Any = None

    def predict(self, request: Any) -> Any:
        return self._call(lambda stub: stub.Predict, request)

    def metadata(self, request: Any) -> Any:
        return self._call(lambda stub: stub.GetModelMetadata, request)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = None

    def _call(self, method: Callable[[Any], Any], request: Any) -> Any:
        stubs = serving_apis()[2]
        import grpc

        if self._channel is None:
            self._channel = grpc.insecure_channel(self.address, _CHANNEL_OPTIONS)
        stub = stubs.PredictionServiceStub(self._channel)
        where = f"Client: grpc://{self.address}"
        try:
            return method(stub)(request, timeout=self.timeout)
        except grpc.RpcError as error:
            code, told = error.code(), error.details()
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                message = f"{where} gave no answer within {self.timeout:g} seconds."
                raise TimeoutError(message) from error
            if code == grpc.StatusCode.UNAVAILABLE:
                raise ConnectionError(f"{where} can't be reached: {told}.") from error
            raise RuntimeError(f"{where} answered {code.name}: {told}") from error


def _set_model(spec: Any, model: str, version: int | None) -> None:
    spec.name = model
    if version is not None:
        spec.version.value = version
