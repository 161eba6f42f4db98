"""Traced values as arrays, what is copied, what is refused, and operations of the user's own."""

import functools
import math

import backsweep as bs
import numpy as np
import pytest
from backsweep import functional as F
from backsweep._tape import Traced


def test_traced_values_compute_as_their_arrays():
    x, checked = np.arange(1.0, 7).reshape(2, 3), []

    def f(t):
        assert isinstance(t, Traced)
        assert (t.shape, t.ndim, t.size, t.dtype, len(t)) == ((2, 3), 2, 6, np.float64, 2)
        for got, want in [
            (x + t, x + x), (x - t, x - x), (x * t, x * x), (x / t, x / x), (x @ t.T, x @ x.T), (2 - t, 2 - x),
            (1 / t, 1 / x), (t**2, x**2), (2**t, 2**x), (-t, -x), (+t, x), (abs(t), abs(x)), (np.float64(2) * t, 2 * x),
            (np.float32(2) / t, 2 / x), (x.T @ t, x.T @ x), (t[1], x[1]), (t[..., ::2], x[..., ::2]),
            (t.reshape(3, 2), x.reshape(3, 2)), (t.reshape((3, 2)), x.reshape(3, 2)), (t.T, x.T),
            (t.ravel(), x.ravel()), (t.transpose(1, 0), x.T), (t.transpose(), x.T), (t.mean(0), x.mean(0)),
            (t.max(), x.max()), (t.min(1), x.min(1)), (t.max(0), x.max(0)),
            (t.sum(axis=(0, 1)), x.sum()), (t.std(axis=0), x.std(axis=0)), (t.var(), x.var()), (t.dot(x.T), x.dot(x.T)),
            (t[:, :1].squeeze(), x[:, 0]), (t.astype(np.float32), x.astype(np.float32)), (np.stack([*t]), x),
            (sum(t), sum(x)), (np.var(t, axis=0, ddof=1), np.var(x, axis=0, ddof=1)), (np.dot(2.0, t), 2 * x),
            (t.flatten(), x.flatten()), (t.swapaxes(0, 1), x.T), (t.clip(2, 3), x.clip(2, 3)), (t.copy(), x),
            (t.reshape(3, 2, order="F"), x.reshape(3, 2, order="F")), (np.linalg.norm(t), np.linalg.norm(x)),
            (F.tanh(t[0]), np.tanh(x[0])), (np.flip(t), np.flip(x)),
        ]:  # fmt: skip
            assert isinstance(got, Traced)
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got.value, want)
            checked.append(got)
        for got, want in [
            (t > 2, x > 2), (t <= x, x <= x), (t == 3, x == 3), (t != 3, x != 3), (x >= t, x >= x),
            (np.argmax(t, axis=1), np.argmax(x, axis=1)), (np.sign(t), np.sign(x)), (np.isnan(t), np.isnan(x)),
            (np.zeros_like(t), np.zeros_like(x)), (np.shape(t), x.shape), (np.round(t), np.round(x)),
            (t.argmax(axis=0), x.argmax(axis=0)), (t.any(), x.any()), (np.full_like(t, 2), np.full_like(x, 2)),
        ]:  # fmt: skip
            assert not isinstance(got, Traced)
            np.testing.assert_array_equal(got, want)
        assert t[0, 0]  # a truth value, as a comparison has
        assert max(t[0, 0], t[1, 0]) is not None
        assert repr(t).startswith("Traced(array(")
        assert f"{t.sum():.1f}" == "21.0"
        t += 1  # binds the name anew
        return t.sum()

    np.testing.assert_array_equal(bs.grad(f)(x), np.ones((2, 3)))
    np.testing.assert_array_equal(x, np.arange(1.0, 7).reshape(2, 3))
    assert checked


