"""Child process of an export: a `.keras` file and its encoder -> SavedModel, under TensorFlow."""

import sys
from pathlib import Path

import keras

from keras_infnet._base.whole_files import read_json
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.models.registry import MODELS  # noqa: F401  (registers the models' classes)
from keras_infnet.serving.export_options import ExportOptions
from keras_infnet.serving.saved_model import write_saved_model


def convert(source: Path, target: Path) -> None:
    """Reads model, encoder and options in `source`, and writes the SavedModel `target`."""
    encoder = FeatureEncoder.load(source / "encoder")
    model = keras.saving.load_model(source / "model.keras", compile=False)
    options = ExportOptions(**read_json(source / "options.json"))
    write_saved_model(model, encoder, target, options)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
