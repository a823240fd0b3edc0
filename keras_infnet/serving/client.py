"""Client of a served model: requests typed by the schema that lies beside the SavedModel."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet._base.paths import local_path
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.client_inputs import checked_inputs, fixed_width
from keras_infnet.serving.requests import Arrays, column_names, read_artefact
from keras_infnet.serving.wire import (
    GrpcServer,
    Outputs,
    RestServer,
    make_predict_request,
    rest_body,
)

_DTYPES = {"string": "DT_STRING", "int64": "DT_INT64", "float32": "DT_FLOAT"}


class Client:
    """Asks TensorFlow Serving for a model's outputs, by REST or gRPC.

    Names, types and shapes are checked against the schema before anything is sent. REST needs the
    standard library alone; gRPC needs the extra `serving`. Nothing is sent twice.

    Rows are a DataFrame with the feature columns and histories as list columns (see
    `frame_to_request`), or a dict, input name -> values `(rows, ...)`, where missing values are
    `None` (strings), -1 (integers) or NaN, and histories and bags are padded with those on the
    right (a bag's weights with 0), or lists of different lengths. Events come oldest first, and a
    history that a dict leaves out wholly has none. The answer to a DataFrame is a DataFrame, that
    to a dict a dict.

    Args:
        schema: A `FeatureSchema`, the folder of an exported model, or the path of a `schema.json`.
        url: `http://host:port` or `https://...` (REST; TensorFlow Serving's port is 8501), or
            `grpc://host:port` or, encrypted, `grpcs://...` (8500).
        model: Name that the server knows the model by.
        version: Version asked for. Defaults to `None`: the newest that the server has loaded.
        timeout: Seconds to wait for an answer.
        fixed_width: Whether histories and bags are padded, and cut, to the schema's `max_length`
            and `max_values`, so that a server with batching can put requests together.
        credentials: How the server is verified: an `ssl.SSLContext` for https://, or
            `grpc.ChannelCredentials` for grpcs://. Defaults to `None`: by the root certificates of
            the system, or of gRPC.

    Raises:
        ValueError: The schema can't be read, the URL is of another form, `credentials` don't belong
            to it, or rows do not fit the schema.
        ConnectionError: The server can't be reached.
        TimeoutError: No answer came in time.
        RuntimeError: The server refused a request; its text is shown.
        ImportError: The URL is grpc:// and `tensorflow-serving-api` is not installed.

    Example:
        ```python
        client = keras_infnet.serving.Client("models/ranker/1", "grpc://localhost:8500")
        client.check()
        probabilities = client.predict(data.attach(rows))
        scores = client.rank(user_row, candidates)
        ```
    """

    def __init__(
        self,
        schema: FeatureSchema | str | Path,
        url: str = "http://localhost:8501",
        model: str = "ranker",
        version: int | None = None,
        *,
        timeout: float = 10.0,
        fixed_width: bool = False,
        credentials: Any = None,
    ) -> None:
        scheme, _, address = url.partition("://")
        if scheme not in ("http", "https", "grpc", "grpcs") or not address:
            raise ValueError(
                f"Client: url is {url!r}; expected http://host:port, https://host:port, "
                "grpc://host:port or grpcs://host:port."
            )
        is_rest, secure = scheme.startswith("http"), scheme in ("https", "grpcs")
        if credentials is not None and not (
            secure and isinstance(credentials, ssl.SSLContext) == is_rest
        ):
            raise ValueError(
                f"Client: credentials are {type(credentials).__name__} for {url}; expected an "
                "ssl.SSLContext for https://, or grpc.ChannelCredentials for grpcs://."
            )
        self.schema = schema if isinstance(schema, FeatureSchema) else _read_schema(schema)
        self.url = url
        self.model = model
        self.version = version
        self.fixed_width = fixed_width
        self._server: RestServer | GrpcServer
        if is_rest:
            self._server = RestServer(url, model, version, timeout, credentials)
        else:
            address = address.rstrip("/")
            self._server = GrpcServer(address, model, version, timeout, secure, credentials)

    def predict(self, rows: Any) -> Any:
        """Outputs of each row: a DataFrame of the frame's index, or column -> `(rows,)`.

        A column is called as its task; a task of several classes has a column `task/class` for
        each.
        """
        outputs = self._ask(self.inputs(rows), "serving_default", self.schema.task_names)
        return _like(rows, outputs)

    def rank(self, user: Any, candidates: Any) -> Any:
        """Outputs of each candidate for one user.

        Args:
            user: One row of the features of user and context and of the histories.
            candidates: Rows of the items' features.

        Returns:
            A DataFrame of the candidates' index, or column -> `(candidates,)`, as `predict`.
        """
        outputs = self._ask(self.rank_inputs(user, candidates), "rank", self.schema.task_names)
        return _like(candidates, outputs)

    def rank_top_k(
        self,
        user: Any,
        candidates: Any,
        exponents: Mapping[str, float] | None = None,
        k: int | None = None,
    ) -> Any:
        """The candidates of the highest `score = prod_t output_t ** exponent_t`, best first.

        Args:
            user: As in `rank`.
            candidates: As in `rank`.
            exponents: Column -> exponent, of the columns of `rank`; 0 for one that is left out.
                Defaults to those given at export.
            k: Number of candidates. Defaults to that given at export.

        Returns:
            A DataFrame of the chosen candidates' index labels, with the columns `score` and those
            of `rank`; or a dict of arrays `(k,)`, with `index`: the candidates' positions.
        """
        inputs = self.rank_inputs(user, candidates) | self._score_inputs(exponents, k)
        names = ("index", "score", *self.schema.task_names)
        outputs = self._ask(inputs, "rank_top_k", names)
        if not isinstance(candidates, pd.DataFrame):
            return outputs
        index = candidates.index[outputs.pop("index").astype("int64")]
        return pd.DataFrame(outputs, index=index)

    def inputs(self, rows: Any) -> dict[str, np.ndarray]:
        """Checked arrays of the signature `serving_default`."""
        return self._padded(checked_inputs(self.schema, rows))

    def rank_inputs(self, user: Any, candidates: Any) -> dict[str, np.ndarray]:
        """Checked arrays of the signature `rank`: one user's row, and candidates."""
        shared = checked_inputs(self.schema, user, ("user", "context"))
        wrong = [name for name, values in shared.items() if len(values) != 1]
        if wrong:
            raise ValueError(
                f"Client: the user's `{wrong[0]}` has {len(shared[wrong[0]])} rows; expected one."
            )
        return self._padded(shared | checked_inputs(self.schema.ranked, candidates, ("item",)))

    def rest_request(
        self, inputs: Arrays, signature: str = "serving_default", row_format: bool = False
    ) -> dict[str, Any]:
        """The JSON object that REST would be sent, of `inputs()` or `rank_inputs()`."""
        return rest_body(inputs, signature, row_format)

    def predict_request(self, inputs: Arrays, signature: str = "serving_default") -> Any:
        """The `PredictRequest` that gRPC would be sent, of `inputs()` or `rank_inputs()`."""
        return make_predict_request(inputs, signature, self.model, self.version)

    def check(self) -> None:
        """A ValueError if the served model's inputs or outputs are not those of the schema."""
        signature = self._server.signatures().get("serving_default", {})
        _check_signature(self.schema, signature, self.url)

    def close(self) -> None:
        """Closes the gRPC connection; the next call opens it again."""
        self._server.close()

    def _ask(self, inputs: Arrays, signature: str, names: tuple[str, ...]) -> Outputs:
        outputs = self._server.predict(inputs, signature, names)
        for name in names:
            if name not in outputs:
                raise RuntimeError(
                    f"Client: {self.url} answered `{signature}` without `{name}`; the served model "
                    f"has another schema. It gave: {', '.join(sorted(outputs))}."
                )
        return self._columns({name: outputs[name] for name in names})

    def _columns(self, outputs: Arrays) -> Outputs:
        """A vector for each column of each output."""
        vectors, columns = {}, {task.name: task.columns for task in self.schema.tasks}
        for name, values in outputs.items():
            if name not in columns:
                vectors[name] = values.astype("int32" if name == "index" else "float32")
                continue
            if values.shape[1:] != (len(columns[name]),):
                raise RuntimeError(
                    f"Client: {self.url} answered `{name}` of shape {values.shape}; expected "
                    f"(rows, {len(columns[name])}). The served model has another schema."
                )
            vectors |= zip(columns[name], values.T.astype("float32"), strict=True)
        return vectors

    def _padded(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return fixed_width(self.schema, inputs) if self.fixed_width else inputs

    def _score_inputs(self, exponents: Mapping[str, float] | None, k: int | None) -> Outputs:
        inputs, columns = {}, column_names(self.schema)
        if exponents is not None:
            for name in exponents:
                if name not in columns:
                    raise ValueError(f"Client: no task `{name}`." + did_you_mean(name, columns))
            inputs["exponents"] = np.array([exponents.get(c, 0) for c in columns], "float32")
        if k is not None:
            if k < 1:
                raise ValueError(f"Client: k is {k!r}; expected 1 or more.")
            inputs["k"] = np.asarray(k, "int32")
        return inputs


def _read_schema(given: str | Path) -> FeatureSchema:
    path = local_path(given, "Client", "schema")
    file = path / "assets.extra" / "schema.json" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(
            f"Client: `{file}` can't be read; expected the folder of an exported model, such as "
            "models/ranker/1, or a schema.json."
        )
    return read_artefact(file, FeatureSchema.from_dict, "Client: `{path}` holds no schema: {error}")


def _check_signature(schema: FeatureSchema, signature: Mapping[str, Any], where: str) -> None:
    """A ValueError unless `serving_default`, a `SignatureDef` in JSON, is that of the schema."""
    specs = schema.raw_inputs()
    expected = {name: (_DTYPES[dtype], 1 + len(shape)) for name, (shape, dtype) in specs.items()}
    found = {
        name: (info["dtype"], len(info["tensor_shape"].get("dim", ())))
        for name, info in signature.get("inputs", {}).items()
    }
    outputs = dict.fromkeys(signature.get("outputs", {}))
    both = {"inputs": (expected, found), "outputs": (dict.fromkeys(schema.task_names), outputs)}
    for what, (wanted, served) in both.items():
        differences = {
            "lacks": [name for name in wanted if name not in served],
            "also has": [name for name in served if name not in wanted],
            "has with another type": [n for n in wanted if wanted[n] != served.get(n)],
        }
        for kind, names in differences.items():
            if names:
                raise ValueError(
                    f"Client: the model at {where} {kind} the {what} "
                    f"{', '.join(f'`{name}`' for name in names)}; expected those of the schema. "
                    "Take the schema.json of the model that is served."
                )


def _like(rows: Any, outputs: dict[str, np.ndarray]) -> Any:
    return pd.DataFrame(outputs, index=rows.index) if isinstance(rows, pd.DataFrame) else outputs
