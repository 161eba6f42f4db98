"""Normalisation to mean 0 and variance 1, then scaled and shifted: of rows (`layer_norm`), of columns (`batch_norm`).

Ba, Kiros and Hinton (2016), Layer Normalization. Ioffe and Szegedy (2015), Batch Normalization.
"""

from __future__ import annotations

import numpy as np

from backsweep._checks import Array

EPSILON = 1e-5  # PyTorch's
MOMENTUM = 0.1  # PyTorch's: the share of a running statistic that a batch replaces


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


def _reciprocal_deviation(variance: Array) -> Array:
    r: Array = 1 / np.sqrt(variance + variance.dtype.type(EPSILON))
    return r


def statistics(Z: Array) -> tuple[Array, Array]:
    """The mean (n,) of each column of Z (m, n), and its variance (n,), which divides by m."""
    return Z.mean(axis=0), Z.var(axis=0)


def batch_norm_given(Z: Array, mean: Array, variance: Array, gamma: Array, beta: Array) -> Array:
    """``A = Ẑ ∘ γ + β`` (m, n), ``Ẑ = (Z - mean)/√(variance + ε)`` with statistics (n,) that do not depend on Z."""
    A: Array = (Z - mean) * _reciprocal_deviation(variance) * gamma + beta
    return A


def batch_norm_given_backward(
    D: Array, Z: Array, mean: Array, variance: Array, gamma: Array
) -> tuple[Array, Array, Array]:
    """``G = r γ D``, and dγ, dβ: the column sums of ``D ∘ Ẑ`` and of D."""
    r = _reciprocal_deviation(variance)
    return D * gamma * r, (D * ((Z - mean) * r)).sum(axis=0), D.sum(axis=0)


def batch_norm(Z: Array, gamma: Array, beta: Array) -> Array:
    """``A = Ẑ ∘ γ + β`` (m, n), from Z (m, n), gamma (n,) and beta (n,), with the statistics of Z itself."""
    return batch_norm_given(Z, *statistics(Z), gamma, beta)


def batch_norm_backward(D: Array, Z: Array, gamma: Array) -> tuple[Array, Array, Array]:
    """``G = r (γ D - mean(γ D) - Ẑ mean(γ D ∘ Ẑ))``, means along columns, and dγ, dβ as above."""
    mean, variance = statistics(Z)
    r = _reciprocal_deviation(variance)
    Zhat = (Z - mean) * r
    scaled = D * gamma
    G = r * (scaled - scaled.mean(axis=0) - Zhat * (scaled * Zhat).mean(axis=0))
    return G, (D * Zhat).sum(axis=0), D.sum(axis=0)


def remember(running_mean: Array, running_var: Array, Z: Array) -> None:
    """Takes the statistics of Z into the running ones, in place; the running variance is over m - 1."""
    mean, variance = statistics(Z)
    m = len(Z)
    for running, now in ((running_mean, mean), (running_var, variance * Z.dtype.type(m / (m - 1)))):
        running *= 1 - MOMENTUM
        running += Z.dtype.type(MOMENTUM) * now
