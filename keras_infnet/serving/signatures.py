"""The signatures of an exported model: what each takes, and the function behind it."""

from collections.abc import Mapping
from typing import Any

from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.calibration import Calibration
from keras_infnet.serving.example_parsing import parse_examples
from keras_infnet.serving.export_options import ExportOptions
from keras_infnet.serving.rank_chunks import rank_outputs
from keras_infnet.serving.rank_top_k import best_candidates, exponents_of


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
            exponents = tf.constant(exponents_of(options.score, schema), "float32")
        k = options.top_k if k is None else k
        return best_candidates(ranked(**raw), schema.task_names, exponents, k)

    serialised = {"examples": tf.TensorSpec((None,), "string", name="examples")}
    pairs = _traced(score_pairs, pair_specs(schema))
    signatures = {"serving_default": pairs, "examples": _traced(score_examples, serialised)}
    if item_inputs(schema):
        specs = rank_specs(schema)
        ranked = _traced(rank, specs)
        top_k = _traced(rank_top_k, specs | top_k_specs(schema, options))
        signatures |= {"rank": ranked, "rank_top_k": top_k}
    return signatures


def item_inputs(schema: FeatureSchema) -> list[str]:
    """Names of the raw inputs that are the item's; histories are the user's."""
    names = []
    for feature in schema.features:
        if feature.owner == "item":
            names.append(feature.name)
            names += [feature.weights] if getattr(feature, "weights", None) else []
    return names


def pair_specs(schema: FeatureSchema) -> dict[str, Any]:
    """Inputs of `serving_default`: a row for each pair of user and candidate."""
    return _specs(schema, dict.fromkeys(schema.raw_inputs()))


def rank_specs(schema: FeatureSchema) -> dict[str, Any]:
    """Inputs of `rank`: a row for each candidate in the item's, one row in all others."""
    items = item_inputs(schema)
    return _specs(schema, {name: None if name in items else 1 for name in schema.raw_inputs()})


def top_k_specs(schema: FeatureSchema, options: ExportOptions) -> dict[str, Any]:
    """Inputs that `rank_top_k` has besides: what the export did not fix."""
    import tensorflow as tf

    specs = {}
    if options.score is None:
        specs["exponents"] = tf.TensorSpec((len(schema.tasks),), "float32", name="exponents")
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
