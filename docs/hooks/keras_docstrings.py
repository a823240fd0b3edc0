"""Griffe extension: Keras's docstring sections by Griffe's names, and the arguments of models."""

import importlib
import inspect
import re
from typing import Any

import griffe

_SECTIONS = {
    r"^( *)Example:$": r"\1Examples:",
    r"^( *)Call arguments:$": r"\1Other parameters: Call arguments",
}


class KerasDocstrings(griffe.Extension):
    """Renders `Example:` as code, `Call arguments:` as a table, and models with their arguments."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Renames the sections of one object's docstring."""
        if obj.docstring is not None:
            for pattern, replacement in _SECTIONS.items():
                text = re.sub(pattern, replacement, obj.docstring.value, flags=re.MULTILINE)
                obj.docstring.value = text

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Gives a class the signature that it has when it is imported, where it sets one.

        A model takes the fields of its `Config`; its text has no `__init__` that says so.
        """
        if cls.module.path.startswith("keras_infnet.models.") and cls.parent is cls.module:
            value = getattr(importlib.import_module(cls.module.path), cls.name)
            signature = vars(value).get("__signature__")
            if signature is not None:
                cls.set_member("__init__", _init(signature))


def _init(signature: inspect.Signature) -> griffe.Function:
    """An `__init__` of these parameters, as Griffe would have read it."""
    parameters = [griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)]
    for parameter in signature.parameters.values():
        has_default = parameter.default is not parameter.empty
        parameters.append(
            griffe.Parameter(
                parameter.name,
                annotation=_shown(parameter.annotation),
                kind=griffe.ParameterKind[parameter.kind.name.lower()],
                default=repr(parameter.default) if has_default else None,
            )
        )
    return griffe.Function("__init__", parameters=griffe.Parameters(*parameters))


def _shown(annotation: Any) -> str:
    """A type by its last name if it is a class, such as `FeatureSchema`."""
    if inspect.isclass(annotation) and annotation.__module__.startswith("keras_infnet"):
        return annotation.__name__
    return inspect.formatannotation(annotation)
