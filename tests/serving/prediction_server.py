"""TensorFlow Serving's interfaces over loopback, REST and gRPC, around a SavedModel."""

import json
import re
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

ROUTE = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(:predict|/metadata)$")


class Refused(Exception):
    """What the server answers with an error."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Servable:
    """One version of a model; requests for the model `stuck` wait until `released` is set."""

    def __init__(self, path, name, version):
        self.signatures = tf.saved_model.load(str(path)).signatures
        graph = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        self.definitions = graph.meta_graphs[0].signature_def
        self.name, self.version = name, version
        self.released = threading.Event()

    def find(self, name, version):
        if name == "stuck":
            self.released.wait()
        if name != self.name or version not in (None, self.version):
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Refused("NOT_FOUND", f"Servable not found for request: {wanted}")

    def inputs_of(self, signature):
        if signature not in self.signatures:
            raise Refused("FAILED_PRECONDITION", f'Serving signature key "{signature}" not found.')
        return self.signatures[signature].structured_input_signature[1]

    def run(self, signature, inputs):
        specs = self.inputs_of(signature)
        if set(specs) != set(inputs):
            raise Refused(
                "INVALID_ARGUMENT", f"input size does not match signature: {sorted(inputs)}"
            )
        try:
            tensors = {n: tf.constant(v, specs[n].dtype) for n, v in inputs.items()}
            outputs = self.signatures[signature](**tensors)
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise Refused("INVALID_ARGUMENT", str(error)) from error
        return {name: values.numpy() for name, values in outputs.items()}

    def metadata(self):
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in self.definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        response.metadata["signature_def"].Pack(signatures)
        return response


class NewestServable:
    """The newest version in a folder: as in TensorFlow Serving, loaded before it takes over."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.released = threading.Event()
        self._load()
        self._watch = threading.Thread(target=self._watching)
        self._watch.start()

    def _load(self):
        newest = max(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())
        self.current = Servable(self.folder / str(newest), self.name, newest)

    def _watching(self):
        while not self.released.wait(0.02):
            there = [int(path.name) for path in self.folder.iterdir() if path.name.isdecimal()]
            if max(there) > self.current.version:
                self._load()

    def __getattr__(self, attribute):
        return getattr(self.current, attribute)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata."""

    def __init__(self, servable):
        self.servable = servable

    def Predict(self, request, context):
        return self._answer(request.model_spec, context, lambda: self._predict(request))

    def GetModelMetadata(self, request, context):
        return self._answer(request.model_spec, context, self.servable.metadata)

    def _answer(self, spec, context, answer):
        try:
            self.servable.find(spec.name, spec.version.value if spec.HasField("version") else None)
            return answer()
        except Refused as refused:
            context.abort(grpc.StatusCode[refused.status], str(refused))

    def _predict(self, request):
        inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        for name, values in self.servable.run(request.model_spec.signature_name, inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(values))
        return response


class RestHandler(BaseHTTPRequestHandler):
    """`:predict` in row and columnar format, and `/metadata`; `server.servable` answers."""

    def do_GET(self):
        self._answer("/metadata", self._metadata)

    def do_POST(self):
        self._answer(":predict", self._predict)

    def log_message(self, *arguments):
        pass

    def _answer(self, verb, answer):
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = ROUTE.match(self.path)
        try:
            if found is None or found[3] != verb:
                raise Refused("INVALID_ARGUMENT", f"Malformed request: {self.path}")
            self.server.servable.find(found[1], found[2] and int(found[2]))
            status, body = 200, answer(text)
        except Refused as refused:
            status = {"NOT_FOUND": 404}.get(refused.status, 400)
            body = {"error": str(refused)}
        self.send_response(status)
        self.end_headers()
        try:
            self.wfile.write(json.dumps(body).encode())
        except OSError:
            pass  # The client has gone.

    def _metadata(self, text):
        packed = self.server.servable.metadata().metadata["signature_def"]
        signatures = get_model_metadata_pb2.SignatureDefMap()
        packed.Unpack(signatures)
        plain = MessageToDict(signatures, preserving_proto_field_name=True)
        return {"metadata": {"signature_def": plain}}

    def _predict(self, text):
        request = json.loads(text)
        signature = request.get("signature_name", "serving_default")
        specs = self.server.servable.inputs_of(signature)
        if "instances" in request:
            rows = request["instances"]
            lists = {name: [row[name] for row in rows] for name in rows[0]}
        else:
            lists = request["inputs"]
        inputs = {n: tensor(v, specs[n].dtype) for n, v in lists.items() if n in specs}
        outputs = self.server.servable.run(signature, inputs)
        plain = {name: values.tolist() for name, values in outputs.items()}
        if "instances" in request:
            rows = zip(*plain.values(), strict=True)
            return {"predictions": [dict(zip(plain, row, strict=True)) for row in rows]}
        return {"outputs": plain if len(plain) > 1 else next(iter(plain.values()))}


def tensor(values, dtype):
    """JSON lists as an array; as in TensorFlow Serving, 1.0 is no integer and null is nothing."""
    array = np.array(values, object)
    allowed = {tf.string: str, tf.int64: int, tf.int32: int}.get(dtype, (int, float))
    wrong = [value for value in array.ravel() if not isinstance(value, allowed)]
    if wrong:
        raise Refused(
            "INVALID_ARGUMENT",
            f"JSON Value: {json.dumps(wrong[0])} is not of expected type: {dtype.name}",
        )
    return array if dtype == tf.string else array.astype(dtype.as_numpy_dtype)


@contextmanager
def serving(path, name="ranker", version=1, certificate=None, workers=4, queue=None):
    """URLs of a REST and of a gRPC server, on free ports, that serve the SavedModel `path`.

    If `version` is None, `path` is a folder of versions, of which the newest is served.
    With the files of a certificate and its key, both are encrypted. By gRPC `workers` requests run
    at a time; beyond `queue` more that wait, others are refused.
    """
    newest = version is None
    servable = NewestServable(path, name) if newest else Servable(path, name, version)
    rest = ThreadingHTTPServer(("127.0.0.1", 0), RestHandler)
    rest.servable = servable
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        rest.socket = context.wrap_socket(rest.socket, server_side=True)
    thread = threading.Thread(target=rest.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    most = None if queue is None else workers + queue
    server = grpc.server(ThreadPoolExecutor(workers), maximum_concurrent_rpcs=most)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(servable), server
    )
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        cert, key = (file.read_bytes() for file in certificate)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, cert)]))
    secure = "" if certificate is None else "s"
    server.start()
    try:
        yield {
            "rest": f"http{secure}://127.0.0.1:{rest.server_port}",
            "grpc": f"grpc{secure}://127.0.0.1:{port}",
        }
    finally:
        servable.released.set()
        server.stop(None).wait()
        rest.shutdown()
        thread.join()
        rest.server_close()
