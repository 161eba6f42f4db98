"""Batch normalisation: the core, the reference and PyTorch, differences, threads, running statistics, what is refused.

Longer than 300 lines because the layer has two passes, and statistics that outlive a batch.
"""

import copy
import json
import pickle

import backsweep as bs
import numpy as np
import pytest
from checks import difference_error, differences, differences_of_some
from figures import measured
from problems import ACTIVATIONS, BACKENDS, DTYPES, IMPLEMENTATIONS
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tolerances import FORMULA, gamma, relative_error
from torch_twin import OPTIMIZERS, Twin, train_for_50_steps

SHAPES = {
    "the input": ([6, bs.BatchNorm(), 3], 9),
    "between W and σ": ([5, bs.Dense(8, "identity"), bs.BatchNorm("relu"), 3], 29),
    "σ from its argument": ([5, bs.Dense(9, "identity"), bs.BatchNorm("gelu"), 4], 33),
    "one unit": ([3, 1, bs.BatchNorm(), 5, 2], 7),
    "two rows": ([4, 5, bs.BatchNorm("tanh"), 3], 2),
    "one after another": ([7, 6, bs.BatchNorm("tanh"), bs.BatchNorm("silu"), 3], 65),
    "the last": ([4, 6, bs.Dense(8, "identity"), bs.BatchNorm()], 12),
    "with the others": ([6, 17, bs.BatchNorm("tanh"), bs.Dropout(0.3), 9, bs.LayerNorm("tanh"), bs.BatchNorm(), 3], 70),
    "more rows than a tile": ([11, bs.Dense(65, "identity"), bs.BatchNorm("tanh"), 33, bs.BatchNorm(), 5], 513),
}
shapes = pytest.mark.parametrize("name", SHAPES)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
backends = pytest.mark.parametrize("backend", BACKENDS)
passes = pytest.mark.parametrize("training", [True, False], ids=["training", "prediction"])


def problem(name, dtype="float64", backend="core"):
    """A network whose γ, β and running statistics are not those of the start, and a batch."""
    layers, m = SHAPES[name]
    net = bs.Network(layers, activation="tanh", dtype=dtype, seed=1, backend=backend)
    rng = np.random.default_rng(2)
    for W, b, mean, var in zip(net.W, net.b, net.running_mean, net.running_var, strict=True):
        if b is not None:
            b[:] = rng.normal(size=b.shape) / 2
            if W.ndim == 1:
                W[:] = rng.uniform(0.5, 2, size=W.shape)
        if mean is not None:
            mean[:] = rng.normal(size=mean.shape)
            var[:] = rng.uniform(0.2, 2, size=var.shape)
    X = rng.normal(size=(m, net.n_in))
    return net, X, rng.integers(net.n_out, size=m), rng.uniform(0.1, 1, size=m)


def spread(net, X, training):
    """How much rounding grows: the largest |Z| in standard deviations, over each normalisation, one after another."""
    reference = bs.reference.network
    specs = [(s.n_in, s.n_out, s.activation, s.bias, s.kind, s.p) for s in net.layers]
    sweeps = reference.Network(specs, net.loss)
    Zs, _ = sweeps.sweep_forward(net.theta, net.buffers, X, reference.Pass(training, *net._draws.tolist()))
    largest = 1.0
    for Z, layer, var in zip(Zs, net.layers, net.running_var, strict=False):
        if layer.kind == "batch_norm":
            deviation = np.sqrt((Z.var(axis=0) if training else var) + 1e-5)
            largest *= max(1.0, float((np.abs(Z).max(axis=0) / deviation).max()))
        if layer.kind == "layer_norm":
            largest *= max(1.0, float((np.abs(Z).max(axis=1) / np.sqrt(Z.var(axis=1) + 1e-5)).max()))
        if layer.kind == "dropout" and training:
            largest /= 1 - layer.p
    return largest


def error_allowed(net, X, dtype, training):
    """A share of the result: the roundings of all sums, enlarged where a column is divided by a small deviation."""
    terms = net.n_in + sum(layer.n_out for layer in net.layers) + len(X) + FORMULA
    return 4 * gamma(terms, dtype) * spread(net, X, training)


