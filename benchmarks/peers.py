"""backsweep and its peers behind one interface: train an epoch in a given order of rows, show the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from workloads import LEARNING_RATES, Workload


class Peer(Protocol):
    """One training of one workload."""

    def epoch(self, order: np.ndarray) -> None:
        """Train on the rows in this order, a batch at a time."""

    def parameters(self) -> list[np.ndarray]:
        """W and b of each layer, flat."""


class Backsweep:
    def __init__(self, w: Workload, X: np.ndarray, y: np.ndarray, optimizer: str, threads: int, dtype: str = "float32"):
        import backsweep as bs

        backend = "reference" if dtype == "float64" else "core"
        self.net = bs.Network(list(w.widths), seed=0, dtype=dtype, backend=backend)
        for W, b, (W0, b0) in zip(self.net.W, self.net.b, w.parameters(), strict=True):
            W[:], b[:] = W0, b0
        rate = LEARNING_RATES[optimizer]
        optimizer_object = bs.SGD(rate) if optimizer == "sgd" else bs.Adam(rate)
        # The order is ours to give: `fit` draws it from the network's generator, which is replaced by one that
        # returns what the benchmark says.
        self.net._rng = self
        self.arguments: dict[str, Any] = {
            "epochs": 1, "batch_size": w.batch_size, "optimizer": optimizer_object, "progress": False,
            "n_threads": threads,
        }  # fmt: skip
        self.X, self.y = X, y

    def permutation(self, m: int) -> np.ndarray:
        return self.order

    def epoch(self, order: np.ndarray) -> None:
        self.order = order
        self.net.fit(self.X, self.y, **self.arguments)

    def parameters(self) -> list[np.ndarray]:
        return [array.ravel() for pair in zip(self.net.W, self.net.b, strict=True) for array in pair]


class NumPy:
    """The textbook loop with NumPy's BLAS."""

    def __init__(self, w: Workload, X: np.ndarray, y: np.ndarray, optimizer: str, threads: int):
        self.X, self.y, self.batch, self.optimizer = X, y, w.batch_size, optimizer
        self.rate = LEARNING_RATES[optimizer]
        self.theta = [array.copy() for pair in w.parameters() for array in pair]
        self.m = [np.zeros_like(p) for p in self.theta]
        self.v = [np.zeros_like(p) for p in self.theta]
        self.t = 0

    def epoch(self, order: np.ndarray) -> None:
        for i in range(0, len(order), self.batch):
            rows = order[i : i + self.batch]
            self.step(self.X[rows], self.y[rows])

    def step(self, X: np.ndarray, y: np.ndarray) -> None:
        Ws, bs = self.theta[::2], self.theta[1::2]
        Zs = [X]
        for i, (W, b) in enumerate(zip(Ws, bs, strict=True)):
            A = Zs[-1] @ W
            A += b
            Zs.append(np.maximum(A, 0, out=A) if i < len(Ws) - 1 else A)
        G = np.exp(Zs[-1] - Zs[-1].max(axis=1, keepdims=True))
        G /= G.sum(axis=1, keepdims=True)
        G[np.arange(len(y)), y] -= 1
        G /= len(y)
        gradients: list[np.ndarray] = []
        for i in reversed(range(len(Ws))):
            gradients[:0] = [Zs[i].T @ G, G.sum(axis=0)]
            if i:
                G = G @ Ws[i].T
                G *= Zs[i] > 0
        self.t += 1
        for p, g, m, v in zip(self.theta, gradients, self.m, self.v, strict=True):
            if self.optimizer == "sgd":
                p -= np.float32(self.rate) * g
                continue
            m += np.float32(0.1) * (g - m)
            v += np.float32(0.001) * (g * g - v)
            size = np.float32(self.rate / (1 - 0.9**self.t))
            p -= size * m / (np.sqrt(v) / np.float32(np.sqrt(1 - 0.999**self.t)) + np.float32(1e-8))

    def parameters(self) -> list[np.ndarray]:
        return [p.ravel() for p in self.theta]


