"""Products of operands in bfloat16, `precision="bf16"`: against their twins in NumPy, and what they leave alone."""

import backsweep as bs
import numpy as np
import pytest
from backsweep import _core, datasets
from backsweep.reference.bfloat16 import FEWEST_UNITS, bf16_product, rounded_to_bf16
from problems import Problem
from tolerances import gamma, relative_error

UNIT = 2.0**-8  # of bfloat16's rounding, relative
SHAPES = [(1, 1, 1), (14, 2, 32), (15, 3, 33), (29, 301, 47), (130, 512, 64), (65, 515, 80), (300, 1030, 530)]
LAYERS = [
    ((64, 64, 64, 3), 50),
    ((100, 130, 70, 64), 33),
    ((784, 128, 10), 100),
    ((70, 600, 64, 2), 700),  # D is large
    ((64, 2100, 64), 520),  # and wide: blocks of some of dW's columns
    ((300, 90, 65), 1),
]


def product(A, B, transposed):
    return _core.bf16_product(np.ascontiguousarray(A.T) if transposed else A, B, transposed)


@pytest.mark.parametrize("transposed", [False, True])
def test_operands_are_rounded_to_nearest(transposed):
    """Every upper half of a float32, with every way of lying between it and the next; ties go to the even one."""
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], dtype=np.uint32)
    bits = (np.arange(0x0080, 0x7F7F, dtype=np.uint32)[:, np.newaxis] << 16) + lower  # normal, and finite rounded
    x = np.concatenate([bits.ravel(), (bits | 0x80000000).ravel()]).view(np.float32)[:, np.newaxis]
    one = np.ones((1, 1), dtype=np.float32)
    wanted = rounded_to_bf16(x)
    exact = x.astype(np.float64)
    step = 2.0 ** (np.floor(np.log2(np.abs(exact))) - 7)
    assert (np.abs(wanted - exact) <= step / 2).all()
    ties = np.abs(wanted - exact) == step / 2
    assert ties.sum() == len(x) / len(lower)
    assert (wanted.view(np.uint32)[ties] & 0x10000 == 0).all()
    np.testing.assert_array_equal(product(x, one, transposed), wanted)
    np.testing.assert_array_equal(product(one, np.ascontiguousarray(x.T), transposed), wanted.T)


@pytest.mark.parametrize("transposed", [False, True])
def test_what_is_not_finite_stays_so(transposed):
    x = np.array([[np.inf], [-np.inf], [np.nan], [3.4e38]], dtype=np.float32)
    one = np.ones((1, 1), dtype=np.float32)
    got = product(x, one, transposed)
    np.testing.assert_array_equal(got, [[np.inf], [-np.inf], [np.nan], [np.inf]])  # the last beyond bfloat16
    np.testing.assert_array_equal(rounded_to_bf16(x), got)
    # A NaN whose payload lies in the lower half alone is none other.
    x = np.array([[0x7F800001]], dtype=np.uint32).view(np.float32)
    assert np.isnan(product(x, one, transposed)).all()
    assert np.isnan(rounded_to_bf16(x)).all()


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_function_bf16_product(shape, transposed):
    m, k, n = shape
    rng = np.random.default_rng(k)
    A, B = rng.standard_normal((m, k), dtype=np.float32), rng.standard_normal((k, n), dtype=np.float32)
    got = product(A, B, transposed)
    rounded = [rounded_to_bf16(M).astype(np.float64) for M in (A, B)]
    bound = gamma(k + 2, np.float32) * (np.abs(rounded[0]) @ np.abs(rounded[1]))
    assert got.shape == (m, n)
    assert (np.abs(got - rounded[0] @ rounded[1]) <= bound).all()
    given = np.ascontiguousarray(A.T) if transposed else A
    assert (np.abs(got - bf16_product(given, B, transposed)) <= 2 * bound).all()
    # Whole numbers of few digits: nothing is rounded, whatever the order of the sums.
    A, B = (rng.integers(-9, 10, M.shape).astype(np.float32) for M in (A, B))
    np.testing.assert_array_equal(product(A, B, transposed), A @ B)


