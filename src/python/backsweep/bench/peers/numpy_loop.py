"""The textbook loop by hand, with NumPy's BLAS."""

from __future__ import annotations

import numpy as np

from backsweep._checks import Array
from backsweep.bench.workloads import LEARNING_RATES, AnyWorkload, Forward, Training


def sweep(Ws: list[Array], bs: list[Array], X: Array) -> list[Array]:
    """Z[0], ..., Z[L]."""
    Zs = [X]
    for i, (W, b) in enumerate(zip(Ws, bs, strict=True)):
        A = Zs[-1] @ W
        A += b
        Zs.append(np.maximum(A, 0, out=A) if i < len(Ws) - 1 else A)
    return Zs


def initial(w: AnyWorkload) -> list[Array]:
    return [array for pair in w.parameters() for array in pair]


class Trainer:
    def __init__(self, w: Training, X: Array, y: Array, optimizer: str, threads: int) -> None:
        self.X, self.y, self.batch, self.optimizer = X, y, w.batch_size, optimizer
        self.rate = LEARNING_RATES[optimizer]
        self.theta = initial(w)
        if optimizer == "adam":
            self.m, self.v = ([np.zeros_like(p) for p in self.theta] for _ in range(2))
        self.t = 0

    def epoch(self, order: Array) -> None:
        for i in range(0, len(order), self.batch):
            rows = order[i : i + self.batch]
            self.update(self.gradients(self.X[rows], self.y[rows]))

    def gradients(self, X: Array, y: Array) -> list[Array]:
        Ws, bs = self.theta[::2], self.theta[1::2]
        Zs = sweep(Ws, bs, X)
        G = np.exp(Zs[-1] - Zs[-1].max(axis=1, keepdims=True))
        G /= G.sum(axis=1, keepdims=True)
        G[np.arange(len(y)), y] -= 1
        G /= len(y)
        gradients: list[Array] = []
        for i in reversed(range(len(Ws))):
            gradients[:0] = [Zs[i].T @ G, G.sum(axis=0)]
            if i:
                G = G @ Ws[i].T
                G *= Zs[i] > 0
        return gradients

    def update(self, gradients: list[Array]) -> None:
        self.t += 1
        if self.optimizer == "sgd":
            for p, g in zip(self.theta, gradients, strict=True):
                g *= np.float32(self.rate)
                p -= g
            return
        size = np.float32(self.rate / (1 - 0.9**self.t))
        root = np.float32((1 - 0.999**self.t) ** -0.5)
        for p, g, m, v in zip(self.theta, gradients, self.m, self.v, strict=True):
            m += np.float32(0.1) * (g - m)
            g *= g
            g -= v
            g *= np.float32(0.001)
            v += g
            np.sqrt(v, out=g)
            g *= root
            g += np.float32(1e-8)
            np.divide(m, g, out=g)
            g *= size
            p -= g

    def parameters(self) -> list[Array]:
        return self.theta


class Predictor:
    def __init__(self, w: Forward, X: Array, threads: int) -> None:
        theta = initial(w)
        self.Ws, self.bs, self.X = theta[::2], theta[1::2], X

    def forward(self) -> Array:
        return sweep(self.Ws, self.bs, self.X)[-1]
