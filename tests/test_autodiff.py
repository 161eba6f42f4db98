"""Differentiation of whole graphs: against PyTorch's autograd, against `Network`, and of derivatives."""

import gc
import weakref

import backsweep as bs
import derivatives
import figures
import numpy as np
import pytest
from backsweep import functional as F
from backsweep._tape import RULES
from graphs import OPERATIONS, Graph


def test_random_graphs_against_pytorch():
    torch = pytest.importorskip("torch")
    rng, seen, fan_out = np.random.default_rng(0), set(), 0
    for number in range(500):
        graph = Graph(rng, nodes=int(rng.integers(5, 31)))
        value, gradients = bs.value_and_grad(graph, argnums=range(len(graph.leaves)))(*graph.leaves)
        tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in graph.leaves]
        total = graph(*tensors, torch=torch)
        total.backward()
        assert abs(value - total.item()) <= 1e-10 * max(1, abs(value)), (number, graph.steps)
        wanted = [np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in tensors]
        size = max(np.abs(want).max() for want in wanted)
        assert size > 1e-6, "a graph that its leaves do not matter to tests nothing"
        for got, want in zip(gradients, wanted, strict=True):
            assert np.shape(got) == want.shape
            error = np.abs(got - want).max() / size
            figures.measured("relative error against PyTorch", f"random graph {number}", error)
            assert error <= 1e-10, (number, graph.steps)
        taken = [k for _, indices in graph.steps for k in indices]
        fan_out += len(taken) > len(set(taken))
        seen |= {name for name, _ in graph.steps}
    assert seen == OPERATIONS.keys()
    assert fan_out > 400


def test_conventions_are_jaxs():
    """The same structures for the same arguments, of gradients, of Jacobians and of their Jacobians."""
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(5)
    parameters = {"W": [rng.normal(size=(3, 4)), rng.normal(size=(4, 2))], "b": (rng.normal(size=4), None), "c": 1.5}
    X = rng.normal(size=(5, 3))

    def outputs(xp):
        def f(p, X):
            Z = xp.tanh(X @ p["W"][0] + p["b"][0])
            return {"A": Z @ p["W"][1] * p["c"], "sums": (Z.sum(), xp.maximum(Z, 0).mean(axis=0))}

        return f

    def loss(xp):
        return lambda p, X: (outputs(xp)(p, X)["A"] ** 2).sum() + outputs(xp)(p, X)["sums"][0]

    def check(got, want):
        (got, structure), (want, wanted) = jax.tree.flatten(got), jax.tree.flatten(want)
        assert structure == wanted
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)

    with jax.enable_x64(True):
        for argnums in (0, 1, -1, (0, 1), (1, 0), (0,)):
            for ours, theirs in ((bs.grad, jax.grad), (bs.value_and_grad, jax.value_and_grad)):
                check(ours(loss(np), argnums)(parameters, X), theirs(loss(jax.numpy), argnums)(parameters, X))
            check(bs.jacobian(outputs(np), argnums)(parameters, X),
                  jax.jacrev(outputs(jax.numpy), argnums)(parameters, X))  # fmt: skip
        check(bs.jacobian(bs.grad(loss(np)))(parameters, X), jax.jacrev(jax.grad(loss(jax.numpy)))(parameters, X))
        value, pullback = bs.vjp(outputs(np), parameters, X)
        wanted, their_pullback = jax.vjp(outputs(jax.numpy), parameters, X)
        check(value, wanted)
        G = jax.tree.map(lambda Z: rng.normal(size=np.shape(Z)), value)
        check(pullback(G), their_pullback(jax.tree.map(jax.numpy.asarray, G)))


# Networks as plain functions


def plain_function(parameters, X, y, sigma, loss):
    Z = X
    for W, b in parameters[:-1]:
        Z = sigma(Z @ W + b)
    W, b = parameters[-1]
    return loss(Z @ W + b, y)


def of_layers(parameters, X, y, sigma, loss):
    Z = X
    for i, (W, b) in enumerate(parameters):
        Z = F.dense(Z, W, b, activation="identity" if i == len(parameters) - 1 else sigma.__name__)
    return loss(Z, y)


