"""The house in numbers; `python -m tests.house.measures` prints them as JSON."""

import ast
import dataclasses
import inspect
import io
import json
import tokenize
from pathlib import Path
from typing import Any

from tests.house.public_names import public_values
from tests.house.source import PACKAGE, ROOT, imports_of, python_files

# What a reader of a model need not read: what is declared, and helpers of every room.
NOT_COUNTED = (
    "schema",
    "balances",
    "losses",
    "balances",
    "metrics",
    "_base",
    "_backend",
    "_keras_internals.py",
)
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def measures() -> dict[str, Any]:
    files = python_files("keras_infnet")
    return {
        "closures": {path.stem: closure_sizes(path) for path in model_files()},
        "files": len(files),
        "lines": sum(code_lines(path) for path in files),
        "names_on_top": names_on_top(),
        "most_arguments": most_arguments(),
    }


def model_files() -> list[Path]:
    """Files in which a model of the registry stands."""
    return sorted({Path(inspect.getfile(model)) for model in models().values()})


def closure_sizes(path: Path) -> dict[str, int]:
    files = [file for file in closure(path) if counted(file)]
    return {"files": len(files), "lines": sum(code_lines(file) for file in files)}


def closure(path: Path) -> set[Path]:
    """A file and all files of the package that it imports, also through others or late."""
    found, waiting = {path}, [path]
    while waiting:
        for imported in imports_of(waiting.pop()):
            file = file_of(imported.module)
            if file and file not in found:
                found.add(file)
                waiting.append(file)
    return found


def file_of(module: str) -> Path | None:
    """The file of a module of ours; the package itself says nothing of a model."""
    path = ROOT / module.replace(".", "/")
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file() and file.is_relative_to(PACKAGE) and file.parent != PACKAGE:
            return file
    return None


def counted(path: Path) -> bool:
    return path.relative_to(PACKAGE).parts[0] not in NOT_COUNTED


def code_lines(path: Path) -> int:
    """Lines with code: no docstrings, comments or blank lines."""
    text = path.read_text("utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {
        line
        for token in tokens
        if token.type not in NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - docstring_lines(ast.parse(text)))


def docstring_lines(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                first = node.body[0]
                lines |= set(range(first.lineno, first.end_lineno + 1))
    return lines


def names_on_top() -> int:
    """Public names of `keras_infnet`, namespaces apart."""
    return sum("." not in path for path in public_values())


def models() -> dict[str, type]:
    """The registry of models, wherever it is public."""
    values = public_values()
    (path,) = [path for path in values if path.split(".")[-1] == "MODELS"]
    return values[path]


def most_arguments() -> dict[str, int]:
    """Arguments of the models, the model with the most first."""
    counts = {name: len(arguments(model)) for name, model in models().items()}
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def arguments(model: type) -> set[str]:
    """What a user may give: the constructor's arguments, or the fields of its `Config`."""
    given = inspect.signature(model).parameters.values()
    names = {parameter.name for parameter in given if parameter.kind is not parameter.VAR_KEYWORD}
    config = getattr(model, "Config", None)
    return names | {field.name for field in dataclasses.fields(config)} if config else names


if __name__ == "__main__":
    print(json.dumps(measures(), indent=2))
