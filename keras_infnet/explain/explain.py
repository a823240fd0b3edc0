"""`explain` and `Explanation`: what a model reads on given rows, and what it loses without it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.data.histories import FreezeAt, Histories, check_histories
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.labels import read_labels
from keras_infnet.explain import plots
from keras_infnet.explain.flow import flow_table, plot_flow
from keras_infnet.explain.importance import agreement, by_task, permutation_importance
from keras_infnet.explain.reading import InfnetReader
from keras_infnet.explain.summary import summary
from keras_infnet.explain.task_attention import (
    checked_block,
    events_of_request,
    fields_of_request,
    query_groups,
    rows_of_tasks,
    why_no_attention,
)
from keras_infnet.models.infnet import INFNet
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.schema.canonical import column
from keras_infnet.schema.frames import Frame, as_rows


def explain(
    model: RankingModel,
    encoder: FeatureEncoder,
    frame: Frame,
    histories: Histories | None = None,
    *,
    freeze_at: FreezeAt | None = None,
    groups: str | Sequence[str] | None = None,
    repeats: int = 5,
    seed: int = 0,
    batch_size: int = 1024,
) -> "Explanation":
    """What a model reads on given rows, and what it loses without it.

    Attention, gates and proxies are those of `INFNet`; permutation importance is there for every
    model. Attention says where a token looks, importance what the predictions depend on:
    `Explanation.agreement` says whether the two agree on these rows.

    The importance of a feature is how much worse a metric becomes when the feature's column is
    shuffled between the rows: what the model has from it beyond the other features. Two features
    that say the same share what they are worth. A history is shuffled as a whole, with its ages.
    It takes `repeats` predictions of all rows for each feature and each history: a few thousand
    rows are enough.

    Args:
        model: A model of this library, built from `encoder.schema`; it may be a loaded one.
        encoder: The encoder.
        frame: Rows, with labels unless `repeats=0`.
        histories: Past events. Not needed where the rows hold their histories as list columns, or
            the schema has none. A row without events is read as it is: its attention to events is
            0, and it counts in all means.
        freeze_at: Time from which on no event enters a history; see
            `Histories.windows`.
        groups: Column, or columns, whose values group the rows for gAUC. Defaults to `None`: no
            gAUC.
        repeats: Times that each feature is shuffled, 2 or more; 0: no importance. Defaults to `5`.
        seed: Seed of the orders.
        batch_size: Rows a batch.

    Returns:
        An `Explanation`; `print` shows it in words.

    Raises:
        ValueError: The model is of another schema, the frame has no rows, no labels or no
            histories, a column holds what it must not, or `repeats` is 1 or negative.

    Example:
        ```python
        explanation = keras_infnet.explain.explain(
            model, data.encoder, data.frame("test"), data.histories, groups="user_id"
        )
        print(explanation)
        explanation.importance.loc["like", "auc"]
        explanation.plot_attention().savefig("attention.png")
        ```

    Reference:
        Li et al., INFNet, arXiv:2508.11565v1, Figure 5; Breiman, Random Forests, 2001, for
        permutation importance.
    """
    encoder.check_model(model, "explain")
    frame = as_rows(frame, "explain")
    if not isinstance(repeats, int) or repeats < 0 or repeats == 1:
        raise ValueError(
            f"explain: repeats is {repeats!r}; expected 2 or more, for a standard error, or 0 for "
            "no importance."
        )
    if check_histories("explain", encoder, frame, histories, freeze_at) and histories is not None:
        # List columns that the rows have stay as they are.
        found: Any = histories.attach(frame, freeze_at).drop(columns=frame.columns)
        frame = frame.assign(**found)
    inputs = encoder.transform(frame)
    truth = _truth(encoder, frame, groups) if repeats else {}
    reader = InfnetReader(model) if isinstance(model, INFNet) else None
    tables = reader.tables(inputs) if reader else {}
    if repeats:
        how: dict[str, Any] = {"repeats": repeats, "seed": seed, "batch_size": batch_size}
        measured = permutation_importance(model, inputs, truth, **how)
        tables["baseline"], tables["importance"] = measured
    return Explanation(model, encoder, frame, inputs, tables, reader)


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What a model reads on given rows, and what it loses without it; `explain` makes it.

    All means are over the rows. Figures are matplotlib's (extra `plots`), to show or to save. Of a
    model with several members each has tokens of its own; `task_attention`, `agreement` and `flow`
    average the tasks over members. `print` shows baseline, importance and agreement in words.

    Args:
        model: The model.
        encoder: Its encoder.
        frame: The rows, with their histories as list columns.
        inputs: Their packed inputs.
        tables: Tables by name; the properties describe them.
        reader: What reads the attention of single requests; only of an `INFNet`.

    Example:
        ```python
        explanation = keras_infnet.explain.explain(model, encoder, rows, histories)
        explanation.task_attention()["fields"].T.nlargest(5, "like")
        explanation.events(0)["attention"]["like"]
        ```
    """

    model: RankingModel
    encoder: FeatureEncoder
    frame: pd.DataFrame
    inputs: Mapping[str, np.ndarray]
    tables: Mapping[str, pd.DataFrame]
    reader: InfnetReader | None = None

    def __str__(self) -> str:
        return summary(self)

    __repr__ = __str__

    @property
    def attention(self) -> pd.DataFrame:
        """Attention of every token, averaged over heads and rows.

        Index `(member, block, group, token)`; columns (`fields`, name), (history, position) with 0
        the newest, and (`tasks`, name). A memory's weights sum to 1, those on the histories to the
        share of rows with an event; NaN where a group does not read a memory.
        """
        return self._table("attention", "no block has a heterogeneous flow")

    @property
    def gates(self) -> pd.DataFrame:
        """What each channel of the tokens is multiplied by, a row each (member, block, tokens).

        See `ProxyGatedUnit.channel_gates`.
        """
        return self._table("gates", "no proxies gate any tokens")

    @property
    def field_proxies(self) -> pd.DataFrame:
        """Shares of the fields in each field proxy, a row each (member, proxy).

        A proxy is `sum_f W_pf C_f`, a linear map of the fields; the share of `f` is the mean of
        `|W_pf C_f|` over the rows, divided by the sum over the fields.
        """
        return self._table("field_proxies", "the heads read no field proxies, nor does a block")

    @property
    def sequence_proxies(self) -> pd.DataFrame:
        """Weights of the events in each sequence proxy, by (history, position).

        An event weighs `1 / n` in the proxy of its group, with `n` events in it; the sum is the
        share of rows with an event in the group.
        """
        return self._table("sequence_proxies", "it has no histories, or nothing reads their groups")

    @property
    def attention_proxies(self) -> pd.DataFrame:
        """Weights of the events in each proxy of `pooling="attention"`, averaged over rows.

        Index `(member, proxy)`, columns (history, position) with 0 the newest; the sum is the share
        of rows with an event in the group. See `GroupedAttentionPooling`.
        """
        return self._table("attention_proxies", "its sequence proxies are means or sums")

    @property
    def combination(self) -> pd.DataFrame:
        """Weights of a task's own and the shared proxies in what it combines, averaged over rows.

        Index `(member, task)`, columns `own 0`, ... and `shared 0`, ...; rows sum to 1. See
        `ProxyCombination`.
        """
        return self._table("combination", "its tasks have no proxies of their own")

    @property
    def heads(self) -> pd.DataFrame:
        """Shares of the tokens in what each task's head reads, a row each (member, task).

        The share of token `j` is the mean of `|W_j x_j| / sum_k |W_k x_k|`, with `W` the head's
        hidden layer; a proxy's product with the candidate and its part in what the task combines
        count as the proxy. `own 0` is each task's own.
        """
        return self._table("heads", "its heads read one vector")

    @property
    def baseline(self) -> pd.DataFrame:
        """Measures of the rows as they are, a row each task; see `task_metrics`."""
        return self._table("baseline", "it was made with repeats=0")

    @property
    def importance(self) -> pd.DataFrame:
        """How much worse each measure becomes when a feature or a history is shuffled.

        Index `(task, metric, kind, name)`, with the kinds `field` and `history`; columns
        `importance` (the mean over the repeats; below 0 the measure got better) and
        `standard_error`, that of the orders, not of the choice of rows.
        """
        return self._table("importance", "it was made with repeats=0")

    @property
    def agreement(self) -> pd.DataFrame:
        """Whether attention of the tasks says what permutation importance says.

        Spearman's rank `correlation` of the two, by (task, metric, block, memory), among the fields
        and, if there are three or more, among the histories. 19 of 20 random orders stay below
        `chance` in absolute value; `compared` counts what was ranked, and `above_noise` those whose
        importance is above twice its standard error.
        """
        self._check_attention("agreement")
        if "tasks" not in query_groups(self.attention):
            raise ValueError("Explanation.agreement: the model has no task token for each task.")
        return agreement(self.attention, self.importance)

    def task_attention(self, block: int = -1) -> pd.DataFrame:
        """Attention of the tasks and shared task tokens; see `explain.task_attention`."""
        self._check_attention("task_attention")
        return rows_of_tasks(self.attention, block)

    def fields(self, row: int, block: int = -1) -> pd.DataFrame:
        """What the task tokens read of the fields of one request.

        Args:
            row: Place of the row in `frame`, from 0.
            block: Index of the block. Defaults to `-1`, the last.

        Returns:
            One row a field: its `value`, and the weight of each task and shared task token.
        """
        attention = self._request(row, block, "fields")
        return fields_of_request(self.encoder.schema, self.frame.iloc[[row]], attention)

    def events(self, row: int, block: int = -1) -> pd.DataFrame:
        """What the task tokens read of the past events of one request.

        Args:
            row: Place of the row in `frame`, from 0.
            block: Index of the block. Defaults to `-1`, the last.

        Returns:
            One row an event, of each history the newest first. Columns `event`: `history`,
            `position` (0 the newest) and the raw columns; columns `attention`: the weight of each
            task and shared task token. Without an event there are no rows.

        Raises:
            ValueError: No such row or block, or no histories in the schema.
        """
        attention = self._request(row, block, "events")
        if not self.model.schema.histories:
            raise ValueError("Explanation.events: the schema has no histories.")
        return events_of_request(self.encoder, self.frame.iloc[[row]], attention)

    def flow(self, block: int = -1) -> pd.DataFrame:
        """How information flows from fields and histories through proxies to the heads.

        Args:
            block: Index of the block. Defaults to `-1`, the last.

        Returns:
            `source`, `target`, `kind` and `width`. Kind `made of`: shares of fields in the field
            proxies, and of histories' groups in the sequence proxies; `attention`: mean weight of
            the target's tokens on the source; `head`: share in what a task's head reads.
        """
        self._check_attention("flow", needs_tasks=False)
        block = checked_block(self.attention, block)
        return flow_table(self.model.schema, self.tables, block)

    def plot_attention(self, block: int = -1) -> Any:
        """Heat map of `task_attention`: the paper's Figure 5. Each panel has its own scale."""
        return plots.plot_attention(self.task_attention(block))

    def plot_events(self, row: int, block: int = -1) -> Any:
        """Chart of `events`: a panel each task token, the newest event on the right."""
        events = self.events(row, block)
        if not len(events):
            raise ValueError(
                f"Explanation.plot_events: row {row} has no past event; expected a row with one."
            )
        names = {s.name: s.fields[0] for s in self.model.schema.histories}
        title = f"What the task tokens read of the events of row {row}"
        return plots.plot_events(events, names, title)

    def plot_gates(self) -> Any:
        """Heat map of `gates`."""
        return plots.plot_gates(self.gates)

    def plot_proxies(self) -> Any:
        """Heat maps of `field_proxies` and `sequence_proxies`."""
        return plots.plot_proxies(self.field_proxies, self.tables["sequence_proxies"])

    def plot_flow(self, block: int = -1) -> Any:
        """Diagram of `flow`, with bands as wide as the weights."""
        return plot_flow(self.flow(block))

    def plot_importance(self, metric: str | None = None, top: int = 20) -> Any:
        """Bars of `importance`, a panel each task, with their standard errors.

        Args:
            metric: Name of the metric. Defaults to `None`: the first of each task.
            top: Number of features and histories shown of each task.
        """
        return plots.plot_importance(by_task(self.importance, metric), top)

    def plot_agreement(self, metric: str | None = None, block: int = -1) -> Any:
        """Attention of the tasks against importance, a panel each task, a point each field."""
        found = self.agreement["correlation"]
        found = found.xs(checked_block(self.attention, block), level="block")
        chosen = by_task(self.importance, metric)
        return plots.plot_agreement(self.task_attention(block), chosen, found)

    def _table(self, name: str, otherwise: str) -> pd.DataFrame:
        table = self.tables.get(name)
        if table is not None and len(table):
            return table
        if name not in ("baseline", "importance") and not isinstance(self.model, INFNet):
            otherwise = f"{type(self.model).__name__} has none; only INFNet has"
        raise ValueError(f"Explanation.{name}: {otherwise}.")

    def _check_attention(self, what: str, needs_tasks: bool = True) -> None:
        reason = why_no_attention(self.model, self.tables.get("attention"))
        if reason and (needs_tasks or not len(self.tables.get("attention", ()))):
            raise ValueError(f"Explanation.{what}: {reason}.")

    def _request(self, row: int, block: int, what: str) -> pd.DataFrame:
        """`task_attention` of one row."""
        self._check_attention(what)
        if not 0 <= row < len(self.frame):
            last = len(self.frame) - 1
            raise ValueError(f"Explanation.{what}: row is {row!r}; expected a place, 0 to {last}.")
        assert self.reader is not None
        inputs = {name: values[row : row + 1] for name, values in self.inputs.items()}
        return rows_of_tasks(self.reader.attention(inputs), block)


def _truth(
    encoder: FeatureEncoder, frame: pd.DataFrame, groups: str | Sequence[str] | None
) -> dict[str, Any]:
    """Labels, weights and groups of the rows."""
    labels, weights = read_labels(encoder.schema, frame)
    if groups is not None:
        names = [groups] if isinstance(groups, str) else list(groups)
        groups = [column(frame, name, "explain, groups").to_numpy() for name in names]
    return {"labels": labels, "sample_weight": weights, "groups": groups}
