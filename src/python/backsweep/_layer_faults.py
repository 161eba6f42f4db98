"""The slips of layers that normalise or drop, and of the pass in which they do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from backsweep._checks import Array
from backsweep._faults import Slip
from backsweep._kinds import Dropout, Kind
from backsweep._norm_kinds import BatchNorm, Normalising, OfItself, RunningNorm
from backsweep._sweeps import Backward, Forward, Problem, backward, forward
from backsweep.reference import normalisation

FOR_TRAINING = "prediction: in training Dropout multiplies by M[i] and BatchNorm takes the batch's statistics"
FOR_PREDICTION = (
    "training, which training=True checks: in prediction nothing is dropped, and BatchNorm takes its running statistics"
)


class Unbiased(BatchNorm):
    """A batch norm whose variance is over m - 1."""

    def normalised(self, Z: Array) -> tuple[Array, Array]:
        r = normalisation._reciprocal_deviation(Z.var(axis=0, ddof=1))
        return (Z - Z.mean(axis=0)) * r, r

    def down(self, D: Array, Z: Array, W: Array) -> Array:
        Zhat, r = self.normalised(Z)
        E = D * W
        G: Array = r * (E - self.mean(E) - Zhat * (E * Zhat).sum(axis=0) / (len(Z) - 1))
        return G


def layer_slips(p: Problem, f: Forward, right: Backward) -> Iterator[Slip]:
    """All of them."""
    yield from _of_the_pass(p)
    for i, kind in enumerate(p.kinds):
        if isinstance(kind, Normalising):
            yield from _of_normalising(p, f, right, i, kind)
        elif isinstance(kind, Dropout):
            yield from _of_dropping(p, f, right, i, kind)


def _with_kinds(p: Problem, changes: dict[int, Kind]) -> dict[str, Array]:
    """The gradients of another function: that of other kinds of layers."""
    q = p._replace(kinds=tuple(changes.get(i, kind) for i, kind in enumerate(p.kinds)))
    return backward(q, forward(q)).gradients()


def _of_the_pass(p: Problem) -> Iterator[Slip]:
    """Prediction for training, or training for prediction."""
    if p.other_pass is None:
        return
    differ: dict[int, Kind] = {
        i: kind for i, kind in enumerate(p.other_pass) if isinstance(kind, (Dropout, BatchNorm, RunningNorm))
    }
    sentence = f"it is of the pass of {FOR_TRAINING if p.training else FOR_PREDICTION}"
    yield Slip("other_pass", sentence, _with_kinds(p, differ))
    if len(differ) > 1:
        for i, kind in differ.items():
            yield Slip("other_pass", f"in layer {i} {sentence}", _with_kinds(p, {i: kind}))


def _of_normalising(p: Problem, f: Forward, right: Backward, i: int, kind: Normalising) -> Iterator[Slip]:
    """What else depends on Z[i], and on γ."""
    rule = f"G[{i}] = {kind.says_down(i)}"
    Zhat, r = kind.normalised(f.Z[i])
    scaled = right.D[i] * p.W[i]

    def slip(fault: str, sentence: str, G: Array) -> Slip:
        return Slip(fault, f"{sentence}: {rule}", backward(p, f, replaced={i: G}).gradients())

    if isinstance(kind, OfItself):
        mean, along = kind.mean(scaled), Zhat * kind.mean(scaled * Zhat)
        yield slip("statistics_constant", "mean and deviation are taken for constants", r * scaled)
        yield slip("statistics_constant", "the deviation is taken for a constant", r * (scaled - mean))
        yield slip("statistics_constant", "the mean is taken for a constant", r * (scaled - along))
        yield slip("scale_missing", f"r[{i}] of layer {i} is missing on the way down", scaled - mean - along)
    else:
        mean, along = scaled.mean(axis=0), Zhat * (scaled * Zhat).mean(axis=0)
        yield slip("other_pass", f"the running statistics are taken for functions of Z[{i}], as the batch's are",
                   r * (scaled - mean - along))  # fmt: skip
        yield slip("scale_missing", f"r[{i}] of layer {i} is missing on the way down", scaled)
    if isinstance(kind, BatchNorm):
        yield Slip("unbiased_variance", f"the variance of layer {i} is divided by m - 1, which only the running one is",
                   _with_kinds(p, {i: Unbiased()}))  # fmt: skip
    ones = [np.ones_like(W) if j == i else W for j, W in enumerate(p.W)]
    yield Slip("scale_missing", f"W[{i}], the γ of layer {i}, is missing on the way down: {rule}",
               backward(p, f, weights=ones).gradients())  # fmt: skip
    yield Slip("stale_activation", f"Z[{i}] stands in the place of Ẑ[{i}]: dW[{i}] = {kind.says_weights(i)}",
               {**right.gradients(), f"W[{i}]": (right.D[i] * f.Z[i]).sum(axis=0)})  # fmt: skip


def _of_dropping(p: Problem, f: Forward, right: Backward, i: int, kind: Dropout) -> Iterator[Slip]:
    """M[i] only one way, or without its scale; in prediction, any of it."""
    rule = f"G[{i}] = {kind.says_down(i)}"
    D, kept = right.D[i], 1 - p.layers[i].p

    def down(sentence: str, G: Array) -> Slip:
        return Slip("dropout", f"{sentence}: {rule}", backward(p, f, replaced={i: G}).gradients())

    if kind.M is not None:
        present = (kind.M > 0).astype(D.dtype)
        yield down(f"M[{i}] is missing on the way down", D)
        yield down(f"1/(1 - p) is missing on the way down, M[{i}] is 0 or {1 / kept:.4g}", D * present)
        yield Slip("dropout", f"1/(1 - p) is missing: M[{i}] is 0 or {1 / kept:.4g}",
                   _with_kinds(p, {i: replace(kind, M=present)}))  # fmt: skip
        return
    yield Slip("dropout", f"Z[{i}] is multiplied by 1 - p in prediction, but training has divided by it: "
               f"A[{i}] = Z[{i}]", _with_kinds(p, {i: Dropout(np.full_like(D, kept))}))  # fmt: skip
    yield down("the gradient is multiplied by 1 - p on the way down", kept * D)
    masked = None if p.other_pass is None else p.other_pass[i]
    if isinstance(masked, Dropout) and masked.M is not None:
        yield down(f"M[{i}] is there on the way down, but in prediction nothing is dropped", D * masked.M)
