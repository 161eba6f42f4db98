"""What this build and this machine are."""

from __future__ import annotations

import platform

import numpy as np

from backsweep import _core
from backsweep._checks import whole_number


def num_threads() -> int:
    """The most threads that work is shared among where `n_threads` is left out.

    It is what `set_num_threads` was given; else the cores this process may use (affinity, cgroup quota), or
    OMP_NUM_THREADS where that is fewer; 256 at most.
    """
    return _core.num_threads()


def set_num_threads(n: int | None) -> None:
    """Set `num_threads` for this process, 256 at most; None returns to the automatic choice."""
    _core.set_num_threads(0 if n is None else whole_number(n, "n", 1))


def config() -> dict[str, str]:
    """Version, BLAS, instruction sets and threads, as text."""
    return {
        "backsweep": _core.__version__,
        "BLAS": _core.blas_description(),
        "processor": f"{platform.machine()}, {_core.instruction_set()} of {', '.join(_core.instruction_sets())}",
        "bf16": "by instructions" if _core.has_bf16_instructions() else "rounded, then as float32",
        "threads": str(num_threads()),
        "NumPy": np.__version__,
        "Python": platform.python_version(),
    }


def show_config() -> None:
    """Print `config`, a line each: what a bug report should contain."""
    for name, value in config().items():
        print(f"{name + ':':<11}{value}")
