"""Dropout: generator and masks, the core, the reference and PyTorch, differences, threads, what goes on and comes back.

Longer than 300 lines because randomness has statistics to be looked at as well.
"""

import copy
import itertools
import pickle

import backsweep as bs
import numpy as np
import pytest
from backsweep.reference.dropout import threefry
from checks import difference_error, differences, differences_of_some
from figures import measured
from problems import BACKENDS, DTYPES, IMPLEMENTATIONS
from tolerances import FORMULA, gamma, relative_error
from torch_twin import OPTIMIZERS, Twin, train_for_50_steps

LAYERS = {
    "the input": ([6, bs.Dropout(0.3), 3], 9),
    "hidden": ([5, 8, bs.Dropout(0.5), 7, bs.Dropout(0.1), 3], 29),
    "one unit": ([3, 1, bs.Dropout(0.2), 5, 2], 17),
    "one after another": ([7, 6, bs.Dropout(0.5), bs.Dropout(0.25), bs.LayerNorm("silu"), 3], 65),
    "the last": ([4, 8, bs.Dropout(0.5)], 12),
    "more rows than a tile": ([11, 65, bs.Dropout(0.5), 33, bs.Dropout(0.2), 5], 513),
}
layers = pytest.mark.parametrize("name", LAYERS)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
backends = pytest.mark.parametrize("backend", BACKENDS)
implementations = pytest.mark.parametrize("module", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)


def problem(name, dtype="float64", backend="core"):
    """A network whose biases are not those of the start, and a batch."""
    layers, m = LAYERS[name]
    net = bs.Network(layers, activation="tanh", dtype=dtype, seed=1, backend=backend)
    rng = np.random.default_rng(2)
    for b in net.b:
        if b is not None:
            b[:] = rng.normal(size=b.shape) / 2
    X = rng.normal(size=(m, net.n_in))
    return net, X, rng.integers(net.n_out, size=m), rng.uniform(0.1, 1, size=m)


def without(net):
    """The same network with no dropout in it."""
    layers = [net.n_in, *(layer.layer for layer in net.layers if layer.kind != "dropout")]
    other = bs.Network(layers, loss=net.loss, dtype=net.dtype, backend=net.backend)
    other.theta[:] = net.theta
    return other


# The generator


# From the file kat_vectors of Random123, the library of the generator's authors.
KNOWN = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN, ids=["zeros", "ones", "pi"])
def test_the_generator_gives_the_words_that_its_authors_publish(counter, key, words):
    x, y = (np.array([word], dtype=np.uint32) for word in counter)
    got = threefry(tuple(np.uint32(word) for word in key), x, y)
    assert [int(word[0]) for word in got] == list(words)


@dtypes
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (4, 2), (65, 1), (1, 64), (513, 33)], ids=str)
@pytest.mark.parametrize("place", [(0, 0, 0), (1, 2, 3), (2**31 - 1, 2**31 - 1, 5)], ids=str)
def test_core_and_reference_draw_the_same_masks(shape, place, dtype):
    ones = np.ones(shape, dtype)
    for p in (0.0, 1e-3, 0.5, 0.9, np.nextafter(1, 0)):
        mask = bs.functional.dropout(ones, p, *place)
        assert mask.dtype == dtype
        assert mask.tobytes() == bs.reference.dropout(ones, p, *place).tobytes()
        assert set(np.unique(mask)) <= {0, np.ones(1, dtype)[0] / np.array(1 - p).astype(dtype)}


@implementations
def test_a_mask_grows_with_its_matrix(module):
    """An entry does not depend on how many rows and columns there are."""
    large = module.dropout(np.ones((70, 9)), 0.4, 3)
    for m, n in ((1, 1), (17, 9), (70, 4), (64, 5)):
        assert np.array_equal(module.dropout(np.ones((m, n)), 0.4, 3), large[:m, :n])


