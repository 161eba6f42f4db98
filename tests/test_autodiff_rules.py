"""Every rule of differentiation against central differences: the compiled functions' and NumPy's.

Longer than 300 lines because it lists every function that has a rule.
"""

import functools
import math
import operator

import backsweep as bs
import derivatives
import numpy as np
import pytest
from backsweep import _core
from backsweep import functional as F
from backsweep._tape import COMPOSITES, CONSTANT, RULES, cast, scatter, take
from derivatives import off
from problems import targets

ACTIVATIONS = {name: getattr(F, name) for name in _core.activations}
LOSSES = {name: getattr(F, name) for name in _core.losses}
BACKWARDS = {name: getattr(F, f"{name}_backward") for name in (*_core.activations, *_core.losses)}


def sizes(rng, n, low=1, high=5):
    return tuple(int(n) for n in rng.integers(low, high, size=n))


def check_vjp(f, arguments, rng, what):
    """The gradients of f by all its arguments, which must be those of central differences."""
    value, pullback = bs.vjp(f, *arguments)
    np.testing.assert_array_equal(value, f(*arguments), err_msg=what)
    G = rng.normal(size=np.shape(value))
    derivatives.check(f, arguments, pullback(G), G, what)


# The compiled functions, and their backward functions, whose gradients are the second derivatives


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    sigma, backward, rng = ACTIVATIONS[name], BACKWARDS[name], np.random.default_rng(0)
    for _ in range(derivatives.SHAPES):
        A = off(rng.uniform(-4, 4, size=sizes(rng, rng.integers(0, 4))), 0)  # further out σ'' drowns in rounding
        G = rng.normal(size=A.shape)
        derivatives.check(sigma, (A,), (backward(G, A),), G, name)
        check_vjp(sigma, (A,), rng, name)
        check_vjp(backward, (G, A), rng, f"{name}_backward")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_dense(name):
    rng = np.random.default_rng(1)
    done = 0
    while done < derivatives.SHAPES:
        m, n, k = sizes(rng, 3)
        Z, W, b = rng.normal(size=(m, n)), rng.normal(size=(n, k)), rng.normal(size=k)
        if np.abs(Z @ W + b).min() < 0.01 or np.abs(Z @ W).min() < 0.01:  # a kink
            continue
        G = rng.normal(size=(m, k))
        arguments = (Z, W, b) if done % 2 else (Z, W)

        def layer(*arguments):
            return F.dense(*arguments, activation=name)

        compiled = F.dense_backward(G, *arguments, activation=name)[: len(arguments)]
        derivatives.check(layer, arguments, compiled, G, "dense_backward")
        for got, want in zip(bs.vjp(layer, *arguments)[1](G), compiled, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-13 * max(1, np.abs(want).max()))
        done += 1


def test_dense_backward():
    rng = np.random.default_rng(2)
    for _ in range(derivatives.SHAPES):
        m, n, k = sizes(rng, 3, high=4)
        G, Z, W, b = (rng.normal(size=s) for s in ((m, k), (m, n), (n, k), (k,)))

        def total(G, Z, W, b):
            return sum(np.sum(np.sin(g)) for g in F.dense_backward(G, Z, W, b, "tanh"))

        value, pullback = bs.vjp(total, G, Z, W, b)
        np.testing.assert_allclose(value, total(G, Z, W, b))
        derivatives.check(total, (G, Z, W, b), pullback(1.0), 1.0, "dense_backward")


def test_layer_norm():
    rng = np.random.default_rng(12)
    for _ in range(derivatives.SHAPES):
        m, n = sizes(rng, 2, low=2)
        D, Z, g, b = (rng.normal(size=s) for s in ((m, n), (m, n), n, n))
        Z *= np.sqrt(n) / np.sqrt(((Z - Z.mean(axis=1, keepdims=True)) ** 2).sum(axis=1, keepdims=True))
        derivatives.check(F.layer_norm, (Z, g, b), F.layer_norm_backward(D, Z, g), D, "layer_norm")
        check_vjp(F.layer_norm, (Z, g, b), rng, "layer_norm")

        def total(D, Z, g):
            return sum(np.sum(np.sin(G)) for G in F.layer_norm_backward(D, Z, g))

        value, pullback = bs.vjp(total, D, Z, g)
        np.testing.assert_allclose(value, total(D, Z, g))
        derivatives.check(total, (D, Z, g), pullback(1.0), 1.0, "layer_norm_backward")
    with pytest.raises(ValueError, match="D, Z and gamma must have shapes"):
        bs.vjp(lambda g: F.layer_norm_backward(D, Z, g)[0], g[1:])


