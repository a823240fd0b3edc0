"""What identifies an exported model: schema, vocabularies, weights and options of the export."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

import keras

from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.serving.export_options import ExportOptions


def fingerprint(model: Any, encoder: FeatureEncoder, options: ExportOptions) -> dict[str, str]:
    """Twelve hexadecimal digits each of what an export consists of, and of all together.

    Two exports with the same `fingerprint` answer alike; the parts tell what differs.

    Args:
        model: The model.
        encoder: Its encoder.
        options: Options of the export.

    Returns:
        `schema`, `vocabularies`, `weights`, `options` and `fingerprint`.
    """
    weights = hashlib.sha256()
    for variable in model.weights:
        value = keras.ops.convert_to_numpy(variable)
        weights.update(f"{value.dtype} {value.shape} ".encode())
        weights.update(value.tobytes())
    parts = {
        "schema": encoder.schema.fingerprint,
        "vocabularies": encoder.digest(),
        "weights": weights.hexdigest()[:12],
        "options": _digits(json.dumps(asdict(options), sort_keys=True)),
    }
    config = {k: v for k, v in model.get_config().items() if k not in ("name", "trainable")}
    whole = json.dumps([parts, type(model).__name__, config], sort_keys=True)
    return {**parts, "fingerprint": _digits(whole)}


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
