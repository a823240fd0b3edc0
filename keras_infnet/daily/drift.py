"""Drift: how far a feature's values of a day are from those of the rows before, as PSI."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.schema.feature import Feature

# A share below it counts as it: what one row more or less has does not tell.
_LEAST = 1e-4
_TOP, _QUANTILES = 20, 10


def psi(before: Any, now: Any) -> float:
    """Population stability index: `sum_b (q_b - p_b) ln(q_b / p_b)` over bins `b`.

    Args:
        before: Counts of the rows before, by bin.
        now: Counts of the new rows, by bin.

    Returns:
        0 where the shares are equal; by custom 0.1 is some drift and 0.25 much. Shares below 0.0001
        count as that. NaN where there is no row.
    """
    counts = [np.asarray(part, "float64") for part in (before, now)]
    if min(part.sum() for part in counts) == 0:
        return float("nan")
    p, q = (np.maximum(part / part.sum(), _LEAST) for part in counts)
    return float(((q - p) * np.log(q / p)).sum())


def distributions(encoder: FeatureEncoder, frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The distribution of each feature in rows, as JSON values.

    Numbers are counted between their deciles, dense vectors by their lengths, ids by the 20 most
    frequent and all others, datetimes by their hour alone; missing ones are apart.
    """
    found: dict[str, dict[str, Any]] = {}
    for feature in encoder.schema.features:
        values, is_number = _values(encoder, feature, frame)
        if is_number:
            bins: dict[str, Any] = {"edges": _deciles(values[~np.isnan(values)])}
        else:
            unknown = _num_unknown(encoder, feature)
            counts = np.bincount(values[values > unknown])
            top = np.argsort(-counts, kind="stable")[:_TOP]
            bins = {"ids": top[counts[top] > 0].tolist()}
        found[feature.name] = {**bins, "counts": _counts(values, bins).tolist()}
    return found


def drift(
    encoder: FeatureEncoder, frame: pd.DataFrame, before: dict[str, dict[str, Any]]
) -> dict[str, float]:
    """PSI of each feature.

    Args:
        encoder: The encoder that `before` was made with.
        frame: New rows.
        before: `distributions` of the rows before.
    """
    return {
        feature.name: psi(
            before[feature.name]["counts"],
            _counts(_values(encoder, feature, frame)[0], before[feature.name]),
        )
        for feature in encoder.schema.features
    }


def unknown_shares(encoder: FeatureEncoder, frame: pd.DataFrame) -> dict[str, float]:
    """Share of the values of each feature of identifiers that its vocabulary lacks."""
    shares: dict[str, float] = {}
    for name, ids, unknown in _with_vocabulary(encoder, frame):
        there = ids[ids > 0]
        shares[name] = float((there <= unknown).mean()) if len(there) else 0.0
    return shares


def has_unknown(encoder: FeatureEncoder, frame: pd.DataFrame) -> np.ndarray:
    """Whether a row has an identifier that no vocabulary holds, bool `(rows,)`."""
    found = np.zeros(len(frame), bool)
    for _, ids, unknown in _with_vocabulary(encoder, frame):
        found |= ((ids > 0) & (ids <= unknown)).any(axis=1)
    return found


def _with_vocabulary(
    encoder: FeatureEncoder, frame: pd.DataFrame
) -> Iterator[tuple[str, np.ndarray, int]]:
    """Name, ids `(rows, width)` and last id of "unknown" of each feature that has one."""
    for feature in encoder.schema.features:
        unknown = _num_unknown(encoder, feature)
        if unknown:
            yield feature.name, _packed(encoder, feature, frame)[feature.packed], unknown


def _num_unknown(encoder: FeatureEncoder, feature: Feature) -> int:
    """Number of ids, from 1 on, that stand for values that no vocabulary holds."""
    return encoder.schema.feature(encoder.schema.table_of(feature.name)).unknown_ids


def _values(
    encoder: FeatureEncoder, feature: Feature, frame: pd.DataFrame
) -> tuple[np.ndarray, bool]:
    """Values of a feature, flat, and whether they are numbers, missing ones NaN, or ids."""
    packed = _packed(encoder, feature, frame)
    if feature.number_bins:
        numbers = packed["numbers"][:, 0].astype("float64")
        return np.where(packed[feature.packed][:, 0] == 0, np.nan, numbers), True
    if not feature.is_embedded:
        return np.linalg.norm(packed[feature.packed].astype("float64"), axis=1), True
    return packed[feature.packed][:, feature.compared_columns].ravel(), False


def _deciles(values: np.ndarray) -> list[float]:
    """What cuts known values into ten parts; nothing where there are none."""
    if not len(values):
        return []
    return np.unique(np.quantile(values, np.linspace(0, 1, _QUANTILES + 1)[1:-1])).tolist()


def _packed(
    encoder: FeatureEncoder, feature: Feature, frame: pd.DataFrame
) -> dict[str, np.ndarray]:
    schema = encoder.schema
    program = encoder.programs.get(schema.table_of(feature.name))
    return feature.encode(frame, program, schema.dtype_of(feature.name))


def _counts(values: np.ndarray, bins: dict[str, Any]) -> np.ndarray:
    """Counts by bin, missing ones first."""
    if "edges" in bins:
        missing = np.isnan(values)
        places = 1 + np.searchsorted(bins["edges"], values[~missing], side="right")
        counts = np.bincount(places, minlength=len(bins["edges"]) + 2)
        counts[0] = missing.sum()
        return counts
    ids = np.asarray(bins["ids"], "int64")
    of_id = np.bincount(values, minlength=int(ids.max(initial=0)) + 1)
    top, missing = of_id[ids], of_id[0]
    return np.concatenate([[missing], top, [len(values) - top.sum() - missing]])
