"""The graphs of several models as signatures of one saved model, which one process loads."""

import sys
from pathlib import Path

import keras

from keras_infnet.data import FeatureEncoder


def save_graphs(models, encoder, path):
    """Each graph is that of `serving_default`: raw features -> the outputs of all tasks."""
    import tensorflow as tf

    module = tf.Module()
    module.encoder = encoder.to_tensorflow()
    module.variables_of_all = [v.value for model in models.values() for v in model.variables]
    specs = {
        name: tf.TensorSpec((None, *shape), dtype, name=name)
        for name, (shape, dtype) in encoder.schema.raw_inputs().items()
    }

    def graph(model):
        def serve(**raw):
            return dict(model(module.encoder(raw), training=False))

        return tf.function(serve, autograph=False).get_concrete_function(**specs)

    signatures = {name: graph(model) for name, model in models.items()}
    tf.saved_model.save(module, str(path), signatures=signatures)


def main(folder, *names):
    """Run in a child process under TensorFlow, for models that another backend has trained."""
    models = {
        name: keras.saving.load_model(folder / f"{name}.keras", compile=False) for name in names
    }
    save_graphs(models, FeatureEncoder.load(folder / "encoder"), folder / "graphs")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
