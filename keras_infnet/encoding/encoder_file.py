"""The encoder on disk: JSON and arrays, no pickle; a folder is there whole or not at all."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_infnet._base.arrays import open_arrays
from keras_infnet._base.whole_files import tidy, whole_folder
from keras_infnet.schema.schema import FeatureSchema

SCHEMA_FILE, ARRAYS_FILE = "schema.json", "vocabularies.npz"


def save_encoder(encoder: Any, path: Path) -> None:
    """Writes the folder; an encoder that was there is replaced when the new one is whole.

    Raises:
        ValueError: There is a folder that holds no encoder.
        OSError: The folder can't be written.
    """
    if path.exists():
        _check_is_encoder(path)
    with whole_folder(path, replace=True) as folder:
        (folder / SCHEMA_FILE).write_text(encoder.schema.to_json(), encoding="utf-8")
        arrays = {
            name: _utf8(a) if a.dtype == object else {"": a} for name, a in encoder.arrays().items()
        }
        flat = {name + suffix: a for name, parts in arrays.items() for suffix, a in parts.items()}
        np.savez(folder / ARRAYS_FILE, allow_pickle=False, **flat)


def load_encoder(cls: type, path: Path, schema: FeatureSchema | None) -> Any:
    """Reads the folder, and checks that arrays and schema belong together."""
    tidy(path)
    for name in (SCHEMA_FILE, ARRAYS_FILE):
        if not (path / name).is_file():
            raise ValueError(f"FeatureEncoder.load: `{path}` has no file `{name}`.")
    try:
        plain = json.loads((path / SCHEMA_FILE).read_text(encoding="utf-8"))
        encoder = cls(FeatureSchema.from_dict(plain))
        with open_arrays(path / ARRAYS_FILE) as arrays:
            _restore(encoder, dict(arrays))
    except (
        AttributeError,
        LookupError,
        TypeError,
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
        zipfile.BadZipFile,
    ) as error:
        raise ValueError(f"FeatureEncoder.load: `{path}` is damaged: {error!r}.") from error
    expected = encoder.schema.require_fitted().vocabulary
    if encoder.digest() != expected:
        raise ValueError(
            f"FeatureEncoder.load: the vocabularies in `{path}` are of another schema: digest "
            f"{encoder.digest()}, expected {expected}."
        )
    if schema is not None and schema != encoder.schema:
        raise ValueError(
            f"FeatureEncoder.load: `{path}` is of another schema (fingerprint "
            f"{encoder.schema.fingerprint}; expected {schema.fingerprint})."
        )
    return encoder


def _restore(encoder: Any, arrays: dict[str, np.ndarray]) -> None:
    """Gives the encoder its programs, each from its arrays."""
    schema, found = encoder.schema, dict[str, dict[str, Any]]()
    for key in {key.removesuffix("#bytes").removesuffix("#ends") for key in arrays}:
        name, array = key.rsplit("|", 1)
        is_text = key not in arrays
        values = _strings(arrays[f"{key}#bytes"], arrays[f"{key}#ends"]) if is_text else arrays[key]
        found.setdefault(name, {})[array] = values
    for owner in schema.table_owners():
        dtype = schema.dtype_of(owner.name)
        encoder.programs[owner.name] = owner.restore(found.get(owner.name, {}), dtype)
    for history in schema.histories:
        for quantity in history.of_event:
            if quantity.learns:
                name = f"{history.name}/#{quantity.key}"
                encoder.programs[name] = quantity.restore(found[name])


def _utf8(values: np.ndarray) -> dict[str, np.ndarray]:
    """Strings as one run of bytes: fixed-width arrays would lose trailing NUL characters."""
    encoded = [value.encode() for value in values]
    ends = np.cumsum([len(value) for value in encoded], dtype="int64")
    return {"#bytes": np.frombuffer(b"".join(encoded), "uint8"), "#ends": ends}


def _strings(data: np.ndarray, ends: np.ndarray) -> list[str]:
    whole, bounds = data.tobytes(), [0, *ends.tolist()]
    return [whole[a:b].decode() for a, b in zip(bounds, bounds[1:], strict=False)]


def _check_is_encoder(path: Path) -> None:
    if not (path / SCHEMA_FILE).is_file() or not (path / ARRAYS_FILE).is_file():
        raise ValueError(
            f"FeatureEncoder.save: `{path}` exists and holds no encoder; nothing was written."
        )
