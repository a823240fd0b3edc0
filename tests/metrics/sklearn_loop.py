"""Group AUC as one writes it first: a loop over groups around scikit-learn."""

import numpy as np
from sklearn.metrics import roc_auc_score


def group_auc_loop(labels, scores, keys, weighting="impressions", weights=None):
    labels, scores = np.asarray(labels), np.asarray(scores)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, "float64")
    values, counts = [], []
    for key in set(keys):
        rows = np.array([k == key for k in keys]) & (weights > 0)
        if len(set(labels[rows])) < 2:
            continue
        values.append(roc_auc_score(labels[rows], scores[rows], sample_weight=weights[rows]))
        positives = np.sum(weights[rows] * labels[rows])
        total = np.sum(weights[rows])
        counts.append({"impressions": total, "positives": positives, "uniform": 1.0}[weighting])
    return np.average(values, weights=counts) if values else np.nan
