"""How far the float32 elementary functions are from the truth, over every float32 number there is.

    python benchmarks/ulp.py [FUNCTION ...]

Some minutes a function. BACKSWEEP_ISA chooses the kernels.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from backsweep import _core
from scipy.special import erfc
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from elementary import FUNCTIONS, ULPS, distance

AT_A_TIME = 1 << 22


def worst(name: str) -> tuple[float, np.float32]:
    """The largest distance, and where it is."""
    true, low, high = FUNCTIONS[name]
    if name == "erfc":
        true = erfc  # as math.erfc, but many at a time
    largest, at = 0.0, np.float32(0)
    for begin in tqdm(range(0, 1 << 32, AT_A_TIME), desc=name, leave=False):
        x = np.arange(begin, begin + AT_A_TIME, dtype=np.uint64).astype(np.uint32).view(np.float32)
        x = x[(x >= low) & (x <= high)]
        if x.size == 0:
            continue
        with np.errstate(over="ignore"):
            error = distance(_core.elementary(name, x), true(x.astype(np.float64)))
        i = int(np.argmax(error))
        if error[i] > largest:
            largest, at = float(error[i]), x[i]
    return largest, at


if __name__ == "__main__":
    print(f"{_core.instruction_set()}: units in the last place, over all float32 arguments")
    failed = False
    for name in sys.argv[1:] or FUNCTIONS:
        largest, at = worst(name)
        failed |= largest > ULPS
        print(f"{name:10} {largest:.3f} at {at!r}", flush=True)
    sys.exit(failed)
