"""A SavedModel with `rank` and `rank_top_k` from one with rows: a plain repetition of the user."""

import tensorflow as tf


def save_with_rank(source, schema, path):
    """Writes the model of `source` with two further signatures."""
    loaded = tf.saved_model.load(str(source))
    serve = loaded.signatures["serving_default"]
    items = {f.name for f in schema.features if f.owner == "item"}
    specs = {
        name: tf.TensorSpec((None if name in items else 1, *shape), dtype, name=name)
        for name, (shape, dtype) in schema.raw_inputs().items()
    }

    def rank(**raw):
        count = tf.shape(raw[min(items)])[0]
        return serve(**{n: v if n in items else tf.repeat(v, count, 0) for n, v in raw.items()})

    def rank_top_k(exponents, k, **raw):
        outputs = rank(**raw)
        powers = [outputs[t][:, 0] ** exponents[i] for i, t in enumerate(schema.task_names)]
        score, index = tf.math.top_k(tf.math.reduce_prod(tf.stack(powers), axis=0), k)
        chosen = {task: tf.gather(values, index) for task, values in outputs.items()}
        return {"index": index, "score": score, **chosen}

    module = tf.Module()
    module.loaded = loaded
    exponents = tf.TensorSpec((len(schema.tasks),), "float32", name="exponents")
    k = tf.TensorSpec((), "int32", name="k")
    signatures = {
        "serving_default": serve,
        "rank": tf.function(rank).get_concrete_function(**specs),
        "rank_top_k": tf.function(rank_top_k).get_concrete_function(
            exponents=exponents, k=k, **specs
        ),
    }
    tf.saved_model.save(module, str(path), signatures=signatures)
