"""MkDocs hook: one page for each public name, generated at build, so that no list can rot."""

import ast
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = Path(__file__).parents[2] / "keras_infnet"


def public_names() -> dict[str, list[str]]:
    """Public names by the folder of their module, in the order of `__all__` and of the imports."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    folders: dict[str, str] = {}
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            folders |= {alias.asname or alias.name: node.module for alias in node.names}
        elif isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            names = ast.literal_eval(node.value)
    pages: dict[str, list[str]] = {}
    for name in names:
        pages.setdefault(folders[name].split(".")[1], []).append(name)
    return {folder: pages[folder] for folder in sorted(pages, key=_position)}


def api_pages() -> dict[str, str]:
    """Markdown of each generated page by its path."""
    pages = {"api/index.md": _index()}
    for names in public_names().values():
        pages |= {f"api/{name}.md": f"::: {_path(name)}\n" for name in names}
    return pages


def _path(name: str) -> str:
    """Where mkdocstrings finds a public name; at the top it would take a folder of that name."""
    return (
        f"keras_infnet.{name}.{name}.{name}" if name in public_names() else f"keras_infnet.{name}"
    )


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fills the navigation's entry `API`."""
    folders = [
        {folder: [{name: f"api/{name}.md"} for name in names]}
        for folder, names in public_names().items()
    ]
    for entry in config.nav:
        if "API" in entry:
            entry["API"] = ["api/index.md", *folders]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages and the changelog."""
    changelog = (PACKAGE.parent / "CHANGELOG.md").read_text("utf-8")
    for path, text in (api_pages() | {"changelog.md": changelog}).items():
        files.append(File.generated(config, path, content=text))
    return files


def _index() -> str:
    lines = ["# Public names", "", "All are imported from `keras_infnet`."]
    for folder, names in public_names().items():
        about = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text("utf-8")))
        lines += ["", f"## {folder}", "", about or "", ""]
        lines += [f"- [`{name}`]({name}.md)" for name in names]
    return "\n".join(lines) + "\n"


def _position(folder: str) -> int:
    """Place of a folder in the data flow."""
    flow = "features calibration datasets pipelines layers models metrics training serving explain"
    return [*flow.split(), "search"].index(folder)
