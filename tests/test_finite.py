"""The look at the input: the first entry that is NaN or infinite, wherever it lies and whatever it is stored as."""

import numpy as np
import pytest
from backsweep import _core

BAD = [np.nan, np.inf, -np.inf]


def found(X, dtype, n_threads=1):
    return getattr(_core, f"first_nonfinite_{dtype}")(X, n_threads)


@pytest.mark.parametrize("stored", ["float16", "float32", "float64", ">f4", ">f8", "longdouble"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes(dtype, stored):
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


def test_zeros_and_integers_are_finite_and_too_large_a_number_is_not():
    assert found(np.zeros((5, 0)), "float32") is None
    assert found(np.array([[2**64 - 1]], np.uint64), "float32") is None
    X = np.ones((3, 40))
    X[2, 17] = 1e39
    assert found(X, "float64") is None
    assert found(X, "float32") == (2, 17)
