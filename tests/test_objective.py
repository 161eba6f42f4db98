"""What a trainer descends beside the loss: a factor of it, and a penalty on the weights."""

import backsweep as bs
import numpy as np
import pytest
import tolerances
from checks import TEAMS, assert_same_bits, difference_error, differences
from problems import BACKENDS, DTYPES, Problem
from tolerances import FORMULA, assert_close, gamma

FACTOR, PENALTY = 1.5, 2.0
SGD = {"kind": "sgd"}


def trained(
    network, data, *, settings=SGD, state=(), rate=0.05, batch_size=None, n_threads=1, epochs=1, loss_cap=np.inf
):
    """The sums of the last epoch; the network's parameters are trained."""
    X, y, w = data
    trainer = network._backend.trainer(
        network._network, theta=network.theta, buffers=network.buffers, state=list(state), settings=settings, X=X, y=y,
        labels=y.ndim == 1, sample_weight=w, mean=None, scale=None, batch_size=batch_size or len(X),
        n_threads=n_threads, loss_factor=FACTOR, penalty=PENALTY, loss_cap=loss_cap, draws=network._draws,
    )  # fmt: skip
    steps = np.zeros(1, dtype=np.int64)
    for _ in range(epochs):
        sums = np.zeros(5)
        n = trainer.steps_in_epoch
        assert trainer.run(None, 0, np.full(n, rate), steps, sums, 1e9) == (n, "done")
    return sums


def objective(network, data):
    X, y, w = data
    loss = network.loss_and_gradients(X, y, sample_weight=w)[0]
    weight = len(X) if w is None else w.sum()
    return FACTOR * loss, PENALTY / 2 * sum((W**2).sum() for W in network.W) / weight


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_is_the_slope_of_the_objective(backend, weighted):
    problem = Problem(weighted=weighted)
    network, data = problem.network(backend), problem.data()
    value = sum(objective(network, data))
    slope = differences(lambda: sum(objective(network, data)), network.theta)
    before = network.theta.copy()
    trained(network, data, rate=1.0)
    bound = difference_error(problem.rows * sum(problem.widths) + network.theta.size, max(1.0, value))
    assert_close(before - network.theta, slope, bound + gamma(1, "float64") * np.abs(before), "the step")


