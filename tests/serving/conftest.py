"""One exported version with all its artefacts, for the files that read it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import pandas as pd
import pytest

from keras_infnet import INFNet
from keras_infnet.data import FeatureEncoder, Histories
from keras_infnet.serving import export
from tests.logs import log_schema, make_log
from tests.tiny import quick


@dataclass(frozen=True)
class Ranker:
    model: Any
    encoder: FeatureEncoder
    rows: pd.DataFrame
    path: Path


def change_card(path, **values):
    """Says other options of an export than those that it has."""
    card = path / "assets.extra" / "model_card.json"
    card.write_text(json.dumps(json.loads(card.read_text("utf-8")) | values), "utf-8")


def difference_of(path):
    """The largest difference that an export has measured, by its model card."""
    card = json.loads((path / "assets.extra" / "model_card.json").read_text("utf-8"))
    return card["verified_on"]["largest_difference"]


def tiny(encoder, form=INFNet, **sizes):
    """A small model, every weight off its start, so that nothing is compared at zero."""
    keras.utils.set_random_seed(0)
    model = form(encoder.schema, **sizes)
    for weight in model.weights:
        weight.assign(weight + 0.1 * keras.random.normal(weight.shape, dtype=weight.dtype))
    model.compile(**quick())
    return model


@pytest.fixture(scope="session")
def fitted():
    return FeatureEncoder(log_schema()).fit(make_log())


@pytest.fixture(scope="session")
def attached(fitted):
    log = make_log(seed=4)
    return Histories(fitted, log).attach(log)


@pytest.fixture(scope="session")
def ranker(fitted, attached, tmp_path_factory):
    model, folder = tiny(fitted, dim=8, head_dim=8), tmp_path_factory.mktemp("models") / "ranker"
    metrics = {"gauc": {"click": 0.66}}
    path = export(model, fitted, folder, attached, metrics=metrics, user_state=True)
    return Ranker(model, fitted, attached, path)
