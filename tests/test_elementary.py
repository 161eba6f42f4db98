"""The elementary functions, over a sample of all float32 numbers; benchmarks/ulp.py takes all of them."""

import numpy as np
import pytest
from backsweep import _core
from elementary import FUNCTIONS, ULPS, distance


def test_every_function_is_checked():
    assert set(_core.elementary_functions) == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_is_within_4_units_in_the_last_place(name):
    true, low, high = FUNCTIONS[name]
    # A prime step through the bit patterns: every exponent and no pattern in the last bits.
    x = np.arange(0, 1 << 32, 12347, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = x[(x >= low) & (x <= high)]
    with np.errstate(over="ignore"):
        error = distance(_core.elementary(name, x), true(x.astype(np.float64)))
    worst = int(np.argmax(error))
    assert error[worst] <= ULPS, f"{name}({x[worst]}) is {error[worst]:.2f} units off"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_agrees_with_the_library(name):
    true, low, high = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    size = 10.0 ** rng.uniform(-12, 2.8, 20_001)  # up to 630: nothing overflows
    x = np.concatenate([size, -size])
    x = x[(x >= low) & (x <= high)]
    got, expected = _core.elementary(name, x), true(x)
    normal = np.abs(expected) > np.finfo(np.float64).tiny
    # Both may be off: ours by 4 units in the last place, the library by one.
    np.testing.assert_allclose(got[normal], expected[normal], rtol=5 * np.finfo(np.float64).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_limits(name, dtype):
    true, low, high = FUNCTIONS[name]
    x = np.array([x for x in (-np.inf, -1.0, 0.0, 1.0, np.inf) if low <= x <= high], dtype=dtype)
    with np.errstate(over="ignore"):
        expected = true(x.astype(np.float64)).astype(dtype)
    np.testing.assert_allclose(_core.elementary(name, x), expected, rtol=4 * np.finfo(dtype).eps)
    assert np.isnan(_core.elementary(name, np.array([np.nan], dtype=dtype))).all()


def test_a_zero_keeps_its_sign():
    zero = np.array([-0.0], dtype=np.float32)
    assert np.signbit(_core.elementary("tanh", zero)).all()
    assert not np.signbit(_core.elementary("tanh", -zero)).any()


def test_refusals():
    with pytest.raises(ValueError, match="unknown function 'sin'"):
        _core.elementary("sin", np.zeros(3, dtype=np.float32))
    with pytest.raises(ValueError, match="x must have one dimension"):
        _core.elementary("exp", np.zeros((3, 1), dtype=np.float32))
