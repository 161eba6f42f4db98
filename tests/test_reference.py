"""The truth that the core is compared with: finite differences, examples worked by hand, closed forms.

Both implementations are held to it: one test body each.
"""

import backsweep as bs
import numpy as np
import pytest
from checks import away_from_kinks, check_differences, difference_error, differences
from hypothesis import given
from hypothesis import strategies as st
from problems import ACTIVATIONS, BACKENDS, DTYPES, IMPLEMENTATIONS, LOSSES, Problem, targets, weights
from tolerances import FORMULA, assert_close, gamma

implementations = pytest.mark.parametrize("module", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
backends = pytest.mark.parametrize("backend", BACKENDS)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
seeds = st.integers(0, 2**32 - 1)
widths = st.integers(1, 9)


# Finite differences, in float64.


@implementations
@pytest.mark.parametrize("sigma", ACTIVATIONS)
def test_slope_of_an_activation(module, sigma):
    A = np.linspace(-6, 6, 101)[:, np.newaxis] + 0.01  # no entry beside the kink at 0
    G = np.random.default_rng(0).normal(size=A.shape)
    value = getattr(module, sigma)
    D = getattr(module, f"{sigma}_backward")(G, A)
    slope = differences(lambda: (G * value(A)).sum(), A)
    assert_close(D, slope, difference_error(A.size, np.abs(G * value(A)).sum()), sigma)


@implementations
@pytest.mark.parametrize("labels", [True, False], ids=["labels", "values"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_of_a_loss(module, loss, weighted, labels):
    rng = np.random.default_rng(1)
    m, k = 7, 4
    y = targets(rng, loss, m, k, labels=labels)
    w = weights(rng, m) if weighted else None
    Z = rng.normal(size=(m, k)) * 2
    if loss in ("mean_absolute_error", "huber"):
        while not away_from_kinks(Z - y, np.abs(Z - y) - 1):
            Z = rng.normal(size=(m, k)) * 2
    value = getattr(module, loss)
    G = getattr(module, f"{loss}_backward")(Z, y, w)
    assert_close(G, differences(lambda: value(Z, y, w), Z), difference_error(m * k, max(1, value(Z, y, w))), loss)


@implementations
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("sigma", ACTIVATIONS)
def test_gradients_of_a_dense_layer(module, sigma, bias):
    rng = np.random.default_rng(2)
    while True:
        Z, W, b, G_next = (rng.normal(size=shape) for shape in ((3, 4), (4, 2), (2,), (3, 2)))
        b = b if bias else None
        if away_from_kinks(Z @ W + (0 if b is None else b)):
            break

    def f():
        return (G_next * module.dense(Z, W, b, sigma)).sum()

    G, dW, db = module.dense_backward(G_next, Z, W, b, sigma)
    bound = difference_error(Z.size + W.size, np.abs(G_next * module.dense(Z, W, b, sigma)).sum())
    assert_close(G, differences(f, Z), bound, "G")
    assert_close(dW, differences(f, W), bound, "dW")
    if bias:
        assert_close(db, differences(f, b), bound, "db")
    else:
        assert db is None


@backends
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_of_a_network(backend, activation, loss):
    check_differences(Problem((3, 4, 3, 2), 5, activation, loss=loss), backend)


@backends
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_of_a_network_with_everything_else(backend, activation):
    """An activation on the output, weights, probabilities, standardised columns; no biases, no hidden layer."""
    problem = Problem((3, 4, 2), 5, activation, activation, labels=False, weighted=True, standardised=True)
    check_differences(problem, backend)
    check_differences(problem.but(bias=False, widths=(3, 2)), backend)


# Worked by hand. With λ = ln 3, m = 2, labels y = (0, 0):
#
#   X = [ 1 2]   W[0] = [1 -1]   b[0] = (-1, 0)   A[0] = X W[0] + b[0] = [ 2 1]   Z[1] = relu(A[0]) = [2 1]
#       [-1 1]          [1  1]                                           [-1 2]                       [0 2]
#
#   W[1] = λ I, b[1] = 0: the logits are Z[2] = [2λ  λ], and exp gives [9 3], so S = [3/4 1/4]
#                                               [ 0 2λ]                [1 9]         [1/10 9/10]
#
#   ℓ = (-ln 3/4 - ln 1/10) / 2 = ln(40/3) / 2            G[2] = (S - I_y)/2 = [-1/8  1/8]
#                                                                              [-9/20 9/20]
#   dW[1] = Z[1]ᵀ G[2] = [-1/4   1/4 ]    db[1] = (-23/40, 23/40)    G[1] = G[2] W[1]ᵀ = λ G[2]
#                        [-41/40 41/40]
#
#   D[0] = G[1] ∘ [A[0] > 0] = λ [-1/8 1/8 ]    dW[0] = Xᵀ D[0] = λ [-1/8 -13/40]    db[0] = λ (-1/8, 23/40)
#                                [ 0   9/20]                        [-1/4   7/10]
#
#   dX = G[0] = D[0] W[0]ᵀ = λ [-1/4  0  ]
#                              [-9/20 9/20]
LAMBDA = np.log(3)
BY_HAND = {
    "loss": np.log(40 / 3) / 2,
    "dW[0]": LAMBDA * np.array([[-1 / 8, -13 / 40], [-1 / 4, 7 / 10]]),
    "db[0]": LAMBDA * np.array([-1 / 8, 23 / 40]),
    "dW[1]": np.array([[-1 / 4, 1 / 4], [-41 / 40, 41 / 40]]),
    "db[1]": np.array([-23 / 40, 23 / 40]),
    "dX": LAMBDA * np.array([[-1 / 4, 0], [-9 / 20, 9 / 20]]),
}
X_BY_HAND = np.array([[1, 2], [-1, 1]])


def network_by_hand(backend, dtype):
    network = bs.Network([2, 2, 2], activation="relu", dtype=dtype, backend=backend)
    network.W[0][:] = [[1, -1], [1, 1]]
    network.b[0][:] = [-1, 0]
    network.W[1][:] = LAMBDA * np.eye(2)
    return network


@backends
@dtypes
def test_example_worked_by_hand(backend, dtype):
    network = network_by_hand(backend, dtype)
    loss, gradients = network.loss_and_gradients(X_BY_HAND, [0, 0], dX=True)
    bound = gamma(FORMULA + 2 * 2 * 2, dtype) * 2  # no number in the example is larger than 2
    logits = np.array([[2 * LAMBDA, LAMBDA], [0, 2 * LAMBDA]], dtype)
    assert_close(network.forward(X_BY_HAND), logits, 2 * bound, "Z[2]")
    assert_close(loss, BY_HAND["loss"], bound, "loss")
    for i in range(2):
        assert_close(gradients.dW[i], BY_HAND[f"dW[{i}]"].astype(dtype), bound, f"dW[{i}]")
        assert_close(gradients.db[i], BY_HAND[f"db[{i}]"].astype(dtype), bound, f"db[{i}]")
    assert_close(gradients.dX, BY_HAND["dX"].astype(dtype), bound, "dX")
    assert network.evaluate(X_BY_HAND, [0, 0])["accuracy"] == 0.5
    assert network.predict(X_BY_HAND).tolist() == [0, 1]


@backends
@dtypes
def test_weighted_example_worked_by_hand(backend, dtype):
    """Under weights 3 and 1 the rows count 3/4 and 1/4 instead of 1/2 each."""
    network = network_by_hand(backend, dtype)
    loss, gradients = network.loss_and_gradients(X_BY_HAND, [0, 0], sample_weight=[3, 1])
    bound = gamma(FORMULA + 2 * 2 * 2, dtype) * 2
    assert_close(loss, 3 / 4 * np.log(4 / 3) + 1 / 4 * np.log(10), bound, "loss")
    # G[2] = [-3/16 3/16; -9/40 9/40], and Z[1] as above.
    assert_close(gradients.db[1], np.array([-33 / 80, 33 / 80], dtype), bound, "db[1]")
    assert_close(gradients.dW[1], np.array([[-3 / 8, 3 / 8], [-51 / 80, 51 / 80]], dtype), bound, "dW[1]")


@backends
@dtypes
def test_step_worked_by_hand(backend, dtype):
    network = network_by_hand(backend, dtype)
    before = [W.copy() for W in network.W]
    history = network.fit(X_BY_HAND, [0, 0], epochs=1, batch_size=2, optimizer=bs.SGD(0.5), progress=False)
    bound = gamma(FORMULA + 2 * 2 * 2, dtype) * 2
    assert_close(history.loss, [BY_HAND["loss"]], bound, "loss before the step")
    for i in range(2):
        assert_close(network.W[i], (before[i] - 0.5 * BY_HAND[f"dW[{i}]"]).astype(dtype), bound, f"W[{i}]")


# Closed forms: the notes' results for one and for two layers, without biases.


def softmax(A):
    e = np.exp(A)
    return e / e.sum(axis=1, keepdims=True)


SIGMA = {
    "relu": (lambda A: np.maximum(A, 0), lambda A: (A > 0).astype(float)),
    "tanh": (np.tanh, lambda A: 1 / np.cosh(A) ** 2),
    "sigmoid": (lambda A: 1 / (1 + np.exp(-A)), lambda A: np.exp(-A) / (1 + np.exp(-A)) ** 2),
}


@backends
def test_closed_form_of_softmax_regression(backend):
    """∇_W ℓ = Xᵀ (S - I_y) / m."""
    problem = Problem((5, 4), 11, bias=False)
    X, y, _ = problem.data()
    network = problem.network(backend)
    S, I_y = softmax(X @ network.W[0]), np.eye(4)[y]
    _, gradients = network.loss_and_gradients(X, y)
    bound = 2 * gamma(FORMULA + 5 + 11, "float64") * np.abs(X).T @ (S + I_y) / 11 * (1 + np.abs(X).sum())
    assert_close(gradients.dW[0], X.T @ (S - I_y) / 11, bound, "dW[0]")


@backends
@pytest.mark.parametrize("sigma", SIGMA)
def test_closed_form_of_two_layers(backend, sigma):
    """∇_{W2} ℓ = σ(X W1)ᵀ (S - I_y) / m and ∇_{W1} ℓ = Xᵀ [(S - I_y) W2ᵀ ∘ σ'(X W1)] / m."""
    value, slope = SIGMA[sigma]
    problem = Problem((5, 6, 4), 11, sigma, bias=False)
    X, y, _ = problem.data()
    network = problem.network(backend)
    W1, W2 = network.W
    m, I_y = len(X), np.eye(4)[y]
    S = softmax(value(X @ W1) @ W2)
    _, gradients = network.loss_and_gradients(X, y)
    bound = gamma(FORMULA + 5 + 6 + 11, "float64") * np.abs(X).sum()  # the slopes and S - I_y are at most 1
    assert_close(gradients.dW[1], value(X @ W1).T @ (S - I_y) / m, bound, "dW[1]")
    assert_close(gradients.dW[0], X.T @ ((S - I_y) @ W2.T * slope(X @ W1)) / m, bound, "dW[0]")


# Activations and layers: what must hold between their values, whatever the numbers.


@implementations
@dtypes
@given(seed=seeds)
def test_identities_between_activations(module, dtype, seed):
    A = (np.random.default_rng(seed).normal(size=(5, 7)) * 4).astype(dtype)
    one = gamma(2 * FORMULA, dtype)
    assert_close(module.sigmoid(A) + module.sigmoid(-A), np.ones_like(A), one, "σ(a) + σ(-a) = 1")
    assert_close(module.tanh(A), 2 * module.sigmoid(2 * A) - 1, 2 * one, "tanh a = 2σ(2a) - 1")
    assert_close(module.softplus(A) - module.softplus(-A), A, one * (1 + np.abs(A)), "softplus(a) - softplus(-a) = a")
    assert np.array_equal(module.relu(A) - module.relu(-A), A)
    assert_close(module.gelu(A) - module.gelu(-A), A, one * (1 + np.abs(A)), "gelu(a) - gelu(-a) = a")
    assert_close(module.silu(A), A * module.sigmoid(A), one * np.abs(A), "silu(a) = a σ(a)")
    assert np.array_equal(module.elu(A)[A > 0], A[A > 0])


@implementations
@pytest.mark.parametrize("sigma", ACTIVATIONS)
@given(seed=seeds)
def test_activations_are_finite_where_their_arguments_are_huge(module, sigma, seed):
    A = np.array([[1e4, -1e4, 1e30, -1e30, 0.0]])
    G = np.random.default_rng(seed).normal(size=A.shape)
    assert np.isfinite(getattr(module, sigma)(A)).all()
    D = getattr(module, f"{sigma}_backward")(G, A)
    assert (np.abs(D) <= 1.13 * np.abs(G)).all()


@implementations
@pytest.mark.parametrize("sigma", ACTIVATIONS)
@given(seed=seeds, m=widths, n=widths, k=widths)
def test_backward_is_linear_and_the_layers_pair_adjoint(module, sigma, seed, m, n, k):
    """⟨G, dense'(V)⟩ is the slope along V = (dZ, dW, db), and the gradients are linear in G."""
    rng = np.random.default_rng(seed)
    Z, W, b, G, H = (rng.normal(size=shape) for shape in ((m, n), (n, k), (k,), (m, k), (m, k)))
    bound = gamma(4 * (m + n + k) + FORMULA, "float64") * (1 + np.abs(Z).sum() + np.abs(W).sum()) * 20
    combined = module.dense_backward(2 * G - 3 * H, Z, W, b, sigma)
    parts = module.dense_backward(G, Z, W, b, sigma), module.dense_backward(H, Z, W, b, sigma)
    for whole, one, other in zip(combined, *parts, strict=True):
        assert_close(whole, 2 * one - 3 * other, bound, may_vanish=True)
    # Without σ, ⟨G, Z W⟩ = ⟨dW, W⟩ = ⟨dZ, Z⟩ and ⟨G, 1 bᵀ⟩ = ⟨db, b⟩.
    dZ, dW, db = module.dense_backward(G, Z, W, b)
    whole = (G * module.dense(Z, W)).sum()
    assert_close((dW * W).sum(), whole, bound * np.abs(G).sum(), may_vanish=True)
    assert_close((dZ * Z).sum(), whole, bound * np.abs(G).sum(), may_vanish=True)
    assert_close((db * b).sum(), (G * b).sum(), bound * np.abs(G).sum(), may_vanish=True)
