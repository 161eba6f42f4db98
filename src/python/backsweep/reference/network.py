"""The two sweeps of the notes and the training loop, with the interface of the compiled networks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from backsweep._checks import Array
from backsweep.reference import activations, losses, optimizers
from backsweep.reference.layer import PREDICTION, Pass, gradients_of, layers_of, preactivation_of
from backsweep.reference.normalisation import remember
from backsweep.reference.vectors import Spec, buffer_count, parameter_count, running, split


class Network:
    """A chain of layers and a loss."""

    def __init__(self, layers: Sequence[Spec], loss: str, precision: str = "full") -> None:
        self.layers = list(layers)
        self.loss = loss
        self.precision = precision
        self.parameters = sum(map(parameter_count, layers))
        self.buffers = sum(map(buffer_count, layers))

    def rows(self, X: Array, theta: Array, mean: Array | None, scale: Array | None) -> Array:
        """Z[0] for some rows of X, in the dtype of theta.

        Raises
        ------
        ValueError
            For an entry that is infinite or NaN.
        """
        with np.errstate(over="ignore"):  # a number beyond the dtype becomes infinite
            standardised = X if mean is None or scale is None else (X.astype(np.float64) - mean) / scale
            Z = np.require(standardised, theta.dtype, ["C", "ALIGNED"])
        if not np.isfinite(Z).all():
            raise ValueError("X must be finite, also once it is standardised")
        return Z

    def require_labels(self, y: Array) -> None:
        k = self.layers[-1][1]
        if not ((y >= 0) & (y < k) & (y == np.floor(y))).all():
            raise ValueError(f"y must hold labels 0, 1, ..., {k - 1}")

    def forward(
        self, theta: Array, buffers: Array, X: Array, mean: Array | None, scale: Array | None, n_threads: int
    ) -> Array:
        Z = self.rows(X, theta, mean, scale)
        return self.sweep_forward(theta, buffers, Z, PREDICTION)[0][-1]

    def sweep_forward(self, theta: Array, buffers: Array, Z: Array, pass_: Pass) -> tuple[list[Array], list[Array]]:
        """``Z_{i+1} = σ(A_i)``, ``A_i = Z_i W_i + b_i``: every Z and A."""
        Zs, As = [Z], []
        for layer in layers_of(theta, buffers, self.layers, self.precision):
            As.append(preactivation_of(layer, Zs[-1], pass_))
            Zs.append(getattr(activations, layer.sigma)(As[-1]))
        return Zs, As

    def forward_few(self, theta: Array, buffers: Array, X: object) -> None:
        """None: the reference has no shorter way."""

    def evaluate(
        self, theta: Array, buffers: Array, X: Array, y: Array, labels: bool, sample_weight: Array | None,
        mean: Array | None, scale: Array | None, n_threads: int,
    ) -> tuple[float, float]:  # fmt: skip
        if labels:
            self.require_labels(y)
        Z = self.forward(theta, buffers, X, mean, scale, n_threads)
        value = getattr(losses, self.loss)
        return value(Z, y, sample_weight), losses.accuracy(self.loss, Z, y, sample_weight)

    def sweep(
        self, theta: Array, buffers: Array, Z: Array, y: Array, sample_weight: Array | None, pass_: Pass
    ) -> tuple[float, Array, Array, list[Array]]:
        """Both sweeps on a batch: the loss, dtheta, G[0] and every Z."""
        Zs, As = self.sweep_forward(theta, buffers, Z, pass_)
        loss = getattr(losses, self.loss)(Zs[-1], y, sample_weight)

        # Backward: D_i = G_{i+1} ∘ σ'(A_i), G_i = D_i W_iᵀ, ∇W_i = Z_iᵀ D_i.
        layers, dtheta = layers_of(theta, buffers, self.layers, self.precision), np.empty_like(theta)
        gradients = split(dtheta, self.layers)
        G = getattr(losses, f"{self.loss}_backward")(Zs[-1], y, sample_weight)
        for i in reversed(range(len(self.layers))):
            D = getattr(activations, f"{layers[i].sigma}_backward")(G, As[i])
            G, gradients[i].W[:], db = gradients_of(layers[i], D, Zs[i], pass_)
            if (view := gradients[i].b) is not None:
                view[:] = db
        return loss, dtheta, G, Zs

    def remember(self, buffers: Array, Zs: Sequence[Array]) -> None:
        """Takes a batch's statistics into the running ones."""
        for Z, statistics in zip(Zs, running(buffers, self.layers), strict=False):  # Z[L] goes into no layer
            if statistics is not None:
                remember(*statistics, Z)

    def loss_and_gradients(
        self, theta: Array, buffers: Array, X: Array, y: Array, labels: bool, sample_weight: Array | None,
        mean: Array | None, scale: Array | None, training: bool, draws: Array, wants_dX: bool, n_threads: int,
    ) -> tuple[float, Array, Array | None]:  # fmt: skip
        if labels:
            self.require_labels(y)
        Z = self.rows(X, theta, mean, scale)
        loss, dtheta, G, _ = self.sweep(theta, buffers, Z, y, sample_weight, Pass(training, *draws.tolist()))
        dX = (G if scale is None else (G / scale).astype(G.dtype)) if wants_dX else None
        return loss, dtheta, dX