REFUSED = [
    (lambda x: np.asarray(x), "a traced value of shape .* cannot become a plain array or number"),
    (lambda x: np.array([x, x]), "cannot become a plain array"),
    (lambda x: float(x.sum()), "cannot become a plain array or number"),
    (lambda x: math.exp(x[0, 0]), "cannot become a plain array or number"),
    (lambda x: x.sum().item(), "cannot become a plain array or number"),
    (lambda x: np.zeros((2, 2)).__setitem__(0, x[0]), "cannot become a plain array or number"),
    (lambda x: x.__setitem__(0, 1.0), r"cannot be written into: make a new one by np.where"),
    (lambda x: x.cumsum(), "np.cumsum has no derivative rule"),
    (lambda x: np.linalg.norm(x[0], 1), "np.linalg.norm has a derivative rule for ord=None alone, got 1"),
    (lambda x: bs._core.softmax(x), "incompatible function arguments"),
    (lambda x: np.linalg.svd(x), "np.linalg.svd has no derivative rule"),
    (lambda x: np.arcsinh(x), "np.arcsinh has no derivative rule"),
    (lambda x: np.add.reduce(x), r"np.add.reduce\(\) has no derivative rule, np.add alone may have"),
    (lambda x: np.add(x, 1, out=np.zeros((2, 2))), r"np.add\(out=\) .* not written in place"),
    (lambda x: np.sum(x, out=np.zeros(())), r"np.sum\(out=\) .* not written in place"),
    (lambda x: np.max(x, where=x > 0, initial=0), "np.max has no derivative rule for this call: .*'where'"),
    (lambda x: np.sum(a=x), "np.sum must be given its traced arguments by position"),
    (lambda x: np.clip(np.ones(2), 0, x[0]), "np.clip has no derivative by a_max"),
    (lambda x: np.reshape(x, 4, order="A"), "order must be 'C' or 'F' for traced values, got 'A'"),
    (lambda x: np.dot(x, np.ones((2, 2, 2))), "np.dot has no derivative rule for stacks"),
    (lambda x: x, r"f must return a real scalar to have a gradient, got float64 of shape \(2, 2\); see vjp"),
    (lambda x: (x.sum(), 1), "f must return a real scalar to have a gradient, got a tuple"),
    (lambda x: x.sum() > 0, r"f must return a real scalar to have a gradient, got bool of shape \(\)"),
    (lambda x: None, "f must return a real scalar to have a gradient, got a NoneType"),
    (lambda x: F.sgd_update(x, x, [], 1, 0.1), "theta must be a contiguous vector .* got Traced"),
]


@pytest.mark.parametrize(("f", "message"), REFUSED)
def test_what_cannot_be_differentiated_is_named(f, message):
    with pytest.raises(TypeError, match=message):
        bs.grad(lambda x: (lambda y: y.sum() if message.startswith("order") else y)(f(x)))(np.ones((2, 2)))


@pytest.mark.parametrize("value", [3, np.arange(3), True, "text", np.ma.array([1.0]), 1j])
def test_arguments_that_cannot_be_differentiated_by_are_named(value):
    with pytest.raises(TypeError, match="argument 1 must "):
        bs.grad(lambda a, x: 1.0, argnums=1)(0.0, value)


def test_shapes_are_checked():
    x = np.ones((2, 3))
    _, pullback = bs.vjp(lambda x: {"a": x, "b": [x, x.sum()]}, x)
    with pytest.raises(ValueError, match=r"G must have the shape of the value, \(2, 3\), got \(3, 2\)"):
        pullback({"a": x.T, "b": [x, 1.0]})
    with pytest.raises(TypeError, match=r"G must be a dict of keys \['a', 'b'\] like the value, got \{'a'"):
        pullback({"a": x})
    with pytest.raises(TypeError, match="G must be a list of 2 items like the value"):
        pullback({"a": x, "b": (x, 1.0)})
    with pytest.raises(ValueError, match="argnums must name"):
        bs.grad(np.sum, argnums=2)(x)
    with pytest.raises(ValueError, match=r"W must have two dimensions, got \(3,\)"):
        bs.grad(lambda W: F.dense(x, W).sum())(np.ones(3))
    with pytest.raises(ValueError, match=r"Z must have shape \(m, 2\), got \(2, 3\)"):
        bs.grad(lambda W: F.dense(x, W).sum())(x)
    with pytest.raises(ValueError, match=r"b must have shape \(2,\), got \(1,\)"):
        bs.grad(lambda W: F.dense(x, W, np.ones(1)).sum())(x.T)
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        bs.grad(lambda W: F.dense(x, W, activation="Relu").sum())(x.T)


def test_arguments_and_value_may_be_written_into_before_the_pullback():
    """As by a step in place; what the pullback returns is the gradient where the function was evaluated."""
    x, w, G = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]), np.ones(3)
    for f in (lambda x, p: x * p["w"] ** 2, lambda x, p: np.exp(x) * p["w"], lambda x, p: p["w"] / x, lambda x, p: x):
        mine, parameters = x.copy(), {"w": w.copy()}
        value, pullback = bs.vjp(f, mine, parameters)
        expected, expected_value = bs.vjp(f, x, {"w": w})[1](G), value.copy()
        value *= 0
        np.testing.assert_array_equal(bs.vjp(f, x, {"w": w})[0], expected_value)
        mine[:] = parameters["w"][:] = 100
        gradient = pullback(G)
        np.testing.assert_array_equal(gradient[0], expected[0])
        np.testing.assert_array_equal(gradient[1]["w"], expected[1]["w"])
    z, pullback = bs.vjp(np.exp, np.zeros(2))
    z[:] = 7
    np.testing.assert_array_equal(pullback(np.ones(2))[0], [1, 1])


