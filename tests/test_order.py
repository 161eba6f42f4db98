"""The order in which an epoch takes its rows."""

from itertools import pairwise, permutations

import backsweep as bs
import numpy as np
import pytest
from backsweep import _core, _orders
from backsweep._backends import Backend
from backsweep.reference.order import rectangle_order, shuffle
from problems import BACKENDS

SIZES = [0, 1, 2, 3, 17, 1000, 100_003]


def draws_of(n, seed=0):
    return np.random.default_rng(seed).bit_generator.random_raw(n)


@pytest.mark.parametrize("m", SIZES)
def test_core_and_reference_agree(m):
    one, other = np.arange(m), np.arange(m)
    _core.shuffle(one, m, draws_of(m))
    shuffle(other, m, draws_of(m))
    assert np.array_equal(one, other)
    assert np.array_equal(np.sort(one), np.arange(m))


@pytest.mark.parametrize("apply", [_core.shuffle, shuffle], ids=["core", "reference"])
def test_an_order_worked_by_hand(apply):
    """Halves of the range of draws: with 4 left place 2, with 3 left place 1, with 2 left place 1, with 1 left 0."""
    order = np.arange(4)
    apply(order, 4, np.full(4, 1 << 63, dtype=np.uint64))
    assert order.tolist() == [0, 3, 1, 2]
    first, last = np.arange(4), np.arange(4)
    apply(first, 4, np.zeros(4, dtype=np.uint64))
    apply(last, 4, np.full(4, 2**64 - 1, dtype=np.uint64))
    assert first.tolist() == [1, 2, 3, 0]
    assert last.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("apply", [_core.shuffle, shuffle], ids=["core", "reference"])
def test_parts_make_the_whole(apply):
    m, draws = 100, draws_of(100)
    whole, parts = np.arange(m), np.arange(m)
    apply(whole, m, draws)
    for begin, end in ((0, 1), (1, 64), (64, 64), (64, 100)):
        apply(parts, m - begin, draws[begin:end])
    assert np.array_equal(parts, whole)


def test_all_orders_are_as_likely():
    """χ² of 24 orders of 4 with 23 degrees of freedom: beyond 60 one time in 26,000; the seed is fixed."""
    counts = dict.fromkeys(permutations(range(4)), 0)
    n, draws = 24_000, draws_of(4 * 24_000)
    for i in range(n):
        order = np.arange(4)
        _core.shuffle(order, 4, draws[4 * i : 4 * i + 4])
        counts[tuple(order.tolist())] += 1
    assert sum((count - n / 24) ** 2 / (n / 24) for count in counts.values()) < 60


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_draws_its_orders_from_its_seed(backend, m):
    net, twin, other = (bs.Network([3, 2], seed=seed, backend=backend) for seed in (0, 0, 1))
    first, second = net._permutation(m), net._permutation(m)
    for order in (first, second):
        assert np.array_equal(order, twin._permutation(m))
        assert np.array_equal(np.sort(order), np.arange(m))
    if m > 3:
        assert not np.array_equal(first, second)
        assert not np.array_equal(first, other._permutation(m))


def test_backends_draw_the_same_orders():
    core, reference = (bs.Network([3, 2], seed=5, backend=backend) for backend in BACKENDS)
    for m in (10, 20_000):
        assert np.array_equal(core._permutation(m), reference._permutation(m))


@pytest.mark.parametrize(
    ("order", "left", "draws", "said"),
    [
        (np.arange(3), 4, draws_of(3), "left must be a number of entries"),
        (np.arange(3), 2**32, draws_of(3), "left must be a number of entries"),
        (np.arange(3), 2, draws_of(3), "draws must be no more than are left"),
        (np.arange(4).reshape(2, 2), 2, draws_of(2), "order must have shape"),
        (np.arange(3), 3, draws_of(4).reshape(2, 2), "draws must have shape"),
    ],
)
def test_what_would_leave_the_array_is_refused(order, left, draws, said):
    before = order.copy()
    with pytest.raises(ValueError, match=said):
        _core.shuffle(order, left, draws)
    assert np.array_equal(order, before)


@pytest.mark.parametrize(
    ("order", "draws"),
    [(np.arange(3, dtype=np.int32), draws_of(3)), (np.arange(3), draws_of(3).astype(np.int64)), (np.arange(3), [1, 2])],
)
def test_other_types_are_refused(order, draws):
    with pytest.raises(TypeError):
        _core.shuffle(order, 3, draws)


def test_a_read_only_order_is_refused():
    order = np.arange(3)
    order.flags.writeable = False
    with pytest.raises(ValueError, match=r"writeable|read-only"):
        _core.shuffle(order, 3, draws_of(3))


# Orders of many rows, which are nowhere kept

MANY = [1, 2, 3, 10, 50, 1000, 9999, 10_000, 10_001, 300_007]


def scattered(m, seed=0, backend="core"):
    return _orders.Scattered(m, np.random.default_rng(seed), Backend(backend, np.dtype("float32")))


@pytest.mark.parametrize("m", MANY)
def test_a_computed_order_has_each_row_once_and_is_the_references(m):
    order = scattered(m)[0:m]
    assert np.array_equal(np.sort(order), np.arange(m))
    assert np.array_equal(order, scattered(m, backend="reference")[0:m])


