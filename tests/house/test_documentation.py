import importlib.util
import re

import pytest

import keras_infnet
from tests.house.source import ROOT

README = (ROOT / "README.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^```python\n(.*?)^```\n(?:\nprints\n\n```\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL
)


def load_hook():
    path = ROOT / "docs" / "hooks" / "api_pages.py"
    spec = importlib.util.spec_from_file_location("api_pages", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_public_name_has_a_page_and_a_link():
    pages = load_hook().api_pages()
    names = set(keras_infnet.__all__)
    assert set(pages) == {f"api/{name}.md" for name in names} | {"api/index.md"}
    pattern = r"::: keras_infnet\.(\w+\.\w+\.)?{}\n"
    assert all(re.fullmatch(pattern.format(name), pages[f"api/{name}.md"]) for name in names)
    assert all(f"[`{name}`]({name}.md)" in pages["api/index.md"] for name in names)


def test_the_readme_shows_the_commands_that_matter():
    blocks = re.findall(r"^```\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    commands = {line for block in blocks for line in block.splitlines()}
    assert {"make demo", "make demo DATA=path/to/KuaiRand-Pure", "make test"} <= commands


def test_every_make_target_in_the_texts_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.MULTILINE))
    for path in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        text = path.read_text("utf-8")
        used = set(re.findall(r"(?:`|^)make ([a-z][\w-]*)", text, re.MULTILINE))
        assert used <= targets, f"{path.name}: {used - targets}"


def test_the_readme_says_what_is_not_promised():
    assert "PyTorch is not tested" in README


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_python_blocks_run_and_print_what_the_page_says(path, tmp_path, monkeypatch, capsys):
    """The blocks of one page are one program; a block of text after "prints" is its output."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": path.stem}
    for code, output in BLOCK.findall(path.read_text("utf-8")):
        exec(compile(code, path.name, "exec"), names)
        printed = capsys.readouterr().out
        assert not output or printed == output
