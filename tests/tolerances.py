"""How far two right programs may lie apart: bounds from the dtype's rounding and the number of terms.

The standard model of rounding: an operation returns its exact result times (1 + δ), |δ| ≤ u = eps/2, so a sum of n
products errs by at most γ(n) = n u / (1 - n u) times the sum of the terms' absolute values, in whatever order it is
taken (Higham, Accuracy and Stability of Numerical Algorithms, 2002, chapter 3). `layer_forward`, `layer_backward` and
`loss_gradient` carry such bounds, entry by entry, through the equations of the notes. Every bound is for the
difference of two programs, so it counts the errors of both.

The sizes of the quantities come from the core in float64; what is compared comes from the two programs.
"""

from typing import NamedTuple

import backsweep as bs
import numpy as np

# Roundings in an elementwise formula: two elementary functions of at most 4 units in the last place (8 u each) and
# four operations, in both programs.
FORMULA = 40
VISIBLE = 4  # a quantity so many times its bound shows an error of a quarter of it
STEEPEST = 1.13  # no activation's slope is steeper (gelu's is 1.129)

# Where a slope jumps, by how much, and how near to it a program that takes σ' from Z cannot tell the sides apart:
# softplus gives way to the identity at 20, where it is exp(-20) above it. The other slopes are continuous.
JUMPS = {"relu": (0.0, 1.0, 0.0), "leaky_relu": (0.0, 0.99, 0.0), "softplus": (20.0, 1.01 * np.exp(-20), np.exp(-20))}


def unit(dtype):
    """u: the largest relative error of one rounding."""
    return np.finfo(dtype).eps / 2


def gamma(n, dtype):
    """γ(n): the largest relative error of n roundings one after another."""
    nu = n * unit(dtype)
    assert nu < 0.1, f"a sum of {n} terms in {dtype} has no digits left"
    return nu / (1 - nu)


def assert_close(got, want, bound, what="result", *, may_vanish=False):
    """Fail unless ``|got - want| <= bound`` entry by entry.

    Also fail where the check could not fail: if `want` does not stand out of `bound`, as zeros do not. A quantity that
    is rightly zero says so by `may_vanish`.
    """
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what} has shape {got.shape}, should have {want.shape}"
    assert got.dtype == want.dtype, f"{what} has dtype {got.dtype}, should have {want.dtype}"
    assert np.isfinite(got).all(), f"{what} is not finite"
    assert np.isfinite(want).all(), f"what {what} is compared with is not finite"
    got, want = got.astype(np.float64), want.astype(np.float64)
    bound = np.broadcast_to(np.asarray(bound, dtype=np.float64), want.shape)
    assert np.isfinite(bound).all(), f"the bound for {what} is not finite"
    if not may_vanish:
        assert norm(want) > VISIBLE * norm(bound), (
            f"{what} cannot be told from zero: norm {norm(want):.3g}, bound {norm(bound):.3g}"
        )
    error = np.abs(got - want)
    wrong = error > bound
    if wrong.any():
        worst = np.unravel_index(np.argmax(np.where(wrong, error - bound, -np.inf)), error.shape)
        raise AssertionError(
            f"{what}: {wrong.sum()} of {wrong.size} entries are wrong, worst at {list(map(int, worst))}: got "
            f"{got[worst]!r}, should be {want[worst]!r} within {bound[worst]:.3g}"
        )


def norm(x):
    return float(np.linalg.norm(np.ravel(x)))


def relative_error(got, want):
    """‖got - want‖ / ‖want‖ over all entries of an array (Frobenius): 0 where both are zero, ∞ where `want` is."""
    got, want = np.asarray(got, dtype=np.float64), np.asarray(want, dtype=np.float64)
    assert got.shape == want.shape
    difference, size = norm(got - want), norm(want)
    return difference / size if size else np.inf if difference else 0.0


class Bounded(NamedTuple):
    """A quantity in float64, and how far two programs' values of it may lie apart."""

    value: np.ndarray
    error: np.ndarray


def exact(value):
    value = np.asarray(value, dtype=np.float64)
    return Bounded(value, np.zeros_like(value))


def product(A, B, dtype, extra=0):
    """A B, where A's inner dimension is summed over; `extra` roundings follow."""
    terms = A.value.shape[1] + extra
    size = np.abs(A.value) @ np.abs(B.value)
    carried = A.error @ (np.abs(B.value) + B.error) + np.abs(A.value) @ B.error
    return Bounded(A.value @ B.value, carried + 2 * gamma(terms, dtype) * size)