@pytest.mark.parametrize("m", MANY)
@pytest.mark.parametrize("backend", BACKENDS)
def test_slices_of_a_computed_order_are_its_parts(backend, m):
    order = scattered(m, backend=backend)
    ends = [0, 0, m // 3, min(m // 3 + 1, m), m]
    assert np.array_equal(np.concatenate([order[begin:end] for begin, end in pairwise(ends)]), order[0 : m + 5])


@pytest.mark.parametrize("apply", [_core.rectangle_order, rectangle_order], ids=["core", "reference"])
def test_a_computed_order_worked_by_hand(apply):
    """Five places in two rows of three. One round: the rows go 1 and 2 to the right, the columns 0, 1 and 1 down.

    (0, 0) to (0, 1) to (1, 1), place 4; (0, 1) to (0, 2) to (1, 2), which is none, so as place 5 to (1, 1) and (0, 1),
    place 1; (0, 2) to (0, 0), place 0; (1, 0) to (1, 2) to (0, 2), place 2; (1, 1) to (1, 0), place 3.
    """
    order = np.empty(5, dtype=np.int64)
    apply(order, 0, 5, np.array([[1, 2]]), np.array([[0, 1, 1]]))
    assert order.tolist() == [4, 1, 0, 2, 3]


def test_a_computed_order_looks_like_any():
    """Of a random order's places, one on average is its own row, and one has its neighbour next: each about Poisson.

    The next entry is as likely to lie anywhere, wherever this one lies: χ² of 100 pairs of tenths with 81 degrees of
    freedom is beyond 150 one time in 200,000; the seeds are fixed.
    """
    m, n = 40_000, 100
    fixed = adjacent = 0
    pairs = np.zeros((10, 10))
    for seed in range(n):
        order = scattered(m, seed)[0:m]
        fixed += int((order == np.arange(m)).sum())
        adjacent += int((np.diff(order) == 1).sum())
        tenth = order // (m // 10)
        np.add.at(pairs, (tenth[:-1], tenth[1:]), 1)
    assert abs(fixed - n) < 5 * n**0.5
    assert abs(adjacent - n) < 5 * n**0.5
    expected = n * (m - 1) / 100
    assert ((pairs - expected) ** 2 / expected).sum() < 150


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_in_a_computed_order_is_training_in_that_order(backend, monkeypatch):
    """In runs of a few steps, each given its own rows."""
    monkeypatch.setattr(_orders, "MOST_KEPT", 100)
    monkeypatch.setattr("backsweep.training.ROWS_IN_A_RUN", 64)
    rng = np.random.default_rng(0)
    X, y, w = rng.normal(size=(501, 3)), rng.integers(2, size=501), rng.uniform(size=501)
    net, twin = (bs.Network([3, 4, 2], seed=0, backend=backend) for _ in range(2))
    optimizer, other = bs.Adam(), bs.Adam()
    net.fit(X, y, epochs=2, batch_size=10, optimizer=optimizer, sample_weight=w)
    for _ in range(2):
        order = twin._permutation(501)
        assert isinstance(order, _orders.Scattered)
        rows = order[0:501]
        twin.fit(X[rows], y[rows], epochs=1, batch_size=10, optimizer=other, sample_weight=w[rows], shuffle=False)
    assert np.array_equal(net.theta, twin.theta)


@pytest.mark.parametrize("backend", BACKENDS)
def test_divergence_is_found_in_a_computed_order(backend, monkeypatch):
    monkeypatch.setattr(_orders, "MOST_KEPT", 100)
    X = np.random.default_rng(0).normal(size=(501, 3))
    X[250] = 1e30  # its squared error is beyond float32
    net, twin = (bs.Network([3, 1], loss="mean_squared_error", seed=0, backend=backend) for _ in range(2))
    step = twin._permutation(501)[0:501].tolist().index(250) // 10 + 1
    with pytest.raises(bs.DivergenceError, match=f"training diverged in epoch 1, step {step}: the loss is not finite"):
        net.fit(X, X[:, 0], epochs=1, batch_size=10, optimizer=bs.SGD(0.1))
    assert np.isfinite(net.theta).all()


SHIFTS = np.zeros((3, 2), dtype=np.int64), np.zeros((3, 3), dtype=np.int64)  # two rows of three


@pytest.mark.parametrize(
    ("n", "begin", "m", "along", "across", "said"),
    [
        (3, 0, 7, *SHIFTS, "m must be the cells"),
        (3, 0, 3, *SHIFTS, "m must be the cells"),
        (0, 0, 0, *SHIFTS, "m must be the cells"),
        (3, 3, 5, *SHIFTS, "order must end with entry 5"),
        (3, 2**63, 5, *SHIFTS, "order must end with entry 5"),
        (3, 0, 5, SHIFTS[0] + 3, SHIFTS[1], "row_shifts must lie between 0 and 2"),
        (3, 0, 5, SHIFTS[0] - 1, SHIFTS[1], "row_shifts must lie between 0 and 2"),
        (3, 0, 5, SHIFTS[0], SHIFTS[1] + 2, "column_shifts must lie between 0 and 1"),
        (3, 0, 5, SHIFTS[0], SHIFTS[1][:2], "column_shifts must have shape"),
        (3, 0, 5, SHIFTS[0].ravel(), SHIFTS[1], "row_shifts must have two dimensions"),
        (3, 0, 5, SHIFTS[0][:, :0], SHIFTS[1], "m must be the cells"),
    ],
)
def test_what_is_no_rectangle_is_refused(n, begin, m, along, across, said):
    order = np.full(n, 7)
    with pytest.raises(ValueError, match=said):
        _core.rectangle_order(order, begin, m, along.copy(), across.copy())
    assert (order == 7).all()
