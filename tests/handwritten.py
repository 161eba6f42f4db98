"""Backpropagation as a student writes it, with the slips that students make: what a gradient check has to find.

It shares no line with the package, so that a fault is planted here and recognised there independently.
"""

import math

import numpy as np

erf = np.vectorize(math.erf, otypes=[np.float64])

SIGMA = {
    "identity": (lambda A: A, lambda A: np.ones_like(A)),
    "relu": (lambda A: np.maximum(A, 0), lambda A: (A > 0) * 1.0),
    "leaky_relu": (lambda A: np.where(A > 0, A, 0.01 * A), lambda A: np.where(A > 0, 1.0, 0.01)),
    "elu": (lambda A: np.where(A > 0, A, np.exp(A) - 1), lambda A: np.where(A > 0, 1.0, np.exp(A))),
    "sigmoid": (lambda A: 1 / (1 + np.exp(-A)), lambda A: np.exp(-A) / (1 + np.exp(-A)) ** 2),
    "tanh": (np.tanh, lambda A: 1 / np.cosh(A) ** 2),
    "softplus": (lambda A: np.log(1 + np.exp(A)), lambda A: 1 / (1 + np.exp(-A))),
    "gelu": (
        lambda A: A * (1 + erf(A / math.sqrt(2))) / 2,
        lambda A: (1 + erf(A / math.sqrt(2))) / 2 + A * np.exp(-A * A / 2) / math.sqrt(2 * math.pi),
    ),
    "silu": (
        lambda A: A / (1 + np.exp(-A)),
        lambda A: (1 + A * np.exp(-A) / (1 + np.exp(-A))) / (1 + np.exp(-A)),
    ),
}

# Name of the slip here: name of the fault that a report must give.
SLIPS = {
    "no division by m": "mean_missing",
    "division by m twice": "mean_twice",
    "sign": "sign",
    "sign of one array": "sign",
    "factor": "factor",
    "transposed": "transposed",
    "transposed content": "transposed",
    "no mask": "mask_missing",
    "no mask on the way down": "mask_missing",
    "mask at the output": "wrong_slope",
    "bias rows": "bias_not_summed",
    "bias first row": "bias_not_summed",
    "bias mean": "bias_mean",
    "bias along rows": "bias_wrong_axis",
    "next activation": "stale_activation",
    "pre-activation": "stale_activation",
    "another batch": "stale_activation",
    "updated on the way down": "stale_weights",
    "before the update": "stale_weights",
    "after the update": "stale_weights",
    "no max": "softmax_overflow",
    "reversed lists": "wrong_layer",
    "no one-hot": "target_missing",
    "logits": "softmax_missing",
    "W not transposed": "weights_not_transposed",
    "last sample": "one_sample",
    "zero": "zero",
    "penalty": "penalty",
}

# Slips that show only where layers are as wide as one another.
SQUARE = ("transposed content", "next activation", "W not transposed")

# Slips of which softmax cross-entropy leaves a trace: the rows of S - I_y do not span everything.
SOFTMAX = ("no max", "another batch")


def output_gradient(Z, y, loss, slip=""):
    m, k = Z.shape
    if loss == "softmax_cross_entropy":
        E = np.exp(Z if slip == "no max" else Z - Z.max(axis=1, keepdims=True))
        S = Z if slip == "logits" else E / E.sum(axis=1, keepdims=True)
        I_y = np.zeros((m, k), Z.dtype)
        I_y[np.arange(m), y] = 1
        return (S if slip == "no one-hot" else S - I_y) / (1 if slip == "no division by m" else m)
    y = np.asarray(y, Z.dtype).reshape(m, k) * (slip != "no one-hot")
    G = {
        "sigmoid_cross_entropy": lambda: (Z if slip == "logits" else 1 / (1 + np.exp(-Z))) - y,
        "mean_squared_error": lambda: 2 * (Z - y),
        "mean_absolute_error": lambda: np.sign(Z - y),
        "huber": lambda: np.clip(Z - y, -1, 1),
        "poisson": lambda: (Z if slip == "logits" else np.exp(Z)) - y,
    }[loss]()
    return G / (k if slip == "no division by m" else m * k)


def gradients(net, X, y, slip="", rate=0.1, W=None, b=None):
    """(dW, db) of a network, with a slip."""
    W = list(net.W) if W is None else W
    b = list(net.b) if b is None else b
    L, m = len(W), len(X)
    if slip == "after the update":
        dW, db = gradients(net, X, y)
        moved = [w - rate * d for w, d in zip(W, dW, strict=True)]
        shifted = [None if c is None else c - rate * d for c, d in zip(b, db, strict=True)]
        return gradients(net, X, y, W=moved, b=shifted)
    sigma = [SIGMA[layer.activation] for layer in net.layers]
    Z, A = [np.asarray(X, net.dtype)], []
    for i in range(L):
        A.append(Z[i] @ W[i] + (0 if b[i] is None else b[i]))
        Z.append(sigma[i][0](A[i]).astype(net.dtype))
    G = output_gradient(Z[L], y, net.loss, slip)
    if slip == "another batch":  # the cache holds the Z of a forward pass on other rows
        Z = [np.random.default_rng(0).normal(size=z.shape).astype(net.dtype) for z in Z]
    if slip == "division by m twice":
        G = G / m
    if slip == "last sample":
        G[:-1] = 0
    dW, db = [None] * L, [None] * L
    for i in reversed(range(L)):
        slope = sigma[i][1](Z[i + 1] if slip == "mask at the output" else A[i])
        D = G if slip == "no mask" else G * slope
        value = Z[i]
        if slip == "next activation" and Z[i + 1].shape == Z[i].shape:
            value = Z[i + 1]
        if slip == "pre-activation" and i > 0:
            value = A[i - 1]
        dW[i] = (value.T @ D).astype(net.dtype)
        if b[i] is not None:
            db[i] = {"bias rows": lambda D: D, "bias first row": lambda D: D[0], "bias mean": lambda D: D.mean(axis=0),
                     "bias along rows": lambda D: D.sum(axis=1)}.get(slip, lambda D: D.sum(axis=0))(D)  # fmt: skip
        weight = W[i] - rate * dW[i] if slip == "updated on the way down" else W[i]
        down = G if slip == "no mask on the way down" else D
        G = down @ (weight if slip == "W not transposed" and weight.shape[0] == weight.shape[1] else weight.T)

    if slip in ("sign", "factor"):
        c = -1 if slip == "sign" else 3.7
        dW, db = [c * d for d in dW], [None if d is None else c * d for d in db]
    if slip == "sign of one array":
        dW[0] = -dW[0]
    if slip == "zero":
        dW[0] = np.zeros_like(dW[0])
    if slip == "penalty":
        dW = [d + rate * w for d, w in zip(dW, W, strict=True)]
    if slip == "transposed" or slip == "transposed content":
        dW = [d.T for d in dW]
    if slip == "reversed lists":
        dW, db = dW[::-1], db[::-1]
    return dW, db
