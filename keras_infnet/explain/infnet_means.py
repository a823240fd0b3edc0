"""What INFNet does on given rows, averaged over them: attention, gates, proxies, heads."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from keras import ops

from keras_infnet.explain.head_shares import head_columns, head_share_sums
from keras_infnet.explain.ordered_index import ordered_index
from keras_infnet.explain.proxy_mixtures import event_weights, field_norm_sums
from keras_infnet.explain.reading_model import reading_model
from keras_infnet.explain.token_names import memory_columns, proxy_names
from keras_infnet.models.infnet import INFNet

_BATCH = 512
_GROUPS = ("tasks", "task_proxies", "candidate_proxy", "field_proxies", "sequence_proxies")

Means = dict[tuple, np.ndarray]


class InfnetReader:
    """Reads what an INFNet does on rows; it is compiled once, and reads any number of times.

    Args:
        model: The model.
    """

    def __init__(self, model: INFNet) -> None:
        self.model = model
        members = range(model.config.members)
        self._readings = [reading_model(model, member) for member in members]

    def attention(self, inputs: Mapping[str, Any]) -> pd.DataFrame:
        """Attention of each token in each block, averaged over heads and rows.

        Args:
            inputs: Packed inputs of the rows.

        Returns:
            Index `(member, block, group, token)`, columns of `memory_columns`; NaN where a group
            does not read a memory. Without heterogeneous flow it is empty.
        """
        return _attention_table(self.model, self._means(inputs))

    def tables(self, inputs: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
        """Tables by name: `attention`, `gates`, `field_proxies`, `sequence_proxies` and `heads`.

        Args:
            inputs: Packed inputs of the rows.

        Returns:
            The tables that `Explanation` describes; one is empty where the model has no such part.
        """
        model, means = self.model, self._means(inputs)
        fields, names = list(model.schema.field_names), proxy_names(model)["field_proxies"]
        norms = _table(means, "proxies", ("member", "proxy"), fields, names)
        heads = pd.MultiIndex.from_tuples(head_columns(model), names=("group", "token"))
        return {
            "attention": _attention_table(model, means),
            "gates": _table(means, "gates", ("member", "block", "tokens")),
            "field_proxies": norms.div(norms.sum(axis=1), axis=0),
            "sequence_proxies": event_weights(model, inputs, _BATCH),
            "heads": _table(means, "heads", ("member", "task"), heads),
        }

    def _means(self, inputs: Mapping[str, Any]) -> Means:
        """Means over the rows by (what, member, ...)."""
        total: Means = {}
        rows = len(next(iter(inputs.values())))
        for start in range(0, rows, _BATCH):
            part = {name: values[start : start + _BATCH] for name, values in inputs.items()}
            for member, reading in enumerate(self._readings):
                for key, summed in self._sums(member, reading.predict_on_batch(part)):
                    total[key] = total.get(key, 0) + summed
        return {key: summed / rows for key, summed in total.items()}

    def _sums(self, member: int, values: Mapping[str, Any]) -> Iterator[tuple[tuple, np.ndarray]]:
        """Sums over the rows of a batch, by (what, member, ...)."""
        network = self.model.member(member)
        for i, block in values.get("blocks", {}).items():
            for memory, groups in block["attention"].items():
                for group, weights in groups.items():
                    yield ("attention", member, int(i), group, memory), as_array(weights).sum(0)
            for tokens, gates in block["gates"].items():
                yield ("gates", member, int(i), tokens), as_array(gates).sum(0)
        if "fields" in values:
            kernel = as_array(network.get_layer("field_proxies").kernel)
            yield ("proxies", member), field_norm_sums(as_array(values["fields"]), kernel)
        for task, x in values["heads"].items():
            kernel = as_array(network.get_layer(f"{task}_head").hidden.kernel)
            yield ("heads", member, task), head_share_sums(self.model, as_array(x), kernel)


def _attention_table(model: INFNet, means: Means) -> pd.DataFrame:
    columns, names = memory_columns(model), proxy_names(model)
    found = {key[1:]: weights for key, weights in means.items() if key[0] == "attention"}
    places = sorted({key[:3] for key in found}, key=lambda p: (*p[:2], _GROUPS.index(p[2])))
    memories = [memory for memory in columns if any(key[3] == memory for key in found)]
    index = [(*place, token) for place in places for token in names[place[2]]]
    values = np.full((len(index), sum(len(columns[m]) for m in memories)), np.nan, "float32")
    top = 0
    for place in places:
        left, bottom = 0, top + len(names[place[2]])
        for memory in memories:
            right = left + len(columns[memory])
            if (*place, memory) in found:
                values[top:bottom, left:right] = found[*place, memory]
            left = right
        top = bottom
    levels = ("member", "block", "group", "token")
    return pd.DataFrame(
        values,
        ordered_index(index, levels),
        pd.MultiIndex.from_tuples([c for m in memories for c in columns[m]]) if memories else None,
    )


def _table(
    means: Means, what: str, names: tuple[str, ...], columns: Any = None, rows: Any = None
) -> pd.DataFrame:
    """Means of one kind: a row each, or the rows of each one's matrix."""
    places = [key[1:] for key in means if key[0] == what]
    if not places:
        return pd.DataFrame()
    values = np.vstack([means[what, *place] for place in places])
    index = [(*place, row) for place in places for row in rows] if rows else places
    return pd.DataFrame(values, ordered_index(index, names), columns)


def as_array(values: Any) -> np.ndarray:
    """A tensor of any backend and float width as float32."""
    return ops.convert_to_numpy(values).astype("float32")
