"""Figures as a table for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from backsweep import _tables
from backsweep.bench.race import Figure, best_peer
from backsweep.bench.workloads import WORKLOADS


def seconds(value: float) -> str:
    """Three digits and a unit."""
    for unit, factor in (("µs", 1e6), ("ms", 1e3), ("s", 1.0)):
        if value * factor < 999.5 or unit == "s":
            digits = max(0, 2 - math.floor(math.log10(value * factor))) if value > 0 else 0
            return f"{value * factor:.{min(digits, 2)}f} {unit}"
    raise AssertionError("every number of seconds has a unit")


def line(figure: Figure, figures: Sequence[Figure], with_peak: bool, with_memory: bool) -> list[str]:
    """One row of `table`: a figure among those of its workload."""
    if figure.median is None or figure.best is None:
        return [figure.peer, figure.status.upper(), *[""] * (3 + with_peak + with_memory)]
    best = best_peer(figures)
    ratio = "" if best is None else f"{best / figure.median:.2f}x"
    speed = f"{figure.flops / figure.median / 1e9:.1f}"
    share = [] if not with_peak else ["" if figure.share_of_peak is None else f"{100 * figure.share_of_peak:.0f} %"]
    memory = [] if not with_memory else ["" if figure.memory is None else f"{figure.memory:.0f}"]
    return [figure.peer, seconds(figure.median), seconds(figure.best), ratio, speed, *share, *memory]


def table(figures: Sequence[Figure]) -> str:
    """The figures of one workload; below them, what was wrong or failed."""
    w = WORKLOADS[figures[0].workload]
    with_peak = any(figure.peak is not None for figure in figures)
    with_memory = any(figure.memory is not None for figure in figures)
    header = [w.name, "median", "best", "to best peer", "GFLOP/s", *["of peak"] * with_peak, *["MiB"] * with_memory]
    rows = [line(figure, figures, with_peak, with_memory) for figure in figures]
    body = _tables.text(header, rows, right=range(1, len(header)))
    faults = [f"{f.peer} {'' if f.status == 'wrong' else 'failed: '}{f.reason}" for f in figures if f.reason]
    cores = f"{figures[0].cores} core{'s' if figures[0].cores > 1 else ''}"
    return "\n".join([f"{w}: a {w.unit} on {cores}", body, *faults])
