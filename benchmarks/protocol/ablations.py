"""Changes of INFNet, one at a time, that the ablations measure on the validation rows.

Tables have rows of other changes too, whose switches INFNet no longer has; they are not run again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.protocol.logs import LOGS
from benchmarks.protocol.runs import RunConfig
from benchmarks.protocol.space import (
    EVENT_CONTEXT,
    FORM,
    VARIANTS,
    Trial,
    arguments_of,
    plain,
    suggestion,
    without_defaults,
)

# The last commit that has the switches of all other rows.
COMMIT_OF_OTHERS = "963174e"
LENGTHS, ABLATED = "events of a history", "INFNet-ablated"
# What changes nothing on a log whose users have one row each.
OF_HISTORIES = (
    "event context",
    "histories",
    LENGTHS,
    "newest events as proxies",
    "merged old events",
    "history encoder",
    "score biases",
    "pooling",
)
POOLINGS = ("sum", "mean", "attention")
FIELD_PROXIES, TASK_PROXIES = "categorical proxies", "shared task tokens"


@dataclass(frozen=True)
class Ablation:
    """A change of INFNet's chosen configuration: other arguments, another variant, other data."""

    name: str
    setting: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    variant: str | None = None
    members: int = 1
    histories: str | None = None
    dims: str | None = None


def _change(name: str, variant: str | None = None, **arguments: Any) -> list[Ablation]:
    """One ablation that changes these arguments."""
    return [Ablation(name, _setting(arguments), arguments, variant)]


def _form(name: str, setting: str | None = None, **changes: Any) -> list[Ablation]:
    """One ablation that changes INFNet's form."""
    form = plain(replace(FORM, **changes))
    return [Ablation(name, setting or _setting(changes), {"form": form})]


def _setting(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in changes.items())


def _curve(name: str, argument: str, values: tuple) -> list[Ablation]:
    """One ablation with a setting for each value of an argument."""
    return [Ablation(name, str(value), {argument: value}) for value in values]


def _contexts() -> list[Ablation]:
    without = [
        Ablation(
            "event context", f"without {part}", {"event_context": _others(EVENT_CONTEXT, part)}
        )
        for part in EVENT_CONTEXT
    ]
    with_match = {"event_context": [*EVENT_CONTEXT, "match"]}
    return [
        *without,
        Ablation("event context", "none", {"event_context": []}),
        Ablation("event context", "with match", with_match),
    ]


def _lengths() -> list[Ablation]:
    at_most_200 = {"histories": "exposures-200"}
    return [
        *(Ablation(LENGTHS, str(n), histories=f"exposures-{n}") for n in (25, 50, 200)),
        Ablation(LENGTHS, "200, num_blocks=2", {"num_blocks": 2}, **at_most_200),
        Ablation(LENGTHS, "200, num_blocks=0", {"num_blocks": 0}, **at_most_200),
    ]


def _alternations() -> list[Ablation]:
    """With one block there is nothing to alternate."""
    return [
        Ablation("alternation", _setting(changed), changed, variant)
        for number in (2, 3)
        for changed, variant in (
            ({"num_blocks": number}, None),
            ({"num_blocks": number, "alternates": False}, ABLATED),
        )
    ]


def _others(parts: tuple[str, ...], left_out: str) -> list[str]:
    return [part for part in parts if part != left_out]


ABLATIONS = [
    Ablation("default", "chosen configuration"),
    *_change("task tokens", task_tokens=False),
    *_change("homogeneous flow", homogeneous_flow=False),
    *_change("heterogeneous flow", heterogeneous_flow=False),
    *_change("flows", num_blocks=0),
    *_change("proxies", ABLATED, all_to_all=True),
    *_alternations(),
    Ablation("form", "paper_v1", variant="INFNet-paper-v1"),
    Ablation("form", "paper_v2", variant="INFNet-paper-v2"),
    *_form("residual", residual=False),
    *_form("normalisation", qk_norm=False),
    *_form("normalisation", layer_norm=True),
    *_form("normalisation", layer_norm=True, qk_norm=False),
    *_form("gate", gate="interpolate"),
    *_contexts(),
    Ablation("histories", "positives", histories="positives"),
    Ablation("time scales", "hour, day, week, newest 20", histories="exposures-scales"),
    *_lengths(),
    *_curve(FIELD_PROXIES, "num_field_proxies", (1, 2, 4, 8, 16, 32)),
    *_curve(TASK_PROXIES, "num_task_proxies", (0, 1, 2, 4, 8)),
    *_curve("own proxies", "num_own_proxies", (1, 2, 4)),
    *_change("tables of each task", ABLATED, own_dim=8),
    *_change("newest events as proxies", ABLATED, num_recent_proxies=4),
    Ablation("members", "2", members=2),
    *_curve("blocks", "num_blocks", (1, 2, 3)),
    *_change("history encoder", num_encoder_layers=1),
    *_form("score biases", score_biases=False),
    *_form("output gate", output_gate=True),
    *_form("attention", activation="silu"),
    *_curve("objective of proxies", "beta", (0.001, 0.01, 0.1)),
    *_change("feed-forward of queries", ABLATED, feed_forward="per_token"),
    *_change("feed-forward of queries", ABLATED, feed_forward="mixed"),
    *_change("merged old events", ABLATED, events_per_token=4),
    *_form("crosses", cross_rank=None),
    *(_form("pooling", pooling, pooling=pooling)[0] for pooling in POOLINGS),
    *_curve("width", "dim", (16, 64)),
    Ablation("dims", "auto", dims="auto"),
    *_curve("start of the embeddings", "embedding_stddev", (0.001, 0.05, 0.2)),
]


def ablations_of(log: str) -> list[Ablation]:
    """Those that change something on a log; other histories are KuaiRand's alone."""
    kinds = log.startswith("kuairand")
    return [
        a
        for a in ABLATIONS
        if (LOGS[log].has_users or a.name not in OF_HISTORIES)
        and (kinds or a.histories != "positives")
    ]


def check_changes(names: Iterable[str], log: str) -> None:
    """Raises a ValueError that suggests the nearest for a name that is no ablation's on a log."""
    known = list(dict.fromkeys(ablation.name for ablation in ablations_of(log)))
    for name in names:
        if name not in known:
            raise ValueError(f"No ablation `{name}` on {log}. {suggestion(name, known)}")


def ablation_run(ablation: Ablation, chosen: RunConfig) -> RunConfig:
    """The chosen configuration with the ablation's change; the learning rate stays."""
    run = replace(
        chosen,
        members=ablation.members,
        histories=ablation.histories or chosen.histories,
        dims=ablation.dims,
    )
    if ablation.variant is not None and VARIANTS[ablation.variant].maker is not None:
        arguments = arguments_of(ablation.variant, Trial(), len(chosen.tasks))
        return replace(run, model=ablation.variant, arguments=arguments)
    model, arguments = ablation.variant or chosen.model, {**chosen.arguments, **ablation.arguments}
    return replace(run, model=model, arguments=without_defaults(model, arguments))
