"""Laws that hold for any network and any batch, whatever the numbers: drawn by hypothesis."""

import backsweep as bs
import numpy as np
import pytest
import tolerances
from checks import difference_error, differences
from hypothesis import given
from hypothesis import strategies as st
from problems import ACTIVATIONS, BACKENDS, DTYPES, IMPLEMENTATIONS, LOSSES, Problem, targets
from tolerances import FORMULA, assert_close, gamma

implementations = pytest.mark.parametrize("module", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
backends = pytest.mark.parametrize("backend", BACKENDS)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
losses = pytest.mark.parametrize("loss", LOSSES)

seeds = st.integers(0, 2**32 - 1)
rows = st.integers(1, 20)
classes = st.integers(2, 12)
problems = st.builds(
    Problem,
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=5).map(lambda widths: (*widths[:-1], widths[-1] + 1)),
    rows=st.integers(2, 20),
    activation=st.sampled_from(ACTIVATIONS),
    loss=st.sampled_from(LOSSES),
    bias=st.booleans(),
    labels=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**20),
)


def logits(seed, m, k, dtype):
    """Multiples of 1/64 up to 16 in size: sums with small integers are exact in either dtype."""
    return (np.random.default_rng(seed).integers(-1024, 1025, size=(m, k)) / 64).astype(dtype)


def labels(seed, m, k):
    return np.random.default_rng(seed).integers(k, size=m)


# Softmax and its cross-entropy


@implementations
@dtypes
@given(seed=seeds, m=rows, k=classes)
def test_rows_of_S_sum_to_1(module, dtype, seed, m, k):
    S = module.softmax(logits(seed, m, k, dtype))
    assert (S >= 0).all()
    assert_close(S.astype(np.float64).sum(axis=1), np.ones(m), gamma(k + FORMULA, dtype))


@implementations
@dtypes
@given(seed=seeds, m=rows, k=classes, constants=st.integers(-300, 300))
def test_adding_a_constant_to_logits_changes_nothing(module, dtype, seed, m, k, constants):
    """The sums are exact, so not even a bit; each row has its own constant."""
    Z, y = logits(seed, m, k, dtype), labels(seed, m, k)
    shifted = Z + (constants + np.arange(m)[:, np.newaxis]).astype(dtype)
    assert np.array_equal(module.softmax(shifted), module.softmax(Z))
    for target in (y, np.eye(k)[y]):
        assert module.softmax_cross_entropy(shifted, target) == module.softmax_cross_entropy(Z, target)
        G = module.softmax_cross_entropy_backward
        assert np.array_equal(G(shifted, target), G(Z, target))


@implementations
@dtypes
@given(seed=seeds, m=rows, k=classes)
def test_rows_of_S_minus_I_y_sum_to_0(module, dtype, seed, m, k):
    G = module.softmax_cross_entropy_backward(logits(seed, m, k, dtype), labels(seed, m, k))
    bound = gamma(k + FORMULA, dtype) * 2 / m  # S and I_y add up to 2
    assert_close(G.astype(np.float64).sum(axis=1), np.zeros(m), bound, may_vanish=True)
    assert (np.sign(G) == np.where(np.eye(k)[labels(seed, m, k)], -1, 1))[np.abs(G) > bound].all()


@implementations
@dtypes
@given(seed=seeds, m=rows, k=classes, constant=st.sampled_from([0.0, 1.0, -3.5, 1e4]))
def test_loss_at_zero_logits_is_ln_k(module, dtype, seed, m, k, constant):
    Z, y = np.full((m, k), constant, dtype), labels(seed, m, k)
    assert_close(module.softmax_cross_entropy(Z, y), np.log(k), gamma(m + k + FORMULA, dtype) * (1 + np.log(k)))
    assert_close(module.softmax(Z), np.full((m, k), 1 / k, dtype), gamma(k + FORMULA, dtype))
    y = labels(seed + 1, m * k, 2).reshape(m, k)
    half = gamma(m * k + FORMULA, dtype) * 2
    assert_close(module.sigmoid_cross_entropy(np.zeros((m, k), dtype), y), np.log(2), half)


@implementations
@dtypes
@given(seed=seeds, m=rows, k=classes)
def test_labels_are_rows_of_the_identity(module, dtype, seed, m, k):
    Z, y = logits(seed, m, k, dtype), labels(seed, m, k)
    I_y = np.eye(k, dtype=dtype)[y]
    bound = gamma(m + k + FORMULA, dtype)
    value = module.softmax_cross_entropy(Z, y)
    assert_close(module.softmax_cross_entropy(Z, I_y), value, bound * (1 + np.log(k) + value), may_vanish=True)
    G = module.softmax_cross_entropy_backward
    # S is exp(z - max z) over its sum, or exp(log S), where log S is up to 32 in size.
    assert_close(G(Z, I_y), G(Z, y), bound * 33 / m, may_vanish=True)


