"""Whether a peer computes what the float64 reference computes, within what rounding explains."""

from __future__ import annotations

import numpy as np

from backsweep._checks import Array
from backsweep.bench.workloads import AnyWorkload, Training

STEPS = 20  # after which the parameters are compared

UNIT = float(np.finfo(np.float32).eps) / 2  # u: the largest relative error of one rounding


def gamma(n: int) -> float:
    """The largest relative error of n roundings one after another."""
    return n * UNIT / (1 - n * UNIT)


def norm(arrays: list[Array]) -> float:
    return float(np.sqrt(sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)))


def distance(got: list[Array], want: list[Array]) -> float:
    """The norm of the difference of all arrays together; infinite where a shape is another or a value not finite.

    A sum that comes out on the other side of a kink changes one sample's share of a few weights, in any float32
    program: so it is the distance of all weights together, not that of the worst one.
    """
    if [array.shape for array in got] != [array.shape for array in want]:
        return np.inf
    apart = norm([a.astype(np.float64) - b for a, b in zip(got, want, strict=True)])
    return apart if np.isfinite(apart) else np.inf


def limit(w: AnyWorkload, want: list[Array], start: list[Array], optimizer: str | None) -> float:
    """How far a right float32 program may be from the reference, as a share of `size`.

    A gradient's entries are sums, through all layers, of so many terms; a step rounds each parameter once. Adam
    divides a gradient by its own size, so an entry near 0 turns a small error into one as large as the step: with
    errors of a share r there is a share of about r such entries, and the norm of all errors is about √r.
    """
    share = 2 * gamma(w.longest_sum)
    if optimizer is None:
        return share
    share += STEPS * UNIT * norm(start) / size(want, start)
    return float(np.sqrt(share)) if optimizer == "adam" else share


def size(want: list[Array], start: list[Array]) -> float:
    """The way that the reference has gone from the initial parameters; without such, the norm of its output."""
    return norm([a - b for a, b in zip(want, start, strict=True)]) if start else norm(want)


def checks(w: AnyWorkload) -> list[str | None]:
    """The optimizers that a workload is checked with: SGD always, and its own; None for an output."""
    if not isinstance(w, Training):
        return [None]
    return ["sgd"] if w.optimizer == "sgd" else ["sgd", w.optimizer]
