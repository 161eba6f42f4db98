"""The optimizers: steps worked by hand, both implementations in step, and what training by them must obey."""

import backsweep as bs
import numpy as np
import pytest
import tolerances
from checks import check_training
from problems import BACKENDS, DTYPES, IMPLEMENTATIONS, LOSSES, OPTIMIZERS, Problem, optimizer
from tolerances import FORMULA, assert_close, gamma

implementations = pytest.mark.parametrize("module", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
backends = pytest.mark.parametrize("backend", BACKENDS)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
losses = pytest.mark.parametrize("loss", LOSSES)
names = pytest.mark.parametrize("name", OPTIMIZERS)


@names
@dtypes
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_trajectory(name, dtype, weighted):
    """Every option, over epochs with a part of a batch at their end."""
    problem = Problem((6, 9, 8, 3), 22, dtype=dtype, weighted=weighted)
    check_training(problem, name, epochs=4, batch_size=5)


@pytest.mark.parametrize("name", ["sgd, nesterov", "adam, weight decay", "adamw, clip_norm", "rmsprop, all"])
def test_trajectory_over_several_tiles_and_blocks(name):
    check_training(Problem((120, 280, 10), 200), name, epochs=2, batch_size=128, teams=(1, 3))


def test_every_optimizer_is_tried():
    kinds = {name.removesuffix("_update") for name in bs.functional.__all__ if name.endswith("_update")}
    assert {kind.kind for kind, _ in OPTIMIZERS.values()} == kinds


# Worked by hand: two steps from θ = (1, -2) with the gradients (0.5, 1), then (0.5, -1), at the rate 0.1. Each entry:
# the update, its options, how many vectors it keeps, and θ after either step.
#
# SGD with momentum 0.9: v = g, then 0.9 v + g = (0.95, -0.1). Nesterov steps along g + 0.9 v = (0.95, 1.9), then
#   (0.5 + 0.9·0.95, -1 - 0.9·0.1) = (1.355, -1.09).
# Weight decay 0.1 adds 0.1 θ: g = (0.6, 0.8), then θ = (0.94, -2.08) gives (0.594, -1.208).
# clip_norm 1: norms are √1.25, so g shrinks to g / (√1.25 + 1e-6).
# Adam at betas (1/2, 3/4), ε = 0. First m̂ = g and v̂ = g², so θ moves by 0.1 sign g. Then m = (3/8, -1/4) over
#   1 - 1/4 = 3/4 is (1/2, -1/3), v = (7/64, 7/16) over 7/16 is (1/4, 1): θ moves by 0.1 (1, -1/3).
# The same with ε̂ = 1/4: √v̂ + ε̂/√c₂, where c₂ is 1/4, then 7/16.
# AdamW shrinks θ by 1 - 0.1·0.5 = 0.95 before each of these steps.
# RMSprop at α = 3/4, ε = 0: s = g²/4, so θ moves by 0.1·2 sign g. Then s = 7/16 g², g/√s = (1, -1) 4/√7.
# Centred: a = g/4, s - a² = 3/16 g², g/√(3/16 g²) = 4/√3 sign g. Then a = (7/32, -1/16), s = (7/64, 7/16):
#   s - a² = (63/1024, 111/256).
# RMSprop with momentum 1/2: v = 2 sign g = (2, 2), then v/2 + (1, -1) 4/√7.
R, S = np.sqrt(1.25) + 1e-6, 4 / np.sqrt(7)
ADAM = {"beta1": 0.5, "beta2": 0.75, "epsilon": 0.0}
RMSPROP = {"alpha": 0.75, "epsilon": 0.0}
BY_HAND = {
    "sgd": ("sgd_update", {}, 0, (0.95, -2.1), (0.9, -2.0)),
    "momentum": ("sgd_update", {"momentum": 0.9}, 1, (0.95, -2.1), (0.855, -2.09)),
    "nesterov": ("sgd_update", {"momentum": 0.9, "nesterov": True}, 1, (0.905, -2.19), (0.7695, -2.081)),
    "weight decay": ("sgd_update", {"weight_decay": 0.1}, 0, (0.94, -2.08), (0.8806, -1.9592)),
    "clip_norm": ("sgd_update", {"clip_norm": 1.0}, 0, (1 - 0.05 / R, -2 - 0.1 / R), (1 - 0.1 / R, -2.0)),
    "longer than the gradient": ("sgd_update", {"clip_norm": 2.0}, 0, (0.95, -2.1), (0.9, -2.0)),
    "adam": ("adam_update", ADAM, 2, (0.9, -2.1), (0.8, -2.1 + 0.1 / 3)),
    "adam, epsilon_hat": (
        "adam_update", {**ADAM, "epsilon": 0.25, "epsilon_hat": True}, 2, (0.95, -2 - 0.1 / 1.5),
        (0.95 - 0.1 / (1 + 0.5 * S), -2 - 0.1 / 1.5 + 0.1 / (3 * (1 + 0.25 * S))),
    ),
    "adamw": ("adamw_update", {**ADAM, "weight_decay": 0.5}, 2, (0.85, -2.0), (0.7075, -1.9 + 0.1 / 3)),
    "rmsprop": ("rmsprop_update", RMSPROP, 1, (0.8, -2.2), (0.8 - 0.1 * S, -2.2 + 0.1 * S)),
    "rmsprop, centered": (
        "rmsprop_update", {**RMSPROP, "centered": True}, 2, (1 - 0.4 / np.sqrt(3), -2 - 0.4 / np.sqrt(3)),
        (1 - 0.4 / np.sqrt(3) - 0.05 / np.sqrt(63 / 1024), -2 - 0.4 / np.sqrt(3) + 0.1 / np.sqrt(111 / 256)),
    ),
    "rmsprop, momentum": (
        "rmsprop_update", {**RMSPROP, "momentum": 0.5}, 2, (0.8, -2.2),
        (0.8 - 0.1 * (1 + S), -2.2 - 0.1 * (1 - S)),
    ),
}  # fmt: skip


@implementations
@dtypes
@pytest.mark.parametrize("case", BY_HAND)
def test_steps_worked_by_hand(module, dtype, case):
    name, options, states, *expected = BY_HAND[case]
    theta = np.array([1, -2], dtype)
    state = [np.zeros(2, dtype) for _ in range(states)]
    for step, (g, wanted) in enumerate(zip(([0.5, 1], [0.5, -1]), expected, strict=True)):
        getattr(module, name)(theta, np.array(g, dtype), state, step, 0.1, **options)
        assert_close(theta, np.array(wanted, dtype), gamma(2 * FORMULA, dtype) * 3, f"θ after step {step + 1}")


@implementations
@dtypes
def test_first_step_of_adam_is_the_rate_in_the_direction_of_each_sign(module, dtype):
    g = np.array([1e-3, -5.0, 200.0], dtype)
    theta, state = np.zeros(3, dtype), [np.zeros(3, dtype) for _ in range(2)]
    module.adam_update(theta, g, state, 0, 0.01)
    bound = gamma(FORMULA, dtype) * 0.01
    assert_close(theta, (-0.01 * g / (np.abs(g) + 1e-8)).astype(dtype), bound)


@implementations
@dtypes
def test_centred_average_of_equal_gradients_stays_finite(module, dtype):
    """The variance is zero in the limit; rounding may leave it below."""
    theta, state = np.ones(5, dtype), [np.zeros(5, dtype) for _ in range(2)]
    g = np.array([1e-3, 1 / 3, 1, 7, 1e3], dtype)
    for step in range(500):
        module.rmsprop_update(theta, g, state, step, 1e-3, alpha=0.5, centered=True, epsilon=1e-3)
    assert np.isfinite(theta).all()


@implementations
@dtypes
def test_a_zero_gradient_moves_nothing(module, dtype):
    for name in (n for n in bs.functional.__all__ if n.endswith("_update")):
        theta, g = np.array([1, -2], dtype), np.zeros(2, dtype)
        state = [np.zeros(2, dtype)] * {"sgd_update": 0, "rmsprop_update": 1}.get(name, 2)
        getattr(module, name)(theta, g, state, 0, 0.1, weight_decay=0.0, clip_norm=1.0)
        assert np.array_equal(theta, [1, -2])


@implementations
@dtypes
@pytest.mark.parametrize("epsilon_hat", [False, True])
def test_the_smallest_epsilon_divides_zero_by_something(module, dtype, epsilon_hat):
    """In the first step ε √(1 - β₂) is a number that counts as zero in training."""
    theta, g = np.array([1, -2], dtype), np.zeros(2, dtype)
    state = [np.zeros(2, dtype) for _ in range(2)]
    epsilon = 2 * float(np.finfo(dtype).tiny)
    module.adam_update(theta, g, state, 0, 0.1, epsilon=epsilon, epsilon_hat=epsilon_hat)
    assert np.array_equal(theta, [1, -2])


@backends
def test_a_schedule_is_asked_for_every_step_in_order(backend):
    """Steps are counted from 0 over epochs and calls of fit; one may be asked for twice."""
    asked = []

    def schedule(step):
        asked.append(step)
        return 0.1 / (1 + step)

    network, opt = Problem().network(backend), bs.SGD(schedule)
    X, y, _ = Problem(rows=10).data()
    network.fit(X, y, epochs=2, batch_size=4, optimizer=opt)
    assert opt.steps == 6
    network.fit(X, y, epochs=1, batch_size=4, optimizer=opt)
    assert opt.steps == 9
    assert list(dict.fromkeys(asked)) == list(range(9))
    assert asked == sorted(asked)


@backends
@names
def test_a_constant_schedule_is_a_number(backend, name):
    kind, arguments = OPTIMIZERS[name]
    thetas = []
    for rate in (0.01, lambda step: 0.01):
        network = Problem().network(backend)
        X, y, _ = Problem(rows=10).data()
        network.fit(X, y, epochs=2, batch_size=4, optimizer=kind(**{**arguments, "learning_rate": rate}))
        thetas.append(network.theta)
    assert np.array_equal(*thetas)


@backends
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (bs.SGD(0.1, momentum=0.0), bs.SGD(0.1)),
        (bs.SGD(0.1, clip_norm=1e9), bs.SGD(0.1)),
        (bs.Adam(0.01, clip_norm=1e9), bs.Adam(0.01)),
        (bs.AdamW(0.01, weight_decay=0.0), bs.Adam(0.01)),
        (bs.RMSprop(0.01, momentum=0.0, centered=False), bs.RMSprop(0.01)),
    ],
    ids=repr,
)
def test_an_option_that_does_nothing(backend, one, other):
    thetas = []
    for opt in (one, other):
        opt.reset()
        network = Problem().network(backend)
        X, y, _ = Problem(rows=10).data()
        network.fit(X, y, epochs=2, batch_size=4, optimizer=opt)
        thetas.append(network.theta)
    assert np.array_equal(*thetas)


