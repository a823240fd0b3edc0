import importlib.util
import sys

import pytest

from tests.house.source import ROOT

pytestmark = pytest.mark.one_backend

FOLDER = ROOT / "examples" / "notebooks"


@pytest.fixture(scope="module")
def run():
    """The program that executes notebooks."""
    spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SOURCES = sorted(FOLDER.glob("[0-9]_*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_is_its_text_and_names_no_machine(run, source):
    committed = source.with_suffix(".ipynb")
    assert not list(run.differences(run.read_source(source), committed))
    assert committed.stem in (ROOT / "docs" / "notebooks.md").read_text("utf-8")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_without_matplotlib_the_first_cell_says_what_to_install(run, source, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    first = next(c for c in run.read_source(source).cells if c.cell_type == "code")
    with pytest.raises(ImportError, match=r'pip install "keras-infnet\[plots\]"'):
        exec(compile(first.source, source.name, "exec"), {})


def write(path, code):
    path.write_text(f"# %% [markdown]\n# Text\n\n# %%\n{code}\n", "utf-8")
    return path


def test_a_changed_text_a_failing_cell_and_a_path_are_faults(run, tmp_path):
    source = write(tmp_path / "small.py", "print(1 + 1)")
    (missing,) = run.handle(source, write=False)
    assert missing == "small.ipynb is missing: make it with --write."
    assert not list(run.handle(source, write=True))
    assert not list(run.handle(source, write=False))

    write(source, "1 / 0")
    changed, failed = run.handle(source, write=False)
    assert changed == "small.ipynb differs from its .py file: make it anew with --write."
    assert failed.startswith("small.py: ") and "ZeroDivisionError" in failed

    write(source, "print('/' + 'home/someone')")
    assert list(run.handle(source, write=True)) == ["small.py: an output has /" + "home/someone."]
    assert not list(tmp_path.glob("*.unfinished"))
