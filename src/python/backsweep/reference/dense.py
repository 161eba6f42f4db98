"""The dense layer: ``Z[i+1] = σ(Z[i] W[i] + b[i])`` and its gradients (the notes' general sweep)."""

from __future__ import annotations

from backsweep._checks import Array
from backsweep.reference import activations
from backsweep.reference.bfloat16 import rounded_to_bf16


def preactivation(Z: Array, W: Array, b: Array | None, bf16: bool = False) -> Array:
    """``A = Z W + b``; in bf16 with Z and W rounded, and summed in their dtype."""
    if bf16:
        Z, W = rounded_to_bf16(Z), rounded_to_bf16(W)
    return Z @ W if b is None else Z @ W + b


def preactivation_backward(
    D: Array, Z: Array, W: Array, b: Array | None, bf16: bool = False
) -> tuple[Array, Array, Array | None]:
    """``G = D Wᵀ``, ``dW = Zᵀ D`` and db, the column sums of D; in bf16 with D, Z and W rounded."""
    if bf16:
        D, Z, W = rounded_to_bf16(D), rounded_to_bf16(Z), rounded_to_bf16(W)
    G = D @ W.T
    dW = Z.T @ D
    db = None if b is None else D.sum(axis=0)
    return G, dW, db


def dense(Z: Array, W: Array, b: Array | None = None, activation: str = "identity") -> Array:
    """``Z_next = σ(Z W + b)`` (m, n_out), from Z (m, n_in), W (n_in, n_out) and b (n_out,) or None."""
    sigma = getattr(activations, activation)
    A = preactivation(Z, W, b)
    Z_next: Array = sigma(A)
    return Z_next


def dense_backward(
    G_next: Array, Z: Array, W: Array, b: Array | None = None, activation: str = "identity"
) -> tuple[Array, Array, Array | None]:
    """``D = G_next ∘ σ'(Z W + b)``, then ``G = D Wᵀ``, ``dW = Zᵀ D`` and db, the column sums of D."""
    sigma_backward = getattr(activations, f"{activation}_backward")
    A = preactivation(Z, W, b)
    D = sigma_backward(G_next, A)  # G_{i+1} ∘ σ'
    return preactivation_backward(D, Z, W, b)
