"""Any number of threads gives the same bits: which of them does what never shows."""

import os
import subprocess
import sys

import backsweep as bs
import numpy as np
import pytest
from backsweep import _core
from checks import TEAMS, assert_same_bits, bits
from problems import DTYPES, Problem

# 256 rows are several tiles, which a layer of 529,000 weights takes together; the last batch is a part.
LARGE = Problem((100, 256, 256, 10), 600, "relu")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "problem",
    [
        LARGE,
        LARGE.but(activation="gelu", bias=False, weighted=True),
        LARGE.but(widths=(37, 301, 129, 3), activation="tanh", loss="mean_squared_error", standardised=True),
        LARGE.but(widths=(784, 10)),
        LARGE.but(widths=(37, 1000, 529, 15)),
        LARGE.but(widths=(37, 4100, 15)),
        Problem(widths=(20, 64, 64, 2), rows=70),
    ],
    ids=lambda problem: "-".join(map(str, problem.widths)) + " weighted" * problem.weighted,
)
@pytest.mark.parametrize("clips", [False, True], ids=["", "clip_norm"])
def test_any_number_of_threads_gives_the_same_bits(problem, dtype, clips):
    problem = problem.but(dtype=dtype)
    expected, *others = (
        bits(
            problem.network("core"), *problem.data(), n_threads=n,
            opt=bs.SGD(1e-2, momentum=0.9, clip_norm=0.1) if clips else bs.Adam(),
        )
        for n in TEAMS
    )  # fmt: skip
    for other in others:
        assert_same_bits(other, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [3, 21, 70, 101, 150])
def test_any_number_of_threads_of_which_there_are_more_than_tiles(rows, dtype):
    """So they share each layer: every kind of layer, each above and below layers that fall into units."""
    kinds = [bs.BatchNorm("relu"), bs.Dense(400, "gelu"), bs.LayerNorm("silu"), bs.Dense(380, "relu"), bs.Dropout(0.3)]
    X, y, w = Problem((300, 9), 2 * rows + 3, weighted=True).but(dtype=dtype).data()

    def trained(n_threads):
        net = bs.Network([300, *kinds, 350, bs.Dense(360, "tanh", bias=False), *kinds[:1], 9], dtype=dtype, seed=0)
        _, passed = net.loss_and_gradients(X, y, sample_weight=w, training=True, dX=True, n_threads=n_threads)
        results = bits(net, X, y, w, n_threads=n_threads, batch_size=rows, epochs=2)
        return [*results, passed.dtheta, passed.dX, net.buffers]

    expected = trained(1)
    for n in (2, 5, 16):
        assert_same_bits(trained(n), expected)


# One hidden layer, steps enough that its units are shared out, and a last batch of 29 rows that are too few for it.
SHALLOW = Problem((37, 110, 5), 90 * 200 + 29, "relu")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "problem",
    [
        SHALLOW,
        SHALLOW.but(activation="gelu", bias=False, weighted=True),
        SHALLOW.but(widths=(130, 100, 3), activation="tanh", loss="mean_squared_error", standardised=True),
        SHALLOW.but(widths=(5, 208, 40), activation="sigmoid"),
        SHALLOW.but(widths=(200, 300, 20)),
    ],
    ids=lambda problem: "-".join(map(str, problem.widths)) + " weighted" * problem.weighted,
)
@pytest.mark.parametrize("stored", ["as it is", "float64", "float32", "mostly zeros"])
def test_any_number_of_threads_that_share_the_hidden_units(problem, dtype, stored):
    problem = problem.but(dtype=dtype)
    X, *others = problem.data()
    if stored == "mostly zeros":
        X[:, ::3] = X[40:, 1::3] = 0
    elif stored != "as it is":
        X = X.astype(stored)

    def trained(n_threads, batch_size, opt):
        network = problem.network("core")
        history = network.fit(
            X, *others[:1], sample_weight=others[1], epochs=2, batch_size=batch_size, optimizer=opt,
            n_threads=n_threads, progress=False,
        )  # fmt: skip
        return [np.array(history.loss), network.theta]

    for batch_size, opt in ((90, bs.Adam), (69, lambda: bs.SGD(1e-2, momentum=0.9)), (64, lambda: bs.SGD(1e-3))):
        expected = trained(1, batch_size, opt())
        for n in (2, 3, None):
            assert_same_bits(trained(n, batch_size, opt()), expected)


