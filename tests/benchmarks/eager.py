"""Models that run eagerly: compiling is what takes long in tests of the benchmarks."""

import keras


def compile_nothing(patch):
    """Patches `keras.Model.compile`, so that a model's steps run op by op."""
    compile_model = keras.Model.compile
    eager = {"jit_compile": False, "run_eagerly": True}
    patch.setattr(
        keras.Model,
        "compile",
        lambda self, *args, **kwargs: compile_model(self, *args, **{**kwargs, **eager}),
    )
