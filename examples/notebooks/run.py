"""Executes the notebooks, each in a fresh kernel and an empty folder.

`python examples/notebooks/run.py --check` fails if a cell fails, if a notebook and its text differ,
or if an output names a folder of a machine; `--write` makes the `.ipynb` files anew from the `.py`
files. Both take names of notebooks, such as `1_quickstart`; without names they take all.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
MAX_BYTES = 3_000_000
CELL_SECONDS = 300
# Folders of a machine, and addresses of objects, which change each time.
OF_A_MACHINE = re.compile(
    r"/(?:home|root|Users|tmp|work|var|opt|usr)/|site-packages|\b0x[0-9a-f]{6,}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="compare and execute, write nothing")
    action.add_argument("--write", action="store_true", help="execute, and write the .ipynb files")
    parser.add_argument("names", nargs="*", help="notebooks without suffix; default: all")
    args = parser.parse_args()
    known = {path.stem: path for path in sources()}
    if unknown := set(args.names) - set(known):
        parser.error(f"no notebooks {sorted(unknown)}; there are {', '.join(known)}")
    chosen = [path for name, path in known.items() if not args.names or name in args.names]
    faults = [fault for path in chosen for fault in handle(path, args.write)]
    size = sum(path.stat().st_size for path in FOLDER.glob("*.ipynb"))
    if size > MAX_BYTES:
        faults.append(f"the notebooks have {size:,} bytes; expected {MAX_BYTES:,} at most.")
    sys.exit("\n".join(faults) or None)


def sources() -> list[Path]:
    """The texts of the notebooks, in their order."""
    return sorted(FOLDER.glob("[0-9]_*.py"))


def handle(source: Path, write: bool) -> Iterator[str]:
    """Checks or writes one notebook; yields what is wrong with it."""
    notebook = read_source(source)
    committed = source.with_suffix(".ipynb")
    if not write:
        yield from differences(notebook, committed)
    start = time.perf_counter()
    try:
        execute(notebook)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        yield f"{source.name}: {error}"
        return
    print(f"{source.stem}: {time.perf_counter() - start:.0f} s", flush=True)
    if not write:
        return
    faults = [f"{source.name}: an output has {found}." for found in of_a_machine(notebook)]
    yield from faults
    if not faults:
        temporary = committed.with_suffix(".unfinished")
        nbformat.write(notebook, temporary)
        temporary.replace(committed)


def read_source(source: Path) -> NotebookNode:
    """The notebook of a text, without outputs, and with nothing that changes from run to run."""
    notebook = jupytext.read(source)
    notebook.metadata = NotebookNode(
        jupytext={"formats": "ipynb,py:percent"},
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for place, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{place}", NotebookNode()
    return notebook


def execute(notebook: NotebookNode) -> None:
    """Runs all cells in an empty folder, with this checkout's library."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "COLUMNS": "100"}
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=environment)
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if has_content(output)]


def has_content(output: NotebookNode) -> bool:
    """Whether an output is more than TensorFlow's messages, which have times and random names."""
    if output.output_type != "stream":
        return True
    if "before absl::InitializeLog()" in output.text:
        return False
    lines = output.text.splitlines(keepends=True)
    output.text = "".join(line for line in lines if not line.startswith("INFO:tensorflow:"))
    return bool(output.text.strip())


def differences(notebook: NotebookNode, committed: Path) -> Iterator[str]:
    """How the committed notebook differs from its text, and what its outputs must not have."""
    if not committed.is_file():
        yield f"{committed.name} is missing: make it with --write."
        return
    found = nbformat.read(committed, as_version=4)
    if cells_of(found) != cells_of(notebook):
        yield f"{committed.name} differs from its .py file: make it anew with --write."
    if any(cell.cell_type == "code" and not cell.execution_count for cell in found.cells):
        yield f"{committed.name} has cells that were not run: make it anew with --write."
    yield from (f"{committed.name}: an output has {found}." for found in of_a_machine(found))


def cells_of(notebook: NotebookNode) -> list[tuple[str, str]]:
    """Kind and source of each cell."""
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def of_a_machine(notebook: NotebookNode) -> list[str]:
    """Lines of a notebook's outputs that are of the machine that it ran on."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    texts = [output.get("text", "") for output in outputs]
    for output in outputs:
        data = output.get("data", {})
        texts += [text for kind, text in data.items() if not kind.startswith("image/png")]
    lines = [line for text in texts for line in str(text).splitlines()]
    return [line[:200] for line in lines if OF_A_MACHINE.search(line)]


if __name__ == "__main__":
    main()
