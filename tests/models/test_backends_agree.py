"""The same weights give the same output on TensorFlow, here, and on JAX, in a child process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_infnet import INFNet
from keras_infnet.models import SharedBottom
from tests import tiny

pytestmark = pytest.mark.one_backend

ROOT = Path(__file__).parents[2]
FORMS = {"form_b": INFNet, "v1": INFNet.paper_v1, "v2": INFNet.paper_v2, "shared": SharedBottom}


def outputs():
    """Outputs of each form on this backend."""
    found = {}
    for form, build in FORMS.items():
        schema = tiny.schema("mixed" if form == "form_b" else "exposures")
        blocks = {} if form == "shared" else {"num_blocks": 2}
        model = tiny.randomise(build(schema, dim=8, **blocks), scale=0.3)
        answers = tiny.predict(model, tiny.inputs(schema))
        found |= {f"{form} {task}": np.asarray(p) for task, p in answers.items()}
    return found


def test_outputs_of_both_backends_are_equal(tmp_path):
    path = tmp_path / "jax.npz"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.models.test_backends_agree", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    on_jax = dict(np.load(path))
    assert len(on_jax) == 4 * 3
    for name, expected in outputs().items():
        np.testing.assert_allclose(on_jax[name], expected, atol=1e-5, err_msg=name)


if __name__ == "__main__":
    np.savez(sys.argv[1], **outputs())