@pytest.mark.parametrize("f", [plain_function, of_layers])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("sigma", bs._core.activations)
def test_network_as_a_function_has_the_networks_gradients(sigma, loss, dtype, f):
    rng = np.random.default_rng(1)
    net = bs.Network([20, 16, 12, 5], activation=sigma, loss=loss, dtype=dtype, seed=0)
    net.theta[:] += rng.normal(scale=0.1, size=net.theta.size)
    X = rng.normal(size=(32, 20)).astype(dtype)
    y = rng.integers(0, 5, size=32) if loss == "softmax_cross_entropy" else rng.normal(size=(32, 5)).astype(dtype)
    wanted_value, wanted = net.loss_and_gradients(X, y, dX=True)
    parameters = list(zip(net.W, net.b, strict=True))
    value, (gradients, dX) = bs.value_and_grad(f, argnums=(0, 1))(parameters, X, y, getattr(F, sigma), getattr(F, loss))
    close = {"rtol": 0, "atol": 200 * np.finfo(dtype).eps}
    np.testing.assert_allclose(value, wanted_value, rtol=20 * np.finfo(dtype).eps)
    np.testing.assert_allclose(dX / np.abs(wanted.dX).max(), wanted.dX / np.abs(wanted.dX).max(), **close)
    for (dW, db), want_dW, want_db in zip(gradients, wanted.dW, wanted.db, strict=True):
        assert dW.dtype == db.dtype == dX.dtype == value.dtype == dtype
        np.testing.assert_allclose(dW / np.abs(want_dW).max(), want_dW / np.abs(want_dW).max(), **close)
        np.testing.assert_allclose(db / np.abs(want_db).max(), want_db / np.abs(want_db).max(), **close)


def test_gradients_nobody_asks_for_are_not_computed(monkeypatch):
    asked = []
    by_X, by_W = RULES[np.matmul]
    counting = (lambda *a: asked.append("X") or by_X(*a), lambda *a: asked.append("W") or by_W(*a))
    monkeypatch.setitem(RULES, np.matmul, counting)
    X, y = np.ones((3, 4)), np.array([0, 1, 1])
    W = [np.ones((4, 4)), np.ones((4, 2))]
    bs.grad(lambda W: F.softmax_cross_entropy(F.dense(F.dense(X, W[0], activation="relu"), W[1]), y))(W)
    assert sorted(asked) == ["W", "W", "X"]


def test_shared_weights_residuals_and_several_outputs():
    rng = np.random.default_rng(2)
    W, x = rng.normal(size=(3, 3)), rng.normal(size=(2, 3))

    def f(W, x):
        h = x
        for _ in range(4):
            h = h + F.tanh(h @ W)  # the same W, and h twice
        return {"h": h, "both": (h.sum(), h[0])}

    value, pullback = bs.vjp(f, W, x)
    assert value["h"].shape == (2, 3)
    G = {"h": rng.normal(size=(2, 3)), "both": (0.5, rng.normal(size=3))}
    weighted = np.array(G["h"])
    weighted += 0.5
    weighted[0] += G["both"][1]
    derivatives.check(lambda W, x: f(W, x)["h"], (W, x), pullback(G), weighted, "residual")


# Derivatives of derivatives


def test_derivatives_of_any_order_and_of_values_of_outer_functions():
    assert bs.grad(lambda x: x**3)(2.0) == 12
    assert bs.grad(bs.grad(lambda x: x**3))(2.0) == 12
    assert bs.grad(bs.grad(bs.grad(lambda x: x**3)))(2.0) == 6
    # The inner derivative is 1 whatever x is, then y: no tape takes another's values for its own.
    assert bs.grad(lambda x: x * bs.grad(lambda y: x + y)(1.0))(3.0) == 1
    assert bs.grad(lambda x: x * bs.grad(lambda y: x * y)(1.0))(3.0) == 6
    for k, f in enumerate([np.exp, lambda x: bs.grad(np.exp)(x), bs.grad(bs.grad(np.exp))]):
        np.testing.assert_allclose(bs.grad(f)(0.3), np.exp(0.3), err_msg=str(k))


@pytest.mark.parametrize("sigma", bs._core.activations)
def test_hessians_of_networks(sigma):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(4, 3)), rng.integers(0, 2, size=4)
    parameters = {"W": [rng.normal(size=(3, 4)), rng.normal(size=(4, 2))], "b": [rng.normal(size=4), None]}

    def loss(parameters):
        Z = F.dense(X, parameters["W"][0], parameters["b"][0], activation=sigma)
        return F.softmax_cross_entropy(F.dense(Z, parameters["W"][1]), y)

    def of_first(W):
        return loss({**parameters, "W": [W, parameters["W"][1]]})

    W = parameters["W"][0]
    H = bs.jacobian(bs.grad(of_first))(W)
    assert H.shape == (3, 4, 3, 4)
    np.testing.assert_allclose(H, H.transpose(2, 3, 0, 1), atol=1e-12)
    for i, j in ((0, 1), (2, 3)):
        E = np.zeros((3, 4))
        E[i, j] = 1
        derivatives.check(bs.grad(of_first), (W,), (H[i, j],), E, sigma)


def test_jacobians():
    rng = np.random.default_rng(4)
    W, x = rng.normal(size=(3, 2)), rng.normal(size=3)
    np.testing.assert_array_equal(bs.jacobian(lambda x: x @ W)(x), W.T)
    np.testing.assert_array_equal(bs.jacobian(lambda W, x: x @ W, argnums=1)(W, x), W.T)
    by_W, by_x = bs.jacobian(lambda W, x: {"a": x @ W, "b": [x.sum()]}, argnums=(0, 1))(W, x)["a"]
    assert by_W.shape == (2, 3, 2)
    np.testing.assert_array_equal(by_x, W.T)
    S = F.softmax(x[np.newaxis])[0]
    np.testing.assert_allclose(bs.jacobian(F.softmax)(x[np.newaxis])[0, :, 0], np.diag(S) - np.outer(S, S), atol=1e-15)
    assert bs.jacobian(lambda x: x[:0])(x).shape == (0, 3)
    np.testing.assert_array_equal(bs.jacobian(lambda p: p["x"] * 2)({"x": x})["x"], 2 * np.eye(3))


