"""The order in which an epoch takes its rows."""

from itertools import permutations

import backsweep as bs
import numpy as np
import pytest
from backsweep import _core
from backsweep.reference.order import shuffle
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
    """χ² of 24 orders of 4 with 23 degrees of freedom: beyond 60 one time in 30,000; the seed is fixed."""
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
