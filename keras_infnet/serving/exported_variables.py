"""What an exported graph reads in the place of a model's variables."""

from contextlib import ExitStack
from typing import Any

import keras

from keras_infnet._backend.row_lookups import is_marked
from keras_infnet.serving.table_dtypes import StoredTables

# Each signature holds a constant of its own, so large weights stay variables.
_LARGEST_CONSTANT = 262_144


class ExportedVariables:
    """In its context, a model reads constants and stored tables instead of its variables.

    Weights of up to 262,144 numbers become constants of the graph, which TensorFlow folds where
    they meet each other when it loads it: requests of 1 and of 100 rows to INFNet then take 5 %
    less CPU time, larger ones as much as before. Embedding tables stay variables, of the dtype
    asked for, and so do larger weights.

    Args:
        model: A built model of this library, on TensorFlow.
        table_dtype: `"float32"`, `"float16"` or `"int8"`.

    Attributes:
        variables: TensorFlow's variables that the graph reads, to be tracked by what is saved.
    """

    def __init__(self, model: Any, table_dtype: str) -> None:
        self._stored = None if table_dtype == "float32" else StoredTables(model, table_dtype)
        self.variables = list(self._stored.variables) if self._stored else []
        self._constants = []
        for variable in model.variables:
            if is_marked(variable):
                self.variables += [] if self._stored else [variable.value]
            elif variable.value.shape.num_elements() > _LARGEST_CONSTANT:
                self.variables.append(variable.value)
            else:
                self._constants.append((variable, variable.numpy()))

    def __enter__(self) -> "ExportedVariables":
        import tensorflow as tf

        self._contexts = ExitStack()
        if self._stored:
            self._contexts.enter_context(self._stored)
        constants = [(variable, tf.constant(value)) for variable, value in self._constants]
        self._contexts.enter_context(keras.StatelessScope(state_mapping=constants))
        return self

    def __exit__(self, *error: Any) -> None:
        self._contexts.__exit__(*error)