@shapes
@dtypes
@passes
def test_core_and_reference_agree(name, dtype, training):
    core, X, y, w = problem(name, dtype)
    reference = problem(name, dtype, "reference")[0]
    assert np.array_equal(core.theta, reference.theta)
    assert np.array_equal(core.buffers, reference.buffers)
    allowed = error_allowed(problem(name)[0], X, dtype, training)
    assert relative_error(core.forward(X), reference.forward(X)) <= error_allowed(problem(name)[0], X, dtype, False)
    loss, mine = core.loss_and_gradients(X, y, sample_weight=w, training=training, dX=True)
    wanted_loss, its = reference.loss_and_gradients(X, y, sample_weight=w, training=training, dX=True)
    assert abs(loss - wanted_loss) <= allowed * (1 + wanted_loss)
    for part in ("dtheta", "dX"):
        error = relative_error(getattr(mine, part), getattr(its, part))
        measured(f"batch_norm, core and reference, {part}, {dtype}", f"{name}, {training}", error)
        if name == "two rows" and training:  # Ẑ is ±1 whatever comes in: what goes back is what ε leaves of it
            assert np.abs(getattr(mine, part) - getattr(its, part)).max() <= allowed * np.abs(its.dtheta).max()
        else:
            assert error <= allowed


@backends
@passes
@pytest.mark.parametrize(
    "name", sorted(SHAPES.keys() - {"between W and σ"})
)  # relu's kinks are no place for differences
def test_gradients_are_those_of_differences(name, backend, training):
    net, X, y, w = problem(name, backend=backend)
    X, y, w = X[:9], y[:9], w[:9]
    before = net.buffers.copy()
    loss, gradients = net.loss_and_gradients(X, y, sample_weight=w, training=training, dX=True)

    def f():
        return net.loss_and_gradients(X, y, sample_weight=w, training=training)[0]

    assert f() == loss
    if not training:
        assert abs(loss - net.evaluate(X, y, sample_weight=w)["loss"]) < 1e-13 * (1 + loss)
    allowed = difference_error(9 * net.n_out, 10 * max(1.0, loss))
    assert np.abs(gradients.dtheta).max() > 100 * allowed
    picked, slopes = differences_of_some(f, net, 60)
    assert np.abs(gradients.dtheta[picked] - slopes).max() <= allowed
    if name != "two rows":  # its Ẑ jumps where the two meet
        assert np.abs(gradients.dX - differences(f, X)).max() <= allowed
    assert np.array_equal(net.buffers, before)


@backends
@shapes
@passes
def test_gradients_are_pytorchs(name, backend, training):
    net, X, y, _ = problem(name, backend=backend)
    twin = Twin(net)
    Z = twin.torch.tensor(X, requires_grad=True)
    wanted = twin.loss(Z, y, training, net.dropout_masks(len(X)))
    wanted.backward()
    loss, gradients = net.loss_and_gradients(X, y, training=training, dX=True)
    assert abs(loss - wanted.item()) < 1e-12 * (1 + loss)
    for part, its in (("dtheta", twin.flat(lambda p: p.grad)), ("dX", Z.grad.numpy())):
        got = getattr(gradients, part)
        error = tolerances_norm(got - its) / max(tolerances_norm(its), 1e-3)  # a gradient that ε alone keeps from 0
        measured(f"batch_norm, {backend} and PyTorch, {part}", f"{name}, {training}", error)
        assert error < 1e-10
    if training:
        net.fit(X, y, epochs=1, batch_size=len(X), optimizer=bs.SGD(0.0 + 1e-12), shuffle=False, progress=False)
        error = relative_error(net.buffers, twin.buffers())
        measured(f"batch_norm, {backend} and PyTorch, running statistics", name, error)
        assert error < 1e-13


def tolerances_norm(x):
    return float(np.linalg.norm(np.ravel(x)))


