import ast
import inspect
import re

import pytest

from tests.house import public_names
from tests.house.source import python_files

PUBLIC = public_names.public_values()
NAMESPACES = public_names.namespaces()
CLASSES_AND_FUNCTIONS = [path for path, value in PUBLIC.items() if callable(value)]
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


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_all_is_sorted_and_names_nothing_twice(namespace):
    names = NAMESPACES[namespace].__all__
    assert list(names) == sorted(set(names))


@pytest.mark.parametrize("name", CLASSES_AND_FUNCTIONS)
def test_a_public_name_has_a_docstring_and_lives_in_the_library(name):
    value = PUBLIC[name]
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
    value = PUBLIC[name]
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
    """What a node uses of keras_infnet, by its path: `INFNet`, `layers.TaskHead`."""
    used: list[str] = []
    if isinstance(node, ast.Import):
        used = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        used = [f"{node.module}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.Attribute):
        used = [ast.unparse(node)]
    found = [re.fullmatch(r"keras_infnet\.([\w.]+)", path) for path in used]
    return [match[1] for match in found if match]


def is_public(path: str) -> bool:
    """A namespace, a public name, or what hangs on one: a method of a class."""
    owners = [path, *(path[: dot.start()] for dot in re.finditer(r"\.", path))]
    return path in {*NAMESPACES, "__version__"} or any(owner in PUBLIC for owner in owners)


def test_programs_use_public_names_only():
    private = [
        f"{path.name}:{node.lineno} uses {name}"
        for path in python_files("examples", "benchmarks", "tuning")
        # A model that is no product is made of the parts of one that is.
        if path.name != "ablated_infnet.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in uses(node)
        if not is_public(name)
    ]
    assert not private, "\n".join(private)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import keras_infnet", []),
        ("import keras_infnet.layers.task_head", ["layers.task_head"]),
        ("from keras_infnet import layers, INFNet", ["layers", "INFNet"]),
        ("from keras_infnet.layers import TaskHead", ["layers.TaskHead"]),
        ("keras_infnet.layers.TaskHead(3)", ["layers.TaskHead", "layers"]),
        ("keras_infnet.INFNet(schema).fit(data)", ["INFNet"]),
    ],
)
def test_uses_are_found_by_their_path(code, expected):
    assert [name for node in ast.walk(ast.parse(code)) for name in uses(node)] == expected
