"""The kernels of every instruction set that this processor has, not of its best alone.

A process takes one set for its whole life, so the others are tested in processes of their own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from backsweep import _core

OTHERS = [name for name in _core.instruction_sets() if name != _core.instruction_set()]
HERE = Path(__file__).parent

# What all results are made of: each function, shapes of every remainder, and training.
TESTS = [
    "test_batch_norm.py", "test_dropout.py", "test_elementary.py", "test_layer_norm.py",
    "test_parity.py", "test_precision.py", "test_products.py", "test_stored.py", "test_threads.py",
]  # fmt: skip
CHOSEN = (
    "test_elementary or test_core_and_reference or test_function or test_shapes or test_zeros "
    "or test_training_of_shapes or test_any_number_of_threads"
)


@pytest.mark.parametrize("name", OTHERS)
def test_kernels(name):
    environment = os.environ | {"BACKSWEEP_ISA": name}
    said = subprocess.run(
        [sys.executable, "-c", "from backsweep import _core; print(_core.instruction_set())"],
        env=environment, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert said == name
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", CHOSEN, *TESTS]
    done = subprocess.run(command, env=environment, cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


@pytest.mark.parametrize("name", ["AVX2", "none"])
def test_a_set_that_is_not_there(name):
    script = "from backsweep import _core; print(_core.instruction_set())"
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"BACKSWEEP_ISA": name}, capture_output=True, text=True
    )
    best = _core.instruction_sets()[0]
    assert done.stdout.strip() == best
    assert f"BACKSWEEP_ISA must be one of {', '.join(_core.instruction_sets())} here, got '{name}'" in done.stderr
