"""Runs of the benchmarks as JSON: what was measured, when, with what, on what."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backsweep import _core
from backsweep.bench.machine import processor
from backsweep.bench.peers import OURS, PEERS
from backsweep.bench.race import Figure

SCHEMA = 1
DERIVED = ("median", "share_of_peak", "gain")  # written for whoever reads the file, computed from the others


@dataclass
class Run:
    """The figures of one command."""

    date: str  # ISO 8601, UTC
    command: str
    machine: dict[str, str]
    versions: dict[str, str | None]
    figures: list[Figure]


def run_of(figures: list[Figure], command: str) -> Run:
    """A run that ends now, on this machine."""
    peers = {figure.peer for figure in figures}
    return Run(
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command,
        machine={
            "processor": processor(),
            "system": f"{platform.system()} {platform.machine()}",
            "instruction set": _core.instruction_set(),
            "BLAS": _core.blas_description(),
        },
        versions={
            "Python": platform.python_version(),
            "NumPy": np.__version__,
            OURS: _core.__version__,
            **{name: peer.version for name, peer in PEERS.items() if name in peers},
        },
        figures=figures,
    )


def text_of(runs: Sequence[Run]) -> str:
    """The text of a file of runs; a number that is not finite is null."""
    content = {"schema": SCHEMA, "runs": [_fields(run) for run in runs]}
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _fields(run: Run) -> dict[str, Any]:
    figures = []
    for figure in run.figures:
        entry = {**dataclasses.asdict(figure), **{name: getattr(figure, name) for name in DERIVED}}
        figures.append({k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()})
    return {**dataclasses.asdict(run), "figures": figures}


def runs_in(text: str) -> list[Run]:
    """The runs in the text of such a file.

    Raises
    ------
    ValueError
        If the text is not what `text_of` writes.
    """
    try:
        content = json.loads(text)
        if content["schema"] != SCHEMA:
            raise ValueError(f"a file of runs must have schema {SCHEMA}, got {content['schema']!r}")
        return [Run(**{**run, "figures": [_figure(entry) for entry in run["figures"]]}) for run in content["runs"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"a file of runs must hold runs and their figures, got something else: {error}") from None


def _figure(entry: dict[str, Any]) -> Figure:
    return Figure(**{name: value for name, value in entry.items() if name not in DERIVED})
