"""The dense layer: ``Z[i+1] = σ(Z[i] W[i] + b[i])`` and its gradients (the notes' general sweep)."""

from __future__ import annotations

from backsweep._checks import Array
from backsweep.reference import activations


def preactivation(Z: Array, W: Array, b: Array | None) -> Array:
    return Z @ W if b is None else Z @ W + b


def dense(Z: Array, W: Array, b: Array | None = None, activation: str = "identity") -> Array:
    sigma = getattr(activations, activation)
    A = preactivation(Z, W, b)
    Z_next: Array = sigma(A)
    return Z_next


def dense_backward(
    G_next: Array, Z: Array, W: Array, b: Array | None = None, activation: str = "identity"
) -> tuple[Array, Array, Array | None]:
    sigma_backward = getattr(activations, f"{activation}_backward")
    A = preactivation(Z, W, b)
    D = sigma_backward(G_next, A)  # G_{i+1} ∘ σ'
    G = D @ W.T
    dW = Z.T @ D
    db = None if b is None else D.sum(axis=0)
    return G, dW, db
