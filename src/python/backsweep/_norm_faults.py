"""The slips of a backward pass through a layer norm."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from backsweep._checks import Array
from backsweep._faults import Slip
from backsweep._sweeps import Backward, Forward, Problem, backward
from backsweep.reference import normalisation


def norm_slips(p: Problem, f: Forward, right: Backward) -> Iterator[Slip]:
    """A layer norm's own: what else depends on Z[i], and on γ."""
    exact = right.gradients()
    for i in [i for i in range(p.depth) if p.layers[i].kind == "layer_norm"]:
        rule = f"G[{i}] = {p.kind(i).says_down(i)}"
        Zhat, r = normalisation._normalised(f.Z[i])
        scaled = right.D[i] * p.W[i]
        along = Zhat * (scaled * Zhat).mean(axis=1, keepdims=True)

        def slip(sentence: str, G: Array, i: int = i, rule: str = rule) -> Slip:
            return Slip("statistics_constant", f"{sentence}: {rule}", backward(p, f, replaced={i: G}).gradients())

        yield slip("mean and deviation are taken for constants", r * scaled)
        yield slip("the deviation is taken for a constant", r * (scaled - scaled.mean(axis=1, keepdims=True)))
        yield slip("the mean is taken for a constant", r * (scaled - along))
        ones = [np.ones_like(W) if j == i else W for j, W in enumerate(p.W)]
        yield Slip("scale_missing", f"W[{i}], the γ of layer {i}, is missing on the way down: {rule}",
                   backward(p, f, weights=ones).gradients())  # fmt: skip
        yield Slip("stale_activation", f"Z[{i}] stands in the place of Ẑ[{i}]: dW[{i}] = {p.kind(i).says_weights(i)}",
                   {**exact, f"W[{i}]": (right.D[i] * f.Z[i]).sum(axis=0)})  # fmt: skip
