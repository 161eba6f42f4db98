"""What a fitted network makes of rows layer by layer, and how its outputs change with its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from backsweep import functional
from backsweep._checks import Array

if TYPE_CHECKING:
    from backsweep.network import Network

# Of each kind of layer A from (Z, W, b), and the gradient by Z from (D, Z, W).
FORWARD: dict[str, Callable[..., Array]] = {
    "dense": functional.dense,
    "layer_norm": functional.layer_norm,
}
BACKWARD: dict[str, Callable[..., Array]] = {
    "dense": lambda D, Z, W: functional.dense_backward(D, Z, W)[0],
    "layer_norm": lambda D, Z, W: functional.layer_norm_backward(D, Z, W)[0],
}


def values(network: Network, X: Array) -> tuple[list[Array], list[Array]]:
    """Z[0] = X, Z[1], ..., and A[0], A[1], ..., as in a prediction."""
    Z, A = [X], []
    for W, b, layer in zip(network.W, network.b, network.layers, strict=True):
        A.append(FORWARD[layer.kind](Z[-1], W, b))
        Z.append(getattr(functional, layer.activation)(A[-1]))
    return Z, A


def slopes(network: Network, X: Array) -> Array:
    """``J[i, k, n] = ∂Z[L][i, k] / ∂X[i, n]``."""
    Z, A = values(network, X)
    J = np.empty((len(X), network.n_out, network.n_in), network.dtype)
    for k in range(network.n_out):
        G = np.zeros_like(Z[-1])
        G[:, k] = 1
        for i in reversed(range(len(network.layers))):
            D = getattr(functional, f"{network.layers[i].activation}_backward")(G, A[i])
            G = BACKWARD[network.layers[i].kind](D, Z[i], network.W[i])
        J[:, k] = G
    return J
