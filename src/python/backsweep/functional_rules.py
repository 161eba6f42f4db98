"""The derivatives of `functional`: its backward functions as pulls, and their own derivatives.

A pull is written ``(G, Z, *arguments)`` for a value Z, and ``(H, G, *arguments)`` for a gradient G: it returns the
product of G, or H, with the derivative by one argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from backsweep import _core
from backsweep import functional as F
from backsweep._checks import Array, known_name, real_array
from backsweep._tape import COMPOSITES, RULES, Value, is_traced
from backsweep.reference import normalisation


# Activations. D = G ∘ σ'(A) is linear in G, so H is multiplied by σ' as G was; by A it is H ∘ G ∘ σ''(A).
def _activation(
    sigma: Callable[[Array], Array], backward: Callable[[Array, Array], Array], curved: Callable[[Value, Value], Value]
) -> None:
    RULES[sigma] = (lambda G, Z, A: backward(G, A),)
    RULES[backward] = (lambda H, D, G, A: backward(H, A), lambda H, D, G, A: curved(H * G, A))


def _straight(G: Value, A: Value) -> Value:
    """Of straight pieces: σ'' is 0 wherever it exists."""
    return np.zeros_like(A)


_activation(F.identity, F.identity_backward, _straight)
_activation(F.relu, F.relu_backward, _straight)
_activation(F.leaky_relu, F.leaky_relu_backward, _straight)
_activation(F.elu, F.elu_backward, lambda G, A: G * np.exp(np.minimum(A, 0)) * (A < 0))
_activation(F.sigmoid, F.sigmoid_backward, lambda G, A: F.sigmoid_backward(G, A) * (1 - 2 * F.sigmoid(A)))
_activation(F.tanh, F.tanh_backward, lambda G, A: F.tanh_backward(G, A) * (-2 * F.tanh(A)))
_activation(F.softplus, F.softplus_backward, lambda G, A: F.sigmoid_backward(G, A) * (A <= 20))
_activation(F.gelu, F.gelu_backward, lambda G, A: G * (2 - A * A) * np.exp(-A * A / 2) / math.sqrt(2 * math.pi))
_activation(F.silu, F.silu_backward, lambda G, A: F.sigmoid_backward(G, A) * (2 + A * (1 - 2 * F.sigmoid(A))))


# The dense layer. Product, bias and σ are nodes of their own: `dense_backward` in one piece would compute A again,
# and the G of a first layer, which nobody asks for.
def _preactivation(Z: Value, W: Value, b: Value) -> tuple[Value, Value, Value]:
    """``A = Z W + b``, with Z and W as they enter it: integers in the dtype of the others."""
    given = {name: x if is_traced(x) else real_array(x, name) for name, x in (("Z", Z), ("W", W), ("b", b))
             if x is not None}  # fmt: skip
    dtype = np.result_type(*(x.dtype for x in given.values() if x.dtype.kind == "f"))
    Z, W, *bias = (x if x.dtype.kind == "f" else x.astype(dtype) for x in given.values())
    if W.ndim != 2:
        raise ValueError(f"W must have two dimensions, got {W.shape}")
    if Z.ndim != 2 or Z.shape[1] != len(W):
        raise ValueError(f"Z must have shape (m, {len(W)}), got {Z.shape}")
    if bias and bias[0].shape != W.shape[1:]:
        raise ValueError(f"b must have shape ({W.shape[1]},), got {bias[0].shape}")
    return Z @ W + bias[0] if bias else Z @ W, Z, W


def _dense(Z: Value, W: Value, b: Value = None, activation: str = "identity") -> Value:
    known_name(activation, _core.activations, "activation")
    A, _, _ = _preactivation(Z, W, b)
    return getattr(F, activation)(A)


def _dense_backward(
    G_next: Value, Z: Value, W: Value, b: Value = None, activation: str = "identity"
) -> tuple[Value, Value, Value]:
    known_name(activation, _core.activations, "activation")
    A, Z, W = _preactivation(Z, W, b)
    D = getattr(F, f"{activation}_backward")(G_next, A)
    return D @ W.T, Z.T @ D, None if b is None else D.sum(axis=0)


COMPOSITES[F.dense] = _dense
COMPOSITES[F.dense_backward] = _dense_backward


# Layer normalisation
def _layer_norm_backward(D: Value, Z: Value, gamma: Value) -> tuple[Value, Value, Value]:
    """The reference's formulas, which traced values go through."""
    D, Z, gamma = (x if is_traced(x) else real_array(x, name) for name, x in (("D", D), ("Z", Z), ("gamma", gamma)))
    if Z.ndim != 2 or D.shape != Z.shape or gamma.shape != Z.shape[1:]:
        raise ValueError(
            f"D, Z and gamma must have shapes (m, n), (m, n) and (n,), got {D.shape}, {Z.shape} and {gamma.shape}"
        )
    return normalisation.layer_norm_backward(D, Z, gamma)


RULES[F.layer_norm] = (
    lambda G, A, Z, gamma, beta: F.layer_norm_backward(G, Z, gamma)[0],
    lambda G, A, Z, gamma, beta: F.layer_norm_backward(G, Z, gamma)[1],
    lambda G, A, Z, gamma, beta: G.sum(axis=0),
)
COMPOSITES[F.layer_norm_backward] = _layer_norm_backward