def test_softmax():
    rng = np.random.default_rng(3)
    for _ in range(derivatives.SHAPES):
        check_vjp(F.softmax, (3 * rng.normal(size=sizes(rng, 2)),), rng, "softmax")


def loss_problem(name, rng):
    """Z and y of a loss, away from kinks, and weights half of the time."""
    m, k = sizes(rng, 2)
    k += name == "softmax_cross_entropy"
    y = targets(rng, name, m, k, labels=rng.random() < 0.5)
    Z = 2 * rng.normal(size=(m, k))
    if name in ("huber", "mean_absolute_error"):
        Z = np.reshape(y, Z.shape) + off(Z, -1, 0, 1)
    return Z, y, rng.uniform(0.1, 2, size=m) if rng.random() < 0.5 else None


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    rng = np.random.default_rng(4)
    for _ in range(derivatives.SHAPES):
        Z, y, w = loss_problem(name, rng)
        loss, backward = (functools.partial(f, y=y, sample_weight=w) for f in (LOSSES[name], BACKWARDS[name]))
        derivatives.check(loss, (Z,), (backward(Z),), 1.0, name)
        value, pullback = bs.vjp(loss, Z)
        assert value == loss(Z)
        np.testing.assert_array_equal(pullback(2.0)[0], 2 * backward(Z))
        check_vjp(backward, (Z,), rng, f"{name}_backward")


@pytest.mark.parametrize("name", LOSSES)
def test_losses_by_targets(name):
    """Targets that are values are differentiated as well: an autoencoder's are what it is given."""
    rng = np.random.default_rng(5)
    for _ in range(derivatives.SHAPES):
        m, k = sizes(rng, 2)
        k += name == "softmax_cross_entropy"
        Z, y = 2 * rng.normal(size=(m, k)), rng.uniform(0.1, 0.9, size=(m, k) if k > 1 or rng.random() < 0.5 else m)
        if name == "softmax_cross_entropy":
            y /= y.sum(axis=1, keepdims=True)
        elif name in ("huber", "mean_absolute_error"):
            y = np.reshape(Z + off(rng.normal(size=Z.shape), -1, 0, 1), y.shape)
        w = rng.uniform(0.1, 2, size=m) if rng.random() < 0.5 else None
        loss, backward = (functools.partial(f, Z, sample_weight=w) for f in (LOSSES[name], BACKWARDS[name]))
        G = float(rng.normal())
        derivatives.check(loss, (y,), bs.vjp(loss, y)[1](G), G, name)
        check_vjp(backward, (y,), rng, f"{name}_backward")


def test_labels_and_weights_have_no_gradient():
    Z, y, w = np.zeros((3, 3)), np.array([0.0, 1.0, 2.0]), np.ones(3)
    with pytest.raises(TypeError, match="y must hold probabilities"):
        bs.grad(lambda y: F.softmax_cross_entropy(Z, y))(y)
    with pytest.raises(TypeError, match="softmax_cross_entropy has no derivative by sample_weight"):
        bs.grad(lambda w: F.softmax_cross_entropy(Z, y, sample_weight=w))(w)


# NumPy's functions


def real(rng, shape):
    return off(2 * rng.normal(size=shape), 0)


def positive(rng, shape):
    return rng.uniform(0.3, 3, size=shape)


UNARY = {
    np.positive: real, np.negative: real, np.square: real, np.sqrt: positive, np.reciprocal: positive,
    np.absolute: real, np.exp: real, np.expm1: real, np.exp2: real, np.log: positive, np.log1p: positive,
    np.log2: positive, np.log10: positive, np.sin: real, np.cos: real, np.arctan: real, np.sinh: real, np.cosh: real,
    np.tanh: real, np.tan: lambda rng, shape: rng.uniform(-1, 1, size=shape), np.copy: real, np.ravel: real,
}  # fmt: skip
BINARY = {
    np.add: real, np.subtract: real, np.multiply: real, np.divide: positive, np.maximum: real, np.minimum: real,
    np.logaddexp: real, np.power: positive, operator.pow: positive,
}  # fmt: skip