@pytest.mark.parametrize("backend", BACKENDS)
def test_layer_norm_is_not_penalised(backend):
    network, (X, y, w) = bs.Network([5, bs.LayerNorm(), 3], dtype="float64", seed=0, backend=backend), Problem().data()
    gradients = network.loss_and_gradients(X, y)[1]
    wanted = [v - FACTOR * dv for v, dv in ((network.W[0], gradients.dW[0]), (network.b[0], gradients.db[0]))]
    sums = trained(network, (X, y, w), rate=1.0)
    for got, want in zip((network.W[0], network.b[0]), wanted, strict=True):
        assert_close(got, want, gamma(len(X) + FORMULA, "float64") * (1 + np.abs(want)), "γ and β")
    start = bs.Network([5, bs.LayerNorm(), 3], dtype="float64", seed=0).W[1]
    assert_close(
        sums[4], PENALTY / 2 * (start**2).sum(), gamma(len(start.ravel()), "float64") * 10, "Σ m of the penalty"
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_biases_are_not_penalised(backend):
    network, (X, y, w) = Problem().network(backend), Problem().data()
    gradients = network.loss_and_gradients(X, y)[1]
    wanted = [b - FACTOR * db for b, db in zip(network.b, gradients.db, strict=True)]
    trained(network, (X, y, w), rate=1.0)
    for b, want in zip(network.b, wanted, strict=True):
        assert_close(b, want, gamma(len(X) + FORMULA, "float64") * (1 + np.abs(want)), "b")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_what_is_reported_is_the_objective_before_each_step(backend, weighted):
    problem = Problem(rows=11, weighted=weighted)
    network, (X, y, w) = problem.network(backend), problem.data()
    wanted = np.zeros(2)
    follower = problem.network(backend)
    for rows in (slice(0, 4), slice(4, 8), slice(8, 11)):
        batch = (X[rows], y[rows], None if w is None else w[rows])
        wanted += len(X[rows]) * np.array(objective(follower, batch))
        trained(follower, batch)
    got = trained(network, (X, y, w), batch_size=4)[3:] * [FACTOR, 1]
    bound = gamma(3 * (network.theta.size + FORMULA), "float64") * (wanted + len(X))
    assert_close(got, wanted, bound, "Σ m of loss and penalty")
    assert_close(network.theta, follower.theta, gamma(100, "float64") * (1 + np.abs(follower.theta)), "θ")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("widths", "batch_size", "steps"),
    [((37, 110, 5), 90, 200), ((20, 300, 70), 90, 200), ((64, 64, 64, 3), 90, 9), ((20, 128, 520), 2100, 9)], ids=str
)  # fmt: skip
def test_any_number_of_threads_gives_the_same_bits(widths, batch_size, steps, dtype):
    """Also of Σ W², which is added in parts, by members that have hidden units to themselves as by others."""
    problem = Problem(widths, batch_size * steps + 29, "tanh", weighted=True).but(dtype=dtype)
    results = []
    for n in TEAMS[:-1]:
        network = problem.network("core")
        state = np.zeros((2, network.theta.size), dtype)
        sums = trained(
            network, problem.data(), settings={"kind": "adam"}, state=state, rate=1e-3, batch_size=batch_size,
            n_threads=n,
        )  # fmt: skip
        results.append([sums, network.theta, state])
    for others in results[1:]:
        assert_same_bits(others, results[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", [SGD, SGD | {"clip_norm": 0.2}, {"kind": "adam", "epsilon_hat": True}], ids=str)
@pytest.mark.parametrize(
    ("widths", "rows", "batch_size", "rate"), [((70, 90, 3), 40, 16, 0.01), ((20, 530, 3), 2000, 2000, 0.3)], ids=str
)
def test_trajectories_of_core_and_reference(widths, rows, batch_size, rate, dtype, settings):
    """Over a layer of several blocks, the last of them part weights and part biases; and of blocks of some columns."""
    problem = Problem(widths, rows, dtype=dtype, weighted=True)
    thetas, all_sums = {}, {}
    for which, n_threads in (("reference", 1), *(("core", n) for n in (1, 2, 3, 8))):
        network = problem.network(which)
        state = [np.zeros_like(network.theta) for _ in range(2 * (settings["kind"] == "adam"))]
        sums = trained(network, problem.data(), settings=settings, state=state, rate=rate, batch_size=batch_size,
                       n_threads=n_threads, epochs=3)  # fmt: skip
        if which in thetas and which == "core":
            assert np.array_equal(network.theta, thetas[which]), f"other bits on {n_threads} threads"
            assert np.array_equal(sums, all_sums[which])
        thetas[which], all_sums[which] = network.theta, sums
    steps = 3 * -(-rows // batch_size)
    share = tolerances.trajectory(problem.network("reference"), batch_size, steps)
    size = tolerances.norm(thetas["reference"])
    moved = tolerances.norm(thetas["reference"] - problem.network("core").theta)
    assert moved > tolerances.VISIBLE * share * size
    assert tolerances.norm(thetas["core"] - thetas["reference"]) <= share * size
    assert_close(all_sums["core"], all_sums["reference"], 10 * share * (rows + all_sums["reference"]), "the sums",
                 may_vanish=True)  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "sigmoid_cross_entropy", "mean_squared_error"])
def test_a_cap_is_on_what_is_reported_alone(backend, loss):
    problem = Problem(rows=20, loss=loss, weighted=True)
    X, y, w = problem.data()
    Z = problem.network(backend).forward(X)
    if loss == "softmax_cross_entropy":
        each = np.array([bs.reference.softmax_cross_entropy(Z[i : i + 1], y[i : i + 1]) for i in range(20)])[:, None]
    elif loss == "sigmoid_cross_entropy":
        each = np.log1p(np.exp(np.where(y == 1, -Z, Z)))
    else:
        each = (Z - y) ** 2
    cap = float(np.median(each))
    one, other = problem.network(backend), problem.network(backend)
    trained(one, (X, y, w))
    got = trained(other, (X, y, w), loss_cap=cap)[0]
    assert np.array_equal(one.theta, other.theta)
    wanted = w @ np.minimum(each, cap).mean(axis=1)
    assert wanted < 0.9 * (w @ each.mean(axis=1))
    assert_close(got, wanted, gamma(20 * each.shape[1] + FORMULA, "float64") * 20, "Σwℓ")