def test_function_bf16_product_refuses_what_does_not_fit():
    A, B = np.ones((3, 4), dtype=np.float32), np.ones((4, 5), dtype=np.float32)
    with pytest.raises(ValueError, match="B must have 3 rows"):
        _core.bf16_product(A, B, True)
    for empty in (np.ones((0, 4), dtype=np.float32), np.ones((4, 0), dtype=np.float32)):
        with pytest.raises(ValueError, match="A must hold an entry"):
            _core.bf16_product(empty, B, False)
        with pytest.raises(ValueError, match="B must hold an entry"):
            _core.bf16_product(A, empty, False)
    with pytest.raises(TypeError):
        _core.bf16_product(A.astype(np.float64), B, False)


def gradient(widths, m, backend="core", precision="bf16", sigma="relu", bias=True, dtype="float32", n_threads=None):
    """dtheta of one batch, from a step so long that what is subtracted from theta is little of it."""
    rng, rate = np.random.default_rng(1), 1024.0
    X, y = rng.standard_normal((m, widths[0]), dtype=np.float32), rng.integers(0, widths[-1], m)
    layers = [widths[0], *(bs.Dense(n, bias=bias) for n in widths[1:])]
    network = bs.Network(layers, activation=sigma, seed=0, backend=backend, dtype=dtype)
    before = network.theta.astype(np.float64)
    network.fit(
        X, y, epochs=1, batch_size=m, optimizer=bs.SGD(rate), precision=precision, n_threads=n_threads, progress=False
    )
    return (before - network.theta) / rate


