"""What a search is of: the same search goes on in its folder, another one may not."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_infnet.search.trial_training import TrialTraining
from keras_infnet.training.group_auc_callback import GroupAUCCallback


def describe_search(training: TrialTraining, oracle: str, seed: int) -> dict[str, Any]:
    """What two searches must have in common for one to go on where the other was."""
    hyper_model, groups = training.hyper_model, training.groups
    first = next(iter(training.validation.take(1).as_numpy_iterator()))
    if groups is not None:
        groups = fingerprint(GroupAUCCallback(training.validation, groups).groups)
    return {
        "schema": hyper_model.schema.fingerprint,
        "data": {
            "train_batches": int(training.train.cardinality()),
            "validation_batches": int(training.validation.cardinality()),
            "validation": fingerprint(first),
            "groups": groups,
        },
        "space": hyper_model.space.to_dict(),
        "fixed": hyper_model.fixed,
        "objective": {
            "kind": type(training.objective).__name__,
            **dataclasses.asdict(training.objective),
        },
        "oracle": oracle,
        "seeds": list(training.seeds),
        "latency_batch": training.latency_batch,
        "seed": seed,
        "backend": keras.backend.backend(),
    }


def fingerprint(batch: Any) -> str:
    """Twelve hexadecimal digits of the values of a batch, or of any nested arrays."""
    digest = hashlib.sha256()
    _update(digest, batch)
    return digest.hexdigest()[:12]


def _update(digest: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        value = [part for name in sorted(value) for part in (name, value[name])]
    if isinstance(value, list | tuple):
        for part in value:
            _update(digest, part)
    else:
        array = np.asarray(value)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
