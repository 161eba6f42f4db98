"""What rounding leaves uncertain of a network's gradients, in float32 and in float64, and of its loss."""

from __future__ import annotations

import numpy as np

from backsweep import _sweeps
from backsweep._checks import Array
from backsweep._sweeps import Backward, Forward, Problem

MARGIN = 32.0  # it is measured on one computation; another may lose so many times as much


def rounding_of_float32(p: Problem) -> dict[str, Array]:
    """The error that arithmetic in float32 may leave in each gradient of a problem in float64.

    It is measured: the reference sweep in float32 against float64, relative to |Z|ᵀ|D|, which sees cancellation; the
    largest found in any array holds for all.
    """
    f = _sweeps.forward(p)
    exact = _sweeps.backward(p, f)
    right = exact.gradients()
    single = p.in_dtype(np.float32)
    rough = _sweeps.backward(single, _sweeps.forward(single)).gradients()
    largest = _largest_sums(p, f, exact)
    units = [float(np.abs(rough[name] - right[name]).max()) / largest[name] for name in right if largest[name] > 0]
    unit = max([float(np.finfo(np.float32).eps), *(unit for unit in units if np.isfinite(unit))])
    return {name: np.full(gradient.shape, MARGIN * unit * largest[name]) for name, gradient in right.items()}


def rounding_of_float64(p: Problem) -> dict[str, Array]:
    """The same for float64, of which only a normalised row of next to no deviation makes anything.

    Nothing more exact is at hand: measured is how the gradients change where every number moves by a unit in the
    last place.
    """
    f = _sweeps.forward(p)
    exact = _sweeps.backward(p, f)
    right = exact.gradients()
    if not any(kind.normalises for kind in p.kinds):
        return {name: np.zeros_like(gradient) for name, gradient in right.items()}
    eps = float(np.finfo(np.float64).eps)
    largest = _largest_sums(p, f, exact)
    lost = {name: np.full(gradient.shape, MARGIN * eps * largest[name]) for name, gradient in right.items()}
    rng = np.random.default_rng(0)

    def moved(x: Array) -> Array:
        x_moved: Array = x * (1 + eps * rng.choice((-1.0, 1.0), size=x.shape))
        return x_moved

    for _ in range(3):
        W, b = tuple(map(moved, p.W)), tuple(None if b is None else moved(b) for b in p.b)
        q = p._replace(W=W, b=b, X=moved(p.X))
        for name, gradient in _sweeps.backward(q, _sweeps.forward(q)).gradients().items():
            np.maximum(lost[name], MARGIN * np.abs(gradient - right[name]).max(), out=lost[name])
    return lost


def noise_on_the_way(p: Problem, f: Forward) -> float:
    """How far the loss moves where what passes from layer to layer does so by a unit in the last place."""
    rng = np.random.default_rng(0)
    noise = 0.0
    for first in range(1, p.depth):
        furthest = 0.0
        for _ in range(3):
            Z = f.Z[first] * (1 + float(np.finfo(np.float64).eps) * rng.choice((-1.0, 1.0), size=f.Z[first].shape))
            for i in range(first, p.depth):
                _, Z = _sweeps.layer_forward(p, i, Z)
            furthest = max(furthest, abs(_sweeps.loss_value(p, Z) - f.loss))
        noise += furthest
    return noise


def _largest_sums(p: Problem, f: Forward, exact: Backward) -> dict[str, float]:
    """Of each gradient the largest sum of its terms' magnitudes."""
    sizes = _sizes(p, f, exact)
    sums = _sweeps.named(
        [p.kind(i).size_of_weights(D, f.Z[i]) for i, D in enumerate(sizes)],
        [None if b is None else D.sum(axis=0) for b, D in zip(p.b, sizes, strict=True)],
    )
    return {name: float(total.max()) for name, total in sums.items()}


def _sizes(p: Problem, f: Forward, exact: Backward) -> list[Array]:
    """The magnitudes of D[i]; below a layer that normalises, of its terms, which cancel there."""
    sizes = [abs(D) for D in exact.D]
    normalised = False
    for i in reversed(range(1, p.depth)):
        normalised = normalised or p.kind(i).normalises
        if normalised:
            G = p.kind(i).size_down(sizes[i], f.Z[i], p.W[i])
            sizes[i - 1] = abs(_sweeps.through(p, i - 1, G, f.A[i - 1]))
    return sizes