def slope(sigma, A):
    return getattr(bs.functional, f"{sigma}_backward")(np.ones_like(A), A)


def activation(sigma, A, dtype):
    """σ(A): either program's value is right for an argument a few units in the last place away."""
    Z = getattr(bs.functional, sigma)(A.value)
    own = np.abs(Z) + np.abs(A.value * slope(sigma, A.value))
    return Bounded(Z, STEEPEST * A.error + gamma(FORMULA, dtype) * own)


def activation_backward(sigma, G, A, Z, dtype):
    """G ∘ σ'(A). Programs that take σ' from Z = σ(A) know it to u times its largest value, 1, not times its own."""
    s = slope(sigma, A.value)
    error = gamma(FORMULA, dtype) * (1 + np.abs(s)) + A.error + 2 * Z.error
    if sigma in JUMPS:
        kink, jump, width = JUMPS[sigma]
        error += jump * (np.abs(A.value - kink) <= A.error + width)  # the programs may stand on either side
    if sigma == "identity":
        error = np.zeros_like(s)
    return Bounded(G.value * s, G.error * np.abs(s) + (np.abs(G.value) + G.error) * error)


def preactivation(Z, W, b, dtype):
    A = product(Z, W, dtype, extra=1)
    if b is None:
        return A
    return Bounded(A.value + b, A.error + 2 * gamma(W.value.shape[0] + 1, dtype) * np.abs(b))


def layer_backward(sigma, G_next, Z, A, Z_next, W, dtype):
    """The gradients G, dW, db of one layer."""
    D = activation_backward(sigma, G_next, A, Z_next, dtype)
    transposed = [Bounded(M.value.T, M.error.T) for M in (W, Z)]
    ones = exact(np.ones((1, len(D.value))))
    db = product(ones, D, dtype)
    return product(D, transposed[0], dtype), product(transposed[1], D, dtype), Bounded(db.value[0], db.error[0])


def shares(m, sample_weight):
    w = np.ones(m) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    return (w / w.sum())[:, np.newaxis]


def loss_gradient(loss, Z, y, sample_weight, dtype):
    """G[L], from the largest terms that are added up to it."""
    z, (m, k) = Z.value, Z.value.shape
    G = getattr(bs.functional, f"{loss}_backward")(z, y, sample_weight)
    rounding = gamma(FORMULA + k + 2 * m, dtype)  # m: the sum of the weights, in both programs
    if loss == "softmax_cross_entropy":
        S = bs.functional.softmax(z)
        target = np.eye(k)[np.asarray(y, dtype=int)] if np.ndim(y) == 1 else y
        shift = z.max(axis=1, keepdims=True) - z
        error = 2 * S * Z.error.max(axis=1, keepdims=True) + rounding * (S * (1 + shift) + target)
        return Bounded(G, shares(m, sample_weight) * error)
    y = np.reshape(y, z.shape)
    error = {
        "sigmoid_cross_entropy": lambda: Z.error / 4 + rounding * (1 + y),
        "mean_squared_error": lambda: 2 * Z.error + rounding * 2 * np.abs(z - y),
        "mean_absolute_error": lambda: rounding + 2.0 * ((np.abs(z - y) <= Z.error) & (Z.error > 0)),
        "huber": lambda: Z.error + rounding,
        "poisson": lambda: np.exp(z) * np.expm1(Z.error) + rounding * (np.exp(z) + y),
    }[loss]()
    return Bounded(G, shares(m, sample_weight) * error / k)


def loss_value(loss, Z, y, sample_weight, dtype):
    """The loss: each row's error, and that of the mean over rows and outputs."""
    z, (m, k) = Z.value, Z.value.shape
    G = loss_gradient(loss, Z, y, sample_weight, dtype)
    carried = ((np.abs(G.value) + G.error) * Z.error).sum()
    if loss == "softmax_cross_entropy":
        target = np.eye(k)[np.asarray(y, dtype=int)] if np.ndim(y) == 1 else y
        size = 1 + np.log(k) + (target * (z.max(axis=1, keepdims=True) - z)).sum(axis=1, keepdims=True)
    else:
        y = np.reshape(y, z.shape)
        size = {
            "sigmoid_cross_entropy": lambda: np.abs(z) * (1 + y) + 1,
            "mean_squared_error": lambda: (z - y) ** 2,
            "mean_absolute_error": lambda: np.abs(z - y),
            "huber": lambda: np.abs(z - y),
            "poisson": lambda: np.exp(z) + y * np.abs(z),
        }[loss]().mean(axis=1, keepdims=True)
    value = getattr(bs.functional, loss)(z, y, sample_weight)
    return Bounded(value, carried + 2 * gamma(FORMULA + m * k, dtype) * (shares(m, sample_weight) * size).sum())


