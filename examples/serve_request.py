"""Scores candidates of one user with an exported model; needs TensorFlow and no keras_infnet.

Run `python examples/serve_request.py SAVED_MODEL REQUEST.json SCORES.json`.
"""

import json
import sys
from pathlib import Path

import tensorflow as tf


def main(saved_model: str, request_file: str, scores_file: str) -> None:
    """Reads a request of the signature `rank` (`{input name: values}`), writes `{task: scores}`."""
    serve = tf.saved_model.load(saved_model).signatures["rank"]
    specs = serve.structured_input_signature[1]
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    scores = serve(**{n: tf.constant(v, specs[n].dtype) for n, v in request.items()})
    lists = {task: values.numpy()[:, 0].tolist() for task, values in scores.items()}
    Path(scores_file).write_text(json.dumps(lists), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
