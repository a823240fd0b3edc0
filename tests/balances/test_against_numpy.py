"""Each balance against a plain numpy program: a small network, its gradients by hand, SGD."""

import keras
import numpy as np
import pytest
from scipy.optimize import minimize

from keras_infnet import balances
from tests.balances.toy import LOSS_WEIGHTS, ROWS, batches, made

RATE = 0.3
SHARED, TABLE = ("P", "p", "W"), "E"


def parameters(model):
    """Weights by the names of the equation."""
    paths = {
        "fused_embedding/embeddings": "E",
        "d_projection/kernel": "P",
        "d_projection/bias": "p",
        "shared/kernel": "W",
    }
    for task in LOSS_WEIGHTS:
        kinds = {"hidden/kernel": "U", "hidden/bias": "u", "output/kernel": "v", "output/bias": "c"}
        paths |= {f"{task}_head/{end}": f"{kind}_{task}" for end, kind in kinds.items()}
    found = {}
    for variable in model.trainable_variables:
        name = next(n for end, n in paths.items() if variable.path.endswith(end))
        found[name] = keras.ops.convert_to_numpy(variable).astype("float64")
    assert set(found) == set(paths.values())
    return found


def forward_and_gradients(at, x, y, weights):
    """Losses, and gradients of all parameters, by task."""
    ids, d = x["categorical"][:, 0], x["dense"]
    embedded = np.concatenate([at["E"][ids], d @ at["P"] + at["p"]], 1)
    h = embedded @ at["W"]
    losses, gradients = {}, {}
    for task, loss_weight in LOSS_WEIGHTS.items():
        hidden = h @ at[f"U_{task}"] + at[f"u_{task}"]
        active = np.maximum(hidden, 0)
        p = 1 / (1 + np.exp(-(active @ at[f"v_{task}"] + at[f"c_{task}"])))
        scale, label = loss_weight * weights[task] / ROWS, y[task]
        losses[task] = -(scale * (label * np.log(p) + (1 - label) * np.log(1 - p))).sum()
        of_logit = scale * (p - label)
        of_hidden = of_logit @ at[f"v_{task}"].T * (hidden > 0)
        of_embedded = of_hidden @ at[f"U_{task}"].T @ at["W"].T
        g = {name: np.zeros_like(value) for name, value in at.items()}
        g[f"v_{task}"], g[f"c_{task}"] = active.T @ of_logit, of_logit.sum(0)
        g[f"U_{task}"], g[f"u_{task}"] = h.T @ of_hidden, of_hidden.sum(0)
        g["W"] = embedded.T @ (of_hidden @ at[f"U_{task}"].T)
        np.add.at(g["E"], ids, of_embedded[:, :2])
        g["P"], g["p"] = d.T @ of_embedded[:, 2:], of_embedded[:, 2:].sum(0)
        gradients[task] = g
    return np.array(list(losses.values())), list(gradients.values())


class Adam:
    def __init__(self, value, rate):
        self.value, self.rate, self.m, self.v, self.t = np.array(value), rate, 0, 0, 0

    def step(self, gradient):
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        self.value = self.value - self.rate * m / (np.sqrt(v) + 1e-8)


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


class Uncertainty:
    def __init__(self):
        self.s = Adam(np.zeros(3), RATE)

    def weights(self, losses, gradients):
        w = np.exp(-self.s.value)
        self.s.step(
            np.array(
                [-np.exp(-s) * loss + 0.5 for s, loss in zip(self.s.value, losses, strict=True)]
            )
        )
        return w

    def after(self, losses):
        pass


class DWA(Uncertainty):
    def __init__(self):
        self.losses = []

    def weights(self, losses, gradients):
        windows = [np.mean(self.losses[i : i + 2], 0) for i in range(0, len(self.losses) - 1, 2)]
        self.losses.append(losses)
        if len(windows) < 2:
            return np.ones(3)
        return 3 * softmax(windows[-1] / windows[-2] / 2.0)