@backends
@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", ["more rows than a tile", "with the others"])
def test_fifty_steps_are_pytorchs(name, kind, backend):
    net, X, y, _ = problem(name, backend=backend)
    m = 470 if len(X) > 470 else 66
    X, y, start = X[:m], y[:m], net.theta.copy()
    twin = train_for_50_steps(net, X, y, kind)
    for what, got, wanted in (("parameters", net.theta, twin.flat()), ("statistics", net.buffers, twin.buffers())):
        error = relative_error(got, wanted)
        measured(f"batch_norm, {what} after 50 steps of {kind}, from PyTorch's", f"{name}, {backend}", error)
        assert error < 1e-9
    assert relative_error(net.theta, start) > 1e-2
    Z = twin.outputs(X, False, net.dropout_masks(len(X)))[-1].detach().numpy()
    assert relative_error(net.forward(X), Z) < 1e-9


@dtypes
@pytest.mark.parametrize("clip_norm", [None, 0.1])
@pytest.mark.parametrize("name", ["more rows than a tile", "with the others"])
def test_the_same_bits_on_any_number_of_threads(name, dtype, clip_norm):
    def trained(n_threads):
        net, X, y, w = problem(name, dtype)
        net.fit(
            X, y, sample_weight=w, epochs=3, batch_size=200, optimizer=bs.Adam(1e-2, clip_norm=clip_norm),
            n_threads=n_threads, progress=False,
        )  # fmt: skip
        results = [net.theta, net.buffers, net.forward(X, n_threads=n_threads)]
        for training in (True, False):
            _, gradients = net.loss_and_gradients(X, y, training=training, dX=True, n_threads=n_threads)
            results += [gradients.dtheta, gradients.dX]
        return [result.tobytes() for result in results]

    one = trained(1)
    assert all(trained(n) == one for n in (2, 3, 8))


@backends
def test_a_batch_is_the_same_whatever_came_before_it(backend):
    """The last batch of an epoch is shorter: what an earlier one left behind its end has no part in it."""
    net, X, y, _ = problem("between W and σ", backend=backend)
    together, apart = copy.deepcopy(net), copy.deepcopy(net)
    X[:20] *= 100
    optimizers = bs.SGD(1e-12), bs.SGD(1e-12)
    together.fit(X, y, epochs=1, batch_size=20, shuffle=False, optimizer=optimizers[0], progress=False)
    for rows in (slice(0, 20), slice(20, 29)):
        apart.fit(X[rows], y[rows], epochs=1, batch_size=20, shuffle=False, optimizer=optimizers[1], progress=False)
    assert np.array_equal(together.theta, apart.theta)
    assert np.array_equal(together.buffers, apart.buffers)


# Prediction


@dtypes
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_few_rows_are_normalised_like_many(activation, dtype):
    net = bs.Network([5, 6, bs.BatchNorm(activation), 3], dtype=dtype, seed=0)
    rng = np.random.default_rng(0)
    net.running_mean[1][:] = rng.normal(size=6)
    net.running_var[1][:] = rng.uniform(0.5, 2, size=6)
    X = rng.normal(size=(40, 5))
    allowed = 16 * gamma(5 + 6 + 3 + FORMULA, dtype)
    assert relative_error(net.forward(X[:3]), net.forward(X)[:3]) <= allowed
    wanted = bs.Network([5, 6, bs.BatchNorm(activation), 3], dtype=dtype, seed=0).forward(X)
    assert relative_error(net.forward(X), wanted) > 1e-3


@backends
def test_a_row_is_predicted_alike_in_any_company(backend):
    net, X, y, _ = problem("more rows than a tile", backend=backend)
    net.fit(X, y, epochs=1, batch_size=64 + 17, progress=False)
    Z = net.forward(X)
    assert relative_error(net.forward(X[100:117]), Z[100:117]) < 1e-13
    loss = net.evaluate(X, y)["loss"]
    assert abs(loss - bs.functional.softmax_cross_entropy(Z, y)) < 1e-13 * (1 + loss)
    assert abs(net.loss_and_gradients(X, y)[0] - loss) < 1e-13 * (1 + loss)
    assert abs(net.loss_and_gradients(X, y, training=True)[0] - loss) > 1e-4


