"""The activations σ: value ``Z = σ(A)`` beside ``D = G ∘ σ'(A)``. PyTorch's of the same name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from backsweep._checks import Array


def _as(A: Array, Z: Any) -> Array:
    """Z in the dtype of A."""
    return np.asarray(Z, dtype=A.dtype)


def identity(A: Array) -> Array:
    """``Z = A``."""
    return A.copy()


def identity_backward(G: Array, A: Array) -> Array:
    """``D = G``: the slope is 1."""
    return np.array(G, dtype=A.dtype)


def relu(A: Array) -> Array:
    """``Z = max(A, 0)``."""
    return np.maximum(A, 0)


def relu_backward(G: Array, A: Array) -> Array:
    """``D = G ∘ [A > 0]``; the slope at the kink is 0."""
    return _as(A, G * (A > 0))


def leaky_relu(A: Array) -> Array:
    """``Z = A`` where ``A > 0``, else ``0.01 A``."""
    return np.where(A > 0, A, A.dtype.type(0.01) * A)


def leaky_relu_backward(G: Array, A: Array) -> Array:
    """``D = G`` where ``A > 0``, else ``0.01 G``."""
    return _as(A, G * np.where(A > 0, A.dtype.type(1), A.dtype.type(0.01)))


def elu(A: Array) -> Array:
    """``Z = A`` where ``A > 0``, else ``exp(A) - 1``."""
    return np.where(A > 0, A, np.expm1(np.minimum(A, 0)))


def elu_backward(G: Array, A: Array) -> Array:
    """``D = G ∘ exp(min(A, 0))``."""
    return _as(A, G * np.exp(np.minimum(A, 0)))


def sigmoid(A: Array) -> Array:
    """``Z = 1/(1 + exp(-A))``."""
    e = np.exp(-np.abs(A))  # at most 1: nothing overflows
    return _as(A, np.where(A < 0, e, 1) / (1 + e))


def sigmoid_backward(G: Array, A: Array) -> Array:
    """``D = G ∘ Z ∘ (1 - Z)``."""
    Z = sigmoid(A)
    return _as(A, G * Z * (1 - Z))


def tanh(A: Array) -> Array:
    """``Z = tanh(A)``."""
    return np.tanh(A)


def tanh_backward(G: Array, A: Array) -> Array:
    """``D = G ∘ (1 - Z²)``."""
    return _as(A, G * (1 - np.tanh(A) ** 2))


def softplus(A: Array) -> Array:
    """``Z = log(1 + exp(A))``; the identity beyond 20, as in PyTorch."""
    return np.where(A > 20, A, np.log1p(np.exp(np.minimum(A, 20))))


def softplus_backward(G: Array, A: Array) -> Array:
    """``D = G ∘ sigmoid(A)``, and G beyond 20."""
    return _as(A, G * np.where(A > 20, 1, sigmoid(A)))


def _normal_cdf(A: Array) -> Array:
    """Φ(A), through the complementary error function of the C library: NumPy has none."""
    erfc: Any = np.vectorize(math.erfc, otypes=[np.float64])
    return _as(A, 0.5 * erfc(A / -math.sqrt(2)))


def gelu(A: Array) -> Array:
    """``Z = A Φ(A)``, with the distribution function Φ of the normal law."""
    return _as(A, A * _normal_cdf(A))


def gelu_backward(G: Array, A: Array) -> Array:
    """``D = G ∘ (Φ(A) + A φ(A))``, with the density φ of the normal law."""
    density = np.exp(-A * A / 2) / A.dtype.type(math.sqrt(2 * math.pi))
    return _as(A, G * (_normal_cdf(A) + A * density))


def silu(A: Array) -> Array:
    """``Z = A sigmoid(A)``."""
    return _as(A, A * sigmoid(A))


def silu_backward(G: Array, A: Array) -> Array:
    """``D = G ∘ S ∘ (1 + A (1 - S))`` with ``S = sigmoid(A)``."""
    S = sigmoid(A)
    return _as(A, G * S * (1 + A * (1 - S)))
