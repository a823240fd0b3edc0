"""The objective of proxies as loops over rows."""

import numpy as np


def information(proxies, tokens, mask, kernel, temperature):
    """`log B + mean_b log softmax_b(p_b W t_b' / temperature)_b`, over rows with a token."""
    there = [b for b in range(len(tokens)) if mask[b].any()]
    p = {b: proxies[b].mean(0) for b in there}
    t = {b: tokens[b][mask[b]].mean(0) for b in there}
    found = []
    for b in there:
        scores = {other: p[b] @ kernel @ t[other] / temperature for other in there}
        highest = max(scores.values())
        total = sum(np.exp(score - highest) for score in scores.values())
        found.append(scores[b] - highest - np.log(total))
    return np.log(len(there)) + np.mean(found) if there else 0.0


def redundancy(proxies, mask):
    """The mean of `cos^2` over pairs of a row's proxies, and over rows with a token."""
    found = []
    for b in range(len(proxies)):
        for i, one in enumerate(proxies[b]):
            for j, other in enumerate(proxies[b]):
                norms = np.linalg.norm(one) * np.linalg.norm(other)
                if i != j and mask[b].any():
                    found.append((one @ other / norms) ** 2 if norms else 0.0)
    return np.mean(found) if found else 0.0
