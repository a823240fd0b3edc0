"""Child process of an export to ONNX: a `.keras` file -> ONNX, under TensorFlow."""

import sys
from pathlib import Path

import keras

from keras_infnet.models.registry import MODELS  # noqa: F401  (registers the models' classes)
from keras_infnet.serving.onnx_export import write_onnx

if __name__ == "__main__":
    write_onnx(keras.saving.load_model(sys.argv[1], compile=False), Path(sys.argv[2]))