# Batch normalisation: the reference's formulas, both of them.
def _require_batch(Z: Value, gamma: Value) -> None:
    if np.ndim(Z) != 2 or len(Z) < 2:
        raise ValueError(f"Z must have at least two rows, got shape {np.shape(Z)}")
    if np.shape(gamma) != Z.shape[1:]:
        raise ValueError(f"gamma must have shape {Z.shape[1:]}, got {np.shape(gamma)}")


def _batch_norm(Z: Value, gamma: Value, beta: Value) -> Value:
    if np.shape(beta) != np.shape(gamma):
        raise ValueError(f"beta must have shape {np.shape(gamma)}, got {np.shape(beta)}")
    _require_batch(Z, gamma)
    return normalisation.batch_norm(Z, gamma, beta)


def _batch_norm_backward(D: Value, Z: Value, gamma: Value) -> tuple[Value, Value, Value]:
    if np.shape(D) != np.shape(Z):
        raise ValueError(f"D must have shape {np.shape(Z)}, got {np.shape(D)}")
    _require_batch(Z, gamma)
    return normalisation.batch_norm_backward(D, Z, gamma)


COMPOSITES[F.batch_norm] = _batch_norm
COMPOSITES[F.batch_norm_backward] = _batch_norm_backward


# Dropout is linear, and its own transpose.
RULES[F.dropout] = (lambda G, Z_next, Z, p, *place: F.dropout_backward(G, p, *place),)
RULES[F.dropout_backward] = (lambda H, G, G_next, p, *place: F.dropout(H, p, *place),)


# Softmax
def _softmax_pull(G: Value, S: Value) -> Value:
    """Each row's Jacobian is diag(s) - s sᵀ."""
    return S * (G - (G * S).sum(axis=1, keepdims=True))


def _log_softmax(Z: Value) -> Value:
    shifted = Z - Z.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


RULES[F.softmax] = (lambda G, S, Z: _softmax_pull(G, S),)


# Losses. A target has a gradient where it is a value; labels and sample_weight have none.
def _in_mean(G: Value, Z: Value, w: Any) -> Value:
    """G times what each row counts in the mean over samples: 1/m, or w/Σw."""
    w = np.ones(len(Z)) if w is None else np.asarray(w, dtype=np.float64)
    return G * (w / w.sum())[:, np.newaxis].astype(Z.dtype)


def _row_sums(y: Value) -> Value:
    """Of I_y, as a column: 1 for labels, and about 1 for probabilities."""
    return 1 if np.ndim(y) == 1 else np.sum(y, axis=1, keepdims=True)


def _by_probabilities(G: Value, y: Value) -> Value:
    if np.ndim(y) == 1:
        raise TypeError(f"y must hold probabilities (m, k) to differentiate by it, got labels {np.shape(y)}")
    return G


RULES[F.softmax_cross_entropy] = (
    lambda G, loss, Z, y, w=None: G * F.softmax_cross_entropy_backward(Z, y, w),
    lambda G, loss, Z, y, w=None: _by_probabilities(-_in_mean(G, Z, w) * _log_softmax(Z), y),
)
RULES[F.softmax_cross_entropy_backward] = (
    lambda H, G, Z, y, w=None: _softmax_pull(_in_mean(H, Z, w) * _row_sums(y), F.softmax(Z)),
    lambda H, G, Z, y, w=None: _by_probabilities(_in_mean((H * F.softmax(Z)).sum(axis=1, keepdims=True) - H, Z, w), y),
)


def _entrywise(
    loss: Callable[..., float], backward: Callable[..., Array], by_y: Callable[[Value, Value], Value],
    by_Z_twice: Callable[[Value, Value], Value], by_Z_and_y: Callable[[Value, Value], Value],
) -> None:  # fmt: skip
    """A loss that is a mean over entries of Z and y, from an entry's derivatives."""

    def product(G: Value, slope: Callable[[Value, Value], Value], Z: Value, y: Value, w: Any) -> Value:
        return _in_mean(G, Z, w) / Z.shape[1] * slope(Z, np.reshape(y, Z.shape))

    RULES[loss] = (
        lambda G, value, Z, y, w=None: G * backward(Z, y, w),
        lambda G, value, Z, y, w=None: np.reshape(product(G, by_y, Z, y, w), np.shape(y)),
    )
    RULES[backward] = (
        lambda H, G, Z, y, w=None: product(H, by_Z_twice, Z, y, w),
        lambda H, G, Z, y, w=None: np.reshape(product(H, by_Z_and_y, Z, y, w), np.shape(y)),
    )


_entrywise(
    F.sigmoid_cross_entropy, F.sigmoid_cross_entropy_backward,
    lambda Z, y: -Z, lambda Z, y: F.sigmoid(Z) * F.sigmoid(-Z), lambda Z, y: -1,
)  # fmt: skip
_entrywise(
    F.mean_squared_error, F.mean_squared_error_backward,
    lambda Z, y: -2 * (Z - y), lambda Z, y: 2, lambda Z, y: -2,
)  # fmt: skip
_entrywise(
    F.mean_absolute_error, F.mean_absolute_error_backward,
    lambda Z, y: -np.sign(Z - y), lambda Z, y: 0, lambda Z, y: 0,
)  # fmt: skip
_entrywise(
    F.huber, F.huber_backward,
    lambda Z, y: -np.clip(Z - y, -1, 1), lambda Z, y: abs(Z - y) <= 1, lambda Z, y: -1.0 * (abs(Z - y) <= 1),
)  # fmt: skip
_entrywise(
    F.poisson, F.poisson_backward,
    lambda Z, y: -Z, lambda Z, y: np.exp(Z), lambda Z, y: -1,
)  # fmt: skip
