"""The notes' table: every row in both backends against its definition, its checks, and the two-layer gradients."""

import inspect

import backsweep as bs
import derivatives
import numpy as np
import pytest
from backsweep.reference import calculus as reference
from tolerances import FORMULA, gamma

BACKENDS = [pytest.param(bs.calculus, id="core"), pytest.param(reference, id="reference")]
ACTIVATIONS = bs._core.activations
ROWS = [name for name in bs.calculus.__all__ if name not in ("Table", "table")]


def sizes(rng, n):
    return rng.integers(1, 6, size=n)


def probabilities(rng, m, k):
    S = rng.uniform(0.1, 1, size=(m, k))
    return S / S.sum(axis=1, keepdims=True)


def targets(rng, m, k):
    return rng.integers(0, k, size=m) if rng.random() < 0.5 else probabilities(rng, m, k)


def arguments_of(row, rng):
    """Random arguments of a row: those it has gradients for, and what else it takes before and after them."""
    m, n, k = sizes(rng, 3)
    matrix, other = rng.normal(size=(m, n)), rng.normal(size=(m, n))
    anything = rng.normal(size=sizes(rng, rng.integers(0, 4)))
    k = k + 1  # the softmax of one output is constant
    return {
        "linear_form": lambda: ((), (rng.normal(size=m), matrix, rng.normal(size=n)), ()),
        "quadratic_form": lambda: (
            (), (rng.normal(size=(n, k) if rng.random() < 0.7 else n), rng.normal(size=(n, n))), (),
        ),
        "matmul": lambda: ((), (matrix, rng.normal(size=(n, k))), ()),
        "elementwise": lambda: ((str(rng.choice(ACTIVATIONS)),), (derivatives.off(2 * anything, 0),), ()),
        "hadamard": lambda: ((), (anything, rng.normal(size=anything.shape)), ()),
        "add_bias": lambda: ((), (other, rng.normal(size=n)), ()),
        "scale": lambda: ((), (rng.normal(), anything), ()),
        "softmax": lambda: ((), (rng.normal(size=(m, k)),), ()),
        "cross_entropy": lambda: ((), (probabilities(rng, m, k),), (targets(rng, m, k),)),
        "softmax_cross_entropy": lambda: ((), (rng.normal(size=(m, k)),), (targets(rng, m, k),)),
        "mean": lambda: ((), (anything,), ()),
        "sum": lambda: ((), (anything,), ()),
    }[row]()  # fmt: skip


@pytest.mark.parametrize("calculus", BACKENDS)
@pytest.mark.parametrize("row", ROWS)
def test_gradients_are_the_slopes(row, calculus):
    rng = np.random.default_rng(len(row))
    function = getattr(calculus, row)
    for _ in range(derivatives.SHAPES):
        before, matrices, after = arguments_of(row, rng)
        value, pullback = function(*before, *matrices, *after)
        G = rng.normal(size=np.shape(value))
        gradients = pullback(G if np.ndim(value) else float(G))
        assert isinstance(gradients, tuple)
        assert len(gradients) == len(matrices)

        def f(*matrices, before=before, after=after):
            return function(*before, *matrices, *after)[0]

        derivatives.check(f, matrices, gradients, G, f"calculus.{row}")


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_backends_agree(row, dtype):
    """To rounding: at most 36 terms, relative to the largest entry, and a formula's rounding in each."""
    rng = np.random.default_rng(6)
    close = 2 * gamma(FORMULA + 36, dtype)
    for _ in range(50):
        before, matrices, after = arguments_of(row, rng)
        matrices = [np.asarray(x, dtype=dtype) for x in matrices]
        (value, pullback), (want, wanted) = (
            getattr(calculus, row)(*before, *matrices, *after) for calculus in (bs.calculus, reference)
        )
        G = np.asarray(rng.normal(size=np.shape(value)), dtype=dtype)
        size = max(np.abs(x).max() for x in (*matrices, G)) ** 3
        for got, expected in zip((value, *pullback(G)), (want, *wanted(G)), strict=True):
            assert np.shape(got) == np.shape(expected)
            np.testing.assert_allclose(got, expected, rtol=close, atol=close * size)