@implementations
def test_forward_and_backward_multiply_by_the_mask(module):
    Z = np.random.default_rng(0).normal(size=(20, 7))
    mask = module.dropout(np.ones_like(Z), 0.3, 4, 5, 6)
    assert np.array_equal(module.dropout(Z, 0.3, 4, 5, 6), Z * mask)
    assert np.array_equal(module.dropout_backward(Z, 0.3, 4, 5, 6), Z * mask)
    assert np.array_equal(module.dropout(Z, 0.0), Z)
    assert module.dropout(np.ones((0, 3)), 0.5).shape == (0, 3)
    assert module.dropout(np.ones((3, 0)), 0.5).shape == (3, 0)


def test_it_is_differentiated_as_the_linear_map_that_it_is():
    Z = np.random.default_rng(0).normal(size=(6, 5))
    mask = bs.functional.dropout(np.ones_like(Z), 0.5, seed=2)
    assert np.array_equal(bs.grad(lambda Z: bs.functional.dropout(Z, 0.5, seed=2).sum())(Z), mask)
    twice = bs.grad(lambda G: (bs.functional.dropout_backward(G, 0.5, seed=2) ** 2).sum())(Z)
    assert np.allclose(twice, 2 * mask**2 * Z, rtol=1e-14)


# Statistics: each is a sum of independent draws, so the central limit theorem says how far it strays. Five standard
# deviations are exceeded once in two million trials, and the masks are fixed: a failure is one of the generator.

LARGE = (2000, 300)


def kept(p, *place, shape=LARGE):
    return bs.functional.dropout(np.ones(shape, np.float32), p, *place) > 0


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.75, 0.99])
def test_the_share_kept_is_1_minus_p(p):
    for seed in range(4):
        mask = kept(p, seed)
        deviation = np.sqrt(p * (1 - p))
        assert abs(mask.mean() - (1 - p)) < 5 * deviation / np.sqrt(mask.size)
        for axis in (0, 1):
            means = mask.mean(axis=axis)
            n = mask.shape[axis]
            assert np.abs(means - (1 - p)).max() < 6 * deviation / np.sqrt(n) + 1 / n  # of some thousand means
            # The spread of the means is that of independent draws: no row or column has a rate of its own.
            spread = means.var() * n / (p * (1 - p))
            assert abs(spread - 1) < 6 * np.sqrt(2 / means.size) + 6 / np.sqrt(n * means.size * p * (1 - p))


PLACES = {
    "seeds": [(seed, 0, 0) for seed in range(5)],
    "steps": [(0, step, 0) for step in (0, 1, 2, 3, 2**20)],
    "layers": [(0, 0, layer) for layer in range(5)],
    "seed, step and layer are not added up": [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1)],
}


@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
def test_masks_of_different_places_are_independent(places):
    for one, other in itertools.combinations(places, 2):
        a, b = kept(0.5, *one), kept(0.5, *other)
        assert abs((a == b).mean() - 0.5) < 5 * 0.5 / np.sqrt(a.size), f"{one} and {other}"


@pytest.mark.parametrize("p", [0.5, 0.2])
@pytest.mark.parametrize(("rows", "columns"), [(1, 0), (0, 1), (0, 2), (1, 1), (16, 0), (64, 0), (8, 3)])
def test_neighbours_are_independent(rows, columns, p):
    m, n = LARGE
    dropped = ~kept(p, 9)
    a, b = dropped[: m - rows, : n - columns], dropped[rows:, columns:]
    both = (a & b).mean()
    assert abs(both - p * p) < 5 * np.sqrt(p * p * (1 - p * p) / a.size) * np.sqrt(3)  # pairs overlap in chains


# Networks


