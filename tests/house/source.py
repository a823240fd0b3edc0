"""The repository's source files and their imports, read without running them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "keras_infnet"


@dataclass(frozen=True)
class Import:
    """One imported module; `deferred`: inside a function, or for type checkers alone."""

    file: str
    line: int
    module: str
    deferred: bool


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@cache
def imports_of(path: Path) -> list[Import]:
    file = path.relative_to(ROOT).as_posix()
    tree = ast.parse(path.read_text("utf-8"))
    return [
        Import(file, node.lineno, module, deferred)
        for node, deferred in _nodes(tree, False)
        for module in _modules(node, file)
    ]


def _nodes(node: ast.AST, deferred: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        late = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield child, deferred
        yield from _nodes(child, deferred or late or for_types)


def _modules(node: ast.AST, file: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level:
        raise AssertionError(f"{file}:{node.lineno}: relative import; expected the full path")
    if isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        inner = [name for name in names if _is_module(name)]
        return inner if len(inner) == len(names) else [node.module, *inner]
    if isinstance(node, ast.Call) and ast.unparse(node.func) in (
        "importlib.import_module",
        "import_module",
        "__import__",
    ):
        if node.args and isinstance(node.args[0], ast.Constant):
            return [str(node.args[0].value)]
    return []


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()
