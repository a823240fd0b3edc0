"""Examples a second of all models on one GPU, with bfloat16 and XLA, relative to SharedBottom.

The models, their inputs and the way of measuring are those of models.py; the policy is
`mixed_bfloat16`, and batches lie on the GPU.

    KERAS_BACKEND=jax python -m benchmarks.gpu --lengths 64 1000 --batch 1024 --out gpu.json
"""

import sys

from benchmarks.models import measurement_of, parse_arguments, report

POLICY = "mixed_bfloat16"


def main() -> None:
    options = parse_arguments(__doc__)
    # Keras takes the backend when it is imported.
    import keras

    card = name_of_gpu(keras.backend.backend())
    from benchmarks.model_speed import Measurement, measure

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICY)
    try:
        measurement = Measurement(**measurement_of(options), jit_compile=True)
        records = measure(measurement, options.lengths)
    finally:
        keras.config.set_dtype_policy(before)
    report([{**record, "policy": POLICY, "device": card} for record in records], options.out)


def name_of_gpu(backend: str) -> str:
    """Name of the first card that the backend sees; without one the program ends."""
    if backend == "jax":
        import jax

        found = [d for d in jax.devices() if d.platform == "gpu"]
        if found:
            return found[0].device_kind
        looked, extra = f"jax.devices() are {jax.devices()}", "jax-cuda"
    else:
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        if found:
            return tf.config.experimental.get_device_details(found[0])["device_name"]
        looked = f"TensorFlow's devices are {[d.name for d in tf.config.list_physical_devices()]}"
        extra = "tensorflow"
    sys.exit(
        f"gpu.py: there is no GPU: {looked}. Expected one of CUDA: look with `nvidia-smi`, and "
        f'install `pip install "keras-infnet[{extra}]"`.'
    )


if __name__ == "__main__":
    main()
