"""The notes' network of two layers in closed form."""

from __future__ import annotations

from backsweep import _checks, _core
from backsweep import functional as F
from backsweep._checks import Array
from backsweep.reference.calculus import TwoLayerGradients


def two_layer_gradients(X: Array, y: Array, W1: Array, W2: Array, activation: str = "relu") -> TwoLayerGradients:
    """The gradients of the softmax cross-entropy of ``σ(X W1) W2``, without a sweep.

    With S the softmax of the logits, rows of S - I_y are the gradients by rows of the logits, and two applications
    of the rule for a product give

        ∇W2 = σ(X W1)ᵀ (S - I_y)/m
        ∇W1 = Xᵀ [(S - I_y) W2ᵀ ∘ σ'(X W1)]/m

    They are what the general sweep gives for two layers without biases, to rounding.

    Parameters
    ----------
    X : (m, n)
    y : (m,) or (m, k)
        Labels 0..k-1, or probabilities.
    W1 : (n, h)
    W2 : (h, k)
    activation : str
        The name of σ.

    Returns
    -------
    dW1 : (n, h)
    dW2 : (h, k)
    """
    _checks.known_name(activation, _core.activations, "activation")
    X, W1, W2 = F._matrices(X=X, W1=W1, W2=W2)
    for name, matrix in (("X", X), ("W1", W1), ("W2", W2)):
        if matrix.ndim != 2 or matrix.size == 0:
            raise ValueError(f"{name} must have two dimensions and at least one row and column, got {matrix.shape}")
    if len(W1) != X.shape[1]:
        raise ValueError(f"W1 must have shape ({X.shape[1]}, h), got {W1.shape}")
    if len(W2) != W1.shape[1]:
        raise ValueError(f"W2 must have shape ({W1.shape[1]}, k), got {W2.shape}")

    A = F.dense(X, W1)
    Z = getattr(F, activation)(A)
    G = F.softmax_cross_entropy_backward(F.dense(Z, W2), y)  # (S - I_y)/m
    D = getattr(F, f"{activation}_backward")(F.dense(G, W2.T), A)
    return TwoLayerGradients(dW1=F.dense(X.T, D), dW2=F.dense(Z.T, G))
