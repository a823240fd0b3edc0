import importlib.util
import re
import types
from xml.etree import ElementTree

import pytest

import keras_infnet
from tests.house import public_names
from tests.house.public_names import public_values
from tests.house.source import ROOT

README = (ROOT / "README.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"(?:\]\(|<img src=\")([^)\"#\s]+)[^)\"]*[)\"]")
BLOCK = re.compile(
    r"^```python\n(.*?)^```\n(?:\nprints\n\n```\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL
)

# Reports of commands read the folder of their command; the commands' tests run their blocks.
REPORTS = ROOT / "docs" / "results"
# README and home page show the same program, which runs once.
PROGRAMS = {
    tuple(BLOCK.findall(path.read_text("utf-8"))): path
    for path in PAGES
    if not path.is_relative_to(REPORTS)
}


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_public_name_has_a_page_and_a_link():
    """Names on top that are also in a namespace have their page there."""
    pages = load(ROOT / "docs" / "hooks" / "api_pages.py").api_pages()
    links = re.findall(r"\[`(\w+)`\]\(([\w/]+\.md)\)", pages["api/index.md"])
    assert {f"api/{page}" for _, page in links} | {"api/index.md"} == set(pages)
    values = public_values()
    assert sorted(name for name, _ in links) == sorted(path.split(".")[-1] for path in values)
    homes = {id(value): path for path, value in values.items()}
    for path in homes.values():
        assert re.fullmatch(
            rf"::: keras_infnet\.([\w.]+\.)?{path.split('.')[-1]}\n",
            pages[f"api/{path.replace('.', '/')}.md"],
        )


def test_the_api_pages_go_by_namespace(monkeypatch):
    layers = types.ModuleType("layers", "One of our layers.")
    layers.__all__, layers.TaskHead = ["TaskHead"], keras_infnet.layers.TaskHead
    monkeypatch.setattr(keras_infnet, "layers", layers)
    monkeypatch.setattr(keras_infnet, "TaskHead", layers.TaskHead, raising=False)
    monkeypatch.setattr(keras_infnet, "__all__", ["INFNet", "TaskHead", "layers"])
    pages = load(ROOT / "docs" / "hooks" / "api_pages.py").api_pages()
    assert set(pages) == {"api/index.md", "api/INFNet.md", "api/layers/TaskHead.md"}
    assert pages["api/layers/TaskHead.md"] == "::: keras_infnet.layers.task_head.TaskHead\n"
    top, inner = pages["api/index.md"].split("## keras_infnet.layers")
    assert "[`TaskHead`](layers/TaskHead.md)" in top and "One of our layers." in inner
    names = [line.split("(")[0] for line in public_names.lines() if "." not in line.split("(")[0]]
    assert names == ["INFNet"] and "TaskHead: layers.TaskHead" in public_names.lines()


def test_the_readme_shows_the_commands_that_matter():
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    commands = {line for kind, block in blocks if not kind for line in block.splitlines()}
    assert {"make demo", "make demo DATA=path/to/KuaiRand-Pure", "make test"} <= commands


def test_every_make_target_in_the_texts_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.MULTILINE))
    for path in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        text = path.read_text("utf-8")
        used = set(re.findall(r"(?:`|^)make ([a-z][\w-]*)", text, re.MULTILINE))
        assert used <= targets, f"{path.name}: {used - targets}"


def test_the_readme_says_what_is_not_promised():
    assert "PyTorch is not tested" in README


def test_the_readme_is_read_in_two_minutes():
    """Code blocks apart."""
    text = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    assert len(text.split()) <= 400


def test_links_between_files_lead_somewhere():
    """`mkdocs build --strict` checks pages and anchors; this, what stands outside of docs/."""
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        links = [link for link in LINK.findall(path.read_text("utf-8")) if "://" not in link]
        assert not [link for link in links if not (path.parent / link).exists()], path.name


def test_warnings_of_the_build_are_not_silenced():
    """MkDocs does not count for `--strict` what `--quiet` silences."""
    (build,) = re.findall(r"mkdocs build.*", MAKEFILE)
    assert build.split()[2:] == ["--strict"]


def test_every_equation_becomes_mathml():
    hook = load(ROOT / "docs" / "hooks" / "equations.py")
    text = (ROOT / "docs" / "method.md").read_text("utf-8")
    equations = re.findall(r"\$\$(.+?)\$\$", text, re.DOTALL)
    assert len(equations) > 10
    for latex in equations:
        ElementTree.fromstring(hook.mathml(latex.replace("&", "&amp;"), "block"))


def test_an_equation_with_an_unknown_command_is_an_error():
    hook = load(ROOT / "docs" / "hooks" / "equations.py")
    with pytest.raises(ValueError, match=r"no MathML for .*nosuchcommand"):
        hook.mathml(r"a + \nosuchcommand", "inline")


def test_figures_are_those_that_the_code_draws():
    folder = ROOT / "docs" / "figures"
    drawn = load(ROOT / "docs" / "draw_figures.py").figures()
    assert drawn == {path.name: path.read_text("utf-8") for path in folder.iterdir()}, (
        "Run `python docs/draw_figures.py`."
    )
    for svg in drawn.values():
        ElementTree.fromstring(svg)


@pytest.mark.parametrize("blocks", PROGRAMS, ids=[path.name for path in PROGRAMS.values()])
def test_python_blocks_run_and_print_what_the_page_says(blocks, tmp_path, monkeypatch, capsys):
    """The blocks of one page are one program; a block of text after "prints" is its output."""
    monkeypatch.chdir(tmp_path)
    page = PROGRAMS[blocks]
    names = {"__name__": page.stem}
    for code, output in blocks:
        exec(compile(code, page.name, "exec"), names)
        printed = capsys.readouterr().out
        assert not output or printed == output
