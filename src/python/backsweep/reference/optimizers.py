"""The optimizers: one update of the flat vector ``theta`` along ``dtheta``, in place. PyTorch's semantics.

``state`` holds the vectors that are kept from step to step, zeros at first, and ``step`` counts from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from backsweep._checks import Array


def clipped(dtheta: Array, clip_norm: float) -> Array:
    """The gradient, scaled down to norm ``clip_norm`` where it is longer (0: left alone)."""
    if clip_norm == 0:
        return dtheta
    norm = np.sqrt((dtheta.astype(np.float64) ** 2).sum())
    scaled: Array = dtheta * dtheta.dtype.type(min(1.0, clip_norm / (norm + 1e-6)))
    return scaled


def sgd_update(
    theta: Array, dtheta: Array, state: Sequence[Array], step: int, learning_rate: float, *,
    momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0, clip_norm: float = 0.0,
) -> None:  # fmt: skip
    """State: the velocity, where there is a momentum."""
    g = clipped(dtheta, clip_norm) + weight_decay * theta
    if momentum:
        (v,) = state
        v[:] = g if step == 0 else momentum * v + g
        g = g + momentum * v if nesterov else v
    theta -= learning_rate * g


def adam_update(
    theta: Array, dtheta: Array, state: Sequence[Array], step: int, learning_rate: float, *,
    beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, weight_decay: float = 0.0,
    clip_norm: float = 0.0, epsilon_hat: bool = False,
) -> None:  # fmt: skip
    """State: the first and the second moment. With ``epsilon_hat``, ε stands beside √v, not beside √v̂."""
    m, v = state
    t = step + 1
    g = clipped(dtheta, clip_norm) + weight_decay * theta
    m[:] = beta1 * m + (1 - beta1) * g
    v[:] = beta2 * v + (1 - beta2) * g * g
    m_hat = m / (1 - beta1**t)
    correction = 1 - beta2**t
    v_hat = v / correction
    if epsilon_hat:
        epsilon /= np.sqrt(correction)
    theta -= learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)


def adamw_update(
    theta: Array, dtheta: Array, state: Sequence[Array], step: int, learning_rate: float, *,
    beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, weight_decay: float = 0.01,
    clip_norm: float = 0.0, epsilon_hat: bool = False,
) -> None:  # fmt: skip
    """State: the first and the second moment."""
    theta *= 1 - learning_rate * weight_decay
    adam_update(
        theta, dtheta, state, step, learning_rate,
        beta1=beta1, beta2=beta2, epsilon=epsilon, clip_norm=clip_norm, epsilon_hat=epsilon_hat,
    )  # fmt: skip


def rmsprop_update(
    theta: Array, dtheta: Array, state: Sequence[Array], step: int, learning_rate: float, *,
    alpha: float = 0.99, epsilon: float = 1e-8, weight_decay: float = 0.0, momentum: float = 0.0,
    centered: bool = False, clip_norm: float = 0.0,
) -> None:  # fmt: skip
    """State: the average of squares; the velocity, where there is a momentum; the average, where centred."""
    kept = iter(state)
    g = clipped(dtheta, clip_norm) + weight_decay * theta
    square = next(kept)
    square[:] = alpha * square + (1 - alpha) * g * g
    velocity = next(kept) if momentum else None
    variance = square
    if centered:
        average = next(kept)
        average[:] = alpha * average + (1 - alpha) * g
        variance = np.maximum(square - average**2, 0)
    change = g / (np.sqrt(variance) + epsilon)
    if velocity is not None:
        velocity[:] = momentum * velocity + change
        change = velocity
    theta -= learning_rate * change


def update(
    settings: dict[str, Any], theta: Array, dtheta: Array, state: Sequence[Array], step: int, learning_rate: float
) -> None:
    """The update that `settings` describe, as the core takes them."""
    updates: dict[str, Any] = {
        "sgd": sgd_update, "adam": adam_update, "adamw": adamw_update, "rmsprop": rmsprop_update
    }  # fmt: skip
    arguments = {name: value for name, value in settings.items() if name != "kind"}
    updates[settings["kind"]](theta, dtheta, state, step, learning_rate, **arguments)
