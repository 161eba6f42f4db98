"""Layer normalisation: the core, the reference and PyTorch, differences, threads, files, and what is refused."""

import json
import pickle

import backsweep as bs
import numpy as np
import pytest
import tolerances
from checks import difference_error, differences, differences_of_some
from figures import measured
from problems import ACTIVATIONS, BACKENDS, DTYPES
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tolerances import FORMULA, gamma, relative_error
from torch_twin import OPTIMIZERS, Twin, train_for_50_steps

SHAPES = {
    "the input": ([6, bs.LayerNorm(), 3], 9),
    "between W and σ": ([5, bs.Dense(8, "identity"), bs.LayerNorm("relu"), 3], 29),
    "σ from its argument": ([5, bs.Dense(9, "identity"), bs.LayerNorm("gelu"), 4], 33),
    "one unit": ([3, 1, bs.LayerNorm(), 5, 2], 7),
    "one row": ([4, 5, bs.LayerNorm("tanh"), 3], 1),
    "one after another": ([7, 6, bs.LayerNorm("tanh"), bs.LayerNorm("silu"), 3], 65),
    "the last": ([4, 6, bs.Dense(8, "identity"), bs.LayerNorm()], 12),
    "more rows than a tile": ([11, bs.Dense(65, "identity"), bs.LayerNorm("tanh"), 33, bs.LayerNorm(), 5], 513),
}
shapes = pytest.mark.parametrize("name", SHAPES)
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def problem(name, dtype="float64", backend="core"):
    """A network whose γ and β are not those of the start, and a batch."""
    layers, m = SHAPES[name]
    net = bs.Network(layers, activation="tanh", dtype=dtype, seed=1, backend=backend)
    rng = np.random.default_rng(2)
    for W, b in zip(net.W, net.b, strict=True):
        b[:] = rng.normal(size=b.shape) / 2
        if W.ndim == 1:
            W[:] = rng.uniform(0.5, 2, size=W.shape)
    X = rng.normal(size=(m, net.n_in))
    return net, X, rng.integers(net.n_out, size=m), rng.uniform(0.1, 1, size=m)


def error_allowed(net, X, dtype):
    """A share of the result: the roundings of all sums, each enlarged where a row is divided by a small deviation."""
    terms = net.n_in + sum(layer.n_out for layer in net.layers) + len(X) + FORMULA
    Z, largest = X, 1.0
    for W, b, layer in zip(net.W, net.b, net.layers, strict=True):
        if layer.kind == "dense":
            A = Z @ W + b
        else:
            spread = np.sqrt(Z.var(axis=1) + 1e-5)
            largest *= max(1.0, float((np.abs(Z).max(axis=1) / spread).max()))
            A = bs.reference.normalisation.layer_norm(Z, W, b)
        Z = getattr(bs.functional, layer.activation)(A)
    return 2 * gamma(terms, dtype) * largest


@shapes
@dtypes
def test_core_and_reference_agree(name, dtype):
    core, X, y, w = problem(name, dtype)
    reference = problem(name, dtype, "reference")[0]
    assert np.array_equal(core.theta, reference.theta)
    allowed = error_allowed(problem(name)[0], X, dtype)
    assert relative_error(core.forward(X), reference.forward(X)) <= allowed
    loss, mine = core.loss_and_gradients(X, y, sample_weight=w, dX=True)
    wanted_loss, its = reference.loss_and_gradients(X, y, sample_weight=w, dX=True)
    assert abs(loss - wanted_loss) <= allowed * (1 + wanted_loss)
    for part in ("dtheta", "dX"):
        error = relative_error(getattr(mine, part), getattr(its, part))
        if part == "dX" and name == "one unit":  # its Ẑ is 0 whatever comes in, but for rounding that r enlarges
            assert np.abs(mine.dX).max() <= gamma(FORMULA, dtype) / np.sqrt(1e-5)
            continue
        measured(f"layer_norm, core and reference, {part}, {dtype}", name, error)
        assert error <= allowed


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "name", sorted(SHAPES.keys() - {"between W and σ"})
)  # relu's kinks are no place for differences
def test_gradients_are_those_of_differences(name, backend):
    net, X, y, w = problem(name, backend=backend)
    X, y, w = X[:9], y[:9], w[:9]
    _, gradients = net.loss_and_gradients(X, y, sample_weight=w, dX=True)

    def loss():
        return net.evaluate(X, y, sample_weight=w)["loss"]

    allowed = difference_error(9 * net.n_out, max(1.0, loss()))
    if name != "one unit":
        assert np.abs(gradients.dX).max() > 100 * allowed
    picked, slopes = differences_of_some(loss, net, 150)
    assert np.abs(gradients.dtheta[picked] - slopes).max() <= allowed
    assert np.abs(gradients.dX - differences(loss, X)).max() <= allowed


