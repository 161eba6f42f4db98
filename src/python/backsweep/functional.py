"""The compiled functions behind a network, in pairs: a value, and beside it the gradient.

Every function has a twin of the same name and signature in `backsweep.reference`. Arrays are float32 or
float64; one of another real dtype is taken as float64 (float32 where another argument is), one of another
layout is copied. ``A``, ``Z``, ``G`` and their like are matrices whose rows are samples; activations, which work
entry by entry, take arrays of any shape.

All but the updates take traced values as well, inside `vjp` and `grad` (`functional_rules`).

Longer than 300 lines because a user reads the documentation of all functions here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from backsweep import _checks, _core
from backsweep._checks import Array
from backsweep._tape import traceable

__all__ = [
    "adam_update", "adamw_update", "batch_norm", "batch_norm_backward", "dense", "dense_backward", "dropout",
    "dropout_backward", "elu", "elu_backward", "gelu", "gelu_backward", "huber", "huber_backward", "identity",
    "identity_backward", "layer_norm", "layer_norm_backward", "leaky_relu", "leaky_relu_backward",
    "mean_absolute_error", "mean_absolute_error_backward", "mean_squared_error", "mean_squared_error_backward",
    "poisson", "poisson_backward", "relu", "relu_backward", "rmsprop_update", "sgd_update", "sigmoid",
    "sigmoid_backward", "sigmoid_cross_entropy", "sigmoid_cross_entropy_backward", "silu", "silu_backward", "softmax",
    "softmax_cross_entropy", "softmax_cross_entropy_backward", "softplus", "softplus_backward", "tanh", "tanh_backward",
]  # fmt: skip


def _matrices(**named: object) -> list[Array]:
    """The arguments as matrices of one dtype that the core takes as they are."""
    arrays = {name: _checks.real_array(value, name) for name, value in named.items()}
    floats = {array.dtype.newbyteorder("=") for array in arrays.values() if array.dtype.kind == "f"}
    dtype = np.dtype(np.float32) if floats == {np.dtype(np.float32)} else np.dtype(np.float64)
    return [np.require(array, dtype, ["C", "ALIGNED"]) for array in arrays.values()]


# Activations work entry by entry, so on arrays of any shape; the core knows matrices.
def _activation(sigma: str, A: Array) -> Array:
    (A,) = _matrices(A=A)
    if A.ndim == 2:
        return _core.activation_forward(sigma, A)
    Z: Array = _core.activation_forward(sigma, A.reshape(1, -1)).reshape(A.shape)[()]
    return Z


def _activation_backward(sigma: str, G: Array, A: Array) -> Array:
    G, A = _matrices(G=G, A=A)
    if A.ndim == G.ndim == 2:
        return _core.activation_backward(sigma, G, A)
    if G.shape != A.shape:
        raise ValueError(f"G must have shape {A.shape}, got {G.shape}")
    D: Array = _core.activation_backward(sigma, G.reshape(1, -1), A.reshape(1, -1)).reshape(A.shape)[()]
    return D


@traceable
def identity(A: Array) -> Array:
    """``Z = A``."""
    return _activation("identity", A)


@traceable
def identity_backward(G: Array, A: Array) -> Array:
    """``D = G``."""
    return _activation_backward("identity", G, A)


@traceable
def relu(A: Array) -> Array:
    """``Z = max(A, 0)``."""
    return _activation("relu", A)


@traceable
def relu_backward(G: Array, A: Array) -> Array:
    """``D = G ∘ [A > 0]``; the slope at the kink is 0."""
    return _activation_backward("relu", G, A)


@traceable
def leaky_relu(A: Array) -> Array:
    """``Z = A`` where ``A > 0``, else ``0.01 A``."""
    return _activation("leaky_relu", A)


@traceable
def leaky_relu_backward(G: Array, A: Array) -> Array:
    """``D = G`` where ``A > 0``, else ``0.01 G``."""
    return _activation_backward("leaky_relu", G, A)


@traceable
def elu(A: Array) -> Array:
    """``Z = A`` where ``A > 0``, else ``exp(A) - 1``."""
    return _activation("elu", A)


@traceable
def elu_backward(G: Array, A: Array) -> Array:
    """``D = G`` where ``A > 0``, else ``G ∘ exp(A)``."""
    return _activation_backward("elu", G, A)


@traceable
def sigmoid(A: Array) -> Array:
    """``Z = 1 / (1 + exp(-A))``."""
    return _activation("sigmoid", A)


@traceable
def sigmoid_backward(G: Array, A: Array) -> Array:
    """``D = G ∘ Z ∘ (1 - Z)``."""
    return _activation_backward("sigmoid", G, A)


@traceable
def tanh(A: Array) -> Array:
    """``Z = tanh(A)``."""
    return _activation("tanh", A)


@traceable
def tanh_backward(G: Array, A: Array) -> Array:
    """``D = G ∘ (1 - Z ∘ Z)``."""
    return _activation_backward("tanh", G, A)


@traceable
def softplus(A: Array) -> Array:
    """``Z = log(1 + exp(A))``, taken for ``A`` beyond 20."""
    return _activation("softplus", A)


@traceable
def softplus_backward(G: Array, A: Array) -> Array:
    """``D = G ∘ sigmoid(A)``, taken for ``G`` beyond 20."""
    return _activation_backward("softplus", G, A)


@traceable
def gelu(A: Array) -> Array:
    """``Z = A ∘ Φ(A)``, Φ the normal distribution function (exact, not the tanh approximation)."""
    return _activation("gelu", A)


@traceable
def gelu_backward(G: Array, A: Array) -> Array:
    """``D = G ∘ (Φ(A) + A ∘ φ(A))``."""
    return _activation_backward("gelu", G, A)


@traceable
def silu(A: Array) -> Array:
    """``Z = A ∘ sigmoid(A)``."""
    return _activation("silu", A)


@traceable
def silu_backward(G: Array, A: Array) -> Array:
    """``D = G ∘ S ∘ (1 + A ∘ (1 - S))``, S = sigmoid(A)."""
    return _activation_backward("silu", G, A)


def _dense_arguments(activation: str, b: Array | None, **named: Array) -> tuple[list[Array], Array | None]:
    _checks.known_name(activation, _core.activations, "activation")
    if b is None:
        return _matrices(**named), None
    *matrices, b = _matrices(**named, b=b)
    return matrices, b


@traceable
def dense(Z: Array, W: Array, b: Array | None = None, activation: str = "identity") -> Array:
    """``Z_next = σ(Z W + b)``.

    Parameters
    ----------
    Z : (m, n_in)
    W : (n_in, n_out)
    b : (n_out,), optional
    activation : str
        The name of σ.

    Returns
    -------
    Z_next : (m, n_out)
    """
    (Z, W), b = _dense_arguments(activation, b, Z=Z, W=W)
    return _core.dense(Z, W, b, activation)


@traceable
def dense_backward(
    G_next: Array, Z: Array, W: Array, b: Array | None = None, activation: str = "identity"
) -> tuple[Array, Array, Array | None]:
    """The gradients of `dense`: ``D = G_next ∘ σ'``, ``G = D Wᵀ``, ``dW = Zᵀ D``, ``db`` = column sums of D.

    Parameters
    ----------
    G_next : (m, n_out)
        The gradient with respect to ``dense(Z, W, b, activation)``.
    Z, W, b, activation
        As they were given to `dense`.

    Returns
    -------
    G : (m, n_in)
    dW : (n_in, n_out)
    db : (n_out,), or None where b is None
    """
    (G_next, Z, W), b = _dense_arguments(activation, b, G_next=G_next, Z=Z, W=W)
    return _core.dense_backward(G_next, Z, W, b, activation)


def _dropped(Z: Array, p: float, seed: int, step: int, layer: int) -> Array:
    numbers = {"seed": seed, "step": step, "layer": layer}
    whole = [_checks.whole_number(value, name, 0) for name, value in numbers.items()]
    return _core.dropout(Z, _checks.number(p, "p", below=1.0), *whole)


@traceable
def batch_norm(Z: Array, gamma: Array, beta: Array) -> Array:
    """``A = Ẑ ∘ γ + β``, Ẑ the rows of Z with mean 0 and variance 1 in each column: a training pass of `BatchNorm`.

    Parameters
    ----------
    Z : (m, n)
        At least two rows.
    gamma, beta : (n,)

    Returns
    -------
    A : (m, n)
    """
    Z, gamma, beta = _matrices(Z=Z, gamma=gamma, beta=beta)
    return _core.batch_norm(Z, gamma, beta)


@traceable
def batch_norm_backward(D: Array, Z: Array, gamma: Array) -> tuple[Array, Array, Array]:
    """The gradients of `batch_norm`: ``G = r (γ D - mean(γ D) - Ẑ mean(γ D ∘ Ẑ))``, r one over the deviation; dγ, dβ.

    Parameters
    ----------
    D : (m, n)
        The gradient with respect to ``batch_norm(Z, gamma, beta)``.
    Z, gamma
        As they were given to `batch_norm`.

    Returns
    -------
    G : (m, n)
    dgamma, dbeta : (n,)
        The column sums of ``D ∘ Ẑ`` and of D.
    """
    D, Z, gamma = _matrices(D=D, Z=Z, gamma=gamma)
    return _core.batch_norm_backward(D, Z, gamma)


@traceable
def dropout(Z: Array, p: float, seed: int = 0, step: int = 0, layer: int = 0) -> Array:
    """``Z_next = Z ∘ M``: an entry of M is 0 with probability p, else 1/(1 - p).

    M is a function of the numbers after it and of the entry's place: ``dropout(np.ones((m, n)), p, seed, step, layer)``
    is M itself. Its random words are Threefry-2x32's (Salmon, Moraes, Dror and Shaw, 2011).

    Parameters
    ----------
    Z : (m, n)
    p : float
        At least 0 and below 1.
    seed, step, layer : int
        For a network those of `Network.dropout_masks`.

    Returns
    -------
    Z_next : (m, n)
    """
    (Z,) = _matrices(Z=Z)
    return _dropped(Z, p, seed, step, layer)


@traceable
def dropout_backward(G_next: Array, p: float, seed: int = 0, step: int = 0, layer: int = 0) -> Array:
    """``G = G_next ∘ M``, with the M of `dropout`."""
    (G_next,) = _matrices(G_next=G_next)
    return _dropped(G_next, p, seed, step, layer)


@traceable
def layer_norm(Z: Array, gamma: Array, beta: Array) -> Array:
    """``A = Ẑ ∘ γ + β``, Ẑ the rows of Z at mean 0 and variance 1: ``Ẑ = (Z - mean) / √(variance + 1e-5)``.

    Parameters
    ----------
    Z : (m, n)
    gamma, beta : (n,)

    Returns
    -------
    A : (m, n)

    References
    ----------
    Ba, Kiros and Hinton (2016), Layer Normalization.
    """
    return _core.layer_norm(*_matrices(Z=Z, gamma=gamma, beta=beta))


@traceable
def layer_norm_backward(D: Array, Z: Array, gamma: Array) -> tuple[Array, Array, Array]:
    """The gradients of `layer_norm`, ``G = r (γ D - mean(γ D) - Ẑ mean(γ D ∘ Ẑ))`` with ``r = 1 / √(variance + 1e-5)``.

    Means are taken along each row.

    Parameters
    ----------
    D : (m, n)
        The gradient with respect to ``layer_norm(Z, gamma, beta)``.
    Z, gamma
        As they were given to `layer_norm`; no gradient depends on beta.

    Returns
    -------
    G : (m, n)
    dgamma : (n,)
        Column sums of ``D ∘ Ẑ``.
    dbeta : (n,)
        Column sums of D.
    """
    return _core.layer_norm_backward(*_matrices(D=D, Z=Z, gamma=gamma))


@traceable
def softmax(Z: Array) -> Array:
    """``S = exp(Z) / Σ exp(Z)`` along each row, however large the entries of Z."""
    (Z,) = _matrices(Z=Z)
    return _core.softmax(Z)


def _loss_arguments(loss: str, Z: Array, y: Array, sample_weight: Array | None) -> tuple[Array, Array, Array | None]:
    (Z,) = _matrices(Z=Z)
    if Z.ndim != 2 or Z.size == 0:
        raise ValueError(f"Z must have shape (m, k) with at least one row and column, got {Z.shape}")
    m, k = Z.shape
    y, labels = _checks.targets(y, m, k, loss, Z.dtype)
    if labels:
        _checks.labels(y, k)
    w = _checks.weights(sample_weight, m, Z.dtype)
    y = np.require(y, np.int64 if labels else Z.dtype, ["C", "ALIGNED"])
    return Z, y, None if w is None else np.require(w, Z.dtype, ["C", "ALIGNED"])


def _loss(loss: str, Z: Array, y: Array, sample_weight: Array | None) -> float:
    return _core.loss_value(loss, *_loss_arguments(loss, Z, y, sample_weight))


def _loss_backward(loss: str, Z: Array, y: Array, sample_weight: Array | None) -> Array:
    return _core.loss_gradient(loss, *_loss_arguments(loss, Z, y, sample_weight))


@traceable
def softmax_cross_entropy(Z: Array, y: Array, sample_weight: Array | None = None) -> float:
    """The mean of ``log Σ exp(z) - z_y`` over the rows of Z.

    Parameters
    ----------
    Z : (m, k)
        Logits.
    y : (m,) or (m, k)
        Labels 0..k-1, or probabilities.
    sample_weight : (m,), optional
        Makes it the weighted mean.
    """
    return _loss("softmax_cross_entropy", Z, y, sample_weight)


@traceable
def softmax_cross_entropy_backward(Z: Array, y: Array, sample_weight: Array | None = None) -> Array:
    """``G = (S - I_y) / m``, S the softmax of Z and I_y the labels as rows of the identity."""
    return _loss_backward("softmax_cross_entropy", Z, y, sample_weight)


@traceable
def sigmoid_cross_entropy(Z: Array, y: Array, sample_weight: Array | None = None) -> float:
    """The mean of ``-y log σ(Z) - (1 - y) log(1 - σ(Z))`` over samples and outputs; y in [0, 1]."""
    return _loss("sigmoid_cross_entropy", Z, y, sample_weight)


@traceable
def sigmoid_cross_entropy_backward(Z: Array, y: Array, sample_weight: Array | None = None) -> Array:
    """``G = (σ(Z) - y) / (m k)``."""
    return _loss_backward("sigmoid_cross_entropy", Z, y, sample_weight)


@traceable
def mean_squared_error(Z: Array, y: Array, sample_weight: Array | None = None) -> float:
    """The mean of ``(Z - y)²`` over samples and outputs."""
    return _loss("mean_squared_error", Z, y, sample_weight)


@traceable
def mean_squared_error_backward(Z: Array, y: Array, sample_weight: Array | None = None) -> Array:
    """``G = 2 (Z - y) / (m k)``."""
    return _loss_backward("mean_squared_error", Z, y, sample_weight)


@traceable
def mean_absolute_error(Z: Array, y: Array, sample_weight: Array | None = None) -> float:
    """The mean of ``|Z - y|`` over samples and outputs."""
    return _loss("mean_absolute_error", Z, y, sample_weight)


@traceable
def mean_absolute_error_backward(Z: Array, y: Array, sample_weight: Array | None = None) -> Array:
    """``G = sign(Z - y) / (m k)``."""
    return _loss_backward("mean_absolute_error", Z, y, sample_weight)


@traceable
def huber(Z: Array, y: Array, sample_weight: Array | None = None) -> float:
    """The mean of ``d²/2`` where ``d = |Z - y|`` is at most 1, else of ``d - 1/2``, over samples and outputs."""
    return _loss("huber", Z, y, sample_weight)


@traceable
def huber_backward(Z: Array, y: Array, sample_weight: Array | None = None) -> Array:
    """``G = clip(Z - y, -1, 1) / (m k)``."""
    return _loss_backward("huber", Z, y, sample_weight)


@traceable
def poisson(Z: Array, y: Array, sample_weight: Array | None = None) -> float:
    """The mean of ``exp(Z) - y Z`` over samples and outputs: Z is the logarithm of the rate, y a count."""
    return _loss("poisson", Z, y, sample_weight)


@traceable
def poisson_backward(Z: Array, y: Array, sample_weight: Array | None = None) -> Array:
    """``G = (exp(Z) - y) / (m k)``."""
    return _loss_backward("poisson", Z, y, sample_weight)


def _update(
    kind: str, theta: Array, dtheta: Array, state: Sequence[Array], step: int, learning_rate: float, **own: Any
) -> None:
    """The vectors are written in place, so none is ever converted: one that does not fit is refused."""
    for name, vector in [("theta", theta), ("dtheta", dtheta), *((f"state[{i}]", v) for i, v in enumerate(state))]:
        fits = isinstance(vector, np.ndarray) and vector.ndim == 1 and vector.flags.c_contiguous
        if not fits or vector.dtype not in (np.float32, np.float64) or vector.dtype != theta.dtype:
            got = f"{vector.dtype} {vector.shape}" if isinstance(vector, np.ndarray) else type(vector).__name__
            raise TypeError(f"{name} must be a contiguous vector of float32 or float64, all of one dtype, got {got}")
    _checks.whole_number(step, "step", 0)
    _core.optimizer_update(theta, dtheta, list(state), {"kind": kind, **own}, learning_rate, step)


def sgd_update(
    theta: Array, dtheta: Array, state: Sequence[Array], step: int, learning_rate: float, *,
    momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0, clip_norm: float = 0.0,
) -> None:  # fmt: skip
    """One step of gradient descent on ``theta``, in place. State: the velocity, where there is a momentum."""
    _update("sgd", theta, dtheta, state, step, learning_rate, momentum=momentum, nesterov=nesterov,
            weight_decay=weight_decay, clip_norm=clip_norm)  # fmt: skip


def adam_update(
    theta: Array, dtheta: Array, state: Sequence[Array], step: int, learning_rate: float, *,
    beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, weight_decay: float = 0.0,
    clip_norm: float = 0.0, epsilon_hat: bool = False,
) -> None:  # fmt: skip
    """One step of Adam on ``theta``, in place. State: the first and the second moment.

    With ``epsilon_hat``, ε is added to √v as it is (the paper's section 2), not to √v̂.
    """
    _update("adam", theta, dtheta, state, step, learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon,
            weight_decay=weight_decay, clip_norm=clip_norm, epsilon_hat=epsilon_hat)  # fmt: skip


def adamw_update(
    theta: Array, dtheta: Array, state: Sequence[Array], step: int, learning_rate: float, *,
    beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, weight_decay: float = 0.01,
    clip_norm: float = 0.0, epsilon_hat: bool = False,
) -> None:  # fmt: skip
    """One step of AdamW on ``theta``, in place. State: the first and the second moment."""
    _update("adamw", theta, dtheta, state, step, learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon,
            weight_decay=weight_decay, clip_norm=clip_norm, epsilon_hat=epsilon_hat)  # fmt: skip


def rmsprop_update(
    theta: Array, dtheta: Array, state: Sequence[Array], step: int, learning_rate: float, *,
    alpha: float = 0.99, epsilon: float = 1e-8, weight_decay: float = 0.0, momentum: float = 0.0,
    centered: bool = False, clip_norm: float = 0.0,
) -> None:  # fmt: skip
    """One step of RMSprop on ``theta``, in place.

    State: the average of squares; the velocity, where there is a momentum; the average, where centred.
    """
    _update("rmsprop", theta, dtheta, state, step, learning_rate, alpha=alpha, epsilon=epsilon,
            weight_decay=weight_decay, momentum=momentum, centered=centered, clip_norm=clip_norm)  # fmt: skip
