"""Predictions joined to the frame's index."""

from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.data.dataset import make_dataset
from keras_infnet.data.histories import Histories
from keras_infnet.encoding.encoder import FeatureEncoder


def predict_frame(
    model: Any,
    encoder: FeatureEncoder,
    frame: pd.DataFrame,
    histories: Histories | None = None,
    *,
    freeze_at: int | str | None = None,
    batch_size: int = 2048,
    verbose: int | str = 0,
) -> pd.DataFrame:
    """Predictions of a model for the rows of a frame.

    Args:
        model: A model of this library, built from `encoder.schema`.
        encoder: The encoder.
        frame: Rows; labels are not needed.
        histories: Past events; see `make_dataset`.
        freeze_at: Unix milliseconds from which on no event enters a history.
        batch_size: Rows a batch.
        verbose: As in `keras.Model.predict`.

    Returns:
        A frame with the index of `frame` and one column a task: probabilities, or values of a
        regression.

    Raises:
        ValueError: The model is of another schema, or as `make_dataset`.
    """
    if not isinstance(encoder, FeatureEncoder):
        raise ValueError(
            f"predict_frame: the encoder is a {type(encoder).__name__}; expected the model, then "
            "the FeatureEncoder."
        )
    encoder.check_model(model, "predict_frame")
    batches = make_dataset(
        encoder, frame, histories, batch_size=batch_size, freeze_at=freeze_at, labels=False
    )
    predictions = model.predict(batches, verbose=verbose)
    return pd.DataFrame(
        {task: np.asarray(predictions[task])[:, 0] for task in encoder.schema.task_names},
        index=frame.index,
    )