@pytest.mark.parametrize("module", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
def test_columns_come_out_with_mean_0_and_variance_1(module):
    Z = np.random.default_rng(0).normal(1e3, 5, size=(90, 20))
    A = module.batch_norm(Z, np.ones(20), np.zeros(20))
    roundings = gamma(90 + FORMULA, "float64") * 1e3
    assert np.abs(A.mean(axis=0)).max() < roundings
    assert np.abs(A.var(axis=0) - 1).max() < roundings + 1e-5
    A = module.batch_norm(Z, np.full(20, 3.0), np.arange(20.0))
    assert np.abs(A.mean(axis=0) - np.arange(20)).max() < 3 * roundings + 1e-14 * 20
    G = module.batch_norm_backward(np.random.default_rng(1).normal(size=Z.shape), Z, np.ones(20))[0]
    assert np.abs(G.sum(axis=0)).max() < roundings  # a constant added to a column changes nothing


def test_it_is_differentiated_by_its_rules():
    rng = np.random.default_rng(0)
    Z, g, b, D = rng.normal(size=(7, 3)), rng.uniform(1, 2, size=3), rng.normal(size=3), rng.normal(size=(7, 3))
    _, pullback = bs.vjp(bs.functional.batch_norm, Z, g, b)
    for got, wanted in zip(pullback(D), bs.functional.batch_norm_backward(D, Z, g), strict=True):
        assert relative_error(got, wanted) < 1e-12
    assert bs.check_gradients(lambda Z, g: (bs.functional.batch_norm_backward(D, Z, g)[0] ** 2).sum(), Z, g).ok


@backends
def test_history_is_of_training_and_validation_of_prediction(backend):
    net, X, y, _ = problem("with the others", backend=backend)
    start = copy.deepcopy(net)
    history = net.fit(
        X, y, epochs=1, batch_size=70, optimizer=bs.SGD(0.1), shuffle=False, validation_data=(X, y), progress=False
    )
    assert history.val_loss[0] == net.evaluate(X, y)["loss"]
    assert abs(history.loss[0] - start.loss_and_gradients(X, y, training=True)[0]) < 1e-12


# What is kept, and what comes back


def test_what_it_shows():
    net = bs.Network([4, bs.Dense(5, "identity"), bs.BatchNorm("relu"), 3], seed=0)
    assert net.theta.size == 4 * 5 + 5 + 2 * 5 + 5 * 3 + 3
    assert np.array_equal(net.W[1], np.ones(5))
    assert np.array_equal(net.b[1], np.zeros(5))
    assert np.array_equal(net.running_mean[1], np.zeros(5))
    assert np.array_equal(net.running_var[1], np.ones(5))
    assert net.running_mean[0] is None
    assert net.running_var[2] is None
    assert np.shares_memory(net.buffers, net.running_var[1])
    assert repr(net).startswith("Network(4 -> 5 identity -> batch_norm relu -> 3 identity;")
    assert "Z[2] = relu(Ẑ[1] ∘ W[1] + b[1])" in net.summary()


@backends
def test_it_comes_back_from_files_pickles_and_copies(tmp_path, backend):
    net, X, y, _ = problem("with the others", "float32", backend)
    net.fit(X, y, epochs=2, batch_size=10, progress=False)
    net.save(tmp_path / "model")
    others = bs.Network.load(tmp_path / "model", backend=backend), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)
    for other in others:
        assert other.layers == net.layers
        assert np.array_equal(other.theta, net.theta)
        assert np.array_equal(other.buffers, net.buffers)
        assert not np.shares_memory(other.buffers, net.buffers)
        assert np.array_equal(other.forward(X), net.forward(X))
    for other in (*others[1:], net):  # a file has no random state
        other.fit(X, y, epochs=2, batch_size=10, progress=False)
    assert np.array_equal(others[1].buffers, net.buffers)
    assert np.array_equal(others[2].theta, net.theta)


@backends
def test_training_goes_on_as_if_it_had_not_stopped(backend):
    at_once, X, y, _ = problem("with the others", backend=backend)
    in_parts = problem("with the others", backend=backend)[0]
    at_once.fit(X, y, epochs=3, batch_size=10, progress=False)
    for _ in range(3):
        in_parts.fit(X, y, epochs=1, batch_size=10, progress=False)
    assert np.array_equal(in_parts.theta, at_once.theta)
    assert np.array_equal(in_parts.buffers, at_once.buffers)