@pytest.mark.parametrize("calculus", BACKENDS)
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(row, calculus, dtype):
    rng = np.random.default_rng(0)
    before, matrices, after = arguments_of(row, rng)
    matrices = [float(x) if np.ndim(x) == 0 and row == "scale" else x.astype(dtype) for x in matrices]
    value, pullback = getattr(calculus, row)(*before, *matrices, *after)
    G = np.asarray(rng.normal(size=np.shape(value)), dtype=dtype)
    if calculus is bs.calculus:
        assert value.dtype == dtype
        for gradient in pullback(G.astype(np.float64)):  # G does not decide
            assert gradient.dtype == dtype
    for gradient in pullback(G):
        assert np.asarray(gradient).dtype == dtype


def test_backends_have_the_same_rows():
    for row in ROWS:
        core, numpy = getattr(bs.calculus, row), getattr(reference, row)
        assert inspect.signature(core).parameters == inspect.signature(numpy).parameters, row


def test_symmetric_quadratic_form_has_the_gradient_of_the_notes():
    rng = np.random.default_rng(1)
    A = rng.normal(size=(4, 4))
    A = A + A.T
    X = rng.normal(size=(4, 3))
    value, pullback = bs.calculus.quadratic_form(X, A)
    np.testing.assert_allclose(value, np.trace(X.T @ A @ X))
    np.testing.assert_allclose(pullback(1)[0], 2 * A @ X)
    x = X[:, 0]
    np.testing.assert_allclose(bs.calculus.quadratic_form(x, A)[0], x @ A @ x)


def test_fused_cross_entropy_is_the_composition():
    rng = np.random.default_rng(2)
    Z, y = rng.normal(size=(5, 3)), rng.integers(0, 3, size=5)
    S, to_Z = bs.calculus.softmax(Z)
    value, to_S = bs.calculus.cross_entropy(S, y)
    fused, to_Z_at_once = bs.calculus.softmax_cross_entropy(Z, y)
    np.testing.assert_allclose(value, fused)
    np.testing.assert_allclose(to_Z(*to_S(1))[0], to_Z_at_once(1)[0])
    np.testing.assert_allclose(to_Z_at_once(1)[0], (S - np.eye(3)[y]) / 5)


@pytest.mark.parametrize("row", ["linear_form", "matmul", "quadratic_form", "hadamard", "softmax", "scale", "add_bias"])
def test_rows_are_primitives(row):
    rng = np.random.default_rng(3)
    _, matrices, _ = arguments_of(row, rng)
    operation = bs.primitive(getattr(bs.calculus, row))
    value, pullback = getattr(bs.calculus, row)(*matrices)
    G = rng.normal(size=np.shape(value))
    for got, want in zip(bs.vjp(operation, *matrices)[1](G), pullback(G), strict=True):
        np.testing.assert_array_equal(got, want)
    # and have second derivatives
    X = matrices[-1]

    def slope(X):
        return np.sum(bs.vjp(lambda X: operation(*matrices[:-1], X), X)[1](G)[0] ** 2)

    derivatives.check(slope, [X], [bs.grad(slope)(X)], 1.0, row)


REFUSED = [
    ("linear_form", (np.zeros(2), np.zeros((3, 4)), np.zeros(4)), r"X must have shape \(2, n\), got \(3, 4\)"),
    ("linear_form", (np.zeros((2, 1)), np.zeros((2, 4)), np.zeros(4)), r"a must have shape \(m,\), got \(2, 1\)"),
    ("linear_form", (np.zeros(2), np.zeros((2, 4)), np.zeros(3)), r"b must have shape \(4,\), got \(3,\)"),
    ("quadratic_form", (np.zeros((2, 3)), np.zeros((3, 3))), r"A must have shape \(2, 2\), got \(3, 3\)"),
    ("quadratic_form", (np.zeros((2, 3, 1)), np.eye(2)), r"X must have shape \(n, p\) or \(n,\), got \(2, 3, 1\)"),
    ("matmul", (np.zeros((2, 3)), np.zeros((2, 3))), r"W must have shape \(3, k\), got \(2, 3\)"),
    ("hadamard", (np.zeros((2, 3)), np.zeros(3)), r"Y must have shape \(2, 3\), got \(3,\)"),
    ("add_bias", (np.zeros((2, 3)), np.zeros(2)), r"b must have shape \(3,\), got \(2,\)"),
    ("scale", (np.zeros(2), np.zeros(2)), r"c must have shape \(\), got \(2,\)"),
    ("softmax", (np.zeros(3),), r"Z must have shape \(m, k\), got \(3,\)"),
    ("cross_entropy", (np.eye(2), [1, 0]), "S must be greater than 0 where y has weight, got 0"),
    ("cross_entropy", (np.ones((2, 2)) / 2, [0, 1, 1]), r"y must have shape \(2,\) or \(2, 2\), got \(3,\)"),
    ("softmax_cross_entropy", (np.zeros((2, 2)), [0, 2]), r"y must hold labels 0, 1, ..., 1, got y\[1\] = 2"),
    ("mean", (np.zeros((0, 3)),), r"X must have at least one entry, got shape \(0, 3\)"),
    ("elementwise", ("rellu", np.zeros((2, 2))), "sigma must be one of .* did you mean 'relu'"),
]