@backends
@layers
def test_prediction_leaves_out_nothing(name, backend):
    net, X, y, w = problem(name, backend=backend)
    bare = without(net)
    assert np.array_equal(net.theta, bare.theta)
    for rows in (X, X[:3]):
        assert np.array_equal(net.forward(rows), bare.forward(rows))
    assert net.evaluate(X, y, sample_weight=w) == bare.evaluate(X, y, sample_weight=w)
    loss, gradients = net.loss_and_gradients(X, y, sample_weight=w, dX=True)
    bare_loss, its = bare.loss_and_gradients(X, y, sample_weight=w, dX=True)
    assert loss == bare_loss
    assert np.array_equal(gradients.dtheta, its.dtheta)
    assert np.array_equal(gradients.dX, its.dX)


@dtypes
@layers
def test_core_and_reference_agree(name, dtype):
    core, X, y, w = problem(name, dtype)
    reference = problem(name, dtype, "reference")[0]
    assert np.array_equal(core.theta, reference.theta)
    widths = core.n_in + sum(layer.n_out for layer in core.layers)
    allowed = 16 * gamma(widths + len(X) + FORMULA, dtype)  # a kept entry is up to four times what it was
    if name == "one after another":
        allowed *= 32  # a row of six, most of them dropped, is divided by its small deviation
    loss, mine = core.loss_and_gradients(X, y, sample_weight=w, training=True, dX=True)
    wanted_loss, its = reference.loss_and_gradients(X, y, sample_weight=w, training=True, dX=True)
    assert abs(loss - wanted_loss) <= allowed * (1 + wanted_loss)
    for part in ("dtheta", "dX"):
        error = relative_error(getattr(mine, part), getattr(its, part))
        measured(f"dropout, core and reference, {part}, {dtype}", name, error)
        assert error <= allowed
    assert relative_error(mine.dX, core.loss_and_gradients(X, y, sample_weight=w, dX=True)[1].dX) > 0.05


@backends
@layers
def test_gradients_of_a_training_pass_are_those_of_differences(name, backend):
    net, X, y, w = problem(name, backend=backend)
    X, y, w = X[:9], y[:9], w[:9]
    net._draws[1] = 3
    loss, gradients = net.loss_and_gradients(X, y, sample_weight=w, training=True, dX=True)

    def f():
        return net.loss_and_gradients(X, y, sample_weight=w, training=True)[0]

    assert f() == loss
    allowed = difference_error(9 * net.n_out, 16 * max(1.0, loss))
    assert np.abs(gradients.dtheta).max() > 100 * allowed
    picked, slopes = differences_of_some(f, net, 40)
    assert np.abs(gradients.dtheta[picked] - slopes).max() <= allowed
    assert np.abs(gradients.dX - differences(f, X)).max() <= allowed


@backends
@layers
def test_gradients_are_pytorchs(name, backend):
    net, X, y, _ = problem(name, backend=backend)
    twin = Twin(net)
    Z = twin.torch.tensor(X, requires_grad=True)
    wanted = twin.loss(Z, y, masks=net.dropout_masks(len(X)))
    wanted.backward()
    loss, gradients = net.loss_and_gradients(X, y, training=True, dX=True)
    assert abs(loss - wanted.item()) < 1e-13 * (1 + loss)
    error = relative_error(gradients.dtheta, twin.flat(lambda p: p.grad))
    measured(f"dropout, {backend} and PyTorch, dtheta", name, error)
    assert error < 1e-11
    assert relative_error(gradients.dX, Z.grad) < 1e-11


@backends
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_fifty_steps_are_pytorchs(kind, backend):
    net, X, y, _ = problem("more rows than a tile", backend=backend)
    start = net.theta.copy()
    twin = train_for_50_steps(net, X[:470], y[:470], kind)
    error = relative_error(net.theta, twin.flat())
    measured(f"dropout, parameters after 50 steps of {kind}, from PyTorch's", backend, error)
    assert error < 1e-9
    assert relative_error(net.theta, start) > 1e-2


