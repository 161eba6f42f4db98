"""Slopes by differences in float64, each with a bound on its error, and with kinks stepped around."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

# The value at a point, and whether a kink lies between there and the place of the derivative.
Function = Callable[[float], tuple[float, bool]]

FIRST_STEP = 1e-3
REFINEMENT = 8.0
TRIES = 8
ONE_SIDED_STEPS = (2.0**-6, 2.0**-9, 2.0**-12)  # of the first step


class Slope(NamedTuple):
    value: float
    error: float  # what truncation and rounding may have done to it
    truncated: bool = True  # which of the two is the larger


def slope(f: Function, x: float, centre: float, noise: float, step: float, wanted: float, sees: bool) -> Slope | None:
    """The derivative of `f` at `x`, or None where there is a kink that no step avoids.

    Parameters
    ----------
    f : function
    x, centre : float
        The place, and the value of `f` there.
    noise : float
        What rounding may do to a value of `f`.
    step : float
        The first step; steps become smaller while truncation or a kink spoils the result, larger while rounding
        does.
    wanted : float
        The error to be content with; it may not be reached.
    sees : bool
        Whether `f` reports its kinks. One on the place itself is then left out by differences to the side that
        belongs to the same piece as the place.
    """
    best: Slope | None = None
    h, ceiling, shrinking = step, math.inf, None
    for _ in range(TRIES):
        found = _central(f, x, centre, noise, h, wanted)
        if found is None:
            ceiling = h
            h /= REFINEMENT
            continue
        if shrinking is False and best is not None and abs(found.value - best.value) > found.error + best.error:
            break  # the step has grown so large that how far it truncates is not seen any more
        if best is None or found.error < best.error:
            best = found
        turned = shrinking is not None and shrinking != found.truncated
        shrinking = found.truncated
        h = h / REFINEMENT if shrinking else h * REFINEMENT
        if found.error <= wanted or turned or h >= ceiling:
            break
    if best is None and sees:
        steps = (step * share for share in ONE_SIDED_STEPS)
        found_beside = (_one_sided(f, x, centre, noise, side * h) for h in steps for side in (1, -1))
        best = next((found for found in found_beside if found is not None), None)
    return best


def _bounded(value: float, truncation: float, noise: float, h: float) -> Slope:
    rounding = 4 * noise / abs(h)
    return Slope(value, truncation + rounding, truncation > rounding)


def _central(f: Function, x: float, centre: float, noise: float, h: float, wanted: float) -> Slope | None:
    """Central differences at h and h/2, extrapolated: the error falls with h⁴. None where a kink is in reach."""
    slopes, jumps = [], []
    for step in (h, h / 2):
        above, below = x + step, x - step  # rounded: the distance between them is measured, not assumed
        if not below < x < above:
            return None
        (f_above, crossed_above), (f_below, crossed_below) = f(above), f(below)
        if crossed_above or crossed_below or not math.isfinite(f_above + f_below):
            return None
        slopes.append((f_above - f_below) / (above - below))
        jumps.append(abs((f_above - centre) / (above - x) - (centre - f_below) / (x - below)))
    # The two one-sided slopes differ by h f'' where f is smooth; by as much at any h where it has a kink.
    if jumps[1] > 0.75 * jumps[0] and jumps[1] > max(wanted, 100 * noise / h):
        return None
    wide, narrow = slopes
    return _bounded(narrow + (narrow - wide) / 3, abs(narrow - wide) / 3, noise, h / 2)


def _one_sided(f: Function, x: float, centre: float, noise: float, h: float) -> Slope | None:
    """Differences to one side at h, h/2 and h/4, extrapolated twice: the error falls with h³."""
    slopes = []
    for step in (h, h / 2, h / 4):
        value, crossed = f(x + step)
        if crossed or not math.isfinite(value) or x + step == x:
            return None
        slopes.append((value - centre) / ((x + step) - x))
    wide, narrow = 2 * slopes[1] - slopes[0], 2 * slopes[2] - slopes[1]
    return _bounded(narrow + (narrow - wide) / 3, abs(narrow - wide) / 3, noise, h / 8)
