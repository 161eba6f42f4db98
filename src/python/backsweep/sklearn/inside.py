"""What a fitted network makes of rows layer by layer, and how its outputs change with its inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backsweep import functional
from backsweep._checks import Array
from backsweep.network import Network
from backsweep.reference.normalisation import batch_norm_given, batch_norm_given_backward


def _shift(network: Network, i: int) -> Array:
    """β, which a layer that normalises always has."""
    beta = network.b[i]
    assert beta is not None
    return beta


def _running(network: Network, i: int) -> tuple[Array, Array]:
    """The mean and the variance that a batch norm takes in a prediction."""
    mean, variance = network.running_mean[i], network.running_var[i]
    assert mean is not None  # a batch norm has both
    assert variance is not None
    return mean, variance


# Of each kind of layer A[i] from Z[i] as in a prediction, and the gradient by Z[i] from D[i].
FORWARD: dict[str, Callable[[Network, int, Array], Array]] = {
    "dense": lambda net, i, Z: functional.dense(Z, net.W[i], net.b[i]),
    "layer_norm": lambda net, i, Z: functional.layer_norm(Z, net.W[i], _shift(net, i)),
    "batch_norm": lambda net, i, Z: batch_norm_given(Z, *_running(net, i), net.W[i], _shift(net, i)),
    "dropout": lambda net, i, Z: Z,
}
BACKWARD: dict[str, Callable[[Network, int, Array, Array], Array]] = {
    "dense": lambda net, i, D, Z: functional.dense_backward(D, Z, net.W[i])[0],
    "layer_norm": lambda net, i, D, Z: functional.layer_norm_backward(D, Z, net.W[i])[0],
    "batch_norm": lambda net, i, D, Z: batch_norm_given_backward(D, Z, *_running(net, i), net.W[i])[0],
    "dropout": lambda net, i, D, Z: D,
}


def values(network: Network, X: Array) -> tuple[list[Array], list[Array]]:
    """Z[0] = X, Z[1], ..., and A[0], A[1], ..., as in a prediction."""
    Z, A = [X], []
    for i, layer in enumerate(network.layers):
        A.append(FORWARD[layer.kind](network, i, Z[-1]))
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
            G = BACKWARD[network.layers[i].kind](network, i, D, Z[i])
        J[:, k] = G
    return J
