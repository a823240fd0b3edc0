"""Signatures of an exported model: what each takes, the function behind it, and its options."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_infnet.calibration.calibration import Calibration
from keras_infnet.schema.feature import RawInput
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.rank import best_candidates, rank_outputs
from keras_infnet.serving.requests import (
    FINGERPRINT,
    column_names,
    item_inputs,
    parse_examples,
    score_inputs,
)
from keras_infnet.serving.user_state import (
    check_schema_has_state,
    score_outputs,
    state_outputs,
)
from keras_infnet.serving.weights import TOLERANCES


@dataclass(frozen=True)
class ExportOptions:
    """Choices that are built into an exported graph.

    Args:
        calibration: By what outputs are corrected. Defaults to nothing: outputs are the model's.
        table_dtype: How embedding tables are stored. Defaults to `"float32"`.
        score: Exponent of each column of outputs in the score that `rank_top_k` sorts by. Defaults
            to `None`: the request says.
        top_k: Number of candidates that `rank_top_k` gives. Defaults to `None`: the request says.
        user_state: Whether there are `user_state` and `score`. Defaults to `False`.
        state_dtype: How numbers of a state are given. Defaults to `"float32"`.
    """

    calibration: Calibration = field(default_factory=lambda: Calibration({}))
    table_dtype: str = "float32"
    score: Mapping[str, float] | None = None
    top_k: int | None = None
    user_state: bool = False
    state_dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.table_dtype not in TOLERANCES:
            raise ValueError(
                f"export: table_dtype={self.table_dtype!r}; expected one of "
                f"{', '.join(TOLERANCES)}."
            )
        if self.state_dtype not in ("float32", "float16"):
            raise ValueError(
                f"export: state_dtype={self.state_dtype!r}; expected float32 or float16."
            )

    def check_schema(self, schema: FeatureSchema) -> None:
        """A ValueError for a calibration, score or number of candidates that can't be built in."""
        self.calibration.check_schema(schema)
        if self.user_state:
            check_schema_has_state(schema)
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
    model: Any, encode: Any, schema: FeatureSchema, options: ExportOptions, fingerprint: int = 0
) -> dict[str, Any]:
    """Concrete functions by signature name.

    Args:
        model: The Keras model, under TensorFlow.
        encode: The encoder as a `tf.Module`.
        schema: The schema of both.
        options: Choices that are built into the graph.
        fingerprint: Number of the model's version, which a state carries.

    Returns:
        `serving_default` and `examples`; if a feature is the item's, `rank` and `rank_top_k`; if
        the options say so, `user_state` and `score`.
    """
    import tensorflow as tf

    calibrate, columns = options.calibration, column_names(schema)

    def score_pairs(**raw: Any) -> dict[str, Any]:
        return calibrate(model(encode(raw), training=False))

    def score_examples(examples: Any) -> dict[str, Any]:
        return pairs(**parse_examples(schema, examples))

    def rank(**raw: Any) -> dict[str, Any]:
        return calibrate(rank_outputs(model, encode, schema, raw))

    def rank_top_k(exponents: Any = None, k: Any = None, **raw: Any) -> dict[str, Any]:
        if exponents is None:
            score = options.score or {}
            exponents = tf.constant([score.get(column, 0.0) for column in columns], "float32")
        k = options.top_k if k is None else k
        return best_candidates(ranked(**raw), schema.task_names, exponents, k)

    def user_state(**raw: Any) -> dict[str, Any]:
        state = state_outputs(model, encode, schema, raw, options.state_dtype)
        return {**state, FINGERPRINT: tf.constant(fingerprint, "int64")}

    def score(**raw: Any) -> dict[str, Any]:
        return calibrate(score_outputs(model, encode, schema, raw, fingerprint))

    inputs, items = schema.raw_inputs(), item_inputs(schema)
    # A row for each pair of user and candidate.
    pair_inputs = {name: ((None, *shape), dtype) for name, (shape, dtype) in inputs.items()}
    pairs = _traced(score_pairs, pair_inputs)
    examples = _traced(score_examples, {"examples": ((None,), "string")})
    signatures = {"serving_default": pairs, "examples": examples}
    if items:
        rank_inputs = _of_candidates(schema.ranked.raw_inputs(), items)
        # What the export did not fix, the request says.
        said = {"exponents": ((len(columns),), "float32")} if options.score is None else {}
        said |= {"k": ((), "int32")} if options.top_k is None else {}
        ranked = _traced(rank, rank_inputs)
        signatures |= {"rank": ranked, "rank_top_k": _traced(rank_top_k, rank_inputs | said)}
    if options.user_state:
        state = _traced(user_state, _of_candidates(schema.raw_inputs(("user",)), ()))
        of_state = {n: (x.shape, x.dtype.name) for n, x in state.structured_outputs.items()}
        scored = _traced(score, of_state | _of_candidates(score_inputs(schema), items))
        signatures |= {"user_state": state, "score": scored}
    return signatures


def _of_candidates(inputs: Mapping[str, RawInput], items: Collection[str]) -> dict[str, Any]:
    """Shapes and dtypes of inputs: those of `items` have a row for each candidate, others one."""
    return {
        name: ((None if name in items else 1, *shape), dtype)
        for name, (shape, dtype) in inputs.items()
    }


def _traced(function: Any, inputs: Mapping[str, tuple[tuple[int | None, ...], str]]) -> Any:
    """The concrete function of inputs of these shapes and dtypes, by name."""
    import tensorflow as tf

    specs = {name: tf.TensorSpec(*spec, name=name) for name, spec in inputs.items()}
    return tf.function(function, autograph=False).get_concrete_function(**specs)
