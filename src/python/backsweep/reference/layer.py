"""A layer of any kind in a sweep: forward A_i from Z_i, backward the gradients from D_i."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from backsweep._checks import Array
from backsweep.reference.bfloat16 import takes_bf16
from backsweep.reference.dense import preactivation, preactivation_backward
from backsweep.reference.dropout import dropout, dropout_backward
from backsweep.reference.normalisation import (
    batch_norm,
    batch_norm_backward,
    batch_norm_given,
    batch_norm_given_backward,
    layer_norm,
    layer_norm_backward,
)
from backsweep.reference.vectors import Spec, running, split


class Pass(NamedTuple):
    """What one pass over a batch is for: in training, what its masks are drawn from."""

    training: bool = False
    seed: int = 0
    step: int = 0


PREDICTION = Pass()


class Layer(NamedTuple):
    """A layer in its place, with its numbers: views into the flat vectors."""

    i: int
    kind: str
    sigma: str
    p: float  # of dropout
    W: Array  # or γ
    b: Array | None  # or β, which a layer that normalises always has
    statistics: tuple[Array, Array] | None  # of a batch norm: the running ones
    bf16: bool  # what its products take their operands in


def layers_of(theta: Array, buffers: Array, specs: Sequence[Spec], precision: str = "full") -> list[Layer]:
    """The layers of a network, from first to last."""
    numbers = zip(specs, split(theta, specs), running(buffers, specs), strict=True)
    return [
        Layer(i, kind, sigma, p, W, b, statistics, takes_bf16(spec, precision))
        for i, (spec, (W, b), statistics) in enumerate(numbers)
        for (_, _, sigma, _, kind, p) in [spec]
    ]


def preactivation_of(layer: Layer, Z: Array, pass_: Pass) -> Array:
    """A_i of each kind of layer."""
    W, b = layer.W, layer.b
    if layer.kind == "dropout":
        return dropout(Z, layer.p, pass_.seed, pass_.step, layer.i) if pass_.training else Z
    if layer.kind == "dense" or b is None:
        return preactivation(Z, W, b, layer.bf16)
    if layer.statistics is None:
        return layer_norm(Z, W, b)
    return batch_norm(Z, W, b) if pass_.training else batch_norm_given(Z, *layer.statistics, W, b)


def gradients_of(layer: Layer, D: Array, Z: Array, pass_: Pass) -> tuple[Array, Array, Array | None]:
    """G_i, ∇W_i and ∇b_i of each kind of layer; a dropout's ∇W_i is as empty as its W."""
    W, b = layer.W, layer.b
    if layer.kind == "dropout":
        return dropout_backward(D, layer.p, pass_.seed, pass_.step, layer.i) if pass_.training else D, W, None
    if layer.kind == "dense" or b is None:
        return preactivation_backward(D, Z, W, b, layer.bf16)
    if layer.statistics is None:
        return layer_norm_backward(D, Z, W)
    return batch_norm_backward(D, Z, W) if pass_.training else batch_norm_given_backward(D, Z, *layer.statistics, W)
