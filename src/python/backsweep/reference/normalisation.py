"""Layer normalisation (Ba, Kiros and Hinton, 2016): each row to mean 0 and variance 1, then scaled and shifted."""

from __future__ import annotations

import numpy as np

from backsweep._checks import Array

EPSILON = 1e-5  # PyTorch's


def _normalised(Z: Array) -> tuple[Array, Array]:
    """``Ẑ = (Z - mean) r`` (m, n), and ``r = 1/√(variance + ε)`` (m, 1); mean and variance along each row."""
    centred = Z - Z.mean(axis=1, keepdims=True)
    r = 1 / np.sqrt((centred**2).mean(axis=1, keepdims=True) + Z.dtype.type(EPSILON))
    return centred * r, r


def layer_norm(Z: Array, gamma: Array, beta: Array) -> Array:
    """``A = Ẑ ∘ γ + β`` (m, n), from Z (m, n), gamma (n,) and beta (n,)."""
    Zhat, _ = _normalised(Z)
    A: Array = Zhat * gamma + beta
    return A


def layer_norm_backward(D: Array, Z: Array, gamma: Array) -> tuple[Array, Array, Array]:
    """From D, the gradient by A: ``G = r (γ D - mean(γ D) - Ẑ mean(γ D ∘ Ẑ))``, and dγ, dβ.

    These are the column sums of ``D ∘ Ẑ`` and of D.
    """
    Zhat, r = _normalised(Z)
    scaled = D * gamma
    along = (scaled * Zhat).mean(axis=1, keepdims=True)
    G = r * (scaled - scaled.mean(axis=1, keepdims=True) - Zhat * along)
    return G, (D * Zhat).sum(axis=0), D.sum(axis=0)
