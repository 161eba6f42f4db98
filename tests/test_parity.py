"""The core against the reference: every function, both sweeps, and training."""

import inspect

import backsweep as bs
import numpy as np
import pytest
from checks import TEAMS, assert_same_bits, bits, check_function, check_sweeps, check_training
from problems import ACTIVATIONS, BACKENDS, DTYPES, LOSSES, OPTIMIZERS, Problem, optimizer

SHAPES = [(1, 1), (1, 7), (7, 1), (33, 17), (513, 10)]


def test_reference_has_the_same_names_and_signatures():
    assert bs.functional.__all__ == bs.reference.__all__
    for name in bs.functional.__all__:
        one, other = (inspect.signature(getattr(module, name)) for module in (bs.functional, bs.reference))
        assert one == other, name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", bs.functional.__all__)
def test_function(name, shape, dtype):
    check_function(name, shape, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
class TestSweeps:
    """Every hidden activation under every loss."""

    @pytest.mark.parametrize("labels", [True, False], ids=["labels", "values"])
    def test_losses(self, activation, loss, dtype, labels):
        problem = Problem((6, 8, 5, 3), 11, activation, loss=loss, labels=labels, dtype=dtype)
        for bias in (True, False):
            for weighted in (True, False):
                check_sweeps(problem.but(bias=bias, weighted=weighted))

    def test_standardised(self, activation, loss, dtype):
        check_sweeps(Problem(rows=20, activation=activation, loss=loss, dtype=dtype, standardised=True))

    def test_as_output(self, activation, loss, dtype):
        check_sweeps(Problem((4, 6, 5), 13, "tanh", activation, loss, dtype=dtype, weighted=True))


SHAPES_OF_NETWORKS = {
    "no hidden layer": ((5, 3), 7),
    "one row": ((5, 7, 3), 1),
    "one unit each": ((1, 1, 2), 5),
    "one hidden unit": ((9, 1, 4), 17),
    "odd": ((13, 31, 17, 7), 29),
    "more rows than a tile": ((11, 65, 33, 5), 513),
    "four hidden layers": ((10, 9, 8, 7, 6, 5), 33),
    "wide enough for several blocks": ((300, 257, 10), 65),
    "few rows, many outputs": ((130, 530, 21), 3),
}


shapes = pytest.mark.parametrize("shape", SHAPES_OF_NETWORKS.values(), ids=SHAPES_OF_NETWORKS)
weighted_or_not = pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])


@weighted_or_not
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "gelu"])  # σ' from Z, and from A
@shapes
def test_shapes(shape, activation, dtype, weighted):
    check_sweeps(Problem(*shape, activation, dtype=dtype, weighted=weighted), TEAMS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(40, 33, 5), (70, 32), (784, 100, 10)], ids=str)
