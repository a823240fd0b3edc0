"""Client of a served model: requests typed by the schema that lies beside the SavedModel."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet._base.paths import local_path
from keras_infnet.schema.feature import Owner
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.client_inputs import checked_inputs, fixed_width, newest_events
from keras_infnet.serving.requests import (
    FINGERPRINT,
    OTHER_VERSION,
    Arrays,
    column_names,
    read_artefact,
)
from keras_infnet.serving.user_states import RefusedStateError, UserState, digest_of_inputs, now
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
        # The version that a state must be of: that of the folder, then that of the newest state.
        self._fingerprint = None if isinstance(schema, FeatureSchema) else _fingerprint_of(schema)
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

    def rank(
        self,
        user: Any,
        candidates: Any,
        *,
        newest: int | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Outputs of each candidate for one user.

        Args:
            user: One row of the features of user and context and of the histories.
            candidates: Rows of the items' features.
            newest: Number of events of each history that are sent, the newest; fewer are less
                work. Defaults to `None`: all.
            timeout: Seconds to wait. Defaults to the client's.

        Returns:
            A DataFrame of the candidates' index, or column -> `(candidates,)`, as `predict`.
        """
        if newest is not None and newest < 1:
            raise ValueError(f"Client: newest is {newest!r}; expected 1 or more.")
        inputs = self.rank_inputs(user, candidates)
        if newest is not None:
            inputs = self._padded(newest_events(self.schema, inputs, newest))
        return _like(candidates, self._ask(inputs, "rank", self.schema.task_names, timeout))

    def user_state(
        self, user: Any, *, ttl: float = 300.0, timeout: float | None = None
    ) -> UserState:
        """One user's state, by which `score` answers as `rank` does.

        Args:
            user: One row of the user's features and histories; the context's are not read.
            ttl: Seconds after which `score` refuses it. Defaults to `300.0`.
            timeout: Seconds to wait. Defaults to the client's.

        Returns:
            The state.
        """
        inputs = self._of_user(user)
        made_at = now()
        tensors = self._server.predict(self._padded(inputs), "user_state", (), timeout)
        if FINGERPRINT not in tensors:
            raise RuntimeError(
                f"Client: {self.url} answered `user_state` without `{FINGERPRINT}`. It gave: "
                f"{', '.join(sorted(tensors))}."
            )
        state = UserState(tensors, made_at, ttl, digest_of_inputs(self.schema, inputs))
        self._fingerprint = state.fingerprint
        return state

    def digest_of_user(self, user: Any) -> str:
        """Digest of a user's row: that of a state, `made_of`, if nothing new has come to it."""
        return digest_of_inputs(self.schema, self._of_user(user))

    def score(
        self,
        state: UserState,
        candidates: Any,
        context: Any = None,
        *,
        timeout: float | None = None,
    ) -> Any:
        """Outputs of each candidate for the user of a state.

        Args:
            state: What `user_state` gave.
            candidates: Rows of the items' features.
            context: One row of the context's features; the user's are not read. Defaults to `None`,
                for a schema without them.
            timeout: Seconds to wait. Defaults to the client's.

        Returns:
            As `rank`.

        Raises:
            ValueError: The state is older than its time to live, or of another version of the
                model than the exported folder or the newest state, or than what is served.
        """
        self._check_state(state)
        owners: tuple[Owner, ...] = ("context",)
        inputs = checked_inputs(self.schema.ranked, candidates, ("item",))
        if self.schema.raw_inputs(owners):
            inputs = self._one_row(self._some_of(context, owners)) | inputs
        inputs = {**state.tensors, **self._padded(inputs)}
        try:
            outputs = self._ask(inputs, "score", self.schema.task_names, timeout)
        except RuntimeError as error:
            if OTHER_VERSION in str(error):
                raise RefusedStateError(str(error)) from error
            raise
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
        return self._padded(
            self.row_inputs(user) | checked_inputs(self.schema.ranked, candidates, ("item",))
        )

    def row_inputs(self, user: Any) -> dict[str, np.ndarray]:
        """Checked arrays of a user's row: his features and histories, and the context's."""
        return self._one_row(checked_inputs(self.schema, user, ("user", "context")))

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

    def _of_user(self, user: Any) -> dict[str, np.ndarray]:
        """Checked arrays of the signature `user_state`."""
        return self._one_row(self._some_of(user, ("user",)))

    def _some_of(self, row: Any, owners: tuple[Owner, ...]) -> dict[str, np.ndarray]:
        """Checked arrays of some owners' inputs, of a row of the user's and the context's."""
        if isinstance(row, Mapping):
            known = self.schema.raw_inputs(owners)
            others = self.schema.raw_inputs(("user", "context")).keys() - known.keys()
            row = {name: values for name, values in row.items() if name not in others}
        return checked_inputs(self.schema, row, owners)

    def _one_row(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        wrong = [name for name, values in inputs.items() if len(values) != 1]
        if wrong:
            raise ValueError(
                f"Client: the user's `{wrong[0]}` has {len(inputs[wrong[0]])} rows; expected one."
            )
        return inputs

    def _check_state(self, state: UserState) -> None:
        if state.age > state.ttl:
            raise RefusedStateError(
                f"Client: the state is {state.age:.0f} s old; its time to live is {state.ttl:g} s. "
                "Ask `user_state` for it again, or have `UserStates` do so."
            )
        if self._fingerprint not in (None, state.fingerprint):
            raise RefusedStateError(
                f"Client: {OTHER_VERSION}: expected fingerprint {self._fingerprint}, found "
                f"{state.fingerprint}. Ask `user_state` for it again."
            )

    def _ask(
        self, inputs: Arrays, signature: str, names: tuple[str, ...], timeout: float | None = None
    ) -> Outputs:
        outputs = self._server.predict(inputs, signature, names, timeout)
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
            if not values.size:
                # JSON tells no width of no candidate.
                values = values.reshape(0, len(columns[name]))
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


def _fingerprint_of(given: str | Path) -> str | None:
    """The fingerprint that an export has written beside its schema, if it is there."""
    path = local_path(given, "Client", "schema")
    folder = path / "assets.extra" if path.is_dir() else path.parent
    words = "Client: `{path}` holds no fingerprint: {error}"
    file = folder / "fingerprint.json"
    return read_artefact(file, lambda x: x["fingerprint"], words) if file.is_file() else None


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
