"""What lies beside an exported graph, in `assets.extra`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.requests import example_request, frame_to_request
from keras_infnet.serving.export_options import ExportOptions
from keras_infnet.serving.fingerprint import fingerprint
from keras_infnet.serving.model_card import markdown, model_card
from keras_infnet.serving.predict_request import predict_request, prediction_log, rest_json
from keras_infnet.serving.signature_requests import (
    read_signatures,
    signature_requests,
)

EXAMPLE_ROWS, WARM_UP_ROWS = 2, 64


def write_artefacts(
    folder: Path,
    model: Any,
    encoder: FeatureEncoder,
    options: ExportOptions,
    rows: pd.DataFrame | None,
    metrics: Mapping[str, Any] | None,
    model_name: str,
    difference: float | None = None,
) -> None:
    """Writes `assets.extra` into an exported folder that is not yet under its final name.

    - `schema.json`: the schema.
    - `request.json` and `request.pb`: a request of `serving_default`, for REST and gRPC.
    - `tf_serving_warmup_requests`: requests of every signature, which TensorFlow Serving runs
      before it takes others.
    - `fingerprint.json`: what identifies the model.
    - `model_card.json` and `model_card.md`.

    Args:
        folder: The SavedModel.
        model: The model.
        encoder: Its encoder.
        options: Options of the export.
        rows: Rows that the export is checked on; requests are made of the first ones. With `None`
            they are made of the vocabularies.
        metrics: What was measured, for the model card.
        model_name: Name under which a server has the model.
        difference: The largest difference from Keras on `rows`, for the model card.
    """
    extra, schema = folder / "assets.extra", encoder.schema
    extra.mkdir(exist_ok=True)
    signatures = read_signatures(folder)
    request = (
        example_request(encoder)
        if rows is None
        else frame_to_request(schema, rows.iloc[:WARM_UP_ROWS])
    )
    few = _first_rows(request)
    card = model_card(model, schema, options, rows, metrics)
    if difference is not None:
        card["verified_on"]["largest_difference"] = difference
    card |= {"fingerprint": fingerprint(model, encoder, options), "signatures": signatures}
    for name, plain in (
        ("schema.json", schema.to_dict()),
        ("fingerprint.json", card["fingerprint"]),
        ("model_card.json", card),
    ):
        (extra / name).write_text(json.dumps(plain, indent=1), encoding="utf-8")
    (extra / "model_card.md").write_text(markdown(card), encoding="utf-8")
    text = rest_json("serving_default", few)
    (extra / "request.json").write_text(text, encoding="utf-8")
    (extra / "request.pb").write_bytes(predict_request(model_name, "serving_default", few))
    _write_warm_up(extra / "tf_serving_warmup_requests", model_name, signatures, schema, request)


def _write_warm_up(
    path: Path, model_name: str, signatures: Mapping, schema: Any, request: Mapping
) -> None:
    import tensorflow as tf

    inputs = {name: signature["inputs"] for name, signature in signatures.items()}
    with tf.io.TFRecordWriter(str(path)) as writer:
        for rows in (_first_rows(request), request):
            for name, made in signature_requests(inputs, schema, rows).items():
                writer.write(prediction_log(predict_request(model_name, name, made)))


def _first_rows(request: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values[:EXAMPLE_ROWS] for name, values in request.items()}