def rewritten(path, change):
    """The model file at `path`, with its tensors changed."""
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert json.loads(metadata["backsweep"])["network"]
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata)


SPOILT = {
    "missing": lambda tensors: tensors.pop("running_var.2"),
    "NaN": lambda tensors: tensors["running_mean.2"].fill(np.nan),
    "a negative variance": lambda tensors: tensors["running_var.2"].fill(-1),
    "another shape": lambda tensors: tensors.update({"running_mean.2": np.zeros(3)}),
    "one too many": lambda tensors: tensors.update({"running_mean.1": np.zeros(8)}),
}


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_a_file_with_wrong_statistics_is_refused(tmp_path, spoilt):
    net = bs.Network([4, bs.Dense(8, "identity"), bs.Dense(8, "identity"), bs.BatchNorm("relu"), 3], dtype="float64")
    net.save(tmp_path / "model")
    bs.Network.load(tmp_path / "model")
    rewritten(tmp_path / "model", spoilt)
    with pytest.raises(ValueError, match="must hold"):
        bs.Network.load(tmp_path / "model")


@backends
def test_divergence_leaves_the_statistics_of_the_last_finite_step(backend):
    layers = [5, bs.Dense(8, "identity"), bs.BatchNorm(), 3]
    X = problem("between W and σ")[1]
    rate = 1e-3, 1e200

    def network():
        return bs.Network(layers, loss="mean_squared_error", dtype="float64", seed=0, backend=backend)

    net, wanted = network(), network()
    optimizer = bs.SGD(lambda step: rate[step >= 4])
    arguments = {"batch_size": 10, "shuffle": False, "progress": False}
    with pytest.raises(bs.DivergenceError):
        net.fit(X, X[:, :3], epochs=5, optimizer=optimizer, **arguments)
    assert optimizer.steps >= 4
    assert np.isfinite(net.theta).all()
    assert np.isfinite(net.buffers).all()
    again = bs.SGD(lambda step: rate[step >= 4])
    epochs, rest = divmod(optimizer.steps, 3)  # 29 rows: three steps in an epoch
    wanted.fit(X, X[:, :3], epochs=epochs, optimizer=again, **arguments)
    if rest:
        wanted.fit(X[: 10 * rest], X[: 10 * rest, :3], epochs=1, optimizer=again, **arguments)
    assert np.array_equal(net.theta, wanted.theta)
    assert np.array_equal(net.buffers, wanted.buffers)


@backends
def test_a_variance_beyond_the_dtype_is_divergence_as_well(backend):
    """Its deviation is infinite and Ẑ zero, so neither loss nor weights would show it."""
    net = bs.Network([3, bs.BatchNorm(), 2], dtype="float32", seed=0, backend=backend)
    X = np.random.default_rng(0).normal(size=(8, 3)) * 1e25
    before = net.buffers.copy()
    with pytest.raises(bs.DivergenceError):
        net.fit(X, np.arange(8) % 2, epochs=1, batch_size=4, progress=False)
    assert np.array_equal(net.buffers, before)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="activation must be one of"):
        bs.BatchNorm("swish")
    with pytest.raises(TypeError, match=r"layers\[0\]"):
        bs.Network([bs.BatchNorm(), 3])
    core = bs._core.Network_float64
    with pytest.raises(ValueError, match="keep their width"):
        core([(4, 5, "identity", True, "batch_norm", 0.0)], "huber", "full")
    Z, D, g = np.ones((3, 2)), np.ones((3, 2)), np.ones(2)
    with pytest.raises(ValueError, match="at least two rows"):
        bs.functional.batch_norm(Z[:1], g, g)
    with pytest.raises(ValueError, match="gamma must have shape"):
        bs.functional.batch_norm(Z, np.ones(3), g)
    with pytest.raises(ValueError, match="beta must have shape"):
        bs.functional.batch_norm(Z, g, np.ones(3))
    with pytest.raises(ValueError, match="D must have shape"):
        bs.functional.batch_norm_backward(D[:, :1], Z, g)
    with pytest.raises(ValueError, match="at least two rows"):
        bs.grad(lambda Z: bs.functional.batch_norm(Z, g, g).sum())(Z[:1])


