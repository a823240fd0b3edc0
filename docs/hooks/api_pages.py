"""MkDocs hook: one page for each public name, generated at build, so that no list can rot."""

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import keras_infnet

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


def namespaces(module: ModuleType = keras_infnet, name: str = "") -> dict[str, ModuleType]:
    """The package as `""` and the modules in its `__all__`, which are its namespaces, by name."""
    found = {name: module}
    for inner in module.__all__:
        value = getattr(module, inner)
        if inspect.ismodule(value):
            found |= namespaces(value, f"{name}.{inner}".lstrip("."))
    return found


def names_of(module: ModuleType) -> dict[str, Any]:
    """Public names of one namespace, without the namespaces in it."""
    values = {name: getattr(module, name) for name in module.__all__}
    return {name: value for name, value in values.items() if not inspect.ismodule(value)}


def api_pages() -> dict[str, str]:
    """Markdown of each generated page by its path."""
    pages = {"api/index.md": _index()}
    for namespace, module in namespaces().items():
        for name, value in names_of(module).items():
            pages[_page(namespace, name, value)] = f"::: {_path(namespace, name, value)}\n"
    return pages


def _page(namespace: str, name: str, value: Any) -> str:
    """A name on top that is also in a namespace has its page there."""
    if not namespace:
        for other, module in namespaces().items():
            if other and any(value is held for held in names_of(module).values()):
                namespace = other
    return "/".join(["api", *namespace.split(".")] if namespace else ["api"]) + f"/{name}.md"


def _path(namespace: str, name: str, value: Any) -> str:
    """Where mkdocstrings finds a public name: where it is written, if the object knows that.

    In its namespace a module of that name may stand in its way.
    """
    if inspect.isclass(value) or inspect.isfunction(value):
        return f"{value.__module__}.{value.__qualname__}"
    return ".".join(filter(None, ["keras_infnet", namespace, name]))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fills the navigation's entry `API`."""
    sections = [
        {_title(namespace): [{n: _page(namespace, n, v)} for n, v in names_of(module).items()]}
        for namespace, module in namespaces().items()
    ]
    for entry in config.nav:
        if "API" in entry:
            entry["API"] = ["api/index.md", *sections]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages and the changelog."""
    changelog = CHANGELOG.read_text("utf-8")
    for path, text in (api_pages() | {"changelog.md": changelog}).items():
        files.append(File.generated(config, path, content=text))
    return files


def _title(namespace: str) -> str:
    return ".".join(filter(None, ["keras_infnet", namespace]))


def _index() -> str:
    lines = ["# Public names"]
    for namespace, module in namespaces().items():
        lines += ["", f"## {_title(namespace)}", "", inspect.getdoc(module) or "", ""]
        for name, value in names_of(module).items():
            link = _page(namespace, name, value).removeprefix("api/")
            lines.append(f"- [`{name}`]({link})")
    return "\n".join(lines) + "\n"