@pytest.mark.parametrize("rows", [1, 15, 64, 100, 513])
def test_zeros(shape, rows, dtype):
    """Features that many samples lack, which products leave out: in the whole batch, in parts of it, one by one."""
    problem = Problem(shape, rows, "relu", dtype=dtype, zeros=True)
    check_sweeps(problem, TEAMS)
    if rows > 64 and shape[0] < 100:
        check_training(problem, "adam", epochs=2, batch_size=48, teams=TEAMS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_training(activation, loss, dtype):
    """fit over epochs whose last batch is a part, shuffled, weighted and not."""
    problem = Problem((6, 9, 3), 14, activation, loss=loss, dtype=dtype)
    check_training(problem, "sgd")
    check_training(problem.but(labels=False, bias=False), "sgd, momentum")
    check_training(problem.but(weighted=True, standardised=True), "sgd, clip_norm")


@weighted_or_not
@pytest.mark.parametrize("dtype", DTYPES)
@shapes
def test_training_of_shapes(shape, dtype, weighted):
    problem = Problem(*shape, dtype=dtype, weighted=weighted, seed=1)  # whose losses stay above their bounds
    check_training(problem, "sgd", batch_size=max(2, 2 * shape[1] // 3), teams=TEAMS, epochs=2)


# The same bits.


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_seed_gives_the_same_bits(backend):
    problem = Problem(rows=50, weighted=True)
    runs = [bits(problem.network(backend), *problem.data(), epochs=3, batch_size=8) for _ in range(2)]
    assert_same_bits(*runs)
    other = bits(problem.but(seed=1).network(backend), *problem.data(), epochs=3, batch_size=8)
    assert not np.array_equal(other[-1], runs[0][-1])


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_training_goes_on_where_it_ended(backend, name):
    problem = Problem(rows=30)
    X, y, _ = problem.data()
    thetas = []
    for parts in ((5,), (2, 3)):
        network, opt = problem.network(backend), optimizer(name)
        losses = [network.fit(X, y, epochs=n, batch_size=7, optimizer=opt, progress=False).loss for n in parts]
        thetas.append((network.theta, np.concatenate(losses)))
    assert_same_bits(*thetas)


@pytest.mark.parametrize("backend", BACKENDS)
def test_runs_of_any_length_give_the_same_bits(backend, monkeypatch):
    """An epoch comes back now and then, by the clock, to look for Ctrl-C: how often must not show in a bit."""
    results = []
    for steps in (4096, 3):
        monkeypatch.setattr(bs.training, "STEPS_IN_A_RUN", steps)
        results.append(bits(Problem().network(backend), *Problem(rows=500).data(), batch_size=7, epochs=3))
    assert_same_bits(*results)


def test_a_long_epoch_gives_the_same_bits():
    """Long enough for the core to look at the clock several times."""
    problem = Problem((100, 64, 10), 4000)
    results = [bits(problem.network("core"), *problem.data(), batch_size=8, epochs=2) for _ in range(3)]
    for other in results[1:]:
        assert_same_bits(other, results[0])


def test_training_goes_on_with_the_optimizer_left_out():
    problem = Problem(rows=30)
    X, y, _ = problem.data()
    one, other = problem.network("core"), problem.network("core")
    one.fit(X, y, epochs=5, batch_size=7)
    other.fit(X, y, epochs=2, batch_size=7)
    other.fit(X, y, epochs=3, batch_size=7)
    assert np.array_equal(one.theta, other.theta)


def unaligned(X):
    buffer = bytearray(X.nbytes + 1)
    view = np.frombuffer(buffer, dtype=X.dtype, offset=1, count=X.size).reshape(X.shape)
    view[:] = X
    assert not view.flags.aligned or X.itemsize == 1
    return view


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def sliced(X):
    wide = np.full(tuple(3 * n for n in X.shape), 77, dtype=X.dtype)
    part = wide[tuple(slice(1, None, 3) for _ in X.shape)]
    part[...] = X
    return part


def backwards(X):
    return np.ascontiguousarray(X[(slice(None, None, -1),) * X.ndim])[(slice(None, None, -1),) * X.ndim]


# Each gives an array of the same values in another layout.
LAYOUTS = {
    "Fortran": np.asfortranarray,
    "sliced": sliced,
    "negative strides": backwards,
    "read-only": read_only,
    "unaligned": unaligned,
    "unaligned, big-endian": lambda X: unaligned(X.astype(X.dtype.newbyteorder(">"))),
    "big-endian": lambda X: X.astype(X.dtype.newbyteorder(">")),
    "rows repeated": lambda X: np.broadcast_to(X[:1], X.shape),
    "columns repeated": lambda X: np.broadcast_to(X[:, :1], X.shape) if X.ndim == 2 else X,
    "one number": lambda X: np.broadcast_to(X.flat[0], X.shape),
}
ELEMENTS = [
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
    "longdouble",
]  # fmt: skip


def compare_layouts(backend, dtype, data, *, standardised=False):
    """What is computed of arrays X, y and sample_weight, against C-contiguous copies of them in the network's dtype."""
    X, y, w = data
    plain = np.array(X, dtype, order="C"), np.array(y, np.int64, order="C"), np.array(w, dtype, order="C")
    results = []
    for arrays in (plain, data):
        network = bs.Network([X.shape[1], 9, 4], dtype=dtype, seed=0, backend=backend)
        if standardised:
            network.standardise(plain[0])
        results.append(bits(network, *arrays, batch_size=16))
    assert_same_bits(*results)


def integers(element, rows=40, columns=6):
    """X, y and sample_weight of small numbers that every element type holds."""
    rng = np.random.default_rng(0)
    most = 2 if element == "bool" else 4
    X, y, w = rng.integers(most, size=(rows, columns)), rng.integers(most, size=rows), rng.integers(1, 4, size=rows)
    return [v.astype(element) for v in (X, y, w)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("standardised", [False, True], ids=["", "standardised"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_any_layout_gives_the_same_bits(backend, dtype, standardised, layout):
    for element in ELEMENTS:
        if element == "longdouble" and "big-endian" in layout:
            continue  # no two machines agree on its bytes, so it is refused
        data = [LAYOUTS[layout](v) for v in integers(element)]
        compare_layouts(backend, dtype, data, standardised=standardised)


@pytest.mark.parametrize("element", ["uint8", "float16", ">f4", "float64"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_memory_map_gives_the_same_bits(backend, element, tmp_path):
    X, y, w = integers(element)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    compare_layouts(backend, "float32", (mapped, y, w))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("y_layout", LAYOUTS)
def test_any_layout_of_values_gives_the_same_bits(backend, y_layout):
    X, y, _ = Problem(loss="mean_squared_error", rows=40).data()
    for element in ("float16", "float32", "float64"):
        values = LAYOUTS[y_layout](y.astype(element))
        results = []
        for targets in (values, np.array(values, np.float64)):
            network = Problem(loss="mean_squared_error").network(backend)
            results.append(bits(network, X, targets, batch_size=16))
        assert_same_bits(*results)
