"""Public names and signatures; `python -m tests.house.public_names` records them anew."""

import functools
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import keras_infnet

FILE = Path(__file__).with_name("public_names.txt")


def public_values() -> dict[str, Any]:
    """What is public by its path below `keras_infnet`: `INFNet`, `layers.TaskHead`."""
    return {
        f"{namespace}.{name}".lstrip("."): getattr(module, name)
        for namespace, module in namespaces().items()
        for name in module.__all__
        if not inspect.ismodule(getattr(module, name))
    }


def namespaces(module: ModuleType = keras_infnet, path: str = "") -> dict[str, ModuleType]:
    """The package as `""`, and the modules in its `__all__`, which are its namespaces, by path."""
    found = {path: module}
    for name in module.__all__:
        if inspect.ismodule(getattr(module, name)):
            found |= namespaces(getattr(module, name), f"{path}.{name}".lstrip("."))
    return found


def lines() -> list[str]:
    values = public_values()
    homes = {id(value): path for path, value in values.items() if "." in path}
    found: list[str] = []
    # Names on top first, then each namespace's.
    for path, value in sorted(values.items(), key=lambda item: ("." in item[0], item[0])):
        if homes.get(id(value), path) != path:
            found.append(f"{path}: {homes[id(value)]}")
        elif inspect.isclass(value):
            # Models say what they take; their `__init__` is the same for all.
            says = hasattr(value, "__signature__")
            found.append(path + (signature(value) if says else signature(value.__init__, True)))
            found += [f"{path}.{member}" for member in _members(value)]
        elif callable(value):
            found.append(f"{path}{signature(value)}")
        elif isinstance(value, dict):
            found.append(f"{path}: dict of {', '.join(value)}")
        else:
            found.append(f"{path}: {type(value).__name__}")
    return found


def signature(function: Any, skip_first: bool = False) -> str:
    """Names, kinds and defaults, without types: these print differently from Python to Python."""
    parameters = list(inspect.signature(function).parameters.values())[int(skip_first) :]
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty, default=_printed(parameter.default))
        for parameter in parameters
    ]
    return str(inspect.Signature(bare))


class _Printed:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _printed(default: Any) -> Any:
    """A default that prints alike in each process: a function by its name, without an address."""
    if default is inspect.Parameter.empty:
        return default
    if callable(default):
        return _Printed(default.__name__)
    return _Printed(repr(default).split(" at 0x")[0])


def _members(cls: type) -> list[str]:
    """Methods and properties that the library adds; not those of Keras that it overrides."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("keras_infnet")]
    others = [base for base in cls.__mro__ if base not in ours]
    found: dict[str, str] = {}
    for base in reversed(ours):
        for name, member in vars(base).items():
            if name.startswith("_") or any(hasattr(other, name) for other in others):
                continue
            if isinstance(member, (property, functools.cached_property)):
                found[name] = name
            elif isinstance(member, classmethod):
                found[name] = name + signature(member.__func__, skip_first=True)
            elif isinstance(member, staticmethod):
                found[name] = name + signature(member.__func__)
            elif inspect.isfunction(member):
                found[name] = name + signature(member, skip_first=True)
    return [found[name] for name in sorted(found)]


if __name__ == "__main__":
    FILE.write_text("\n".join(lines()) + "\n", "utf-8")
