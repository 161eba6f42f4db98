"""The losses ℓ: the mean value beside ``G[L] = ∂ℓ/∂Z[L]``. PyTorch's, with reduction "mean"."""

from __future__ import annotations

import numpy as np

from backsweep._checks import Array


def _shares(Z: Array, sample_weight: Array | None) -> Array:
    """What each row counts in the mean, as a column: 1/m, or w/Σw. The mean stands here and nowhere else."""
    w = np.ones(len(Z), dtype=Z.dtype) if sample_weight is None else np.asarray(sample_weight, dtype=Z.dtype)
    total = w.sum()
    return (w / total if total else w)[:, np.newaxis]


def _one_hot(Z: Array, y: Array) -> Array:
    """I_y: the labels as rows of the identity; probabilities are returned as they are."""
    y = np.asarray(y)
    return np.eye(Z.shape[1], dtype=Z.dtype)[y.astype(np.int64)] if y.ndim == 1 else y.astype(Z.dtype)


def _log_softmax(Z: Array) -> Array:
    shifted: Array = Z - Z.max(axis=1, keepdims=True)
    log_S: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_S


def softmax(Z: Array) -> Array:
    """``S = exp(Z) / Σ exp(Z)``, row by row."""
    return np.exp(_log_softmax(Z))


def softmax_cross_entropy(Z: Array, y: Array, sample_weight: Array | None = None) -> float:
    """The mean of ``-log S[y]``; with probabilities y (m, k), of ``-Σ y log S``."""
    I_y = _one_hot(Z, y)
    losses = np.where(I_y > 0, -I_y * _log_softmax(Z), 0)  # a class of probability 0 adds nothing
    return float((_shares(Z, sample_weight) * losses).sum())


def softmax_cross_entropy_backward(Z: Array, y: Array, sample_weight: Array | None = None) -> Array:
    """``G = (S - I_y)/m``."""
    S, I_y = softmax(Z), _one_hot(Z, y)
    G: Array = _shares(Z, sample_weight) * (S * I_y.sum(axis=1, keepdims=True) - I_y)
    return G


def _mean(losses: Array, sample_weight: Array | None) -> float:
    """The mean over outputs, then over samples."""
    return float((_shares(losses, sample_weight) * losses).sum() / losses.shape[1])


def _mean_backward(slopes: Array, sample_weight: Array | None) -> Array:
    G: Array = _shares(slopes, sample_weight) * slopes / slopes.shape[1]
    return G


def _as_values(Z: Array, y: Array) -> Array:
    return np.asarray(y, dtype=Z.dtype).reshape(Z.shape)


def sigmoid_cross_entropy(Z: Array, y: Array, sample_weight: Array | None = None) -> float:
    """The mean of ``-y log σ(Z) - (1 - y) log(1 - σ(Z))``, written so that nothing overflows."""
    y = _as_values(Z, y)
    return _mean(np.maximum(Z, 0) - Z * y + np.log1p(np.exp(-np.abs(Z))), sample_weight)


def sigmoid_cross_entropy_backward(Z: Array, y: Array, sample_weight: Array | None = None) -> Array:
    """``G = (σ(Z) - y)/(m k)``."""
    e = np.exp(-np.abs(Z))
    return _mean_backward(np.where(Z < 0, e, 1) / (1 + e) - _as_values(Z, y), sample_weight)


def mean_squared_error(Z: Array, y: Array, sample_weight: Array | None = None) -> float:
    """The mean of ``(Z - y)²``."""
    return _mean((Z - _as_values(Z, y)) ** 2, sample_weight)


def mean_squared_error_backward(Z: Array, y: Array, sample_weight: Array | None = None) -> Array:
    """``G = 2 (Z - y)/(m k)``."""
    return _mean_backward(2 * (Z - _as_values(Z, y)), sample_weight)


def mean_absolute_error(Z: Array, y: Array, sample_weight: Array | None = None) -> float:
    """The mean of ``|Z - y|``."""
    return _mean(np.abs(Z - _as_values(Z, y)), sample_weight)


def mean_absolute_error_backward(Z: Array, y: Array, sample_weight: Array | None = None) -> Array:
    """``G = sign(Z - y)/(m k)``."""
    return _mean_backward(np.sign(Z - _as_values(Z, y)), sample_weight)


def huber(Z: Array, y: Array, sample_weight: Array | None = None) -> float:
    """The mean of ``d²/2`` where ``d = |Z - y| ≤ 1``, else ``d - 1/2``."""
    d = np.abs(Z - _as_values(Z, y))
    return _mean(np.where(d > 1, d - 0.5, d * d / 2).astype(Z.dtype), sample_weight)


def huber_backward(Z: Array, y: Array, sample_weight: Array | None = None) -> Array:
    """``G = (Z - y)/(m k)``, with Z - y held between -1 and 1."""
    return _mean_backward(np.clip(Z - _as_values(Z, y), -1, 1), sample_weight)


def poisson(Z: Array, y: Array, sample_weight: Array | None = None) -> float:
    """The mean of ``exp(Z) - y Z``: Z is the logarithm of the rate."""
    return _mean(np.exp(Z) - _as_values(Z, y) * Z, sample_weight)


def poisson_backward(Z: Array, y: Array, sample_weight: Array | None = None) -> Array:
    """``G = (exp(Z) - y)/(m k)``."""
    return _mean_backward(np.exp(Z) - _as_values(Z, y), sample_weight)


def capped(loss: str, Z: Array, y: Array, sample_weight: Array | None, cap: float) -> float:
    """The mean loss where that of a label, or of a value, counts up to ``cap``."""
    value = globals()[loss]
    if loss == "softmax_cross_entropy":
        each = np.array([[value(Z[i : i + 1], y[i : i + 1])] for i in range(len(Z))])
    else:
        y = _as_values(Z, y)
        each = np.vectorize(lambda z, t: value(np.array([[z]]), np.array([[t]])))(Z, y)
    return _mean(np.minimum(each, cap).astype(Z.dtype), sample_weight)


def accuracy(loss: str, Z: Array, y: Array, sample_weight: Array | None = None) -> float:
    """The share of rows classified rightly; 0 for a loss that does not classify."""
    if loss == "softmax_cross_entropy":
        labels = y if np.ndim(y) == 1 else np.argmax(y, axis=1)
        right = (np.argmax(Z, axis=1) == labels).astype(Z.dtype)[:, np.newaxis]
    elif loss == "sigmoid_cross_entropy":
        right = ((Z > 0) == (_as_values(Z, y) > 0.5)).astype(Z.dtype)
    else:
        return 0.0
    return _mean(right, sample_weight)