class Trainer:
    """Mini-batches in order, a sweep and an update for each."""

    def __init__(
        self, network: Network, theta: Array, buffers: Array, state: list[Array], settings: dict[str, Any],
        X: Array, y: Array, labels: bool, sample_weight: Array | None, mean: Array | None, scale: Array | None,
        batch_size: int, n_threads: int, loss_factor: float, penalty: float, loss_cap: float, draws: Array,
    ) -> None:  # fmt: skip
        self.network, self.theta, self.buffers, self.state, self.settings = network, theta, buffers, state, settings
        self.X, self.y, self.labels, self.sample_weight = X, y, labels, sample_weight
        self.mean, self.scale = mean, scale
        self.loss_factor, self.penalty, self.loss_cap = loss_factor, penalty, loss_cap
        self.draws = draws  # the seed of masks, and the steps done: counted here
        self.batch_size = min(batch_size, len(X))
        self.steps_in_epoch = -(-len(X) // self.batch_size)

    def run(
        self, order: Array | None, first: int, learning_rates: Array, steps: Array, sums: Array, seconds: float
    ) -> tuple[int, str]:
        """Steps `first`, `first` + 1, ... of an epoch, one for each learning rate, until `seconds` are over.

        `order` has the rows of these steps alone, or is None where they come as they are. Returns the number of steps
        and why the run stopped. `steps` (1,) counts the updates; each step adds to `sums` (5,) its Σwℓ, Σw and
        Σw·[right], and its mean loss and its penalty, both times its rows.
        """
        with np.errstate(all="ignore"):  # what overflows reaches the loss, which is looked at
            return self._run(order, first, learning_rates, steps, sums, seconds)

    def _run(
        self, order: Array | None, first: int, learning_rates: Array, steps: Array, sums: Array, seconds: float
    ) -> tuple[int, str]:
        started = time.monotonic()
        done = 0
        last = min(first + len(learning_rates), self.steps_in_epoch)
        for s in range(first, last):
            begin = (s if order is None else s - first) * self.batch_size
            batch = slice(begin, begin + self.batch_size)
            rows = batch if order is None else order[batch]
            Z = self.network.rows(self.X[rows], self.theta, self.mean, self.scale)
            y = self.y[rows]
            if self.labels:
                self.network.require_labels(y)
            w = None if self.sample_weight is None else self.sample_weight[rows]
            pass_ = Pass(True, *self.draws.tolist())
            loss, dtheta, _, Zs = self.network.sweep(self.theta, self.buffers, Z, y, w, pass_)
            Z_L = Zs[-1]
            if self.loss_cap < np.inf:
                loss = losses.capped(self.network.loss, Z_L, y, w, self.loss_cap)
            if not np.isfinite(loss):
                return done, "diverged"
            self.network.remember(self.buffers, Zs)
            weight = float(len(Z)) if w is None else float(np.sum(w, dtype=np.float64))
            penalty = self._penalise(dtheta, weight)
            optimizers.update(
                self.settings, self.theta, dtheta, self.state, int(steps[0]), float(learning_rates[s - first])
            )
            right = losses.accuracy(self.network.loss, Z_L, y, w)
            sums += weight * loss, weight, weight * right, len(Z) * loss, len(Z) * penalty
            steps[0] += 1
            self.draws[1] += 1
            done += 1
            if s + 1 < last and time.monotonic() - started >= seconds:
                return done, "out_of_time"
        return done, "done"

    def _penalise(self, dtheta: Array, weight: float) -> float:
        """The gradient of loss_factor · ℓ + penalty/2 Σ W² / Σw in place of ℓ's; returns the second term."""
        dtheta *= self.loss_factor
        if self.penalty == 0 or weight == 0:
            return 0.0
        layers = self.network.layers
        squares = 0.0
        for (W, _), (dW, _), (*_, kind, _) in zip(
            split(self.theta, layers), split(dtheta, layers), layers, strict=True
        ):
            if kind == "dense":  # what scales and shifts is no weight
                dW += self.penalty / weight * W
                squares += float((W**2).sum(dtype=np.float64))
        return self.penalty / weight / 2 * squares