def test_threads_that_share_the_hidden_units_stop_together():
    """A step whose loss is not finite is not taken: parameters are those before it, wherever they were."""

    def stopped(n_threads):
        network = SHALLOW.network("core")
        with pytest.raises(FloatingPointError) as raised:
            network.fit(
                *SHALLOW.data()[:2], epochs=2, batch_size=90, n_threads=n_threads, progress=False, shuffle=False,
                optimizer=bs.SGD(lambda step: 1e-2 if step < 100 else 1e35),
            )  # fmt: skip
        return str(raised.value), network.theta

    message, theta = stopped(1)
    for n in (2, 3):
        other, at_the_end = stopped(n)
        assert other == message
        np.testing.assert_array_equal(at_the_end, theta)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "layers",
    [
        [2000, 2500],
        [bs.Dense(2000, "gelu"), bs.Dense(2500, "gelu")],
        [bs.Dense(2000, "identity"), bs.LayerNorm("silu"), 2500, bs.BatchNorm("relu")],
    ],
    ids=["relu", "gelu", "normalised"],
)
def test_any_number_of_threads_that_share_the_layers_of_a_prediction(layers, dtype):
    """Of few rows and wide layers, down to one row of more weights than one thread should read."""
    net = bs.Network([100, *layers, 2], dtype=dtype, seed=0)
    X, *_ = Problem((100, 2), 600, dtype=dtype).data()
    X[:, ::3] = 0
    for m in (1, 4, 5, 7, 14, 21, 40, 100, 300, 600):
        expected = net.forward(X[:m], n_threads=1)
        for n in (2, 5, 16, None):
            np.testing.assert_array_equal(net.forward(X[:m], n_threads=n), expected)
        np.testing.assert_array_equal(net.forward(X[:m].astype("float64"), n_threads=5), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("widths", [(20, 64, 64, 2), (784, 100, 10), (37, 301, 129, 3)])
def test_any_number_of_threads_that_share_the_rows_of_a_prediction(widths, dtype):
    """Rows fall into pieces that suit the team, of whole groups of 32; what is left over goes with the last."""
    net = bs.Network(widths, dtype=dtype, seed=0)
    X, y, w = Problem(widths, 1030, weighted=True).but(dtype=dtype).data()
    for m in (15, 31, 32, 63, 64, 79, 100, 128, 140, 500, 1000, 1030):
        output = net.forward(X[:m], n_threads=1)
        evaluation = net.evaluate(X[:m], y[:m], sample_weight=w[:m], n_threads=1)
        for n in (2, 3, 5, 16, None):
            np.testing.assert_array_equal(net.forward(X[:m], n_threads=n), output)
            assert net.evaluate(X[:m], y[:m], sample_weight=w[:m], n_threads=n) == evaluation


@pytest.mark.parametrize("isa", _core.instruction_sets())
def test_any_number_of_threads_at_the_edges_of_what_a_product_takes_at_once(isa):
    """Rows beyond 512 are left over; what a piece leaves out for its zeros, another takes for full."""
    script = """
import numpy as np, backsweep as bs
rng = np.random.default_rng(0)
for dtype in ("float32", "float64"):
    for widths, rows in (
        ((10, 20, 3), range(513, 520)), ((10, 20, 7), (257, 258, 516)), ((100, 64, 10), (69, 75, 101, 133, 267)),
        ((300, 1500, 5), (258, 259, 517)),
    ):
        net = bs.Network(widths, dtype=dtype, seed=0)
        for m in rows:
            X = rng.standard_normal((m, widths[0])).astype(dtype)
            X[32:, ::2] = 0
            y = rng.integers(0, widths[-1], m)
            expected, figures = net.forward(X, n_threads=1), net.evaluate(X, y, n_threads=1)
            for n in (2, 3, 5, 16):
                assert np.array_equal(net.forward(X, n_threads=n), expected), (dtype, widths, m, n)
                assert net.evaluate(X, y, n_threads=n) == figures, (dtype, widths, m, n)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, timeout=120, env={**os.environ, "BACKSWEEP_ISA": isa},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