def axis_of(rng, x):
    """None, an axis or several."""
    if x.ndim == 0 or rng.random() < 0.3:
        return None
    axes = rng.permutation(np.arange(-x.ndim, 0))[: rng.integers(1, x.ndim + 1)]
    return int(axes[0]) if len(axes) == 1 else tuple(map(int, axes))


def apart(rng, shape):
    """Entries of which no two are near."""
    return rng.permutation(np.linspace(-2, 2, math.prod(shape))).reshape(shape)


def reducing(f, sample=real):
    def make(rng):
        x = sample(rng, sizes(rng, rng.integers(0, 4)))
        axis, keepdims = axis_of(rng, x), bool(rng.random() < 0.5)
        return lambda x: f(x, axis=axis, keepdims=keepdims), (x,)

    return make


def of_tensor(make):
    """A function of a tensor of one to three axes."""

    def made(rng):
        x = real(rng, sizes(rng, rng.integers(1, 4)))
        return make(rng, x), (x,)

    return made


def index_of(rng, x):
    n = len(x)
    return [
        int(rng.integers(-n, n)), slice(None, None, -1), slice(0, n // 2 + 1), ..., None, (..., 0),
        rng.integers(0, n, size=5), rng.integers(0, n, size=(2, 2)), x > 0, list(rng.integers(0, n, size=3)),
        (rng.integers(0, n, size=4), ..., None), np.arange(n) % 2 == 0,
    ][rng.integers(12)]  # fmt: skip


def joined(f):
    def make(rng):
        shape, axis = sizes(rng, 2), int(rng.integers(-2, 2))
        arrays = [real(rng, shape) for _ in range(rng.integers(1, 4))]
        return lambda *arrays: f(arrays, axis), arrays

    return make


def concatenated(rng):
    axis = int(rng.integers(-2, 2))
    shapes = [list(sizes(rng, 2)) for _ in range(rng.integers(1, 4))]
    for shape in shapes:
        shape[1 - axis % 2] = 2
    return lambda *arrays: np.concatenate(arrays, axis), [real(rng, shape) for shape in shapes]


def multiplied(rng):
    m, n, k = sizes(rng, 3)
    x, y = [
        ((m, n), (n, k)), ((n,), (n, k)), ((m, n), (n,)), ((n,), (n,)), ((2, m, n), (n, k)), ((3, 1, m, n), (2, n, k)),
    ][rng.integers(6)]  # fmt: skip
    return np.matmul, (real(rng, x), real(rng, y))


def dotted(rng):
    m, n, k = sizes(rng, 3)
    x, y = [((m, n), (n, k)), ((n,), (n, k)), ((m, n), (n,)), ((n,), (n,)), ((), (m, n)), ((m,), ())][rng.integers(6)]
    return np.dot, (real(rng, x), real(rng, y))


def chosen(rng):
    shape = sizes(rng, 2)
    where = rng.random(shape) < 0.5
    return lambda x, y: np.where(where, x, y), (real(rng, shape), real(rng, shape[1:]))


def permuted(rng, x):
    axes = tuple(int(axis) - x.ndim * (rng.random() < 0.5) for axis in rng.permutation(x.ndim))
    given = None if rng.random() < 0.3 else axes
    return lambda x: np.transpose(x, given)


def swapped(rng, x):
    a, b = (int(a) for a in rng.integers(-x.ndim, x.ndim, size=2))
    return lambda x: np.swapaxes(x, a, b)


def normed(rng):
    x, axis = positive(rng, sizes(rng, 2)), [None, 0, -1, (0, 1)][rng.integers(4)]
    return lambda x: np.linalg.norm(x, axis=axis, keepdims=x.size % 2 == 0), (x,)


OTHERS = {
    np.sum: reducing(np.sum), np.mean: reducing(np.mean), np.var: reducing(np.var),
    np.max: reducing(np.max, apart), np.amax: reducing(np.amax, apart),
    np.min: reducing(np.min, apart), np.amin: reducing(np.amin, apart),
    np.std: lambda rng: (lambda x: np.std(x, axis=1), (real(rng, (*sizes(rng, 1), *sizes(rng, 2, low=3)),),)),
    np.reshape: of_tensor(lambda rng, x: lambda x: np.reshape(x, (-1, x.shape[0]), order="F" if x.size % 2 else "C")),
    np.expand_dims: of_tensor(lambda rng, x: lambda x: np.expand_dims(x, (0, -1))),
    np.squeeze: of_tensor(lambda rng, x: lambda x: np.squeeze(x)),
    np.transpose: of_tensor(permuted),
    np.swapaxes: of_tensor(swapped),
    np.flip: of_tensor(lambda rng, x: lambda x: np.flip(x, None if x.size % 2 else -1)),
    np.linalg.norm: normed,
    np.moveaxis: of_tensor(lambda rng, x: lambda x: np.moveaxis(x, 0, -1)),
    np.broadcast_to: of_tensor(lambda rng, x: lambda x: np.broadcast_to(x, (2, *x.shape))),
    np.clip: of_tensor(lambda rng, x: lambda x: np.clip(x, 0, None)),
    np.concatenate: concatenated, np.stack: joined(np.stack),
    np.hstack: joined(lambda arrays, axis: np.hstack(arrays)),
    np.vstack: joined(lambda arrays, axis: np.vstack(arrays)),
    np.matmul: multiplied, np.dot: dotted, np.where: chosen,
    np.outer: lambda rng: (np.outer, (real(rng, sizes(rng, 2)), real(rng, sizes(rng, 1)))),
    take: of_tensor(lambda rng, x: (lambda index: lambda x: x[index])(index_of(rng, x))),
    scatter: of_tensor(lambda rng, x: lambda x: scatter(x, np.arange(len(x)) // 2, (len(x), *x.shape[1:]))),
    cast: of_tensor(lambda rng, x: lambda x: cast(x, np.float64)),
}  # fmt: skip


def test_every_rule_is_tested():
    compiled = {getattr(F, name) for name in F.__all__}
    assert (RULES.keys() | COMPOSITES.keys()) - compiled == UNARY.keys() | BINARY.keys() | OTHERS.keys()
    assert not CONSTANT & (RULES.keys() | COMPOSITES.keys())
    without = {name for name in F.__all__ if getattr(F, name) not in RULES.keys() | COMPOSITES.keys()}
    assert without == {name for name in F.__all__ if name.endswith("_update")}


@pytest.mark.parametrize("f", UNARY, ids=lambda f: f.__name__)
def test_functions_of_one_array(f):
    rng = np.random.default_rng(6)
    for _ in range(derivatives.SHAPES):
        x = UNARY[f](rng, sizes(rng, rng.integers(0, 4)))
        check_vjp(f, (x,), rng, f.__name__)
        check_vjp(lambda x: bs.grad(lambda x: np.sum(f(x)))(x), (x,), rng, f"{f.__name__}, second derivative")


@pytest.mark.parametrize("f", BINARY, ids=lambda f: f.__name__)
def test_functions_of_two_arrays_and_broadcasting(f):
    rng = np.random.default_rng(7)
    for _ in range(derivatives.SHAPES):
        shape = sizes(rng, rng.integers(0, 4))
        thin = tuple(n if rng.random() < 0.6 else 1 for n in shape)[int(rng.integers(len(shape) + 1)) :]
        x, y = BINARY[f](rng, shape), BINARY[f](rng, thin)
        if f in (np.maximum, np.minimum):
            x = y + off(x, 0)
        check_vjp(f, (x, y) if rng.random() < 0.5 else (y, x), rng, f.__name__)


@pytest.mark.parametrize("f", OTHERS, ids=lambda f: f.__name__)
def test_other_functions(f):
    rng = np.random.default_rng(8)
    for _ in range(derivatives.SHAPES):
        g, arguments = OTHERS[f](rng)
        check_vjp(g, arguments, rng, f.__name__)


FAULTS = {
    "sign": (np.tanh, lambda G, Z, x: -G * (1 - Z * Z)),
    "factor": (np.square, lambda G, Z, x: G * x),
    "without G": (np.exp, lambda G, Z, x: Z),
    "small": (np.sin, lambda G, Z, x: G * np.cos(x) * (1 + 1e-6)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_rule_is_seen(fault, monkeypatch):
    f, wrong = FAULTS[fault]
    monkeypatch.setitem(RULES, f, (wrong,))
    rng = np.random.default_rng(9)
    with pytest.raises(AssertionError, match="is off by"):
        check_vjp(f, (rng.normal(size=(3, 2)),), rng, f.__name__)
