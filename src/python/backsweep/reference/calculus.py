"""The notes' table of matrix derivatives: ``(value, pullback)`` for each row. Twin of `backsweep.calculus`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from backsweep._checks import Array
from backsweep.reference import activations, losses

Row = tuple[Any, Callable[[Any], tuple[Any, ...]]]  # G ↦ one gradient for each argument


def linear_form(a: Array, X: Array, b: Array) -> Row:
    """``aᵀ X b``; ∇a = G X b, ∇X = G a bᵀ, ∇b = G Xᵀ a."""
    return a @ X @ b, lambda G: (G * (X @ b), G * np.outer(a, b), G * (a @ X))


def quadratic_form(X: Array, A: Array) -> Row:
    """``tr(Xᵀ A X)``; ∇X = G (A + Aᵀ) X, ∇A = G X Xᵀ."""
    columns = np.reshape(X, (len(X), -1))
    return np.sum(X * (A @ X)), lambda G: (G * ((A + A.T) @ X), G * (columns @ columns.T))


def matmul(X: Array, W: Array) -> Row:
    """``X W``; ∇X = G Wᵀ, ∇W = Xᵀ G."""
    return X @ W, lambda G: (G @ W.T, X.T @ G)


def elementwise(sigma: str, X: Array) -> Row:
    """``σ(X)``; ∇X = G ∘ σ'(X)."""
    return getattr(activations, sigma)(X), lambda G: (getattr(activations, f"{sigma}_backward")(G, X),)


def hadamard(X: Array, Y: Array) -> Row:
    """``X ∘ Y``; ∇X = G ∘ Y, ∇Y = G ∘ X."""
    return X * Y, lambda G: (G * Y, G * X)


def add_bias(A: Array, b: Array) -> Row:
    """``A + 1 bᵀ``; ∇A = G, ∇b = the column sums of G."""
    return A + b, lambda G: (+G, G.sum(axis=0))  # +G: a copy


def scale(c: float, X: Array) -> Row:
    """``c X``; ∇c = tr(Gᵀ X), ∇X = c G."""
    return c * X, lambda G: (np.sum(G * X), c * G)


def softmax(Z: Array) -> Row:
    """Rows ``s = exp(z) / Σ exp(z)``; ∇Z = S ∘ (G - the row sums of G ∘ S)."""
    S = losses.softmax(Z)
    return S, lambda G: (S * (G - np.sum(G * S, axis=1, keepdims=True)),)


def cross_entropy(S: Array, y: Array) -> Row:
    """``-1/m Σ I_y ∘ log S``; ∇S = -G/m I_y / S."""
    m, I_y = len(S), losses._one_hot(S, y)
    return -np.sum(I_y * np.log(np.where(I_y > 0, S, 1))) / m, lambda G: (-G / m * I_y / np.where(I_y > 0, S, 1),)


def softmax_cross_entropy(Z: Array, y: Array) -> Row:
    """``-1/m Σ I_y ∘ log softmax(Z)``; ∇Z = G (S - I_y)/m."""
    return losses.softmax_cross_entropy(Z, y), lambda G: (G * losses.softmax_cross_entropy_backward(Z, y),)


def mean(X: Array) -> Row:
    """``1/N Σ X``; ∇X = G/N in every entry."""
    return np.mean(X), lambda G: (G / X.size * np.ones_like(X),)


def sum(X: Array) -> Row:
    """``Σ X``; ∇X = G in every entry."""
    return np.sum(X), lambda G: (G * np.ones_like(X),)


class TwoLayerGradients(NamedTuple):
    """The gradients by both matrices."""

    dW1: Array
    dW2: Array


def two_layer_gradients(X: Array, y: Array, W1: Array, W2: Array, activation: str = "relu") -> TwoLayerGradients:
    """∇W1 = Xᵀ [(S - I_y) W2ᵀ ∘ σ'(X W1)]/m and ∇W2 = σ(X W1)ᵀ (S - I_y)/m."""
    sigma, sigma_backward = getattr(activations, activation), getattr(activations, f"{activation}_backward")
    A = X @ W1
    Z = sigma(A)
    G = losses.softmax_cross_entropy_backward(Z @ W2, y)  # (S - I_y) / m
    return TwoLayerGradients(dW1=X.T @ sigma_backward(G @ W2.T, A), dW2=Z.T @ G)
