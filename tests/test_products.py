"""The ways that products take where shapes ask for them, against the reference."""

import numpy as np
import pytest
from checks import check_sweeps
from problems import DTYPES, Problem

TEAMS = [1, 2, None]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(300, 521, 3), (60, 1030, 3)], ids=str)
def test_shapes_of_rows_far_apart(shape, dtype):
    """Rows of W that lie so far apart that products copy their entries, and as many samples as make it worth while."""
    check_sweeps(Problem(shape, 140, "identity", loss="mean_squared_error", labels=False, dtype=dtype), TEAMS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [512, 530, 601])
def test_blocks_of_some_columns_of_dW(width, dtype):
    """Where D is large, dW comes in blocks of some of its rows and columns; the last have db and what is in dots."""
    problem = Problem((300, width, 3), 2100, "identity", loss="mean_squared_error", labels=False, dtype=dtype)
    check_sweeps(problem, TEAMS)
    check_sweeps(problem.but(bias=False, zeros=True), TEAMS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
def test_blocks_of_columns_that_stay_in_the_cache(bias, dtype):
    """Of fewer samples such blocks have fewer rows. Whole numbers and powers of two: no sum is rounded."""
    rng, widths, rows = np.random.default_rng(5), (70, 4200, 4), 256
    problem = Problem(widths, rows, "identity", loss="mean_squared_error", labels=False, dtype=dtype, bias=bias)
    X, y = rng.integers(-1, 2, (rows, widths[0])).astype(dtype), rng.integers(-9, 10, (rows, widths[2])).astype(dtype)
    parameters = rng.integers(-1, 2, len(problem.network("core").theta))
    gradients = []
    for backend, n in [("reference", None), *(("core", n) for n in TEAMS)]:
        network = problem.network(backend)
        network.theta[:] = parameters
        gradients.append(network.loss_and_gradients(X, y, n_threads=n)[1])
    wanted, *others = gradients
    assert all(np.count_nonzero(dW) > 0.9 * dW.size for dW in wanted.dW)
    for got in others:
        assert all(map(np.array_equal, got.dW, wanted.dW))
        assert not bias or all(map(np.array_equal, got.db, wanted.db))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", range(9, 42))
def test_shapes_that_leave_columns_of_dW_over(width, dtype):
    """Every rest of outputs after whole vectors: narrower vectors, or dots along the samples; and zeros left out."""
    check_sweeps(Problem((30, width, 3), 37, "relu", dtype=dtype), TEAMS)
    check_sweeps(Problem((90, width, 12), 37, "tanh", dtype=dtype, zeros=True), TEAMS)
    check_sweeps(Problem((30, width, 3), 3, "relu", dtype=dtype), TEAMS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [*range(5, 16), 20, 27, 28, 29, 53, 101])
def test_rows_that_fill_little_of_a_vector(rows, dtype):
    """Vectors run along the outputs, in layers that are wide enough or in predictions: also where outputs end in a
    part of one."""
    for shape in [(130, 300, 47, 1), (200, 33, 3), (7, 2, 5)]:
        for bias in (True, False):
            problem = Problem(shape, rows, "relu", loss="mean_squared_error", labels=False, dtype=dtype)
            check_sweeps(problem.but(bias=bias, zeros=bias), TEAMS)
