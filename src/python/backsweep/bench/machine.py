"""The machine that figures are of: what it is, which of its cores are used, and a process's memory."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path


def processor() -> str:
    """The name that the processor gives itself, or else the architecture."""
    with contextlib.suppress(OSError):  # Linux has it
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def available_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def on_cores(n: int) -> Iterator[None]:
    """Keep this process, and those it starts, to the first `n` cores it may use.

    Where the system offers no such thing (macOS), only the number of threads is limited.

    Raises
    ------
    ValueError
        If there are not so many.
    """
    cores = available_cores()
    if not 1 <= n <= len(cores):
        raise ValueError(f"cores must be between 1 and {len(cores)}, which this process may use, got {n}")
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    os.sched_setaffinity(0, cores[:n])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def environment(threads: int) -> dict[str, str]:
    """The variables that limit the threads of every library here; read when it is loaded, so set before."""
    limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    several = "true" if threads > 1 else "false"
    return {**os.environ, **dict.fromkeys(limits, str(threads)),
            "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={several}"}  # fmt: skip


def peak_memory() -> float:
    """The most memory this process has had, in MiB."""
    with contextlib.suppress(OSError):  # Linux, where getrusage would begin with what the parent had
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)