class PyTorch:
    """Eager, with the fused optimizer."""

    def __init__(self, w: Workload, X: np.ndarray, y: np.ndarray, optimizer: str, threads: int):
        import torch

        self.torch = torch
        torch.set_num_threads(threads)
        self.X, self.y, self.batch = torch.from_numpy(X), torch.from_numpy(y), w.batch_size
        layers: list[Any] = []
        for W, b in w.parameters():
            linear = torch.nn.Linear(*W.shape)
            linear.weight.data[:] = torch.from_numpy(W.T.copy())
            linear.bias.data[:] = torch.from_numpy(b)
            layers += [linear, torch.nn.ReLU()]
        self.linears = layers[::2]
        self.model = torch.nn.Sequential(*layers[:-1])
        kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
        self.optimizer = kind(self.model.parameters(), lr=LEARNING_RATES[optimizer], fused=True)
        self.loss = torch.nn.CrossEntropyLoss()

    def epoch(self, order: np.ndarray) -> None:
        rows = self.torch.from_numpy(order)
        for i in range(0, len(order), self.batch):
            batch = rows[i : i + self.batch]
            self.optimizer.zero_grad()
            self.loss(self.model(self.X[batch]), self.y[batch]).backward()
            self.optimizer.step()

    def parameters(self) -> list[np.ndarray]:
        return [
            array
            for linear in self.linears
            for array in (linear.weight.detach().numpy().T.ravel(), linear.bias.detach().numpy())
        ]


class JAX:
    """A whole epoch as one compiled scan."""

    def __init__(self, w: Workload, X: np.ndarray, y: np.ndarray, optimizer: str, threads: int):
        import jax
        import jax.numpy as jnp

        self.jax, self.jnp, self.batch = jax, jnp, w.batch_size
        rate = LEARNING_RATES[optimizer]
        X_device, y_device = jnp.asarray(X), jnp.asarray(y)
        tree = jax.tree_util.tree_map

        def loss(theta, X, y):
            for i, (W, b) in enumerate(theta):
                X = X @ W + b
                if i < len(theta) - 1:
                    X = jax.nn.relu(X)
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(X), y[:, None], axis=1))

        gradient = jax.grad(loss)

        def step(carry, rows):
            theta, m, v, t = carry
            g = gradient(theta, X_device[rows], y_device[rows])
            if optimizer == "sgd":
                return (tree(lambda p, d: p - rate * d, theta, g), m, v, t + 1), None
            m = tree(lambda a, d: 0.9 * a + 0.1 * d, m, g)
            v = tree(lambda a, d: 0.999 * a + 0.001 * d * d, v, g)
            t = t + 1
            theta = tree(
                lambda p, a, b: p - rate * (a / (1 - 0.9**t)) / (jnp.sqrt(b / (1 - 0.999**t)) + 1e-8), theta, m, v
            )
            return (theta, m, v, t), None

        self.run = jax.jit(lambda carry, rows: jax.lax.scan(step, carry, rows)[0], donate_argnums=0)
        theta = [(jnp.asarray(W), jnp.asarray(b)) for W, b in w.parameters()]
        self.carry = (theta, tree(jnp.zeros_like, theta), tree(jnp.zeros_like, theta), jnp.float32(0))

    def epoch(self, order: np.ndarray) -> None:
        rows = self.jnp.asarray(order.reshape(-1, self.batch))
        self.carry = self.jax.block_until_ready(self.run(self.carry, rows))

    def parameters(self) -> list[np.ndarray]:
        return [np.asarray(array).ravel() for pair in self.carry[0] for array in pair]


PEERS: dict[str, Callable[..., Peer]] = {"backsweep": Backsweep, "NumPy": NumPy, "PyTorch": PyTorch, "JAX": JAX}