@dtypes
@pytest.mark.parametrize("clip_norm", [None, 0.1])
def test_the_same_bits_on_any_number_of_threads(dtype, clip_norm):
    def trained(n_threads):
        net, X, y, w = problem("more rows than a tile", dtype)
        net.fit(
            X, y, sample_weight=w, epochs=3, batch_size=200, optimizer=bs.Adam(1e-2, clip_norm=clip_norm),
            n_threads=n_threads, progress=False,
        )  # fmt: skip
        _, gradients = net.loss_and_gradients(X, y, training=True, dX=True, n_threads=n_threads)
        return net.theta.tobytes(), gradients.dtheta.tobytes(), gradients.dX.tobytes(), net._draws.tobytes()

    assert len({trained(n) for n in (1, 2, 3, 8)}) == 1


# From step to step


def fit(net, X, y, epochs=1, **arguments):
    return net.fit(X, y, epochs=epochs, batch_size=10, progress=False, **arguments)


@backends
def test_each_step_has_masks_of_its_own_and_a_pass_by_itself_moves_nothing(backend):
    net, X, y, _ = problem("hidden", backend=backend)
    seen = []
    for epoch in range(3):
        masks = net.dropout_masks(29)
        assert [mask is None for mask in masks] == [layer.kind != "dropout" for layer in net.layers]
        assert masks[1].shape == (29, 8)
        loss = net.loss_and_gradients(X, y, training=True)[0]
        assert net.loss_and_gradients(X, y, training=True)[0] == loss
        assert np.array_equal(net.dropout_masks(29)[1], masks[1])
        assert np.array_equal(net.dropout_masks(29, step=3 * epoch)[1], masks[1])
        seen.append(masks[1].tobytes())
        fit(net, X, y, optimizer=bs.SGD(1e-9))  # a new optimizer begins at its step 0; the masks do not
    assert len(set(seen)) == 3


@backends
def test_training_goes_on_as_if_it_had_not_stopped(backend):
    at_once, X, y, _ = problem("hidden", backend=backend)
    in_parts = problem("hidden", backend=backend)[0]
    fit(at_once, X, y, epochs=4)
    fit(in_parts, X, y)
    by_pickle, by_copy = pickle.loads(pickle.dumps(in_parts)), copy.deepcopy(in_parts)
    for net in (in_parts, by_pickle, by_copy):
        fit(net, X, y, epochs=3)
        assert np.array_equal(net.theta, at_once.theta)
        assert np.array_equal(net._draws, at_once._draws)


def test_the_seed_decides_and_another_seed_decides_otherwise():
    def trained(seed):
        net = bs.Network([5, 8, bs.Dropout(0.5), 3], seed=seed)
        fit(net, *problem("hidden")[1:3])
        return net.theta.tobytes(), net.dropout_masks(5)[1].tobytes()

    assert trained(3) == trained(3)
    assert trained(3)[1] != trained(4)[1]
    assert len({bs.Network([5, 8, bs.Dropout(0.5), 3]).dropout_masks(99)[1].tobytes() for _ in range(3)}) == 3


def test_initial_weights_and_orders_of_rows_do_not_depend_on_it():
    _, X, y, _ = problem("hidden")
    dropping = bs.Network([5, 8, bs.Dropout(0.0), 3], activation="tanh", seed=5)
    bare = bs.Network([5, 8, 3], activation="tanh", seed=5)
    for net in (dropping, bare):
        fit(net, X, y, epochs=2)
    assert np.array_equal(dropping.theta, bare.theta)


@backends
def test_history_is_of_training_and_validation_of_prediction(backend):
    net, X, y, _ = problem("hidden", backend=backend)
    start = copy.deepcopy(net)
    history = net.fit(
        X, y, epochs=1, batch_size=29, optimizer=bs.SGD(0.1), shuffle=False, validation_data=(X, y), progress=False
    )
    assert history.val_loss[0] == net.evaluate(X, y)["loss"]
    assert abs(history.loss[0] - start.loss_and_gradients(X, y, training=True)[0]) < 1e-13
    assert abs(history.loss[0] - start.evaluate(X, y)["loss"]) > 1e-3


