"""The same weights give the same output on TensorFlow and JAX, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.one_backend

ROOT = Path(__file__).parents[2]
CHILD = """
import sys
import numpy as np
from keras_infnet import INFNet
from keras_infnet.models import SharedBottom
from tests import tiny

forms = {"form_b": INFNet, "v1": INFNet.paper_v1, "v2": INFNet.paper_v2, "shared": SharedBottom}
outputs = {}
for form, build in forms.items():
    for history in ("mixed",) if form == "form_b" else ("exposures",):
        schema = tiny.schema(history)
        blocks = {} if form == "shared" else {"num_blocks": 2}
        model = tiny.randomise(build(schema, dim=8, **blocks), scale=0.3)
        x = tiny.inputs(schema)
        outputs |= {f"{form} {history} {t}": p for t, p in tiny.predict(model, x).items()}
np.savez(sys.argv[1], **{name: np.asarray(p) for name, p in outputs.items()})
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder, processes = tmp_path_factory.mktemp("outputs"), {}
    for backend in ("tensorflow", "jax"):
        environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", CHILD, str(folder / f"{backend}.npz")]
        processes[backend] = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    for process in processes.values():
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()[-3000:]
    return {backend: dict(np.load(folder / f"{backend}.npz")) for backend in processes}


def test_outputs_of_both_backends_are_equal(outputs):
    assert len(outputs["jax"]) == 4 * 3
    for name, expected in outputs["tensorflow"].items():
        np.testing.assert_allclose(outputs["jax"][name], expected, atol=1e-5, err_msg=name)