def layer_norm(Z, g, beta, dtype):
    """A = g Ẑ + β of exact operands, and Ẑ with its error and r with the share of it that is lost."""
    n = Z.shape[1]
    rounding = 2 * gamma(n + FORMULA, dtype)
    r = 1 / np.sqrt(Z.var(axis=1, keepdims=True) + 1e-5)
    Zhat = (Z - Z.mean(axis=1, keepdims=True)) * r
    # Of z - mean as much is lost as rows are large, of r the same beside the deviation.
    share = rounding * (1 + 2 * np.abs(Z).max(axis=1, keepdims=True) * r)
    normalised = Bounded(Zhat, (1 + np.abs(Zhat)) * share)
    own = rounding * (np.abs(g * Zhat) + np.abs(beta))
    return Bounded(g * Zhat + beta, np.abs(g) * normalised.error + own), normalised, Bounded(r, share)


def layer_norm_backward(D, Z, g, dtype):
    """G, dγ and dβ of exact operands."""
    m, n = Z.shape
    _, Zhat, r = layer_norm(Z, g, np.zeros(n), dtype)
    T, size = np.abs(g * D), np.abs(Zhat.value)
    mean, along = T.mean(axis=1, keepdims=True), (T * size).mean(axis=1, keepdims=True)
    carried = Zhat.error * along + size * (T * Zhat.error).mean(axis=1, keepdims=True)
    terms = T + mean + size * along
    G = r.value * (carried + (2 * gamma(n + FORMULA, dtype) + r.error) * terms)
    sums = 2 * gamma(m + FORMULA, dtype)
    dgamma = (np.abs(D) * (Zhat.error + sums * size)).sum(axis=0)
    return G, dgamma, sums * np.abs(D).sum(axis=0)


class Sweeps(NamedTuple):
    """Bounds for what a network computes of a batch."""

    Z: np.ndarray
    loss: float
    dW: list
    db: list
    dtheta: np.ndarray
    dX: np.ndarray


def sweeps(network, X, y, sample_weight):
    """The bounds for both sweeps of `network`, at its parameters."""
    dtype = network.dtype
    X = np.asarray(X, dtype=np.float64)
    scale = np.ones(network.n_in) if network.input_scale is None else network.input_scale
    mean = np.zeros(network.n_in) if network.input_mean is None else network.input_mean
    y, w = (None if v is None else np.asarray(v, dtype=np.float64) for v in (y, sample_weight))
    Zs, As = [exact(((X - mean) / scale).astype(dtype))], []  # the one rounding that both programs do alike
    Ws = [exact(W) for W in network.W]
    for W, b, layer in zip(Ws, network.b, network.layers, strict=True):
        As.append(preactivation(Zs[-1], W, b, dtype))
        Zs.append(activation(layer.activation, As[-1], dtype))
    loss = loss_value(network.loss, Zs[-1], y, w, dtype)
    G = loss_gradient(network.loss, Zs[-1], y, w, dtype)
    dW, db = [], []
    for i in reversed(range(len(Ws))):
        sigma = network.layers[i].activation
        G, dW_i, db_i = layer_backward(sigma, G, Zs[i], As[i], Zs[i + 1], Ws[i], dtype)
        dW.insert(0, dW_i.error)
        db.insert(0, db_i.error)
    dX = (G.error + 4 * unit(dtype) * np.abs(G.value)) / scale
    parts = [part.ravel() for i, b in enumerate(network.b) for part in (dW[i], *([] if b is None else [db[i]]))]
    return Sweeps(Zs[-1].error, float(loss.error), dW, db, np.concatenate(parts), dX)


def trajectory(network, batch_size, steps):
    """How far apart two programs' parameters may be after `steps` updates, as a share of their norm.

    A step computes each entry of the gradient by sums over the widths and the batch, and its errors are a share of the
    step, which is smaller than the parameters; where training settles, steps do not amplify what came before.
    """
    terms = network.n_in + sum(layer.n_out for layer in network.layers) + batch_size + FORMULA
    return steps * 2 * gamma(terms, network.dtype)
