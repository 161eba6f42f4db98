"""JAX: a whole epoch as one compiled scan."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from backsweep._checks import Array
from backsweep.bench.workloads import LEARNING_RATES, AnyWorkload, Forward, Training

tree = jax.tree_util.tree_map


def initial(w: AnyWorkload) -> Any:
    return [(jnp.asarray(W), jnp.asarray(b)) for W, b in w.parameters()]


def logits(theta: Any, X: Any) -> Any:
    for i, (W, b) in enumerate(theta):
        X = X @ W + b
        if i < len(theta) - 1:
            X = jax.nn.relu(X)
    return X


def loss(theta: Any, X: Any, y: Any) -> Any:
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits(theta, X)), y[:, None], axis=1))


class Trainer:
    def __init__(self, w: Training, X: Array, y: Array, optimizer: str, threads: int) -> None:
        self.X, self.y, self.batch = jnp.asarray(X), jnp.asarray(y), w.batch_size
        self.is_adam = optimizer == "adam"
        rate, is_adam, gradient = LEARNING_RATES[optimizer], self.is_adam, jax.grad(loss)

        def epoch(carry: Any, order: Any, X: Any, y: Any) -> Any:
            def sgd(theta: Any, rows: Any) -> Any:
                g = gradient(theta, X[rows], y[rows])
                return tree(lambda p, d: p - rate * d, theta, g), None

            def adam(carry: Any, rows: Any) -> Any:
                theta, m, v, t = carry
                g = gradient(theta, X[rows], y[rows])
                t = t + 1
                m = tree(lambda a, d: 0.9 * a + 0.1 * d, m, g)
                v = tree(lambda a, d: 0.999 * a + 0.001 * d * d, v, g)
                size, root = rate / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
                theta = tree(lambda p, a, b: p - size * a / (jnp.sqrt(b) * root + 1e-8), theta, m, v)
                return (theta, m, v, t), None

            return jax.lax.scan(adam if is_adam else sgd, carry, order)[0]

        self.run = jax.jit(epoch, donate_argnums=0)
        theta = initial(w)
        moments = [tree(jnp.zeros_like, theta) for _ in range(2)]
        self.carry = (theta, *moments, jnp.float32(0)) if is_adam else theta

    def epoch(self, order: Array) -> None:
        rows = jnp.asarray(order.reshape(-1, self.batch))
        self.carry = jax.block_until_ready(self.run(self.carry, rows, self.X, self.y))

    def parameters(self) -> list[Array]:
        return [np.asarray(array) for pair in (self.carry[0] if self.is_adam else self.carry) for array in pair]


class Predictor:
    def __init__(self, w: Forward, X: Array, threads: int) -> None:
        self.theta, self.X = initial(w), X
        self.run = jax.jit(logits)

    def forward(self) -> Array:
        return np.asarray(self.run(self.theta, self.X))
