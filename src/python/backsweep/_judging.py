"""One array's gradient held against differences: which entries, how exactly, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from backsweep._checks import Array
from backsweep._differences import slope

ENTRY_FLOOR = 0.01  # an entry is not asked for more digits than one of this share of the array's largest has
UNJUDGEABLE = 0.1  # differences that are less exact than this show nothing
SECOND_LOOK = 1 / 64  # of the first step: an error of less than UNJUDGEABLE may be that of the differences


@dataclass(frozen=True)
class Subject:
    """An array, the gradient that is claimed for it, and the function that it is an argument of."""

    name: str
    point: Array  # float64; `value` reads it, and it is changed entry by entry and put back
    given: Array
    value: Callable[[], tuple[float, bool]]  # at `point`, and whether a kink has been crossed
    noise: float  # what rounding may do to that value
    step: Array  # a first step for each entry; broadcasts to the shape
    tolerance: float
    slack: Array  # what rounding may do besides; broadcasts to the shape
    open: Array  # what kinks leave open: either slope is right; likewise
    expected: Array | None  # where known: the gradient by another way, which only guides where to look and how closely
    sees_kinks: bool


class Judged(NamedTuple):
    verdict: str
    checked: Array  # flat positions
    numerical: Array  # the slopes there
    skipped: int = 0
    error: float = 0.0
    allowed: float = 0.0
    worst: tuple[int, ...] | None = None
    analytic: float = float("nan")
    value: float = float("nan")
    remark: str = ""


def judge(subject: Subject, entries: int, rng: np.random.Generator) -> Judged:
    """The verdict on some entries of an array; the worst of them by error over what is allowed."""
    fits = subject.given.shape == subject.point.shape
    positions = _positions(subject, entries, rng, fits)
    slopes, bounds = _numerical(subject, positions, fits)
    kept = np.isfinite(slopes)
    positions, n, bounds = positions[kept], slopes[kept], bounds[kept]
    skipped = int(len(kept) - len(n))
    if not fits:
        return Judged("wrong", positions, n, skipped, float("inf"), subject.tolerance)
    if not len(n):
        remark = f"every entry looked at ({skipped}) lies on a kink: shift X or the biases a little"
        return Judged("not judged", positions, n, skipped, remark=remark)

    errors, allowed, blurred = _errors(subject, positions, n, bounds)
    doubtful = np.flatnonzero((errors > allowed) & (errors < UNJUDGEABLE))
    if doubtful.size:
        again, bounds_again = _numerical(subject, positions[doubtful], fits, SECOND_LOOK)
        a = subject.given.astype(np.float64).flat[positions[doubtful]]
        nearer = np.abs(a - again) < np.abs(a - n[doubtful])  # false where there is none
        n[doubtful[nearer]], bounds[doubtful[nearer]] = again[nearer], bounds_again[nearer]
        errors, allowed, blurred = _errors(subject, positions, n, bounds)
    a = subject.given.astype(np.float64).flat[positions]
    worst = int(np.argmax(errors / allowed))
    where = tuple(int(k) for k in np.unravel_index(int(positions[worst]), subject.point.shape))
    verdict, remark = "right", ""
    if errors[worst] > allowed[worst]:
        verdict = "wrong"
    elif blurred.min() > UNJUDGEABLE and max(_largest(a), _largest(n)) > 0:
        verdict = "not judged"
        remark = "so small beside what rounding does to the loss that differences in float64 cannot judge it"
    return Judged(
        verdict, positions, n, skipped, float(errors[worst]), float(allowed[worst]), where, float(a[worst]),
        float(n[worst]), remark,
    )  # fmt: skip


def _errors(subject: Subject, positions: Array, n: Array, bounds: Array) -> tuple[Array, Array, Array]:
    """The relative errors, what is allowed of each, and the part of that which rounding and truncation have."""
    a = subject.given.astype(np.float64).flat[positions]
    scale = max(_largest(n), 0.0 if subject.expected is None else _largest(subject.expected))
    against = np.maximum(np.maximum(np.abs(a), np.abs(n)), ENTRY_FLOOR * scale)
    against[~np.isfinite(against) | (against == 0)] = 1.0  # both zero, in an array of zeros: no error
    slack, left_open = (np.broadcast_to(x, subject.point.shape).flat[positions] for x in (subject.slack, subject.open))
    blurred = (bounds + slack) / against
    errors = np.where(np.isfinite(a), np.abs(a - n), np.inf) / against
    return errors, subject.tolerance + blurred + left_open / against, blurred


def _largest(values: Array) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if finite.size else 0.0


def _positions(subject: Subject, entries: int, rng: np.random.Generator, fits: bool) -> Array:
    """A sample of the flat positions, with the one that looks worst."""
    size = subject.point.size
    positions = np.arange(size) if size <= entries else rng.choice(size, entries, replace=False, shuffle=False)
    suspects = []
    if fits and size:
        finite = np.isfinite(subject.given)
        if not finite.all():
            suspects.append(int(np.argmin(finite)))
        if subject.expected is not None:
            difference = np.abs(subject.given.astype(np.float64) - subject.expected)
            suspects.append(int(np.argmax(np.where(np.isfinite(difference), difference, 0))))
    return np.union1d(positions, np.array(suspects, dtype=np.int64))


def _numerical(subject: Subject, positions: Array, fits: bool, finer: float = 1.0) -> tuple[Array, Array]:
    """Slopes and their errors; NaN where a kink is in the way."""
    guide = subject.expected if subject.expected is not None else subject.given if fits else np.zeros(())
    guide = np.broadcast_to(np.nan_to_num(guide.astype(np.float64), posinf=0.0, neginf=0.0), subject.point.shape)
    steps = np.broadcast_to(finer * subject.step, subject.point.shape)
    slack = np.broadcast_to(subject.slack, subject.point.shape)
    scale = _largest(guide)
    centre, _ = subject.value()
    point = subject.point.reshape(-1)  # a view: what `value` reads

    slopes, errors = np.full((2, len(positions)), np.nan)
    for j, at in enumerate(positions):
        x = float(point[at])

        def f(place: float, at: int = at) -> tuple[float, bool]:
            point[at] = place
            return subject.value()

        wanted = (subject.tolerance * max(abs(guide.flat[at]), ENTRY_FLOOR * scale) + slack.flat[at]) / 4
        try:
            found = slope(f, x, centre, subject.noise, float(steps.flat[at]), float(wanted), subject.sees_kinks)
        finally:
            point[at] = x
        if found is not None:
            slopes[j], errors[j] = found.value, found.error
    return slopes, errors


def measured_noise(value: Callable[[], tuple[float, bool]], points: list[Array]) -> float:
    """What rounding does to a value: how far it moves where every argument moves by one unit in the last place."""
    rng = np.random.default_rng(0)
    centre, _ = value()
    kept = [point.copy() for point in points]
    unit = float(np.finfo(np.float64).eps)
    furthest = float(unit * abs(centre))
    for _ in range(6):
        for point, copy in zip(points, kept, strict=True):
            point[...] = copy * (1 + unit * rng.choice((-1.0, 1.0), size=copy.shape))
        moved, _ = value()
        if np.isfinite(moved):
            furthest = max(furthest, abs(moved - centre))
    for point, copy in zip(points, kept, strict=True):
        point[...] = copy
    return 2 * furthest or unit  # of a value such as log 1, which hides what was lost on the way