@pytest.mark.parametrize(("row", "arguments", "message"), REFUSED)
def test_wrong_arguments_are_named(row, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(bs.calculus, row)(*arguments)


def test_wrong_cotangents_are_named():
    _, pullback = bs.calculus.matmul(np.ones((2, 3)), np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"G must have the shape of the value, \(2, 4\), got \(4, 2\)"):
        pullback(np.ones((4, 2)))
    _, pullback = bs.calculus.sum(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"G must have the shape of the value, \(\), got \(2, 3\)"):
        pullback(np.ones((2, 3)))


def test_gradients_are_the_callers():
    A, b, G = np.ones((2, 3)), np.ones(3), np.ones((2, 3))
    for calculus in (bs.calculus, reference):
        dA, db = calculus.add_bias(A, b)[1](G)
        dA[:] = db[:] = 7
    assert (G == 1).all()
    assert (A == 1).all()


def test_table_has_every_row_as_text_and_as_html():
    table = bs.calculus.table()
    assert str(table) == repr(table)
    lines = str(table).splitlines()
    assert len(lines) == len(ROWS) + 1
    for row in ROWS:
        assert any(line.startswith(f"{row}(") for line in lines), row
        assert f"{row}(" in table._repr_html_()
    assert "G ∘ σ'(X)" in str(table)
    assert "X (m, n), W (n, k)" in str(table)
    assert table._repr_html_().startswith("<table")


# The two-layer network in closed form


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("two_layer_gradients", [bs.two_layer_gradients, reference.two_layer_gradients])
def test_two_layer_gradients_are_the_general_sweep(activation, dtype, two_layer_gradients):
    rng = np.random.default_rng(4)
    layers = [7, bs.Dense(5, activation, bias=False), bs.Dense(4, bias=False)]
    net = bs.Network(layers, dtype=dtype, seed=0)
    X = rng.normal(size=(11, 7)).astype(dtype)
    for y in (rng.integers(0, 4, size=11), probabilities(rng, 11, 4)):
        _, sweep = net.loss_and_gradients(X, y)
        dW1, dW2 = two_layer_gradients(X, y, *net.W, activation=activation)
        for got, want in zip((dW1, dW2), sweep.dW, strict=True):
            assert got.dtype == dtype
            np.testing.assert_allclose(got, want, rtol=0, atol=100 * np.finfo(dtype).eps * np.abs(want).max())


def test_two_layer_gradients_are_the_slopes():
    rng = np.random.default_rng(5)
    for _ in range(derivatives.SHAPES):
        m, n, h, k = sizes(rng, 4)
        X, W1, W2 = rng.normal(size=(m, n)), rng.normal(size=(n, h)), rng.normal(size=(h, k + 1))
        y, activation = targets(rng, m, k + 1), str(rng.choice([s for s in ACTIVATIONS if "relu" not in s]))

        def loss(W1, W2, X=X, y=y, sigma=activation):
            return bs.functional.softmax_cross_entropy(getattr(bs.functional, sigma)(X @ W1) @ W2, y)

        derivatives.check(loss, (W1, W2), bs.two_layer_gradients(X, y, W1, W2, activation), 1.0, activation)


def test_two_layer_gradients_refuse_shapes_that_do_not_fit():
    X, y, W1, W2 = np.ones((3, 4)), [0, 1, 1], np.ones((4, 5)), np.ones((5, 2))
    with pytest.raises(ValueError, match=r"W1 must have shape \(4, h\), got \(5, 4\)"):
        bs.two_layer_gradients(X, y, W1.T, W2)
    with pytest.raises(ValueError, match=r"W2 must have shape \(5, k\), got \(2, 5\)"):
        bs.two_layer_gradients(X, y, W1, W2.T)
    with pytest.raises(ValueError, match=r"W2 must have two dimensions"):
        bs.two_layer_gradients(X, y, W1, W2[:, 0])
    with pytest.raises(ValueError, match="activation must be one of"):
        bs.two_layer_gradients(X, y, W1, W2, "step")
