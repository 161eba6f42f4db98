"""The problems of the suite: arguments for every function, optimizers with every option, networks with a batch."""

import inspect
from dataclasses import dataclass, replace

import backsweep as bs
import numpy as np
import tolerances
from backsweep import _core
from tolerances import FORMULA, exact, gamma

ACTIVATIONS = _core.activations
LOSSES = _core.losses
DTYPES = ("float32", "float64")
BACKENDS = ("core", "reference")
IMPLEMENTATIONS = {"functional": bs.functional, "reference": bs.reference}

# Every optimizer with each of its options, as (name, class, settings). Rates are such that training settles.
OPTIMIZERS = {
    "sgd": (bs.SGD, {"learning_rate": 0.05}),
    "sgd, weight decay": (bs.SGD, {"learning_rate": 0.05, "weight_decay": 0.1}),
    "sgd, momentum": (bs.SGD, {"learning_rate": 0.02, "momentum": 0.9}),
    "sgd, nesterov": (bs.SGD, {"learning_rate": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    "sgd, clip_norm": (bs.SGD, {"learning_rate": 0.2, "clip_norm": 0.1}),
    "sgd, schedule": (bs.SGD, {"learning_rate": lambda step: 0.1 / (1 + step), "momentum": 0.5}),
    "adam": (bs.Adam, {"learning_rate": 0.01}),
    "adam, betas": (bs.Adam, {"learning_rate": 0.01, "betas": (0.5, 0.9), "eps": 1e-3}),
    "adam, no memory": (bs.Adam, {"learning_rate": 0.01, "betas": (0.0, 0.9)}),
    "adam, weight decay": (bs.Adam, {"learning_rate": 0.01, "weight_decay": 0.1}),
    "adam, clip_norm": (bs.Adam, {"learning_rate": 0.01, "clip_norm": 0.1, "eps": 1e-2}),
    "adam, schedule": (bs.Adam, {"learning_rate": lambda step: 0.02 * 0.95**step}),
    "adamw": (bs.AdamW, {"learning_rate": 0.01}),
    "adamw, weight decay": (bs.AdamW, {"learning_rate": 0.01, "weight_decay": 0.5, "betas": (0.8, 0.99)}),
    "adamw, clip_norm": (bs.AdamW, {"learning_rate": 0.01, "clip_norm": 0.1, "eps": 1e-2}),
    "adamw, schedule": (bs.AdamW, {"learning_rate": lambda step: 0.02 / (1 + step), "weight_decay": 0.3}),
    "rmsprop": (bs.RMSprop, {"learning_rate": 0.005}),
    "rmsprop, weight decay": (bs.RMSprop, {"learning_rate": 0.005, "alpha": 0.9, "weight_decay": 0.1}),
    "rmsprop, momentum": (bs.RMSprop, {"learning_rate": 0.002, "momentum": 0.7, "eps": 1e-3}),
    "rmsprop, centered": (bs.RMSprop, {"learning_rate": 0.005, "centered": True, "eps": 1e-2}),
    "rmsprop, all": (
        bs.RMSprop,
        {"learning_rate": 0.002, "centered": True, "momentum": 0.5, "weight_decay": 0.1, "clip_norm": 0.1, "eps": 1e-2},
    ),
    "rmsprop, schedule": (bs.RMSprop, {"learning_rate": lambda step: 0.01 / (1 + step) ** 0.5}),
}


def optimizer(name):
    kind, arguments = OPTIMIZERS[name]
    return kind(**arguments)


def targets(rng, loss, m, k, *, labels=True):
    """Random targets of a loss; `labels` or probabilities for softmax_cross_entropy."""
    if loss == "softmax_cross_entropy":
        if labels:
            return rng.integers(k, size=m)
        P = rng.exponential(size=(m, k)) * (rng.random((m, k)) < 0.8) + 1e-3
        return P / P.sum(axis=1, keepdims=True)
    if loss == "sigmoid_cross_entropy":
        return rng.integers(2, size=(m, k)) if labels else rng.random((m, k))
    if loss == "poisson":
        return rng.poisson(1.5, size=(m, k))
    return rng.normal(size=(m, k))


def weights(rng, m):
    """Sample weights, a quarter of them zero."""
    w = rng.exponential(size=m) * (rng.random(m) < 0.75)
    w[0] = 1.0
    return w


def entries(rng, shape, dtype):
    """Numbers of all sizes up to 60, with the kinks and the thresholds among them."""
    A = rng.normal(size=shape) * 10.0 ** rng.uniform(-4, 1, size=shape)
    special = np.array([0.0, -0.0, 20.0, -20.0, np.nextafter(20, 21), 1.0, -1.0, 60.0, -60.0])
    if A.size >= 2 * special.size:
        A.flat[: special.size] = special
    return A.astype(dtype)


# Another value than the default for each option of the updates.
UPDATE_OPTIONS = {
    "momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "clip_norm": 0.3, "beta1": 0.5, "beta2": 0.9,
    "epsilon": 0.01, "alpha": 0.9, "centered": True, "epsilon_hat": True,
}  # fmt: skip


def update_calls(name, rng, n, dtype):
    """Arguments of an update: each option alone, then all of them, on the first step and on a later one."""
    f = getattr(bs.functional, name)
    own = [p.name for p in inspect.signature(f).parameters.values() if p.kind is p.KEYWORD_ONLY]
    each = {option: UPDATE_OPTIONS[option] for option in own}
    choices = [{}, *({option: value} for option, value in each.items()), each, {**each, "clip_norm": 1e6}]
    # Parameter, gradient and state of one sign: nothing cancels, so that a result's rounding is a share of itself.
    sign = np.where(rng.random(n) < 0.5, -1, 1)
    for options in choices:
        momentum, centered = options.get("momentum", 0) > 0, options.get("centered", False)
        slots = {
            "sgd_update": [sign] * momentum,
            "rmsprop_update": [np.ones(n)] + [sign] * momentum + [sign / 4] * centered,
        }.get(name, [sign, np.ones(n)])
        for step in (0, 6):
            theta, dtheta = (sign * rng.uniform(0.5, 2, size=n) for _ in range(2))
            state = [slot * rng.uniform(0.5, 2, size=n) * (step > 0) for slot in slots]
            arrays = [v.astype(dtype) for v in (theta, dtheta, *state)]
            yield (arrays[0], arrays[1], arrays[2:], step, 0.1), options


def exactly(*arrays):
    return [exact(array).value for array in arrays]


def batch_norm_calls(rng, m, n, dtype, is_backward):
    """Columns with a mean and a deviation of their own; their statistics err as sums of m terms do."""
    Z = (rng.normal(size=(m, n)) * rng.uniform(0.05, 2, size=n) + rng.normal(size=n)).astype(dtype)
    D, gamma_, beta = (rng.normal(size=shape).astype(dtype) for shape in ((m, n), n, n))
    exact_Z = Z.astype(np.float64)
    r = 1 / np.sqrt(exact_Z.var(axis=0) + 1e-5)
    Zhat = np.abs((exact_Z - exact_Z.mean(axis=0)) * r)
    unit = 4 * gamma(m + FORMULA, dtype)
    of_Zhat = unit * (np.abs(exact_Z).max(axis=0) * r * (1 + Zhat) + Zhat)
    if not is_backward:
        yield (Z, gamma_, beta), {}, [np.abs(gamma_) * of_Zhat + unit * np.abs(beta)]
        return
    size, largest = np.abs(D), of_Zhat.max(axis=0)
    along = (size * Zhat).mean(axis=0)
    dgamma = (size * (of_Zhat + unit * Zhat)).sum(axis=0)
    G = np.abs(gamma_) * r * (
        (unit + largest) * (size + size.mean(axis=0) + Zhat * along) + of_Zhat * along + Zhat * dgamma / m
    )  # fmt: skip
    yield (D, Z, gamma_), {}, [G, dgamma, unit * size.sum(axis=0)]


def function_calls(name, m, k, dtype):
    """Arguments for a function of `bs.functional`, and the bounds for its results."""
    rng = np.random.default_rng([m, k])
    base = name.removesuffix("_backward")
    is_backward = base != name
    tiny = np.finfo(dtype).tiny
    if base in ACTIVATIONS:
        A, G = entries(rng, (m, k), dtype), rng.normal(size=(m, k)).astype(dtype)
        Z = tolerances.activation(base, exact(A), dtype)
        D = tolerances.activation_backward(base, exact(G), exact(A), exact(Z.value), dtype)
        yield ((G, A), {}, [D.error + tiny]) if is_backward else ((A,), {}, [Z.error + tiny])
    elif base in LOSSES:
        for labels in (True, False):
            for w in (None, weights(rng, m), np.full(m, 3.0)):
                Z = rng.normal(size=(m, k)) * 3
                y = targets(rng, base, m, k, labels=labels)
                if base not in ("softmax_cross_entropy", "sigmoid_cross_entropy", "poisson"):
                    Z.flat[::3] = y.flat[::3]  # at the kink of |z - y|
                Z, y = Z.astype(dtype), y if y.dtype.kind == "i" else y.astype(dtype)
                w = None if w is None else w.astype(dtype)
                of = tolerances.loss_gradient if is_backward else tolerances.loss_value
                yield (Z, y), {"sample_weight": w}, [of(base, exact(Z), np.asarray(y, float), w, dtype).error + tiny]
    elif base == "softmax":
        Z = entries(rng, (m, k), dtype)
        S = bs.functional.softmax(Z.astype(np.float64))
        shift = Z.max(axis=1, keepdims=True).astype(np.float64) - Z
        yield (Z,), {}, [2 * gamma(k + FORMULA, dtype) * S * (1 + shift) + tiny]
    elif base == "layer_norm":
        for size in (1, 30):  # where rows lie far from 0, digits cancel
            Z = (size + rng.normal(size=(m, k))).astype(dtype)
            D, g, b = (rng.normal(size=shape).astype(dtype) for shape in ((m, k), k, k))
            if is_backward:
                bounds = tolerances.layer_norm_backward(*exactly(D, Z, g), dtype)
                yield (D, Z, g), {}, [bound + tiny for bound in bounds]
            else:
                A, _, _ = tolerances.layer_norm(*exactly(Z, g, b), dtype)
                yield (Z, g, b), {}, [A.error]
    elif base == "dropout":
        for p, place in ((0.5, {}), (0.1, {"seed": 1, "step": 2**31 - 1, "layer": 3}), (0.0, {"seed": 7})):
            Z = np.where(rng.random((m, k)) < 0.5, -1, 1) * rng.uniform(0.5, 2, size=(m, k))
            if m * k > 1 or p == 0:  # one entry may be dropped
                yield (Z.astype(dtype), p), place, [gamma(4, dtype) * np.abs(Z) / (1 - p)]
    elif base == "batch_norm":
        if m > 1:  # one row has no variance
            yield from batch_norm_calls(rng, m, k, dtype, is_backward)
    elif base == "dense":
        for sigma in ACTIVATIONS:
            n = k + 2
            Z, W, b, G = (rng.normal(size=shape).astype(dtype) for shape in ((m, n), (n, k), (k,), (m, k)))
            for bias in (None, b):
                A = tolerances.preactivation(exact(Z), exact(W), bias, dtype)
                Z_next = tolerances.activation(sigma, A, dtype)
                if is_backward:
                    bounds = tolerances.layer_backward(sigma, exact(G), exact(Z), A, Z_next, exact(W), dtype)
                    yield (G, Z, W, bias, sigma), {}, [bound.error for bound in bounds]
                else:
                    yield (Z, W, bias, sigma), {}, [Z_next.error]
    else:
        for arguments, options in update_calls(name, rng, m * k, dtype):
            yield arguments, options, None


@dataclass(frozen=True)
class Problem:
    """A network and a batch, drawn from a seed."""

    widths: tuple[int, ...] = (5, 7, 3)
    rows: int = 9
    activation: str = "tanh"
    output: str = "identity"
    loss: str = "softmax_cross_entropy"
    bias: bool = True
    labels: bool = True
    weighted: bool = False
    standardised: bool = False
    zeros: bool = False  # among the features, as in images and in counts of words
    dtype: str = "float64"
    seed: int = 0

    def but(self, **changes):
        return replace(self, **changes)

    def network(self, backend):
        *hidden, last = [bs.Dense(n, bias=self.bias) for n in self.widths[1:]]
        network = bs.Network(
            [self.widths[0], *hidden, bs.Dense(last.width, self.output, self.bias)],
            activation=self.activation, loss=self.loss, dtype=self.dtype, seed=self.seed, backend=backend,
        )  # fmt: skip
        for b in network.b:
            if b is not None:
                b[:] = np.random.default_rng(self.seed + 1).normal(size=b.shape) / 2  # zeros would hide faults
        if self.standardised:
            network.standardise(self.data()[0])
        return network

    def data(self):
        """X, y and sample_weight."""
        rng = np.random.default_rng(self.seed + 2)
        X = rng.normal(size=(self.rows, self.widths[0]))
        if self.standardised:
            X = X * np.linspace(1, 9, self.widths[0]) + 100
        if self.zeros:
            X *= rng.random(X.shape) < 0.5
            X *= np.repeat(rng.random((-(-self.rows // 8), self.widths[0])) < 0.6, 8, axis=0)[: self.rows]
            X[:, rng.random(self.widths[0]) < 0.3] = 0
            X[:, 0] = -0.0
        y = targets(rng, self.loss, self.rows, self.widths[-1], labels=self.labels)
        return X, y, weights(rng, self.rows) if self.weighted else None
