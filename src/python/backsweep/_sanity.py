"""What the quantities of two sweeps say of a network's health."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from backsweep._checks import Array
from backsweep._rounding import rounding_of_float32, rounding_of_float64
from backsweep._sweeps import Backward, Forward, Problem

LEARNED = 0.9  # a loss below this share of that of guessing knows something
TOO_SURE = 1.5  # one above this share is worse than guessing by more than initial weights should be
DEAD = 0.2  # the share of dead units from which on one should look, over what chance gives
STEEP = 10.0  # by how much G may grow or shrink in one layer
STEEP_IN_ALL = 1e3
USUAL_STEP = (1e-5, 3e-2)  # an update against its weights; 1e-3 is a good one
AGREEMENT = {"float64": 1e-9, "float32": 1e-3}


class Check(NamedTuple):
    """Something to be seen in a network's quantities.

    Attributes
    ----------
    name : str
        "initial loss", "dead units", "gradient by layer", "update/weight" or "agreement".
    layer : int, or None
    value : float
        The loss; the share of dead units; ‖G[i]‖/‖G[i+1]‖; η‖dW[i]‖/‖W[i]‖; the largest relative difference.
    expected : float, or None
        The loss of guessing.
    verdict : str
        "fine" or "look".
    sentence : str
    """

    name: str
    layer: int | None
    value: float
    expected: float | None
    verdict: str
    sentence: str

    def cells(self) -> tuple[str, ...]:
        return self.verdict, self.name, self.sentence


def checks(
    p: Problem, f: Forward, g: Backward, rate: float, own_loss: float, own: dict[str, Array]
) -> tuple[Check, ...]:
    """All that apply to the network."""
    return (
        *_initial_loss(p, f),
        *_dead_units(p, f),
        *_gradient_by_layer(p, g),
        *_update_by_weight(p, g, rate),
        _agreement(p, f, g, own_loss, own),
    )


def _verdict(fine: bool) -> str:
    return "fine" if fine else "look"


def _initial_loss(p: Problem, f: Forward) -> Iterator[Check]:
    """A network that knows nothing gives every class the same probability."""
    if p.loss == "softmax_cross_entropy":
        k = p.layers[-1].n_out
    elif p.loss == "sigmoid_cross_entropy":
        k = 2
    else:
        return
    guessing = math.log(k)
    said = f"the loss is {f.loss:.4g}, that of guessing ln {k} = {guessing:.4g}"
    if f.loss < LEARNED * guessing:
        said += ": the network knows something of these rows"
    elif f.loss <= TOO_SURE * guessing:
        said += ": as of a network at its start"
    else:
        said += ": worse than guessing; at the start, the weights are too large or the inputs not standardised"
    yield Check("initial loss", None, f.loss, guessing, _verdict(f.loss <= TOO_SURE * guessing), said)


def _dead_units(p: Problem, f: Forward) -> Iterator[Check]:
    for i, layer in enumerate(p.layers):
        if layer.activation != "relu":
            continue
        A = f.A[i]
        dead = int((A <= 0).all(axis=0).sum())
        share = dead / A.shape[1]
        by_chance = 0.5 ** len(A)
        fine = share <= DEAD + by_chance
        said = f"layer {i}: {dead} of {A.shape[1]} units are 0 for every row"
        said += (
            ""
            if fine
            else f", so column after column of dW[{i}] is 0: a smaller learning rate, or other initial weights"
        )
        yield Check("dead units", i, share, None, _verdict(fine), said)


def _gradient_by_layer(p: Problem, g: Backward) -> Iterator[Check]:
    norms = [float(np.linalg.norm(G)) for G in g.G]
    for i in reversed(range(p.depth)):
        if norms[i + 1] == 0:
            yield Check("gradient by layer", i, math.nan, None, "look", f"G[{i + 1}] is zero: nothing comes through")
            continue
        ratio, in_all = norms[i] / norms[i + 1], norms[i] / norms[-1]
        said = f"‖G[{i}]‖ = {norms[i]:.3g}, {ratio:.3g} times ‖G[{i + 1}]‖"
        small, large = min(ratio * STEEP, in_all * STEEP_IN_ALL) < 1, max(ratio / STEEP, in_all / STEEP_IN_ALL) > 1
        if small or large:
            said += f", {in_all:.3g} times ‖G[{p.depth}]‖: it {'vanishes' if small else 'explodes'} on the way down"
        yield Check("gradient by layer", i, ratio, None, _verdict(not (small or large)), said)


def _update_by_weight(p: Problem, g: Backward, rate: float) -> Iterator[Check]:
    for i, (W, dW) in enumerate(zip(p.W, g.dW, strict=True)):
        if not W.size:
            continue
        size = float(np.linalg.norm(W))
        if size == 0:
            of_units = p.layers[i].kind == "dense"
            said = f"W[{i}] is zero: {'all units of a layer stay the same' if of_units else 'nothing comes through'}"
            yield Check("update/weight", i, math.inf, None, _verdict(p.depth == 1), said)
            continue
        ratio = rate * float(np.linalg.norm(dW)) / size
        said = f"a step of {rate:g} dW[{i}] changes W[{i}] by {ratio:.2g} of its norm"
        low, high = USUAL_STEP
        if ratio < low:
            said += ": little; about 1e-3 is usual"
        elif ratio > high:
            said += ": much; about 1e-3 is usual"
        yield Check("update/weight", i, ratio, None, _verdict(low <= ratio <= high), said)


def _agreement(p: Problem, f: Forward, g: Backward, own_loss: float, own: dict[str, Array]) -> Check:
    """The figures shown are those that the network trains with."""
    furthest = abs(own_loss - f.loss) / max(abs(f.loss), 1.0)
    tolerance = AGREEMENT[p.X.dtype.name]
    fine = furthest <= tolerance
    lost: dict[str, Array] | None = None
    for name, gradient in g.gradients().items():
        difference = float(np.abs(own[name] - gradient).max(initial=0))
        scale = float(np.abs(gradient).max(initial=0)) or 1.0
        furthest = max(furthest, difference / scale)
        if difference > tolerance * scale:
            # Where terms cancel, as in a layer norm of few units or below the mean of a batch, more may be lost.
            lost = _rounding(p) if lost is None else lost
            difference -= float(lost[name].max(initial=0))
        fine = fine and difference <= tolerance * scale
    said = f"loss and gradients of the network itself differ by {furthest:.1g} at most"
    return Check("agreement", None, furthest, None, _verdict(fine), said)


def _rounding(p: Problem) -> dict[str, Array]:
    """What the network's own arithmetic may lose of each gradient."""
    q = p.in_dtype(np.float64)
    return rounding_of_float32(q) if p.X.dtype == np.float32 else rounding_of_float64(q)
