import ast
import inspect
import re

import pytest

import keras_infnet
from tests.house import public_names
from tests.house.source import python_files

CLASSES_AND_FUNCTIONS = [n for n in keras_infnet.__all__ if callable(getattr(keras_infnet, n))]
DEFAULT = re.compile(r"Defaults\s+to\s+`([^`]+)`")


def test_names_and_signatures_are_those_on_record():
    recorded = public_names.FILE.read_text("utf-8").splitlines()
    found = public_names.lines()
    removed = sorted(set(recorded) - set(found))
    added = sorted(set(found) - set(recorded))
    assert recorded == found, (
        f"Public names changed. Gone: {removed}. New: {added}. If this is meant, run `make names` "
        "and write it in CHANGELOG.md."
    )


def test_all_is_sorted_and_names_nothing_twice():
    assert list(keras_infnet.__all__) == sorted(set(keras_infnet.__all__))


@pytest.mark.parametrize("name", CLASSES_AND_FUNCTIONS)
def test_a_public_name_has_a_docstring_and_lives_in_the_library(name):
    value = getattr(keras_infnet, name)
    assert value.__module__.startswith("keras_infnet.")
    assert len(inspect.getdoc(value).split()) >= 4


def documented_arguments(value: object) -> dict[str, str]:
    """Text of each argument in the section Args."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", inspect.getdoc(value), re.MULTILINE | re.DOTALL)
    pieces = re.split(r"^    \*{0,2}(\w+): ", section[1], flags=re.MULTILINE) if section else [""]
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def parameters_of(value: object) -> dict[str, inspect.Parameter]:
    says = not inspect.isclass(value) or hasattr(value, "__signature__")
    function = value if says else value.__init__
    parameters = dict(inspect.signature(function).parameters)
    parameters.pop("self", None)
    return parameters


@pytest.mark.parametrize("name", CLASSES_AND_FUNCTIONS)
def test_documented_arguments_and_defaults_are_those_of_the_signature(name):
    value = getattr(keras_infnet, name)
    parameters = parameters_of(value)
    documented = documented_arguments(value)
    assert list(documented) == list(parameters)
    for argument, text in documented.items():
        default = parameters[argument].default
        for said in DEFAULT.findall(text):
            expected = literal(said)
            same = expected == default or said == repr(default)
            assert same, f"{name}: `{argument}` is {default!r}, not `{said}`"


def literal(text: str) -> object:
    """A documented default; one that is made at the call, such as `Adam()`, stands for `None`."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None


def uses(node: ast.AST) -> list[str]:
    """Names of keras_infnet, or whole module names of its insides, that a node uses."""
    if isinstance(node, ast.Import):
        return [a.name for a in node.names if a.name.startswith("keras_infnet.")]
    if isinstance(node, ast.ImportFrom) and node.module == "keras_infnet":
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_infnet."):
        return [node.module]
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "keras_infnet":
        return [node.attr]
    return []


def test_programs_use_public_names_only():
    public = {*keras_infnet.__all__, "__version__"}
    private = [
        f"{path.name}:{node.lineno} uses {name}"
        for path in python_files("examples", "benchmarks", "tuning")
        # A model that is no product is made of the parts of one that is.
        if path.name != "ablated_infnet.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in uses(node)
        if name not in public
    ]
    assert not private, "\n".join(private)
