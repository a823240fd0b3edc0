"""Names of INFNet's tokens, and of what they read."""

from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.models.infnet import INFNet
from keras_infnet.models.tokens import HistoryLayout

# What heads read after the task token, in this order.
HEAD_GROUPS = (
    "field_proxies",
    "sequence_proxies",
    "task_proxies",
    "candidate_proxy",
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
    schema = model.schema
    return {
        "fields": [("fields", name) for name in schema.field_names],
        "history": history_positions(schema),
        "tasks": [("tasks", name) for name in schema.task_names],
    }


def proxy_names(model: INFNet) -> dict[str, list[str]]:
    """Names of the proxies that heads may read, and of the task tokens."""
    config, schema = model.config, model.schema
    return {
        "tasks": list(schema.task_names) if config.task_tokens else [],
        "field_proxies": [f"field proxy {i}" for i in range(config.num_field_proxies)],
        "sequence_proxies": [
            f"{s.name}: {group}" if s.groups else s.name
            for s in HistoryLayout(schema).histories
            for group in schema.group_names(s.name)
        ],
        "task_proxies": [f"shared {i}" for i in range(config.num_task_proxies)],
        "candidate_proxy": ["candidate"] if config.form.uses_candidate else [],
    }
