"""Figures as a table and as JSON."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np

from backsweep import _core, _tables
from backsweep.bench.machine import processor
from backsweep.bench.peers import OURS, PEERS
from backsweep.bench.race import Figure, best_peer
from backsweep.bench.workloads import WORKLOADS

SCHEMA = 1
DERIVED = ("median", "share_of_peak")  # written for whoever reads the file, computed from the others


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


def as_json(figure: Figure) -> dict[str, Any]:
    """A figure and what follows from it; what is not finite is null."""
    entry = {**dataclasses.asdict(figure), **{name: getattr(figure, name) for name in DERIVED}}
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}


def run_as_json(figures: Sequence[Figure], command: str) -> dict[str, Any]:
    """A run: when, with what, on what, and its figures."""
    names = {figure.peer for figure in figures}
    versions = {name: peer.version for name, peer in PEERS.items() if name in names}
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "machine": {
            "processor": processor(),
            "system": f"{platform.system()} {platform.machine()}",
            "instruction_set": _core.instruction_set(),
            "BLAS": _core.blas_description(),
        },
        "versions": {"Python": platform.python_version(), "NumPy": np.__version__, OURS: _core.__version__, **versions},
        "figures": [as_json(figure) for figure in figures],
    }


def document(runs: Sequence[dict[str, Any]]) -> str:
    """The text of a file of runs."""
    return json.dumps({"schema": SCHEMA, "runs": list(runs)}, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def figures_of(text: str) -> tuple[list[Figure], list[dict[str, Any]]]:
    """The figures in the text of such a file, and the runs without them.

    Raises
    ------
    ValueError
        If the text is not what `document` writes.
    """
    try:
        content = json.loads(text)
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}, got {content['schema']!r}")
        figures = [
            Figure(**{name: value for name, value in entry.items() if name not in DERIVED})
            for run in content["runs"]
            for entry in run["figures"]
        ]
        runs = [{name: value for name, value in run.items() if name != "figures"} for run in content["runs"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"text must be a file of runs, got something else: {error}") from None
    return figures, runs