@implementations
@dtypes
@given(seed=seeds, k=classes, huge=st.sampled_from([1e4, 3e4, 1e30]))
def test_softmax_cross_entropy_of_huge_logits(module, dtype, seed, k, huge):
    """One logit far above the others: probabilities are 0 and 1, the loss the logits' distance."""
    y = labels(seed, 6, k)
    Z = np.where(np.eye(k)[y], huge, -huge).astype(dtype)
    assert np.array_equal(module.softmax(Z), np.eye(k, dtype=dtype)[y])
    wrong = (y + 1) % k
    expected = 2 * float(np.dtype(dtype).type(huge))
    for right_target, wrong_target in ((y, wrong), (np.eye(k)[y], np.eye(k)[wrong])):
        assert module.softmax_cross_entropy(Z, right_target) == 0
        assert np.array_equal(module.softmax_cross_entropy_backward(Z, right_target), np.zeros((6, k), dtype))
        assert_close(module.softmax_cross_entropy(Z, wrong_target), expected, gamma(6 + k, dtype) * expected)
        G = ((np.eye(k)[y] - np.eye(k)[wrong]) / 6).astype(dtype)
        assert_close(module.softmax_cross_entropy_backward(Z, wrong_target), G, gamma(6, dtype) / 6)


@implementations
@dtypes
@pytest.mark.parametrize("huge", [1e4, 1e30])
def test_sigmoid_cross_entropy_of_huge_logits(module, dtype, huge):
    Z = np.array([[huge, -huge], [huge, -huge]], dtype)
    right, wrong = np.array([[1, 0], [1, 0]]), np.array([[0, 1], [0, 1]])
    assert module.sigmoid_cross_entropy(Z, right) == 0
    assert np.array_equal(module.sigmoid_cross_entropy_backward(Z, right), np.zeros((2, 2), dtype))
    assert_close(module.sigmoid_cross_entropy(Z, wrong), float(Z[0, 0]), gamma(4, dtype) * huge)
    assert np.array_equal(module.sigmoid_cross_entropy_backward(Z, wrong), np.sign(Z) / 4)
    assert np.array_equal(module.sigmoid(Z), right.astype(dtype))


# Batches and weights


def gradients_and_bounds(network, X, y, w=None):
    """The loss, dtheta and their bounds."""
    loss, gradients = network.loss_and_gradients(X, y, sample_weight=w)
    bounds = tolerances.sweeps(network, X, y, w)
    flat = [
        part
        for i, W in enumerate(bounds.dW)
        for part in (W.ravel(), *([bounds.db[i]] if network.b[i] is not None else []))
    ]
    return loss, gradients.dtheta, bounds.loss, np.concatenate(flat)


@backends
@given(problem=problems)
def test_order_of_a_batch_does_not_matter(backend, problem):
    X, y, _ = problem.data()
    network = problem.network(backend)
    order = np.random.default_rng(problem.seed).permutation(len(X))
    loss, dtheta, loss_bound, bound = gradients_and_bounds(network, X, y)
    other_loss, other, *_ = gradients_and_bounds(network, X[order], y[order])
    assert_close(other_loss, loss, loss_bound, "loss", may_vanish=True)
    assert_close(other, dtheta, bound, "dtheta", may_vanish=True)
    scores = network.evaluate(X, y), network.evaluate(X[order], y[order])
    assert_close(scores[1]["loss"], scores[0]["loss"], loss_bound, "loss of evaluate", may_vanish=True)


@backends
@given(problem=problems)
def test_gradient_of_a_batch_is_the_mean_of_its_halves(backend, problem):
    X, y, _ = problem.but(rows=2 * problem.rows).data()
    network = problem.network(backend)
    loss, dtheta, loss_bound, bound = gradients_and_bounds(network, X, y)
    halves = [gradients_and_bounds(network, X[half], y[half]) for half in (slice(0, None, 2), slice(1, None, 2))]
    losses_, gradients, loss_bounds, bounds = (np.array(each) for each in zip(*halves, strict=True))
    assert_close(losses_.mean(), loss, loss_bound + loss_bounds.mean(), "loss", may_vanish=True)
    mean = gradients.mean(axis=0)
    rounding = gamma(2, problem.dtype) * np.abs(gradients).mean(axis=0)
    assert_close(mean, dtheta, bound + bounds.mean(axis=0) + rounding, "dtheta", may_vanish=True)


@backends
@given(problem=problems)
def test_weight_2_is_a_row_twice_and_weight_0_no_row(backend, problem):
    X, y, _ = problem.data()
    network = problem.network(backend)
    w = np.random.default_rng(problem.seed).integers(0, 4, size=len(X))
    w[0] = 2
    loss, dtheta, loss_bound, bound = gradients_and_bounds(network, X, y, w)
    repeated = gradients_and_bounds(network, np.repeat(X, w, axis=0), np.repeat(y, w, axis=0))
    assert_close(repeated[0], loss, loss_bound + repeated[2], "loss", may_vanish=True)
    assert_close(repeated[1], dtheta, bound + repeated[3], "dtheta", may_vanish=True)


