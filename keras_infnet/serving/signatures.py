"""Signatures of an exported model: what each takes, the function behind it, and its options."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_infnet.calibration.calibration import Calibration
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.contract import column_names, item_inputs
from keras_infnet.serving.rank import best_candidates, rank_outputs
from keras_infnet.serving.requests import parse_examples
from keras_infnet.serving.weights import TOLERANCES


@dataclass(frozen=True)
class ExportOptions:
    """Choices that are built into an exported graph; JSON carries them to a child process.

    Args:
        calibration: What `Calibration.to_dict` gives, by which outputs are corrected. Defaults to
            `None`: outputs are the model's.
        table_dtype: How embedding tables are stored. Defaults to `"float32"`.
        score: Exponent of each column of outputs in the score that `rank_top_k` sorts by. Defaults
            to `None`: the request says.
        top_k: Number of candidates that `rank_top_k` gives. Defaults to `None`: the request says.
    """

    calibration: Mapping[str, Any] | None = None
    table_dtype: str = "float32"
    score: Mapping[str, float] | None = None
    top_k: int | None = None

    def __post_init__(self) -> None:
        if self.table_dtype not in TOLERANCES:
            raise ValueError(
                f"export: table_dtype={self.table_dtype!r}; expected one of "
                f"{', '.join(TOLERANCES)}."
            )

    def check_schema(self, schema: FeatureSchema) -> None:
        """A ValueError for a calibration, score or number of candidates that can't be built in."""
        Calibration.from_dict(self.calibration or {}).check_schema(schema)
        columns, score = column_names(schema), dict(self.score or {})
        unknown = sorted(set(score) - set(columns))
        if unknown:
            raise ValueError(
                f"export: `score` has {', '.join(f'`{name}`' for name in unknown)}; expected tasks "
                f"of the schema: {', '.join(columns)}."
            )
        finite = all(np.isfinite(power) for power in score.values())
        if not finite or (self.score is not None and not any(score.values())):
            raise ValueError(
                f"export: score={score}; expected exponents that are numbers, one of them not 0. "
                "Leave `score` out to have them in the request."
            )
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(
                f"export: top_k={self.top_k}; expected 1 or more. Leave it out to have `k` in the "
                "request."
            )


def make_signatures(
    model: Any, encode: Any, schema: FeatureSchema, options: ExportOptions
) -> dict[str, Any]:
    """Concrete functions by signature name.

    Args:
        model: The Keras model, under TensorFlow.
        encode: The encoder as a `tf.Module`.
        schema: The schema of both.
        options: Choices that are built into the graph.

    Returns:
        `serving_default` and `examples`, and if a feature is the item's, `rank` and `rank_top_k`.
    """
    import tensorflow as tf

    calibrate = Calibration.from_dict(options.calibration or {})

    def score_pairs(**raw: Any) -> dict[str, Any]:
        return calibrate(model(encode(raw), training=False))

    def score_examples(examples: Any) -> dict[str, Any]:
        return pairs(**parse_examples(schema, examples))

    def rank(**raw: Any) -> dict[str, Any]:
        return calibrate(rank_outputs(model, encode, schema, raw))

    def rank_top_k(exponents: Any = None, k: Any = None, **raw: Any) -> dict[str, Any]:
        if exponents is None:
            score = options.score or {}
            powers = [float(score.get(column, 0.0)) for column in column_names(schema)]
            exponents = tf.constant(powers, "float32")
        k = options.top_k if k is None else k
        return best_candidates(ranked(**raw), schema.task_names, exponents, k)

    serialised = {"examples": tf.TensorSpec((None,), "string", name="examples")}
    pairs = _traced(score_pairs, _pair_specs(schema))
    signatures = {"serving_default": pairs, "examples": _traced(score_examples, serialised)}
    if item_inputs(schema):
        specs = _rank_specs(schema)
        ranked = _traced(rank, specs)
        top_k = _traced(rank_top_k, specs | _top_k_specs(schema, options))
        signatures |= {"rank": ranked, "rank_top_k": top_k}
    return signatures


def _pair_specs(schema: FeatureSchema) -> dict[str, Any]:
    """Inputs of `serving_default`: a row for each pair of user and candidate."""
    return _specs(schema, dict.fromkeys(schema.raw_inputs()))


def _rank_specs(schema: FeatureSchema) -> dict[str, Any]:
    """Inputs of `rank`: a row for each candidate in the item's, one row in all others."""
    items = item_inputs(schema)
    return _specs(schema, {name: None if name in items else 1 for name in schema.raw_inputs()})


def _top_k_specs(schema: FeatureSchema, options: ExportOptions) -> dict[str, Any]:
    """Inputs that `rank_top_k` has besides: what the export did not fix."""
    import tensorflow as tf

    specs = {}
    if options.score is None:
        specs["exponents"] = tf.TensorSpec(
            (len(column_names(schema)),), "float32", name="exponents"
        )
    if options.top_k is None:
        specs["k"] = tf.TensorSpec((), "int32", name="k")
    return specs


def _specs(schema: FeatureSchema, rows: Mapping[str, int | None]) -> dict[str, Any]:
    import tensorflow as tf

    return {
        name: tf.TensorSpec((rows[name], *shape), dtype, name=name)
        for name, (shape, dtype) in schema.raw_inputs().items()
    }


def _traced(function: Any, specs: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    return tf.function(function, autograph=False).get_concrete_function(**specs)
