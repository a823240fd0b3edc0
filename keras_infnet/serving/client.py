"""Client of a served model: requests typed by the schema that lies beside the SavedModel."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving import client_grpc, client_rest
from keras_infnet.serving.client_inputs import checked_inputs
from keras_infnet.serving.client_signature import check_signature
from keras_infnet.serving.client_widths import fixed_width


class Client:
    """Asks TensorFlow Serving for a model's outputs, by REST or gRPC.

    Names, types and shapes are checked against the schema before anything is sent. REST needs the
    standard library alone; gRPC needs the extra `serving`. Nothing is sent twice.

    Rows are a DataFrame with the feature columns and histories as list columns (see
    `frame_to_request`), or a dict, input name -> values `(rows, ...)`, where missing values are
    `None` (strings), -1 (integers) or NaN, and histories and bags are padded with those on the
    right (a bag's weights with 0). The answer to a DataFrame is a DataFrame, that to a dict a dict.

    Args:
        schema: A `FeatureSchema`, the folder of an exported model, or the path of a `schema.json`.
        url: `http://host:port` or `https://...` (REST; TensorFlow Serving's port is 8501), or
            `grpc://host:port` (8500).
        model: Name that the server knows the model by.
        version: Version asked for. Defaults to `None`: the newest that the server has loaded.
        timeout: Seconds to wait for an answer.
        fixed_width: Whether histories and bags are padded, and cut, to the schema's `max_length`
            and `max_values`, so that a server with batching can put requests together.

    Raises:
        ValueError: The schema can't be read, the URL is of another form, or rows do not fit the
            schema.
        ConnectionError: The server can't be reached.
        TimeoutError: No answer came in time.
        RuntimeError: The server refused a request; its text is shown.
        ImportError: The URL is grpc:// and `tensorflow-serving-api` is not installed.

    Example:
        ```python
        client = keras_infnet.serving.Client("models/ranker/1", "grpc://localhost:8500")
        client.check()
        probabilities = client.predict(histories.attach(rows))
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
    ) -> None:
        scheme, _, address = url.partition("://")
        if scheme not in ("http", "https", "grpc") or not address:
            raise ValueError(
                f"Client: url is {url!r}; expected http://host:port, https://host:port or "
                "grpc://host:port."
            )
        self.schema = schema if isinstance(schema, FeatureSchema) else _read_schema(Path(schema))
        self.url = url
        self.model = model
        self.version = version
        self.timeout = timeout
        self.fixed_width = fixed_width
        grpc = scheme == "grpc"
        self._channel = client_grpc.Channel(address.rstrip("/"), timeout) if grpc else None

    def predict(self, rows: Any) -> Any:
        """Outputs of each row: a DataFrame of the frame's index, or task -> `(rows,)`."""
        outputs = self._ask(self.inputs(rows), "serving_default", self.schema.task_names)
        return _like(rows, {task: values.reshape(-1) for task, values in outputs.items()})

    def rank(self, user: Any, candidates: Any) -> Any:
        """Outputs of each candidate for one user.

        Args:
            user: One row of the features of user and context and of the histories.
            candidates: Rows of the items' features.

        Returns:
            A DataFrame of the candidates' index, or task -> `(candidates,)`.
        """
        outputs = self._ask(self.rank_inputs(user, candidates), "rank", self.schema.task_names)
        return _like(candidates, {task: values.reshape(-1) for task, values in outputs.items()})

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
            exponents: Task name -> exponent; 0 for a task that is left out. Defaults to those
                given at export.
            k: Number of candidates. Defaults to that given at export.

        Returns:
            A DataFrame of the chosen candidates' index labels, with the columns `score` and the
            tasks; or a dict of arrays `(k,)`, with `index`: the candidates' positions.
        """
        inputs = self.rank_inputs(user, candidates) | self._score_inputs(exponents, k)
        names = ("index", "score", *self.schema.task_names)
        outputs = self._ask(inputs, "rank_top_k", names)
        outputs = {name: outputs[name].reshape(-1) for name in names}
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
        return self._padded(shared | checked_inputs(self.schema, candidates, ("item",)))

    def rest_request(
        self,
        inputs: Mapping[str, np.ndarray],
        signature: str = "serving_default",
        row_format: bool = False,
    ) -> dict[str, Any]:
        """The JSON object that REST would be sent, of `inputs()` or `rank_inputs()`."""
        return client_rest.rest_body(inputs, signature, row_format)

    def predict_request(
        self, inputs: Mapping[str, np.ndarray], signature: str = "serving_default"
    ) -> Any:
        """The `PredictRequest` that gRPC would be sent, of `inputs()` or `rank_inputs()`."""
        return client_grpc.make_predict_request(inputs, signature, self.model, self.version)

    def check(self) -> None:
        """A ValueError if the served model's inputs or outputs are not those of the schema."""
        if self._channel is None:
            url = client_rest.model_url(self.url, self.model, self.version)
            answer = client_rest.call(f"{url}/metadata", None, self.timeout)
            signatures = answer["metadata"]["signature_def"]["signature_def"]
        else:
            request = client_grpc.metadata_request(self.model, self.version)
            signatures = client_grpc.signatures_of(self._channel.metadata(request))
        check_signature(self.schema, signatures.get("serving_default", {}), self.url)

    def close(self) -> None:
        """Closes the gRPC connection; the next call opens it again."""
        if self._channel is not None:
            self._channel.close()

    def _ask(
        self, inputs: Mapping[str, np.ndarray], signature: str, names: tuple[str, ...]
    ) -> dict[str, np.ndarray]:
        if self._channel is None:
            url = client_rest.model_url(self.url, self.model, self.version)
            body = self.rest_request(inputs, signature)
            answer = client_rest.call(f"{url}:predict", body, self.timeout)
            outputs = client_rest.rest_outputs(answer, names)
        else:
            request = self.predict_request(inputs, signature)
            outputs = client_grpc.outputs_of(self._channel.predict(request))
        for name in names:
            if name not in outputs:
                raise RuntimeError(
                    f"Client: {self.url} answered `{signature}` without `{name}`; the served model "
                    f"has another schema. It gave: {', '.join(sorted(outputs))}."
                )
        return {name: outputs[name].astype(_dtype(name)) for name in names}

    def _padded(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return fixed_width(self.schema, inputs) if self.fixed_width else inputs

    def _score_inputs(
        self, exponents: Mapping[str, float] | None, k: int | None
    ) -> dict[str, np.ndarray]:
        given = {}
        if exponents is not None:
            tasks = self.schema.task_names
            for name in exponents:
                if name not in tasks:
                    raise ValueError(f"Client: no task `{name}`." + did_you_mean(name, tasks))
            given["exponents"] = np.array([exponents.get(task, 0) for task in tasks], "float32")
        if k is not None:
            if k < 1:
                raise ValueError(f"Client: k is {k!r}; expected 1 or more.")
            given["k"] = np.asarray(k, "int32")
        return given


def _read_schema(path: Path) -> FeatureSchema:
    file = path / "assets.extra" / "schema.json" if path.is_dir() else path
    try:
        return FeatureSchema.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(
            f"Client: `{file}` can't be read; expected the folder of an exported model, such as "
            "models/ranker/1, or a schema.json."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"Client: `{file}` holds no schema: {error}") from error


def _like(rows: Any, outputs: dict[str, np.ndarray]) -> Any:
    return pd.DataFrame(outputs, index=rows.index) if isinstance(rows, pd.DataFrame) else outputs


def _dtype(output: str) -> str:
    return "int32" if output == "index" else "float32"