@pytest.mark.parametrize("sigma", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize(("widths", "m"), LAYERS, ids=str)
def test_core_and_reference_in_bf16(widths, m, sigma):
    """Where a sum lies next to a tie its last bit decides what it is rounded to: in few places, by a unit."""
    got, wanted = (gradient(widths, m, backend, sigma=sigma) for backend in ("core", "reference"))
    assert relative_error(got, wanted) < UNIT / 16
    assert relative_error(got, gradient(widths, m, precision="full", sigma=sigma)) > UNIT / 4
    without = [gradient(widths, m, backend, sigma=sigma, bias=False) for backend in ("core", "reference")]
    assert relative_error(*without) < UNIT / 16


@pytest.mark.parametrize(("widths", "m"), LAYERS[:4], ids=str)
def test_the_gradient_is_right_but_for_rounding(widths, m):
    """A sum of rounded products errs by two units of rounding in each at most, and by far less together."""
    exact = gradient(widths, m, precision="full", sigma="tanh", dtype="float64")
    error = relative_error(gradient(widths, m, sigma="tanh"), exact)
    assert UNIT / 8 < error < 2 * UNIT


@pytest.mark.parametrize(("widths", "m"), LAYERS, ids=str)
def test_any_number_of_threads_in_bf16(widths, m):
    one, *others = (gradient(widths, m, n_threads=n) for n in (1, 2, 3, 7))
    assert np.count_nonzero(one) > len(one) / 4
    for other in others:
        np.testing.assert_array_equal(other, one)


def test_any_number_of_threads_for_an_epoch_in_bf16():
    """Of a network of one hidden layer, whose units a team shares, and of one that is swept by layers or tiles."""
    for widths in ((64, 200, 10), (100, 64, 300, 64)):
        rng = np.random.default_rng(2)
        X, y = rng.standard_normal((1000, widths[0]), dtype=np.float32), rng.integers(0, widths[-1], 1000)
        results = []
        for n in (1, 2, 3):
            network = bs.Network(list(widths), seed=0)
            network.fit(
                X, y, epochs=2, batch_size=90, optimizer=bs.Adam(1e-3), precision="bf16", n_threads=n, progress=False
            )
            results.append(network.theta)
        assert all(np.array_equal(results[0], other) for other in results[1:])


def test_narrow_layers_are_full():
    narrow = FEWEST_UNITS - 1
    for widths in ((narrow, 200, narrow, 200, 10), (300, narrow, 3)):
        bf16, full = (gradient(widths, 40, precision=precision) for precision in ("bf16", "full"))
        np.testing.assert_array_equal(bf16, full)
    bf16, full = (gradient((64, 64), 40, precision=precision) for precision in ("bf16", "full"))
    assert relative_error(bf16, full) > UNIT / 8


def test_other_layers_and_options_in_bf16():
    """Normalisation, dropout, weights of samples, clipping and standardised rows: as the reference."""
    rng = np.random.default_rng(3)
    X, y, w = 3 + rng.standard_normal((96, 70)), rng.integers(0, 64, 96), rng.random(96)
    layers = [70, bs.Dense(80, "identity"), bs.BatchNorm("relu"), bs.Dropout(0.2), 64, bs.LayerNorm(), 64]
    thetas = []
    for backend in ("core", "reference"):
        network = bs.Network(layers, seed=0, backend=backend)
        network.standardise(X)
        before = network.theta.copy()
        optimizer = bs.SGD(1e-2, momentum=0.9, weight_decay=1e-3, clip_norm=0.5)
        network.fit(
            X, y, epochs=3, batch_size=32, optimizer=optimizer, precision="bf16", sample_weight=w, progress=False
        )
        thetas.append(network.theta - before)
    assert relative_error(*thetas) < UNIT / 4


def test_predictions_are_full():
    problem = Problem((64, 80, 5), 200, dtype="float32")
    network, (X, y, _) = problem.network("core"), problem.data()
    network.fit(X, y, epochs=2, precision="bf16", progress=False)
    exact = problem.but(dtype="float64").network("core")
    exact.theta[:] = network.theta
    assert relative_error(network.forward(X), exact.forward(X)) < UNIT / 1000
    assert network.evaluate(X, y)["loss"] == pytest.approx(exact.evaluate(X, y)["loss"], rel=UNIT / 1000)


def test_it_learns_as_well():
    """The digits, in as many steps."""
    X, y = datasets.load_digits()
    accuracy = {}
    for precision in ("full", "bf16"):
        network = bs.Network([64, 128, 64, 10], seed=0)
        network.standardise(X[:1400])
        network.fit(X[:1400], y[:1400], epochs=15, batch_size=64, precision=precision, progress=False)
        accuracy[precision] = network.evaluate(X[1400:], y[1400:])["accuracy"]
    assert accuracy["full"] > 0.9
    assert accuracy["bf16"] > accuracy["full"] - 0.02


def test_precision_must_fit():
    X, y = np.ones((4, 3)), np.zeros(4, dtype=int)
    with pytest.raises(ValueError, match="precision must be one of full, bf16, got 'bf17'; did you mean"):
        bs.Network([3, 2]).fit(X, y, precision="bf17")
    network = bs.Network([3, 2], dtype="float64", seed=0)
    before = network.theta.copy()
    with pytest.raises(ValueError, match="precision must be 'full' for a network in float64, got 'bf16'"):
        network.fit(X, y, precision="bf16")
    np.testing.assert_array_equal(network.theta, before)
    layer = [(3, 2, "relu", True, "dense", 0.0)]
    with pytest.raises(ValueError, match="precision must be 'full' in float64, got bf16"):
        _core.Network_float64(layer, "huber", "bf16")
    with pytest.raises(ValueError, match="unknown precision 'half'"):
        _core.Network_float32(layer, "huber", "half")


def test_the_machine_tells_how_it_multiplies():
    told = bs.config.config()["bf16"]
    assert told == ("by instructions" if _core.has_bf16_instructions() else "rounded, then as float32")
    if _core.instruction_set() != "avx512":
        assert not _core.has_bf16_instructions()