# Structures, dtypes, and whose arrays they are


def test_gradients_have_the_structure_of_the_argument():
    net = bs.Network([3, 4, 2], seed=0)
    parameters = {"layers": [net.W, (net.b[0], None)], "scale": 2.0, "unused": np.ones(2)}

    def f(p):
        W, (b, none) = p["layers"]
        assert none is None
        return p["scale"] * (np.tanh(np.ones((1, 3), np.float32) @ W[0] + b) @ W[1]).sum()

    gradients = bs.grad(f)(parameters)
    assert list(gradients) == ["layers", "scale", "unused"]
    W, (b, none) = gradients["layers"]
    assert isinstance(W, tuple)
    assert none is None
    assert [g.dtype for g in (*W, b)] == [np.float32] * 3
    assert [g.shape for g in (*W, b)] == [(3, 4), (4, 2), (4,)]
    assert isinstance(gradients["scale"], float)
    np.testing.assert_array_equal(gradients["unused"], [0, 0])
    _, named = net.loss_and_gradients(np.ones((2, 3)), [0, 1])
    again = bs.grad(lambda g: (g.dtheta**2).sum())(named._replace(dX=None))
    assert type(again) is type(named)
    np.testing.assert_allclose(again.dtheta, 2 * named.dtheta)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_are_kept(dtype):
    x = np.linspace(0.1, 2, 6).reshape(2, 3).astype(dtype)
    expressions = [
        lambda x: 2 * x + 1.5, lambda x: x**2, lambda x: x**0.5, lambda x: np.maximum(x, 0), lambda x: x.mean(axis=0),
        lambda x: np.max(x, axis=1), lambda x: x.var(axis=1), lambda x: np.where(x > 1, x, 0), lambda x: x[x > 1],
        lambda x: x[[0, 0]], lambda x: np.concatenate([x, x]), lambda x: F.gelu(x), lambda x: F.softmax(x) @ x.T,
        lambda x: np.log2(x), lambda x: F.softmax_cross_entropy(x, [0, 1]), lambda x: np.clip(x, 0, 1), lambda x: 2**x,
        lambda x: F.dense(np.arange(4).reshape(2, 2), x, x[0], "relu"), lambda x: x / len(x) - x.shape[1],
        lambda x: F.huber(x, np.zeros((2, 3)), np.ones(2)), lambda x: np.std(x), lambda x: np.stack([x, -x]),
    ]  # fmt: skip
    for i, f in enumerate(expressions):
        value, pullback = bs.vjp(f, x)
        assert value.dtype == dtype, i
        for g in (np.ones(np.shape(value)), np.ones(np.shape(value), dtype)):
            assert pullback(g)[0].dtype == dtype, i
        second = bs.grad(lambda x, f=f: np.sum(bs.grad(lambda x: f(x).sum())(x) ** 2))(x)
        assert second.dtype == dtype, i
    mixed = bs.grad(lambda x: (x * np.ones(3)).sum())(x)  # float64 in between
    assert mixed.dtype == dtype


def test_gradients_are_the_callers():
    x, y, G = np.ones(3), np.ones(3), np.ones(3)
    for f in (lambda x, y: x + y, lambda x, y: (x, y)[0] + 0 * y, lambda x, y: np.transpose(x) + y[:]):
        dx, dy = bs.vjp(f, x, y)[1](G)
        dx += 1
        assert not np.shares_memory(dx, dy)
        assert not any(np.shares_memory(g, a) for g in (dx, dy) for a in (x, y, G))
    dx = bs.grad(lambda x: x.sum())(x)
    dx += 1  # no read-only view
    kept = np.ones(3)
    dx = bs.grad(lambda x: bs.primitive(lambda x: (x.sum(), lambda G: (kept,)))(x))(x)
    dx += 1
    assert (kept == 1).all()


def test_a_pullback_may_be_called_again():
    _, pullback = bs.vjp(lambda x: x * x, np.array([1.0, 2.0]))
    np.testing.assert_array_equal(pullback([1, 1])[0], [2, 4])
    np.testing.assert_array_equal(pullback([2, 0])[0], [4, 0])


def test_a_finished_tape_leaves_no_memory_behind():
    seen = []

    def f(x):
        Z = np.tanh(x) * x
        seen.append(weakref.ref(Z.value))
        return (Z[0] + Z.sum(axis=0)).sum()

    gc.collect()
    gc.disable()
    try:
        bs.grad(f)(np.ones((3, 3)))
        assert seen[0]() is None
    finally:
        gc.enable()
