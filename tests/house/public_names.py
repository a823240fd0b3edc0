"""Public names and signatures; `python -m tests.house.public_names` records them anew."""

import inspect
from pathlib import Path
from typing import Any

import keras_infnet

FILE = Path(__file__).with_name("public_names.txt")


def lines() -> list[str]:
    found: list[str] = []
    for name in sorted(keras_infnet.__all__):
        value = getattr(keras_infnet, name)
        if inspect.isclass(value):
            # Models say what they take; their `__init__` is the same for all.
            says = hasattr(value, "__signature__")
            found.append(name + (signature(value) if says else signature(value.__init__, True)))
            found += [f"{name}.{member}" for member in _members(value)]
        elif callable(value):
            found.append(f"{name}{signature(value)}")
        elif isinstance(value, dict):
            found.append(f"{name}: dict of {', '.join(value)}")
        else:
            found.append(f"{name}: {type(value).__name__}")
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
            if isinstance(member, property):
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