class GradNorm(Uncertainty):
    def __init__(self):
        self.first, self.w, self.steps = [], None, 0

    def weights(self, losses, gradients):
        if len(self.first) < 2:
            self.first.append(losses)
            return np.ones(3)
        if self.w is None:
            # The moments are those of no step, but Adam counts the first steps.
            self.w = Adam(np.ones(3), 0.025)
            self.w.t = 2
        w = self.w.value
        ratio = losses / np.mean(self.first, 0)
        norms = np.array([np.linalg.norm(g["W"]) for g in gradients])
        target = np.mean(w * norms) * (ratio / ratio.mean()) ** 1.5
        self.w.step(np.sign(w * norms - target) * norms)
        self.w.value = 3 * self.w.value / self.w.value.sum()
        return w


class PCGrad(Uncertainty):
    def __init__(self):
        self.step, self.orders = 0, balances.PCGrad().orders(3)

    def combined(self, vectors):
        total = 0
        for k in range(3):
            h = vectors[k].copy()
            for j in self.orders[self.step, k]:
                if j != k and h @ vectors[j] < 0:
                    h -= h @ vectors[j] / (vectors[j] @ vectors[j]) * vectors[j]
            total = total + h
        self.step += 1
        return total

    def weights(self, losses, gradients):
        vectors = np.array([flat(g) for g in gradients])
        return np.linalg.lstsq(vectors.T, self.combined(vectors), rcond=None)[0]


class CAGrad(PCGrad):
    def combined(self, vectors):
        g0 = vectors.mean(0)
        size = np.linalg.norm(g0)

        def objective(v):
            mixed = v @ vectors
            return (mixed @ g0 + 0.4 * size * np.linalg.norm(mixed)) / size**2

        found = minimize(
            objective,
            np.ones(3) / 3,
            bounds=[(0, 1)] * 3,
            constraints={"type": "eq", "fun": lambda v: v.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 300},
        )
        mixed = found.x @ vectors
        return (g0 + 0.4 * size * mixed / np.linalg.norm(mixed)) / (1 + 0.4**2)


class FAMO(Uncertainty):
    def __init__(self):
        self.v = Adam(np.zeros(3), 0.025)

    def weights(self, losses, gradients):
        self.before = losses
        share = softmax(self.v.value) / (losses + 1e-8)
        return share / share.sum()

    def after(self, losses):
        z = softmax(self.v.value)
        fell = np.log(self.before + 1e-8) - np.log(losses + 1e-8)
        jacobian = np.diag(z) - np.outer(z, z)
        self.v.step(jacobian @ fell + 0.01 * self.v.value)


def flat(gradients):
    return np.concatenate([gradients[name].ravel() for name in SHARED])


CASES = {
    "uncertainty": (balances.Uncertainty(), Uncertainty),
    "dwa": (balances.DWA(window=2), DWA),
    "gradnorm": (balances.GradNorm(first_steps=2), GradNorm),
    "pcgrad": (balances.PCGrad(), PCGrad),
    "cagrad": (balances.CAGrad(), CAGrad),
    "famo": (balances.FAMO(), FAMO),
}


def descend(reference, at, data):
    """Weights of all steps and parameters after them."""
    used = []
    for x, y, weights in data:
        losses, gradients = forward_and_gradients(at, x, y, weights)
        w = reference.weights(losses, gradients)
        shared = {*SHARED, TABLE}
        for name in at:
            factors = w if name in shared else np.ones(3)
            step = sum(f * g[name] for f, g in zip(factors, gradients, strict=True))
            at[name] = at[name] - RATE * step
        reference.after(forward_and_gradients(at, x, y, weights)[0])
        used.append(w)
    return np.array(used), at


@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_the_textbook(name):
    balance, reference = CASES[name]
    # Two kinds of steps are compiled on TensorFlow too, where that takes long.
    compiled = {} if name not in ("cagrad", "famo") else {"run_eagerly": False}
    model = made(optimizer=keras.optimizers.SGD(RATE), balance=balance, **compiled)
    data = batches()
    expected, after = descend(reference(), parameters(model), data)
    used = []
    for x, y, weights in data:
        model.train_on_batch(x, y, weights)
        used.append(list(model.balance.weights.values()))
    assert np.ptp(expected) > 0.01
    # CAGrad's reference solves its problem to the end.
    tolerance = 1e-2 if name == "cagrad" else 2e-5
    np.testing.assert_allclose(used, expected, rtol=5e-5, atol=tolerance)
    for parameter, value in parameters(model).items():
        np.testing.assert_allclose(value, after[parameter], rtol=5e-5, atol=tolerance)