@backends
def test_a_step_that_diverges_is_not_counted(backend):
    net = bs.Network(
        [5, 8, bs.Dropout(0.5), 3], activation="identity", loss="mean_squared_error", seed=0, backend=backend
    )
    X = problem("hidden")[1]
    optimizer = bs.SGD(lambda step: 1e-3 if step < 4 else 1e30)
    with pytest.raises(bs.DivergenceError):
        fit(net, X, X[:, :3], epochs=3, optimizer=optimizer)
    assert np.isfinite(net.theta).all()
    assert net._draws[1] == optimizer.steps
    assert 4 <= optimizer.steps <= 6


# Files, and what it shows


@backends
def test_it_comes_back_from_files(tmp_path, backend):
    net, X, y, _ = problem("one after another", "float32", backend)
    fit(net, X, y)
    net.save(tmp_path / "model")
    other = bs.Network.load(tmp_path / "model", backend=backend)
    assert other.layers == net.layers
    assert np.array_equal(other.theta, net.theta)
    assert np.array_equal(other.forward(X), net.forward(X))
    fit(other, X, y)


@backends
def test_a_network_of_nothing_else(tmp_path, backend):
    net = bs.Network([4, bs.Dropout(0.5)], dtype="float64", seed=0, backend=backend)
    X, y = np.arange(12.0).reshape(3, 4), np.arange(3)
    assert net.theta.size == 0
    assert np.array_equal(net.forward(X), X)
    loss, gradients = net.loss_and_gradients(X, y, training=True, dX=True)
    mask = net.dropout_masks(3)[0]
    assert np.allclose(loss, bs.functional.softmax_cross_entropy(X * mask, y), rtol=1e-14)
    assert gradients.dtheta.size == 0
    assert np.array_equal(gradients.dX == 0, mask == 0)
    fit(net, X, y, optimizer=bs.Adam(clip_norm=1.0))
    net.save(tmp_path / "model")
    assert np.array_equal(bs.Network.load(tmp_path / "model", backend=backend).forward(X), X)


def test_what_it_shows():
    net = bs.Network([4, 5, bs.Dropout(0.25), 3], seed=0)
    assert net.theta.size == 4 * 5 + 5 + 5 * 3 + 3
    assert net.W[1].shape == (0,)
    assert net.b[1] is None
    assert repr(net).startswith("Network(4 -> 5 relu -> dropout 0.25 -> 3 identity;")
    assert "Z[2] = Z[1] ∘ M[1]" in net.summary()


@pytest.mark.parametrize("p", [1, 1.0, -0.1, 2, np.nan, np.inf, "half", None, True, [0.5]], ids=str)
def test_a_p_that_is_none_is_refused(p):
    with pytest.raises((TypeError, ValueError), match="p must be a"):
        bs.Dropout(p)
    with pytest.raises((TypeError, ValueError), match="p must be a"):
        bs.functional.dropout(np.ones((2, 2)), p)


def test_what_does_not_fit_is_refused():
    net, X, y, _ = problem("hidden")
    with pytest.raises(TypeError, match="training must be True or False"):
        net.loss_and_gradients(X, y, training=1)
    with pytest.raises(ValueError, match="m must be an integer"):
        net.dropout_masks(-1)
    with pytest.raises(ValueError, match="step must be an integer"):
        net.dropout_masks(1, step=-1)
    for name in ("seed", "step", "layer"):
        with pytest.raises(ValueError, match=f"{name} must be an integer"):
            bs.functional.dropout(np.ones((2, 2)), 0.5, **{name: -1})
    with pytest.raises(ValueError, match="Z must have two dimensions"):
        bs.functional.dropout(np.ones(2), 0.5)
    with pytest.raises(TypeError, match=r"layers\[0\]"):
        bs.Network([bs.Dropout(), 3])