@backends
@pytest.mark.parametrize(("m", "batch_size"), [(1, 5), (9, 1), (9, 4), (9, 8), (65, 64)])
def test_a_batch_of_one_row_is_refused_before_anything_changes(m, batch_size, backend):
    net = bs.Network([4, bs.BatchNorm(), 3], seed=0, backend=backend)
    X, y = np.ones((m, 4)), np.zeros(m, dtype=int)
    optimizer = bs.Adam()
    theta, buffers, draws = net.theta.copy(), net.buffers.copy(), net._draws.copy()
    with pytest.raises(ValueError, match=f"batch_size must leave no batch of 1 row.*got {batch_size} for {m} rows"):
        net.fit(X, y, batch_size=batch_size, optimizer=optimizer)
    assert np.array_equal(net.theta, theta)
    assert np.array_equal(net.buffers, buffers)
    assert np.array_equal(net._draws, draws)
    optimizer.bind(bs.Network([4, 3]))  # nor is the optimizer bound
    net.fit(np.ones((9, 4)), np.zeros(9, dtype=int), batch_size=7, epochs=1, progress=False)


@backends
def test_a_training_pass_over_one_row_is_refused(backend):
    net = bs.Network([4, bs.BatchNorm(), 3], seed=0, backend=backend)
    X, y = np.ones((1, 4)), np.zeros(1, dtype=int)
    with pytest.raises(ValueError, match="X must have at least 2 rows"):
        net.loss_and_gradients(X, y, training=True)
    assert np.isfinite(net.loss_and_gradients(X, y)[0])
    assert np.isfinite(net.forward(X)).all()


def test_the_core_refuses_what_python_would_have():
    """One row in a batch, and buffers of another size."""
    net = bs.Network([4, bs.BatchNorm(), 3], dtype="float64", seed=0)
    X, y = np.ones((9, 4)), np.zeros(9, dtype=int)
    arguments = ["labels", None, None, None]

    def trainer(batch_size, buffers):
        return bs._core.Trainer_float64(
            net._network, net.theta, buffers, [], {"kind": "sgd"}, X, y, True, *arguments[1:], batch_size, 1, 1.0, 0.0,
            np.inf, net._draws,
        )  # fmt: skip

    trainer(3, net.buffers)
    for batch_size in (1, 4, 8):
        with pytest.raises(ValueError, match="batch_size must leave each batch at least 2 rows"):
            trainer(batch_size, net.buffers)
    for buffers in (net.buffers[:-1], np.zeros(9), net.buffers.astype(np.float32), None):
        with pytest.raises((TypeError, ValueError)):
            trainer(3, buffers)
    with pytest.raises(ValueError, match="X must leave each batch at least 2 rows"):
        net._network.loss_and_gradients(
            net.theta, net.buffers, X[:1], y[:1], True, None, None, None, True, net._draws, False, 1
        )


def test_statistics_that_are_not_finite_are_seen_before_training_and_saving(tmp_path):
    net, X, y, _ = problem("the input")
    net.running_var[0][1] = np.nan
    with pytest.raises(ValueError, match=r"running_var\[0\] must be finite, got running_var\[0\]\[1\] = nan"):
        net.fit(X, y)
    with pytest.raises(ValueError, match=r"running_var\[0\]"):
        net.save(tmp_path / "model")


def test_the_comparison_can_fail():
    """A γ, and a running mean, that is off by the share allowed shows."""
    net, X, _, _ = problem("between W and σ")
    Z, allowed = net.forward(X), error_allowed(problem("between W and σ")[0], X, "float64", False)
    for vector in (net.W[1], net.running_mean[1]):
        vector *= 1 + 1e-9
        assert relative_error(net.forward(X), Z) > allowed
        vector /= 1 + 1e-9
