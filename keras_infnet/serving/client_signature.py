"""A served signature, compared with the schema."""

from collections.abc import Mapping
from typing import Any

from keras_infnet.schema.schema import FeatureSchema

_DTYPES = {"string": "DT_STRING", "int64": "DT_INT64", "float32": "DT_FLOAT"}


def check_signature(schema: FeatureSchema, signature: Mapping[str, Any], where: str) -> None:
    """A ValueError if the inputs or outputs of `serving_default` are not those of the schema.

    Args:
        schema: The client's schema.
        signature: `SignatureDef` in JSON, as the server's metadata have it.
        where: The server, for the error.
    """
    specs = schema.raw_inputs()
    expected = {name: (_DTYPES[dtype], 1 + len(shape)) for name, (shape, dtype) in specs.items()}
    found = {
        name: (info["dtype"], len(info["tensor_shape"].get("dim", ())))
        for name, info in signature.get("inputs", {}).items()
    }
    outputs = dict.fromkeys(signature.get("outputs", {}))
    both = {"inputs": (expected, found), "outputs": (dict.fromkeys(schema.task_names), outputs)}
    for what, (wanted, served) in both.items():
        lacking = [name for name in wanted if name not in served]
        beyond = [name for name in served if name not in wanted]
        other = [name for name in wanted if name in served and wanted[name] != served[name]]
        wrong = [*lacking, *beyond, *other]
        if wrong:
            kind = "lacks" if lacking else "also has" if beyond else "has with another type"
            raise ValueError(
                f"Client: the model at {where} {kind} the {what} "
                f"{', '.join(f'`{n}`' for n in lacking or beyond or other)}; expected those of "
                "the schema. Take the schema.json of the model that is served."
            )