@backends
@given(problem=problems, power=st.integers(-20, 20))
def test_only_the_proportions_of_weights_matter(backend, problem, power):
    """Powers of two are exact, so not even a bit; weights that are all 1 are no weights."""
    X, y, _ = problem.data()
    network = problem.network(backend)
    w = np.random.default_rng(problem.seed).integers(1, 9, size=len(X))
    for one, other in ((w, w * 2.0**power), (None, np.full(len(X), 2.0**power))):
        (loss, gradients), (other_loss, other_gradients) = (
            network.loss_and_gradients(X, y, sample_weight=v, dX=True) for v in (one, other)
        )
        assert loss == other_loss
        assert np.array_equal(gradients.dtheta, other_gradients.dtheta)
        assert np.array_equal(gradients.dX, other_gradients.dX)


@backends
@losses
@given(seed=st.integers(0, 2**20))
def test_slope_along_V_is_the_product_with_the_gradient(backend, loss, seed):
    """⟨dθ, V⟩ = d/dt ℓ(θ + t V) at 0, for smooth losses and activations."""
    problem = Problem((4, 6, 3), 8, "tanh", loss=loss, seed=seed)
    X, y, _ = problem.data()
    network = problem.network(backend)
    if loss in ("mean_absolute_error", "huber"):  # away from their kinks at 0 and 1, on either side
        y = network.forward(X) + np.random.default_rng(seed).choice([-3, -0.3, 0.3, 3], size=y.shape)
    V = np.random.default_rng(seed).normal(size=network.theta.shape)
    V /= np.linalg.norm(V)
    value, gradients = network.loss_and_gradients(X, y)
    start, t = network.theta.copy(), np.zeros(1)

    def f():
        network.theta[:] = start + t[0] * V
        return network.loss_and_gradients(X, y)[0]

    (slope,) = differences(f, t)
    bound = difference_error(8 * (4 + 6 + 3) + V.size, max(1.0, value))
    assert_close(gradients.dtheta @ V, slope, 10 * bound, may_vanish=True)


# Symmetries of a network


@backends
@given(problem=problems.filter(lambda problem: len(problem.widths) > 2))
def test_order_of_hidden_units_does_not_matter(backend, problem):
    X, y, _ = problem.data()
    network, other = problem.network(backend), problem.network(backend)
    order = np.random.default_rng(problem.seed).permutation(problem.widths[1])
    other.W[0][:] = network.W[0][:, order]
    other.W[1][:] = network.W[1][order]
    if problem.bias:
        other.b[0][:] = network.b[0][order]
    loss, gradients = network.loss_and_gradients(X, y)
    other_loss, other_gradients = other.loss_and_gradients(X, y)
    bounds = tolerances.sweeps(network, X, y, None)
    assert_close(other_loss, loss, bounds.loss, "loss", may_vanish=True)
    assert_close(other_gradients.dW[0], gradients.dW[0][:, order], bounds.dW[0][:, order], "dW[0]", may_vanish=True)
    assert_close(other_gradients.dW[1], gradients.dW[1][order], bounds.dW[1][order], "dW[1]", may_vanish=True)


@backends
@dtypes
@given(seed=st.integers(0, 2**20), power=st.integers(-30, 30))
def test_relu_network_is_positively_homogeneous(backend, dtype, seed, power):
    """Without biases Z[L](c X) = c Z[L](X), for powers of two to the bit."""
    problem = Problem((5, 7, 6, 3), activation="relu", bias=False, dtype=dtype, seed=seed)
    X, *_ = problem.data()
    network = problem.network(backend)
    X = X.astype(dtype)
    assert np.array_equal(network.forward(X * 2.0**power), network.forward(X) * np.dtype(dtype).type(2.0**power))


@backends
@dtypes
@losses
def test_zero_error_has_zero_gradient(backend, dtype, loss):
    """At its own output a regression is over; a softmax at its own probabilities too."""
    problem = Problem(loss=loss, dtype=dtype)
    X, *_ = problem.data()
    network = problem.network(backend)
    Z = network.forward(X)
    y = {
        "softmax_cross_entropy": bs.functional.softmax,
        "sigmoid_cross_entropy": bs.functional.sigmoid,
        "poisson": np.exp,
    }.get(loss, np.copy)(Z)
    bounds = tolerances.sweeps(network, X, y, None)
    _, gradients = network.loss_and_gradients(X, y)
    for i in range(len(gradients.dW)):
        bound = np.zeros(1) if y is Z else bounds.dW[i]
        assert_close(gradients.dW[i], np.zeros_like(gradients.dW[i]), bound, may_vanish=True)


@backends
def test_targets_may_be_a_vector_where_there_is_one_output(backend):
    for loss in set(LOSSES) - {"softmax_cross_entropy"}:
        rng = np.random.default_rng(0)
        y = targets(rng, loss, 9, 1)
        networks = [Problem((5, 4, 1), loss=loss).network(backend) for _ in range(2)]
        X = rng.normal(size=(9, 5))
        results = [n.loss_and_gradients(X, v)[1].dtheta for n, v in zip(networks, (y, y[:, 0]), strict=True)]
        assert np.array_equal(*results)
