"""X as it is stored: of any type, side by side or not, at any address. What it is read as, and whether it is finite."""

import backsweep as bs
import numpy as np
import pytest
from backsweep import _core

STORED = ["?", "i1", "u1", "i2", "<i4", ">i4", "i8", "u8", "f2", ">f2", "f4", ">f4", "f8", ">f8", "g"]


def numbers(stored, m, n):
    """Of every size that the type has, down to its subnormal numbers."""
    rng = np.random.default_rng(0)
    dtype = np.dtype(stored)
    if dtype.kind == "b":
        return rng.random((m, n)) < 0.5
    if dtype.kind in "iu":
        X = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (m, n), dtype=dtype.newbyteorder("="))
        return X.astype(dtype)
    exponents = rng.integers(-26 if dtype.itemsize == 2 else -120, 15, (m, n))
    return (rng.uniform(-1, 1, (m, n)) * 2.0**exponents).astype(dtype)


LAYOUTS = {
    "rows": lambda X: X,
    "columns": np.asfortranarray,
    "every third": lambda X: np.repeat(X, 3, axis=1)[:, ::3],
    "backwards": lambda X: np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
    "at an odd address": lambda X: np.frombuffer(b"x" + X.tobytes(), X.dtype, offset=1).reshape(X.shape),
}


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_shapes_are_read_as_numpy_reads_them(layout, dtype, stored):
    """Through the layer that changes nothing: 1 · x and sums of 0 are exact."""
    for m, n in (3, 5), (21, 70):
        X = numbers(stored, m, n)
        net = bs.Network([n, bs.Dense(n, "identity", bias=False)], loss="mean_squared_error", dtype=dtype)
        net.W[0][:] = np.eye(n)
        given = LAYOUTS[layout](X)
        np.testing.assert_array_equal(given, X)
        np.testing.assert_array_equal(net.forward(given), X.astype(dtype))
        mean, scale = np.linspace(-3.0, 3.0, n), np.linspace(0.7, 5.0, n)
        net.input_mean, net.input_scale = mean, scale
        standardised = ((X.astype(np.float64) - mean) / scale).astype(dtype)  # or by 1 / scale: one rounding more
        np.testing.assert_allclose(net.forward(given), standardised, rtol=3 * np.finfo(dtype).eps, atol=0)


BAD = [np.nan, np.inf, -np.inf]


def found(X, dtype, n_threads=1):
    return getattr(_core, f"first_nonfinite_{dtype}")(X, n_threads)


@pytest.mark.parametrize("stored", ["float16", "float32", "float64", ">f4", ">f8", "longdouble"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_with_one_bad_entry(dtype, stored):
    """At every place of rows that leave something over after vectors, and after several vectors at once."""
    for n in (1, 2, 7, 8, 16, 31, 64, 65, 127):
        largest = np.finfo("float16" if stored == "float16" else "float32").max
        X = np.full((2, n), largest, stored)
        X[1, ::2] = -largest
        assert found(X, dtype) is None
        for i in range(2):
            for j in range(n):
                before = X[i, j]
                X[i, j] = BAD[j % 3]
                assert found(X, dtype) == (i, j)
                X[i, j] = before


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
def test_shapes_of_several_pieces(n_threads, order):
    """The first in the order of rows, though a piece after it may be looked at before."""
    X = np.zeros((20_000, 60), np.float32, order=order)
    assert found(X, "float32", n_threads) is None
    for rows in ([19_999], [12_345, 19_000], [4_400, 4_500, 9_000], [0, 19_999]):
        Y = X.copy(order="K")
        Y[rows, 59], Y[rows[0], 7] = np.nan, np.inf
        assert found(Y, "float32", n_threads) == (rows[0], 7)
        assert found(Y[::-1], "float32", n_threads) == (19_999 - rows[-1], 59 if len(rows) > 1 else 7)
        assert found(Y[:, 5::3], "float32", n_threads) == (rows[0], 18)


@pytest.mark.parametrize("n_threads", [1, 3, 0])
@pytest.mark.parametrize("stored", ["f4", "f8", "u8"])
def test_a_copy(stored, n_threads):
    """Of none, of a few, of several pieces and a part of one."""
    for n in (0, 1, 1_000, 1_500_001):
        source = np.arange(n).astype(stored)
        target = np.full(n + 2, 7, stored)
        _core.copy(source, target[1:-1], n_threads)
        np.testing.assert_array_equal(target[1:-1], source)
        assert target[0] == target[-1] == 7


def test_a_copy_to_what_is_not_alike():
    source = np.zeros(4)
    for target in (np.zeros(5), np.zeros((2, 2)), np.zeros(4, "f4"), np.zeros(4, ">f8")):
        with pytest.raises(ValueError, match="target must have the type and shape of source"):
            _core.copy(source, target, 1)
    with pytest.raises(ValueError, match="row-major"):
        _core.copy(np.zeros(8)[::2], source, 1)
    with pytest.raises(ValueError, match="source must hold numbers"):
        _core.copy(np.array([None] * 4), np.array([None] * 4), 1)
    source.flags.writeable = False
    with pytest.raises(ValueError, match=r"read-only|writeable"):
        _core.copy(np.ones(4), source, 1)


def test_zeros_and_integers_are_finite_and_too_large_a_number_is_not():
    assert found(np.zeros((5, 0)), "float32") is None
    assert found(np.array([[2**64 - 1]], np.uint64), "float32") is None
    X = np.ones((3, 40))
    X[2, 17] = 1e39
    assert found(X, "float64") is None
    assert found(X, "float32") == (2, 17)
