"""Serving: export to a SavedModel, its check, a client."""

from keras_infnet.serving.answers import verify
from keras_infnet.serving.c_api import run_c_api
from keras_infnet.serving.client import Client
from keras_infnet.serving.deadline import Answer, DeadlineRanker
from keras_infnet.serving.onnx import export_onnx
from keras_infnet.serving.saved_model import export
from keras_infnet.serving.user_states import UserState, UserStates

__all__ = [
    "Answer",
    "Client",
    "DeadlineRanker",
    "UserState",
    "UserStates",
    "export",
    "export_onnx",
    "run_c_api",
    "verify",
]
