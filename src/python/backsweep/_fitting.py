"""A number that is not known, found from the gradients that it would give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backsweep._checks import Array

PROGRESS = 0.95  # a step of the fit that leaves more of the distance than this share was the last
STARTS = (0.0, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)  # of the rate that makes a step as long as the parameters


def norm(arrays: dict[str, Array], names: list[str]) -> float:
    """Of all entries of those that are named."""
    return float(np.sqrt(sum(float((arrays[name] ** 2).sum()) for name in names)))


def fit(family: Callable[[float], dict[str, Array]], given: dict[str, Array], names: list[str], unit: float) -> float:
    """The rate at which `family` comes nearest to what is given: Gauss-Newton in one variable.

    It starts from the best of a few rates: what jumps on the way, a mask or the sign of an error, makes far starts go
    astray.
    """

    def residual(rate: float) -> Array:
        arrays = family(rate)
        return np.concatenate([(arrays[name] - given[name]).ravel() for name in names])

    def distance(rate: float) -> float:
        return float(np.nan_to_num(np.linalg.norm(residual(rate)), nan=np.inf))

    coarse = [share * unit for share in STARTS]
    far = {rate: distance(rate) for rate in coarse}
    nearest = min(range(1, len(coarse)), key=lambda k: far[coarse[k]])
    around = coarse[max(nearest - 1, 1)], coarse[min(nearest + 1, len(coarse) - 1)]
    far |= {rate: distance(rate) for rate in np.geomspace(*around, len(STARTS))}
    best, least = 0.0, far[0.0]
    for start in sorted(far, key=far.__getitem__)[:3]:
        rate, reached = start, np.inf
        for _ in range(12):
            r = residual(rate)
            length = float(np.linalg.norm(r))
            if length < least:
                best, least = rate, length
            if not length < PROGRESS * reached:
                break
            reached = length
            J = (residual(rate + 1e-6 * unit) - r) / (1e-6 * unit)
            if not J @ J > 0:
                break
            rate -= float(np.clip((J @ r) / (J @ J), -unit, unit))
    return best
