"""Gradients that are right but for a constant factor, and what the factor means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from backsweep._checks import Array
from backsweep._faults import Arrays, Slip
from backsweep._sweeps import Problem, output_gradient

Reading = tuple[float, str, str]  # a constant, its fault and a sentence


def ratio(got: Array, right: Array) -> float | None:
    """The c, not 0, for which `got` is c times `right`, where there is one."""
    square = float((right * right).sum())
    if got.shape != right.shape or square == 0:
        return None
    c = float((got * right).sum() / square)
    return c if c != 0 and np.abs(got - c * right).max() <= 1e-3 * abs(c) * np.abs(right).max() else None


def readings_of(p: Problem) -> list[Reading]:
    """Constants that a gradient is known to be off by: value, fault, sentence."""
    m, k, L = len(p.X), p.layers[-1].n_out, p.depth
    weighted = p.sample_weight is not None
    formula = f"G[{L}] = {output_gradient(p.loss, L, weighted)}"
    once = f"the mean stands in {formula} and nowhere else"
    found = [(-1.0, "sign", f"its sign is flipped: {formula}, and theta moves against it")]
    if m > 1:
        found += [
            (float(m), "mean_missing", f"{m} times too large, the division by m = {m} is missing: {once}"),
            (1 / m, "mean_twice", f"{m} times too small, divided by m = {m} twice: {once}"),
        ]
    if p.sample_weight is not None:
        total = float(p.sample_weight.sum())
        found.append((total, "mean_missing", f"{total:.6g} times too large, the division by Σw is missing: {once}"))
        found.append((total / m, "mean_missing", f"{total / m:.6g} times too large, divided by m, not Σw: {once}"))
    if k > 1:
        found += [
            (float(k), "factor", f"{k} times too large, k = {k} the number of outputs: {formula}"),
            (1 / k, "factor", f"{k} times too small, divided by the {k} outputs: {formula}"),
        ]
    half = "the 2 of the square's derivative is missing" if p.loss == "mean_squared_error" else "a factor 2 is missing"
    return [
        *found,
        (2.0, "factor", f"twice what it should be, a 2 too many or added up twice: {formula}"),
        (0.5, "factor", f"half of what it should be, {half}: {formula}"),
    ]


def read(c: float, readings: Iterable[Reading]) -> tuple[str, str]:
    """The fault and the sentence for a constant ratio."""
    for value, fault, sentence in readings:
        if abs(c - value) <= 1e-3 * abs(value):
            return fault, sentence
    return "factor", f"the constant factor {c:.6g} too {'large' if abs(c) > 1 else 'small'}, right but for it"


def ratio_slips(p: Problem, given: Arrays, exact: Arrays, wrong: Sequence[str]) -> Iterator[Slip]:
    """The constants that are found in what was given, for all arrays, for those of one kind and for one alone."""
    readings = readings_of(p)
    known = [value for value, _, _ in readings]
    seen: list[float] = []
    for name in sorted(wrong, key=lambda name: -exact[name].size):
        c = ratio(given[name], exact[name])
        if c is None or (exact[name].size == 1 and not np.isclose(c, [*known, *seen], rtol=1e-3).any()):
            continue  # a single number always has a ratio: it must be one that means something
        fault, sentence = read(c, readings)
        if not np.isclose(c, seen, rtol=1e-3).any():
            for letters in ("Wb", "W", "b"):  # all arrays, or those of one kind
                off = {other: c * gradient for other, gradient in exact.items() if other[0] in letters}
                yield Slip(fault, sentence, {**exact, **off})
        seen.append(c)
        yield Slip(fault, sentence, {**exact, name: c * exact[name]})