@pytest.mark.parametrize("backend", BACKENDS)
@shapes
def test_gradients_are_pytorchs(name, backend):
    net, X, y, _ = problem(name, backend=backend)
    twin = Twin(net)
    Z = twin.torch.tensor(X, requires_grad=True)
    wanted = twin.loss(Z, y)
    wanted.backward()
    loss, gradients = net.loss_and_gradients(X, y, dX=True)
    assert abs(loss - wanted.item()) < 1e-13 * (1 + loss)
    error = relative_error(gradients.dtheta, twin.flat(lambda p: p.grad))
    measured(f"layer_norm, {backend} and PyTorch, dtheta", name, error)
    assert error < 1e-11
    assert name == "one unit" or relative_error(gradients.dX, Z.grad) < 1e-11


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_fifty_steps_are_pytorchs(kind, backend):
    net, X, y, _ = problem("more rows than a tile", backend=backend)
    start = net.theta.copy()
    twin = train_for_50_steps(net, X[:470], y[:470], kind)
    error = relative_error(net.theta, twin.flat())
    measured(f"layer_norm, parameters after 50 steps of {kind}, from PyTorch's", backend, error)
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
        _, gradients = net.loss_and_gradients(X, y, dX=True, n_threads=n_threads)
        return net.theta.tobytes(), gradients.dtheta.tobytes(), net.forward(X, n_threads=n_threads).tobytes()

    assert len({trained(n) for n in (1, 2, 3, 8)}) == 1


@dtypes
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_few_rows_are_normalised_like_many(activation, dtype):
    net = bs.Network([5, 6, bs.LayerNorm(activation), 3], dtype=dtype, seed=0)
    X = np.random.default_rng(0).normal(size=(40, 5))
    twin = bs.Network([5, 6, bs.LayerNorm(activation), 3], dtype="float64", seed=0)
    allowed = error_allowed(twin, X, dtype)
    assert relative_error(net.forward(X[:3]), net.forward(X)[:3]) <= allowed


def test_rows_come_out_with_mean_0_and_variance_1_until_it_learns():
    Z = bs.Network([50, bs.LayerNorm()], loss="mean_squared_error", dtype="float64").forward(
        np.random.default_rng(0).normal(1e3, 5, size=(20, 50))
    )
    roundings = gamma(50 + FORMULA, "float64") * 1e3
    assert np.abs(Z.mean(axis=1)).max() < roundings
    assert np.abs(Z.var(axis=1) - 1).max() < roundings + 1e-5


def test_it_comes_back_from_files_and_pickles(tmp_path):
    net, X, y, _ = problem("σ from its argument", "float32")
    net.fit(X, y, epochs=2, progress=False)
    net.save(tmp_path / "model")
    for other in (bs.Network.load(tmp_path / "model"), pickle.loads(pickle.dumps(net))):
        assert other.layers == net.layers
        assert np.array_equal(other.theta, net.theta)
        assert np.array_equal(other.forward(X), net.forward(X))


def rewritten(path, change):
    """The model file at `path`, with what it says of its network changed."""
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    header = json.loads(metadata["backsweep"])
    change(header["network"])
    save_file(load_file(path), path, metadata | {"backsweep": json.dumps(header)})


def test_a_file_from_before_there_were_kinds_is_read(tmp_path):
    net = bs.Network([4, 5, 3], seed=0)
    net.save(tmp_path / "model")
    rewritten(tmp_path / "model", lambda network: [layer.pop("kind") for layer in network["layers"]])
    assert np.array_equal(bs.Network.load(tmp_path / "model").theta, net.theta)


@pytest.mark.parametrize(
    "spoilt", [{"kind": "pool"}, {"kind": 1}, {"kind": []}, {"n_out": 8}, {"bias": False}], ids=str
)
def test_a_file_of_a_layer_that_is_not_one_is_refused(tmp_path, spoilt):
    problem("σ from its argument")[0].save(tmp_path / "model")
    rewritten(tmp_path / "model", lambda network: network["layers"][1].update(spoilt))
    with pytest.raises(ValueError, match="must describe a network"):
        bs.Network.load(tmp_path / "model")


def test_what_it_shows():
    net = bs.Network([4, bs.Dense(5, "identity"), bs.LayerNorm("relu"), 3], seed=0)
    assert net.theta.size == 4 * 5 + 5 + 2 * 5 + 5 * 3 + 3
    assert np.array_equal(net.W[1], np.ones(5))
    assert np.array_equal(net.b[1], np.zeros(5))
    assert repr(net).startswith("Network(4 -> 5 identity -> layer_norm relu -> 3 identity;")
    assert "Z[2] = relu(Ẑ[1] ∘ W[1] + b[1])" in net.summary()
    assert "(5,)" in net.summary()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="activation must be one of"):
        bs.LayerNorm("swish")
    with pytest.raises((TypeError, ValueError), match="activation must be"):
        bs.LayerNorm(5)
    with pytest.raises(TypeError, match=r"layers\[0\]"):
        bs.Network([bs.LayerNorm(), 3])
    core = bs._core.Network_float64
    with pytest.raises(ValueError, match="keep their width"):
        core([(4, 5, "identity", True, "layer_norm", 0.0)], "huber", "full")
    with pytest.raises(ValueError, match="unknown kind"):
        core([(4, 4, "identity", True, "pool", 0.0)], "huber", "full")


def test_a_wrong_number_reaches_the_loss():
    net, X, y, _ = problem("between W and σ")
    net.W[1][2] = 1e308
    with pytest.raises(bs.DivergenceError):
        net.fit(X * 1e5, y, epochs=3, optimizer=bs.SGD(1e300), progress=False)
    assert np.isfinite(net.theta).all()


def test_the_comparison_can_fail():
    """A γ that is off by the share allowed shows."""
    net, X, _, _ = problem("between W and σ")
    Z = net.forward(X)
    net.W[1][:] *= 1 + 1e-9
    assert relative_error(net.forward(X), Z) > error_allowed(net, X, "float64")
    assert tolerances.norm(Z) > 0
