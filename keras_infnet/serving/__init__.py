"""Serving: export to a SavedModel, its check, a client."""

from keras_infnet.serving.c_api import run_c_api
from keras_infnet.serving.client import Client
from keras_infnet.serving.onnx_export import export_onnx
from keras_infnet.serving.saved_model import export_saved_model, verify_saved_model
from keras_infnet.serving.versions import export_version

__all__ = [
    "Client",
    "export_onnx",
    "export_saved_model",
    "export_version",
    "run_c_api",
    "verify_saved_model",
]
