"""The flat vectors of a network's numbers: how many are each layer's, and where they lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from backsweep._checks import Array

Spec = tuple[int, int, str, bool, str, float]  # n_in, n_out, activation, bias, kind, p


class Parameters(NamedTuple):
    """W[i] and b[i] of one layer, or γ and β: views into a flat vector."""

    W: Array
    b: Array | None


def W_shape(layer: Spec) -> tuple[int, ...]:
    """Of W, or of γ; no entry where there are no parameters."""
    n_in, n_out, _, _, kind, _ = layer
    return {"dense": (n_in, n_out), "dropout": (0,)}.get(kind, (n_out,))


def parameter_count(layer: Spec) -> int:
    """Numbers in W and b."""
    _, n_out, _, bias, _, _ = layer
    return math.prod(W_shape(layer)) + bias * n_out


def buffer_count(layer: Spec) -> int:
    """Numbers that it keeps beside its parameters: a running mean and variance."""
    _, n_out, _, _, kind, _ = layer
    return 2 * n_out if kind == "batch_norm" else 0


def split(theta: Array, layers: Sequence[Spec]) -> list[Parameters]:
    """The flat vector as W[0], b[0], W[1], ...: the parameters, or their gradients."""
    views = []
    begin = 0
    for layer in layers:
        _, _, _, bias, _, _ = layer
        shape, end = W_shape(layer), begin + parameter_count(layer)
        W = theta[begin : begin + math.prod(shape)].reshape(shape)
        views.append(Parameters(W, theta[begin + W.size : end] if bias else None))
        begin = end
    return views


def running(buffers: Array, layers: Sequence[Spec]) -> list[tuple[Array, Array] | None]:
    """Each layer's running mean and variance: views into the flat vector; None where it has none."""
    views: list[tuple[Array, Array] | None] = []
    begin = 0
    for layer in layers:
        end = begin + buffer_count(layer)
        middle = (begin + end) // 2
        views.append((buffers[begin:middle], buffers[middle:end]) if begin < end else None)
        begin = end
    return views