@backends
@names
def test_a_reset_optimizer_is_a_new_one(backend, name):
    X, y, _ = Problem(rows=10).data()
    opt, thetas = optimizer(name), []
    for _ in range(2):
        network = Problem().network(backend)
        network.fit(X, y, epochs=2, batch_size=4, optimizer=opt)
        thetas.append(network.theta)
        opt.reset()
        assert opt.steps == 0
    assert np.array_equal(*thetas)


# What training by them must obey


@backends
@dtypes
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_learning_rate_0_changes_no_bit(backend, dtype, name):
    kind, arguments = OPTIMIZERS[name]
    network = Problem(dtype=dtype, activation="gelu").network(backend)
    before = network.theta.tobytes()
    X, y, _ = Problem(rows=20).data()
    history = network.fit(X, y, epochs=2, batch_size=6, optimizer=kind(**{**arguments, "learning_rate": 0.0}))
    assert network.theta.tobytes() == before
    assert network.fit(X, y, epochs=0, optimizer=optimizer(name)).epochs == 0
    assert network.theta.tobytes() == before
    assert history.epochs == 2


@backends
@dtypes
@losses
def test_a_batch_of_all_rows_does_not_depend_on_their_order(backend, dtype, loss):
    """One step of gradient descent on the gradient of all rows, shuffled or not."""
    problem = Problem(loss=loss, dtype=dtype)
    X, y, _ = problem.data()
    start = problem.network(backend)
    dtheta = start.loss_and_gradients(X, y)[1].dtheta
    rate = np.dtype(dtype).type(0.1)
    bound = rate * tolerances.sweeps(start, X, y, None).dtheta
    bound += gamma(FORMULA, dtype) * (np.abs(start.theta) + np.abs(dtheta))
    for shuffle in (False, True):
        network = problem.network(backend)
        network.fit(X, y, epochs=1, batch_size=len(X), optimizer=bs.SGD(0.1), shuffle=shuffle)
        assert_close(network.theta, start.theta - rate * dtheta, bound, "theta")


@backends
@losses
def test_a_small_step_lowers_the_loss_by_its_length_times_the_slope(backend, loss):
    problem = Problem((4, 6, 3), 12, loss=loss)
    X, y, _ = problem.data()
    network = problem.network(backend)
    before, gradients = network.loss_and_gradients(X, y)
    rate = 1e-6
    network.fit(X, y, epochs=1, batch_size=12, optimizer=bs.SGD(rate))
    drop = before - network.evaluate(X, y)["loss"]
    slope = float(gradients.dtheta @ gradients.dtheta)
    curvature = rate**2 * slope * 100  # half the largest curvature of such a network, generously
    rounding = gamma(12 * (4 + 6 + 3) + FORMULA, "float64") * (1 + before) * 10
    assert_close(drop, rate * slope, curvature + rounding, "drop")
