"""What every model is tuned over, and how a model of a configuration is made.

All models get the same draws from one space: learning rate, dropout, width and depth. Width and
depth are relative to a model's own defaults, so that the first trial is the library's defaults.
"""

import difflib
import inspect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import keras_infnet

LEARNING_RATES = (1e-3, 2e-3, 4e-3)
DROPOUTS = (0.0, 0.1, 0.2)
WIDTHS = {"half": 0.5, "default": 1.0, "double": 2.0}
BLOCKS = (1, 2, 3)
# Numbers that an id may have in all tables of a model together.
EMBEDDING_BUDGET = 32


@dataclass(frozen=True)
class Trial:
    """One point of the space; `blocks` 1 is the model's default depth, 2 and 3 add to it."""

    learning_rate: float = 2e-3
    dropout: float = 0.0
    width: str = "default"
    blocks: int = 1


@dataclass(frozen=True)
class Sizes:
    """Which arguments of a model are hidden widths, and which is its depth.

    A depth is a number of layers, or hidden widths whose first is repeated; FM has none. `form` is
    a class method that makes the model instead of the constructor, `fixed` what it is called with.
    """

    widths: tuple[str, ...]
    depth: str | None
    model: str = ""
    form: str | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)


SIZES = {
    "FM": Sizes((), None),
    "DIN": Sizes(("activation_dims", "hidden_dims", "head_dim"), "hidden_dims"),
    "DIEN": Sizes(("hidden_dims", "head_dim"), "hidden_dims"),
    "HSTU": Sizes(("hidden_dims", "head_dim"), "num_layers"),
    "DCNv2": Sizes(("hidden_dims", "head_dim"), "num_cross_layers"),
    "GDCN": Sizes(("hidden_dims", "head_dim"), "num_cross_layers"),
    "WuKong": Sizes(("fmb_hidden_dims", "hidden_dims", "head_dim"), "num_layers"),
    "SharedBottom": Sizes(("hidden_dims", "head_dim"), "hidden_dims"),
    "MMoE": Sizes(("expert_dims", "head_dim"), "expert_dims"),
    "OMoE": Sizes(("expert_dims", "head_dim"), "expert_dims"),
    "PLE": Sizes(("expert_dims", "head_dim"), "num_levels"),
    "STEM": Sizes(("expert_dims", "gate_dims", "head_dim"), "expert_dims"),
    "INFNet": Sizes(("head_dim",), "num_blocks"),
}
VARIANTS = {
    "INFNet-no-flow": Sizes(("head_dim",), "num_blocks", "INFNet", fixed={"flow": False}),
    "INFNet-post-norm": Sizes(
        ("head_dim",), "num_blocks", "INFNet", fixed={"layer_norm": True, "qk_norm": False}
    ),
    "INFNet-paper-v1": Sizes(
        ("head_dim",), "num_blocks", "INFNet", "paper_v1", fixed={"num_blocks": 2}
    ),
    "INFNet-paper-v2": Sizes(
        ("head_dim",), "num_blocks", "INFNet", "paper_v2", fixed={"num_blocks": 4}
    ),
}


def draw_trials(number: int) -> list[Trial]:
    """The same trials for every model: the default first, more extend fewer."""
    grid = [Trial(*point) for point in itertools.product(LEARNING_RATES, DROPOUTS, WIDTHS, BLOCKS)]
    others = [trial for trial in grid if trial != Trial()]
    if not 1 <= number <= len(grid):
        raise ValueError(f"`--trials` is {number}; expected 1 to {len(grid)}, the whole space.")
    order = np.random.default_rng(0).permutation(len(others))
    return [Trial(), *(others[i] for i in order[: number - 1])]


def check_models(names: Iterable[str]) -> list[str]:
    """The names, `all` spelled out; an unknown one is an error that suggests the nearest."""
    chosen: list[str] = []
    known = [*keras_infnet.models.MODELS, *VARIANTS]
    for name in names:
        if name != "all" and name not in known:
            raise ValueError(f"No model `{name}`. {suggestion(name, known)}")
        chosen += list(keras_infnet.models.MODELS) if name == "all" else [name]
    chosen = list(dict.fromkeys(chosen))
    for name in chosen:
        sizes_of(name)
    return chosen


def suggestion(name: str, known: Sequence[str]) -> str:
    """What may have been meant by an unknown name."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(known)}."


def sizes_of(name: str) -> Sizes:
    """The entry of a model or variant in the tables."""
    sizes = SIZES.get(name) or VARIANTS.get(name)
    if sizes is None:
        raise ValueError(
            f"Model `{name}` is not in `SIZES` of protocol/space.py: say there which of its "
            "arguments are hidden widths, and which is its depth."
        )
    return sizes


def model_class(name: str) -> type:
    """The class of a model or variant."""
    return keras_infnet.models.MODELS[sizes_of(name).model or name]


def defaults_of(name: str) -> dict[str, Any]:
    """The constructor's defaults, as JSON has them."""
    parameters = inspect.signature(model_class(name).__init__).parameters.values()
    found = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    return {key: plain(value) for key, value in found.items() if key != "dtype"}


def arguments_of(name: str, trial: Trial, num_tasks: int) -> dict[str, Any]:
    """Arguments of the model for a trial, those that equal the defaults left out."""
    sizes, defaults = sizes_of(name), defaults_of(name)
    given = {"dropout": trial.dropout, **table_widths(name, num_tasks), **sizes.fixed}
    for width in sizes.widths:
        given[width] = _scaled(given.get(width, defaults[width]), WIDTHS[trial.width])
    if sizes.depth is not None:
        depth, more = given.get(sizes.depth, defaults[sizes.depth]), trial.blocks - 1
        given[sizes.depth] = depth + more if isinstance(depth, int) else [depth[0]] * more + depth
    return without_defaults(name, given)


def table_widths(name: str, num_tasks: int) -> dict[str, int]:
    """Widths of the tables: the budget, divided if each task has a table of its own."""
    if "task_dim" not in defaults_of(name):
        return {"dim": EMBEDDING_BUDGET}
    return dict.fromkeys(("dim", "task_dim"), EMBEDDING_BUDGET // (1 + num_tasks))


def without_defaults(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the defaults; all of it where a form has defaults of its own."""
    defaults, form = defaults_of(name), sizes_of(name).form
    unknown = [key for key in given if key not in defaults]
    if unknown:
        raise ValueError(f"Model `{name}` has no argument {', '.join(unknown)}.")
    given = {key: plain(value) for key, value in given.items()}
    return {k: v for k, v in given.items() if form is not None or v != defaults[k]}


def build_model(name: str, schema: Any, arguments: Mapping[str, Any], members: int) -> Any:
    """The model; `members` is only given where there are several."""
    form = sizes_of(name).form
    make = model_class(name) if form is None else getattr(model_class(name), form)
    return make(schema, **arguments, **({"members": members} if members > 1 else {}))


def plain(value: Any) -> Any:
    """Tuples as lists: what JSON gives back."""
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def _scaled(width: Any, factor: float) -> Any:
    if isinstance(width, list | tuple):
        return [_scaled(w, factor) for w in width]
    return max(1, round(width * factor))
