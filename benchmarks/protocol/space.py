"""What every model is tuned over, and how a model of a configuration is made.

All models get the same draws from one space: learning rate, dropout, width and depth. Width and
depth are relative to a model's own defaults, so that the first trial is the library's defaults.
"""

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

import keras_infnet
from benchmarks.protocol.ablated_infnet import AblatedINFNet
from benchmarks.protocol.trees import TREES
from benchmarks.protocol.trees import TRIALS as TREE_TRIALS

LEARNING_RATES = (1e-3, 2e-3, 4e-3)
DROPOUTS = (0.0, 0.1, 0.2)
WIDTHS = {"half": 0.5, "default": 1.0, "double": 2.0}
BLOCKS = (1, 2, 3)
# Numbers that an id may have in all tables of a model together.
EMBEDDING_BUDGET = 32
# What `event_context=None` means where histories have all of it, as in KuaiRand's layout.
EVENT_CONTEXT = ("action", "ratio", "age", "position")
# The default form, of which others are made.
FORM = keras_infnet.INFNet.Config().form


@dataclass(frozen=True)
class Trial:
    """One point of the space; `blocks` 1 is the model's default depth, 2 and 3 add to it."""

    learning_rate: float = 2e-3
    dropout: float = 0.0
    width: str = "default"
    blocks: int = 1


@dataclass(frozen=True)
class Variant:
    """INFNet in another form.

    `maker` is a class method that makes the model instead of the constructor, `fixed` what it is
    called with, and `deepens` whether trials add to its depth.
    """

    model: type = keras_infnet.INFNet
    maker: str | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    deepens: bool = True


VARIANTS = {
    "INFNet-no-flow": Variant(fixed={"num_blocks": 0}, deepens=False),
    "INFNet-post-norm": Variant(fixed={"form": replace(FORM, layer_norm=True, qk_norm=False)}),
    "INFNet-paper-v1": Variant(maker="paper_v1", fixed={"num_blocks": 2}),
    "INFNet-paper-v2": Variant(maker="paper_v2", fixed={"num_blocks": 4}),
    "INFNet-ablated": Variant(AblatedINFNet),
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
    known = [*keras_infnet.models.MODELS, *VARIANTS, *TREES]
    for name in names:
        if name != "all" and name not in known:
            raise ValueError(f"No model `{name}`. {suggestion(name, known)}")
        chosen += [*keras_infnet.models.MODELS, *TREES] if name == "all" else [name]
    return list(dict.fromkeys(chosen))


def suggestion(name: str, known: Sequence[str]) -> str:
    """What may have been meant by an unknown name."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(known)}."


def model_class(name: str) -> type:
    """The class of a model or variant."""
    return VARIANTS[name].model if name in VARIANTS else keras_infnet.models.MODELS[name]


def arguments_with(name: str, mark: str) -> list[str]:
    """Arguments of a model whose declaration has a mark: `width` or `depth`."""
    declared = fields(model_class(name).Config)
    return [f.name for f in declared if f.init and f.metadata.get(mark)]


def defaults_of(name: str) -> dict[str, Any]:
    """The configuration's defaults, as JSON has them; trees have their library's."""
    if name in TREES:
        return {}
    found = {f.name: plain(f.default) for f in fields(model_class(name).Config) if f.init}
    return {**found, "event_context": plain(EVENT_CONTEXT)}


def arguments_of(name: str, trial: Trial, num_tasks: int) -> dict[str, Any]:
    """Arguments of the model for a trial, those that equal the defaults left out.

    A depth is a number of layers, or hidden widths whose first is repeated; FM has none.
    """
    variant, defaults = VARIANTS.get(name, Variant()), defaults_of(name)
    given = {"dropout": trial.dropout, **table_widths(name, num_tasks), **variant.fixed}
    for width in arguments_with(name, "width"):
        given[width] = _scaled(given.get(width, defaults[width]), WIDTHS[trial.width])
    for deep in arguments_with(name, "depth") if variant.deepens else ():
        depth, more = given.get(deep, defaults[deep]), trial.blocks - 1
        given[deep] = depth + more if isinstance(depth, int) else [depth[0]] * more + depth
    return without_defaults(name, given)


def trial_arguments(name: str, number: int, num_tasks: int) -> list[tuple[dict[str, Any], float]]:
    """Arguments and learning rate of each trial; trees have a space and rates of their own.

    `LightGBM-raw` is what one gets without any work: the first trial alone.
    """
    trials = draw_trials(number)
    if name in TREES:
        own = TREE_TRIALS[: number if name == "LightGBM" else 1]
        return [(dict(given), given.get("learning_rate", 0.1)) for given in own]
    return [(arguments_of(name, trial, num_tasks), trial.learning_rate) for trial in trials]


def table_widths(name: str, num_tasks: int) -> dict[str, int]:
    """Widths of the tables: the budget, divided if each task has a table of its own."""
    if "task_dim" not in defaults_of(name):
        return {"dim": EMBEDDING_BUDGET}
    return dict.fromkeys(("dim", "task_dim"), EMBEDDING_BUDGET // (1 + num_tasks))


def without_defaults(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the defaults; all of it where a form has defaults of its own."""
    defaults, maker = defaults_of(name), VARIANTS.get(name, Variant()).maker
    unknown = [key for key in given if key not in defaults]
    if unknown:
        raise ValueError(f"Model `{name}` has no argument {', '.join(unknown)}.")
    given = {key: plain(value) for key, value in given.items()}
    return {k: v for k, v in given.items() if maker is not None or v != defaults[k]}


def build_model(name: str, schema: Any, arguments: Mapping[str, Any], members: int) -> Any:
    """The model; `members` is only given where there are several."""
    maker = VARIANTS.get(name, Variant()).maker
    make = model_class(name) if maker is None else getattr(model_class(name), maker)
    return make(schema, **arguments, **({"members": members} if members > 1 else {}))


def plain(value: Any) -> Any:
    """Tuples as lists and a form as a dict: what JSON gives back."""
    if isinstance(value, type(FORM)):
        return asdict(value)
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def _scaled(width: Any, factor: float) -> Any:
    if isinstance(width, list | tuple):
        return [_scaled(w, factor) for w in width]
    return max(1, round(width * factor))