def test_an_argument_keeps_its_layout_and_a_float_its_type():
    seen = []
    F_order = np.asfortranarray(np.ones((3, 4)))
    bs.vjp(lambda W, x: (seen.extend([W.value, x.value]), W * x)[1], F_order, 2.0)
    assert seen[0].flags.f_contiguous
    assert not np.shares_memory(seen[0], F_order)
    assert type(seen[1]) is float


def test_attributes_that_arrays_do_not_have_are_missing():
    def f(x):
        for name in ("gradient", "mean_squared", "nbytes", "real", "backward"):  # np.gradient is no method
            assert not hasattr(x, name)
        return x.sum()

    bs.grad(f)(np.ones(3))


def test_argnums_may_count_from_the_end():
    assert bs.grad(lambda a, b: a * b**2, argnums=-1)(3.0, 2.0) == 12
    assert bs.grad(lambda a, b, *, c: a * b * c, argnums=[1, 0])(3.0, 2.0, c=5.0) == (15, 10)


# Operations of the user's own


@bs.primitive
def cube(x):
    """x³."""
    return x**3, lambda G: (3 * G * x**2,)


def test_primitives():
    assert cube.__doc__ == "x³."
    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(cube(x), x**3)
    np.testing.assert_array_equal(bs.grad(lambda x: cube(x).sum())(x), 3 * x**2)
    np.testing.assert_array_equal(bs.grad(lambda x: bs.grad(lambda x: cube(x).sum())(x).sum())(x), 6 * x)

    @bs.primitive
    def weighted(x, labels, y):  # labels have no gradient; y's is not asked for below
        return (x[labels] * y).sum(), lambda G: (np.bincount(labels, G * y, len(x)), None, G * x[labels])

    np.testing.assert_array_equal(
        bs.grad(lambda x: weighted(x, np.array([0, 1, 1]), np.array([1.0, 2.0, 4.0])))(x), [1, 6]
    )


def test_primitives_keep_their_pullback_under_outer_tapes():
    """A gradient that is not the slope of the value, as of a straight-through estimator, holds at every order."""
    through = bs.primitive(lambda x: (x.round() if isinstance(x, np.ndarray) else 0 * x, lambda G: (G,)))
    x = np.array([0.3, 1.6])
    np.testing.assert_array_equal(bs.grad(lambda x: (through(x) ** 2).sum())(x), 2 * x.round())
    np.testing.assert_array_equal(bs.grad(lambda x: bs.grad(lambda x: (through(x) ** 2).sum())(x).sum())(x), [2, 2])


def test_primitives_are_checked():
    x, y = np.ones((2, 3)), np.ones(3)

    def gradients(*returned):
        operation = bs.primitive(lambda x, y: (x @ y, lambda G: returned[0] if len(returned) == 1 else returned))
        return bs.vjp(operation, x, y)[1](np.ones(2))

    assert len(gradients(x, y)) == 2
    with pytest.raises(TypeError, match=r"the pullback of <lambda> must return a tuple of 2, one gradient .* got 3"):
        gradients(x, y, y)
    with pytest.raises(TypeError, match="must return a tuple of 2, one gradient for each argument, got ndarray"):
        gradients(x)
    with pytest.raises(ValueError, match=r"gradient 0 from the pullback of <lambda> must have shape \(2, 3\)"):
        gradients(x.T, y)
    with pytest.raises(ValueError, match=r"gradient 1 from the pullback of <lambda> must have shape \(3,\), got None"):
        gradients(x, None)
    for value in (x, (x, x), (x, lambda G: G, 1)):
        with pytest.raises(TypeError, match=r"must return \(value, pullback\), got"):
            bs.primitive(functools.partial(lambda value, x: value, value))(x)  # it has no name
    with pytest.raises(TypeError, match="cube must be given its traced arguments by position"):
        bs.grad(lambda x: cube(x=x))(1.0)

    @bs.primitive
    def compiled(x):
        return np.asarray(x).sum(), lambda G: (G * np.ones(np.shape(x)),)

    bs.grad(compiled)(x)
    with pytest.raises(TypeError, match="cannot become a plain array"):
        bs.grad(lambda x: bs.grad(compiled)(x).sum())(x)
