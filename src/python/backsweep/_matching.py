"""How near a slip's result comes to the gradients that were given, and which slip comes nearest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from backsweep._faults import Arrays, Slip
from backsweep._ratios import ratio

ROUGHLY = 1e-2  # how near a slip must come, relative to the array's largest entry, where nothing is close
EXPLAINED = 0.05  # and no more of the error than this share may remain


class Fit(NamedTuple):
    """A slip's result against what was given, for one array."""

    left: float  # the largest difference
    size: float  # the result's largest entry
    ratio: float | None = None  # the constant that makes them equal, where there is one
    left_scaled: float = math.inf  # the largest difference then
    is_number: bool = False  # of one entry: it always has a ratio


class Candidate(NamedTuple):
    """A slip without its arrays, so that those of one slip at a time are held."""

    fault: str
    sentence: str
    close: float
    fits: dict[str, Fit]

    def reproduces(self, name: str, slack: dict[str, float]) -> bool:
        fit = self.fits.get(name)
        return fit is not None and fit.left <= self.close * fit.size + slack[name]


def weigh(slip: Slip, given: Arrays) -> Candidate:
    """Compare a slip's arrays with those given."""
    fits = {}
    for name, C in slip.gradients.items():
        got = given[name]
        if got.shape != C.shape:
            continue
        c, size = ratio(got, C), float(np.abs(C).max())
        left_scaled = math.inf if c is None else float(np.abs(got - c * C).max())
        fits[name] = Fit(float(np.abs(got - C).max()), size, c, left_scaled, got.size == 1)
    return Candidate(slip.fault, slip.sentence, slip.close, fits)


def scaled(candidates: Iterable[Candidate], names: Sequence[str]) -> list[Candidate]:
    """The same slips with a constant factor besides, found from the arrays of `names`."""
    found = []
    for candidate in candidates:
        fits = candidate.fits
        ratios = (fits[name].ratio for name in names if name in fits and not fits[name].is_number)
        c = next((c for c in ratios if c is not None), None)
        if c is not None:
            alike = {
                name: Fit(fit.left_scaled, abs(c) * fit.size)
                for name, fit in fits.items()
                if fit.ratio is not None and abs(fit.ratio - c) <= 1e-3 * abs(c)
            }
            sentence = f"{candidate.sentence}; and the factor {c:.6g} besides"
            found.append(candidate._replace(sentence=sentence, fits=alike))
    return found


def roughly(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The same slips, where something nearby is better than nothing."""
    return [candidate._replace(close=ROUGHLY) for candidate in candidates]


def choose(
    names: Iterable[str], candidates: Sequence[Candidate], slack: dict[str, float], errors: dict[str, float]
) -> dict[str, Candidate]:
    """For each of `names` the best of those that reproduce it: the one that reproduces most arrays.

    Of equals it is the first. It must leave next to nothing of the error that is to be explained: `errors`, by name.
    """
    scores: dict[int, int] = {}
    chosen = {}
    for name in names:
        able = [
            j
            for j, candidate in enumerate(candidates)
            if candidate.reproduces(name, slack) and candidate.fits[name].left <= EXPLAINED * errors[name]
        ]
        for j in able:
            if j not in scores:
                scores[j] = sum(candidates[j].reproduces(other, slack) for other in candidates[j].fits)
        if able:
            chosen[name] = candidates[max(able, key=lambda j: (scores[j], -j))]
    return chosen
