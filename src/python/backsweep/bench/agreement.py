"""Whether a peer computes what the float64 reference computes, within what rounding explains."""

from __future__ import annotations

import numpy as np

from backsweep._checks import Array
from backsweep.bench.workloads import AnyWorkload, Training

STEPS = 20  # after which the parameters are compared

UNIT = float(np.finfo(np.float32).eps) / 2  # u: the largest relative error of one rounding
LAMBDA = 4.0  # n roundings err by more than λ √n u with a probability of 2 exp(-λ²/2) at most (Higham and Mary, 2019)
ADAM = 0.1


def norm(arrays: list[Array]) -> float:
    return float(np.sqrt(sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)))


def distance(got: list[Array], want: list[Array]) -> float:
    """The norm of the difference of all arrays together; infinite where a shape is another or a value not finite."""
    if [array.shape for array in got] != [array.shape for array in want]:
        return np.inf
    apart = norm([a.astype(np.float64) - b for a, b in zip(got, want, strict=True)])
    return apart if np.isfinite(apart) else np.inf


def rounding(w: AnyWorkload) -> float:
    """The share r by which a right float32 program's entries err: they are sums, through all layers, of many terms."""
    return LAMBDA * float(np.sqrt(w.longest_sum)) * UNIT


def limit(
    w: AnyWorkload, want: list[Array], start: list[Array], optimizer: str | None, nudged: list[Array] | None = None
) -> float:
    """How far a right float32 program may be from the reference, as a share of `size`.

    Entries err by a share r. A step rounds each parameter once more. And a share of about r of all samples and units
    comes out on the other side of relu's kink, in any float32 program: each adds or takes one of the contributions to
    a gradient, and the norm of them all is about √r of its.

    Adam makes a whole step of the smallest gradient, so one sample at a kink can turn all weights of a unit that few
    others reach. Its check is coarse, and tells another formula, not rounding.

    In a deep network what one layer rounds the next ones enlarge. There the reference itself says what rounding
    explains: `nudged` is what it makes of parameters that start a share r away.
    """
    if nudged is not None:
        return max(limit(w, want, start, optimizer), distance(nudged, want) / size(want, start))
    if optimizer == "adam":
        return ADAM
    r = rounding(w)
    if optimizer is None:
        return r
    return r + float(np.sqrt(r)) + STEPS * UNIT * norm(start) / size(want, start)


def size(want: list[Array], start: list[Array]) -> float:
    """The way that the reference has gone from the initial parameters; without such, the norm of its output."""
    return norm([a - b for a, b in zip(want, start, strict=True)]) if start else norm(want)


def checks(w: AnyWorkload) -> list[str | None]:
    """The optimizers that a workload is checked with: SGD always, and its own; None for an output."""
    if not isinstance(w, Training):
        return [None]
    return ["sgd"] if w.optimizer == "sgd" else ["sgd", w.optimizer]
