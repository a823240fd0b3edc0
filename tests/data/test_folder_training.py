import keras
import pytest

from keras_infnet.data import Batches, FeatureEncoder
from tests.prepared import large_log, prepared, row_numbers


class DenseAlone(keras.Model):
    """A model of the dense vectors, since this is about batches."""

    def __init__(self):
        super().__init__()
        self.heads = {task: keras.layers.Dense(1, "sigmoid") for task in ("click", "like")}

    def call(self, x):
        return {task: head(x["dense"]) for task, head in self.heads.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("prepared") / "log"
    prepared(path, large_log())
    return path


def test_batches_fit_a_model(folder):
    encoder, model = FeatureEncoder.load(folder / "encoder"), DenseAlone()
    model.compile(loss="binary_crossentropy")
    data = Batches.from_folder(encoder, folder, batch_size=32, shuffle=True, seed=1, mix_blocks=2)
    validation = Batches.from_folder(encoder, folder, split="test", batch_size=32)
    history = model.fit(data, epochs=2, verbose=0, validation_data=validation, shuffle=False)
    assert len(history.history["val_loss"]) == 2
    x = Batches.from_folder(encoder, folder, split="test", batch_size=32, labels=False)
    assert model.predict(x, verbose=0)["click"].shape == (len(row_numbers(folder, "test")), 1)
