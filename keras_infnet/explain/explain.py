"""From a model and rows to an `Explanation`."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from keras_infnet.explain.explanation import Explanation
from keras_infnet.explain.infnet_means import InfnetReader
from keras_infnet.explain.permutation_importance import permutation_importance
from keras_infnet.schema.canonical import column, require_rows
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.labels import read_labels
from keras_infnet.models.infnet import INFNet
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.data.histories import Histories, check_histories


def explain(
    model: RankingModel,
    encoder: FeatureEncoder,
    frame: pd.DataFrame,
    histories: Histories | None = None,
    *,
    freeze_at: int | str | None = None,
    groups: str | Sequence[str] | None = None,
    repeats: int = 5,
    seed: int = 0,
    batch_size: int = 1024,
) -> Explanation:
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
        freeze_at: Unix milliseconds from which on no event enters a history; see
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
            model, encoder, test.head(2000), histories, groups="user_id"
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
    require_rows(frame, "explain")
    if not isinstance(repeats, int) or repeats < 0 or repeats == 1:
        raise ValueError(
            f"explain: repeats is {repeats!r}; expected 2 or more, for a standard error, or 0 for "
            "no importance."
        )
    frame = _with_histories(encoder, frame, histories, freeze_at)
    inputs = encoder.transform(frame)
    truth = _truth(encoder, frame, groups) if repeats else {}
    reader = InfnetReader(model) if isinstance(model, INFNet) else None
    tables = reader.tables(inputs) if reader else {}
    if repeats:
        tables["baseline"], tables["importance"] = permutation_importance(
            model,
            inputs,
            truth,
            repeats=repeats,
            seed=seed,
            batch_size=batch_size,
        )
    return Explanation(model, encoder, frame, inputs, tables, reader)


def _truth(
    encoder: FeatureEncoder, frame: pd.DataFrame, groups: str | Sequence[str] | None
) -> dict[str, Any]:
    """Labels, weights and groups of the rows."""
    labels, weights = read_labels(encoder.schema, frame)
    if groups is not None:
        names = [groups] if isinstance(groups, str) else list(groups)
        groups = [column(frame, name, "explain, groups").to_numpy() for name in names]
    return {"labels": labels, "sample_weight": weights, "groups": groups}


def _with_histories(
    encoder: FeatureEncoder,
    frame: pd.DataFrame,
    histories: Histories | None,
    freeze_at: int | str | None,
) -> pd.DataFrame:
    """The rows with all their histories as list columns."""
    if not check_histories("explain", encoder, frame, histories, freeze_at):
        return frame
    attached = histories.attach(frame, freeze_at)
    return frame.assign(**{c: attached[c] for c in attached.columns if c not in frame.columns})
