"""Names of INFNet's tokens, and of what they read."""

from keras_infnet.models.history_tokens import HistoryLayout
from keras_infnet.models.infnet import INFNet
from keras_infnet.schema.schema import FeatureSchema

# What heads read after the task token, in this order.
HEAD_GROUPS = (
    "field_proxies",
    "sequence_proxies",
    "task_proxies",
    "candidate_proxy",
    "recent_proxies",
)


def history_positions(schema: FeatureSchema) -> list[tuple[str, int]]:
    """(history, position) of each event in the order of the sequence tokens; 0 is the newest."""
    return [
        (s.name, position)
        for s in HistoryLayout(schema).histories
        for position in reversed(range(s.max_length))
    ]


def memory_columns(model: INFNet) -> dict[str, list[tuple[str, str | int]]]:
    """Two levels of names of each token of each memory."""
    schema, names = model.schema, proxy_names(model)
    # A block's proxies: it never sees the newest events themselves.
    proxies = [group for group in HEAD_GROUPS if group != "recent_proxies"]
    return {
        "fields": [("fields", name) for name in schema.field_names],
        "history": history_positions(schema),
        "tasks": [("tasks", name) for name in schema.task_names],
        "proxies": [("proxies", name) for group in proxies for name in names[group]],
    }


def proxy_names(model: INFNet) -> dict[str, list[str]]:
    """Names of the proxies that heads may read, and of the task tokens."""
    given, schema = model.hyperparameters, model.schema
    sequences = HistoryLayout(schema).histories
    recent = given["num_recent_proxies"]
    return {
        "tasks": list(schema.task_names) if given["task_tokens"] else [],
        "field_proxies": [f"field proxy {i}" for i in range(given["num_field_proxies"])],
        "sequence_proxies": [
            f"{s.name}: {group}" if s.groups else s.name
            for s in sequences
            for group in schema.group_names(s.name)
        ],
        "task_proxies": [f"shared {i}" for i in range(given["num_task_proxies"])],
        "candidate_proxy": ["candidate"] if given["candidate_proxy"] else [],
        "recent_proxies": [
            f"{s.name} {position}"
            for s in sequences
            for position in reversed(range(min(recent, s.max_length)))
        ],
    }


def query_names(model: INFNet) -> dict[str, list[str]]:
    """Names of the tokens of each query group of a block."""
    names = proxy_names(model)
    if model.hyperparameters["all_to_all"]:
        names["field_proxies"] = list(model.schema.field_names)
        names["sequence_proxies"] = [f"{name} {i}" for name, i in history_positions(model.schema)]
    return names
