"""The compiled core called directly: whatever comes in, an exception or a result comes out.

Python's checks are not the last line: every call here passes them by. What is written in place reaches the
caller's own array, and nothing outside of it. Longer than 300 lines because every argument is spoilt in turn.
"""

import gc
import subprocess
import sys

import numpy as np
import pytest
from backsweep import _core

LAYERS = [(4, 5, "tanh", True, "dense", 0.0), (5, 3, "identity", True, "dense", 0.0)]
SIZE = 4 * 5 + 5 + 5 * 3 + 3
NONE = np.zeros(0, dtype=np.float32)  # buffers of a network that has none
M = 12

RNG = np.random.default_rng(0)
X = RNG.normal(size=(M, 4))
LABELS = np.arange(M) % 3

REFUSALS = (TypeError, ValueError)


def f32(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def network(loss="softmax_cross_entropy", layers=LAYERS):
    return _core.Network_float32(layers, loss, "full")


def read_only(array):
    copy = array.copy()
    copy.setflags(write=False)
    return copy


def run_apart(script, *arguments, timeout=120):
    """In a process of its own, so that a crash is a failure of one test."""
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
    return done.stdout


# Arrays of another kind are refused, never copied


WRONG_MATRICES = {
    "float64": np.ones((3, 4)),
    "integers": np.ones((3, 4), dtype=np.int32),
    "Fortran order": np.asfortranarray(f32(3, 4)),
    "every other column": f32(3, 8)[:, ::2],
    "backwards": f32(3, 4)[::-1],
    "swapped bytes": f32(3, 4).astype(">f4" if sys.byteorder == "little" else "<f4"),
    "a list": [[1.0, 2.0, 3.0, 4.0]] * 3,
    "None": None,
    "a number": 1.0,
    "one dimension": f32(4),
    "three dimensions": f32(1, 3, 4),
    "no dimension": np.float32(1),
}


@pytest.mark.parametrize("wrong", WRONG_MATRICES.values(), ids=WRONG_MATRICES.keys())
def test_matrices_of_another_kind_are_refused(wrong):
    right = f32(3, 4)
    calls = [
        (_core.activation_backward, ["relu", right, right], [1, 2]),
        (_core.dense, [right, f32(4, 2), None, "relu"], [0, 1]),
        (_core.dense_backward, [f32(3, 2), right, f32(4, 2), None, "relu"], [0, 1, 2]),
        (_core.loss_value, ["mean_squared_error", right, right, None], [1, 2]),
        (_core.loss_gradient, ["mean_squared_error", right, right, None], [1, 2]),
    ]
    for function, arguments, places in calls:
        function(*arguments)
        for place in places:
            spoilt = [*arguments]
            spoilt[place] = wrong
            with pytest.raises(REFUSALS):
                function(*spoilt)


def test_two_dtypes_are_not_mixed():
    for dtypes in ("fd", "df"):
        G, A = (np.ones((2, 2), dtype=dtype) for dtype in dtypes)
        with pytest.raises(TypeError, match="incompatible"):
            _core.activation_backward("relu", G, A)
    with pytest.raises(TypeError, match="incompatible"):
        _core.Network_float64(LAYERS, "huber", "full").forward(f32(SIZE), NONE, X, None, None, 1)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (_core.activation_backward, ["relu", f32(3, 4), f32(4, 3)]),
        (_core.activation_backward, ["relu", f32(3, 4), f32(3, 5)]),
        (_core.dense, [f32(3, 4), f32(5, 2), None, "relu"]),
        (_core.dense, [f32(3, 4), f32(4, 2), f32(3), "relu"]),
        (_core.dense, [f32(3, 4), f32(4, 2), f32(1, 2), "relu"]),
        (_core.dense, [f32(3, 0), f32(0, 2), None, "relu"]),
        (_core.dense, [f32(3, 4), f32(4, 0), None, "relu"]),
        (_core.dense_backward, [f32(3, 3), f32(3, 4), f32(4, 2), None, "relu"]),
        (_core.dense_backward, [f32(2, 2), f32(3, 4), f32(4, 2), None, "relu"]),
        (_core.softmax, [f32(3, 0)]),
        (_core.loss_value, ["huber", f32(3, 4), f32(3, 3), None]),
        (_core.loss_value, ["huber", f32(3, 4), f32(4), None]),
        (_core.loss_value, ["huber", f32(3, 4), f32(3, 4), f32(4)]),
        (_core.loss_value, ["huber", f32(0, 4), f32(0, 4), None]),
        (_core.loss_value, ["huber", f32(3, 0), f32(3, 0), None]),
        (_core.loss_gradient, ["softmax_cross_entropy", f32(3, 4), np.array([0, 1]), None]),
        (_core.loss_gradient, ["softmax_cross_entropy", f32(3, 4), np.array([0, 1, 4]), None]),
        (_core.loss_gradient, ["softmax_cross_entropy", f32(3, 4), np.array([0, -1, 3]), None]),
        (_core.loss_gradient, ["softmax_cross_entropy", f32(3, 4), np.array([0, 2**62, 3]), None]),
        (_core.loss_gradient, ["softmax_cross_entropy", f32(3, 4), np.array([0.0, 1.0, 3.0]), None]),
        (_core.loss_gradient, ["softmax_cross_entropy", f32(3, 4), np.zeros(6, dtype=np.int64)[::2], None]),
        (_core.loss_gradient, ["huber", f32(3, 4), np.array([0, 1, 3]), None]),
        (_core.loss_gradient, ["sigmoid_cross_entropy", f32(3, 4), np.array([0, 1, 1]), None]),
    ],
)
def test_shapes_and_labels_that_do_not_fit_are_refused(function, arguments):
    with pytest.raises(REFUSALS):
        function(*arguments)


def test_no_rows_are_no_error_where_there_is_nothing_to_divide_by():
    Z, W, b = f32(0, 4), f32(4, 2), f32(2)
    assert _core.activation_forward("gelu", Z).shape == (0, 4)
    assert _core.activation_forward("gelu", f32(3, 0)).shape == (3, 0)
    assert _core.softmax(Z).shape == (0, 4)
    assert _core.dense(Z, W, b, "relu").shape == (0, 2)
    G, dW, db = _core.dense_backward(f32(0, 2), Z, W, b, "relu")
    assert G.shape == (0, 4)
    assert (dW == np.zeros((4, 2))).all()
    assert (db == np.zeros(2)).all()
    assert network().forward(f32(SIZE), NONE, X[:0], None, None, 1).shape == (0, 3)
    for name in ("float32", "float64"):
        assert getattr(_core, f"first_nonfinite_{name}")(X[:0], 1) is None


@pytest.mark.parametrize("name", ["", "Relu", "relu ", "relu\0", "__init__", "σ", "x" * 10_000])
def test_unknown_names_are_refused(name):
    A = f32(2, 2)
    for call in (
        lambda: _core.activation_forward(name, A),
        lambda: _core.activation_backward(name, A, A),
        lambda: _core.dense(A, A, None, name),
        lambda: _core.dense_backward(A, A, A, None, name),
        lambda: _core.loss_value(name, A, A, None),
        lambda: _core.loss_gradient(name, A, A, None),
        lambda: _core.Network_float32([(2, 2, name, True, "dense", 0.0)], "huber", "full"),
        lambda: _core.Network_float32(LAYERS, name, "full"),
        lambda: _core.Network_float32(LAYERS, "huber", name),
        lambda: _core.optimizer_update(f32(2), f32(2), [], {"kind": name}, 0.1, 0),
        lambda: _core.optimizer_update(f32(2), f32(2), [], {name: 1.0}, 0.1, 0),
    ):
        with pytest.raises(ValueError, match="unknown"):
            call()


# Vectors that are written in place


def update(theta, dtheta=None, state=None, kind="adam", learning_rate=0.1, step=0, **settings):
    dtheta = np.ones_like(theta) if dtheta is None else dtheta
    state = [np.zeros_like(theta) for _ in range(2)] if state is None else state
    _core.optimizer_update(theta, dtheta, state, {"kind": kind, **settings}, learning_rate, step)


def test_updates_reach_the_callers_array_and_nothing_beside_it():
    for dtype in (np.float32, np.float64):
        around = np.full((4, 30), 7, dtype=dtype)
        for row in around:
            row[10:20] = 1
        theta, dtheta, m, v = (row[10:20] for row in around)
        dtheta[:] = 2
        update(theta, dtheta, [m, v])
        assert (theta != 1).all()
        assert (m != 1).all()
        assert (v != 1).all()
        assert (dtheta == 2).all()
        assert (around[:, :10] == 7).all()
        assert (around[:, 20:] == 7).all()


@pytest.mark.parametrize(
    "arguments",
    [
        {"theta": read_only(f32(6))},
        {"theta": f32(12)[::2]},
        {"theta": f32(6)[::-1]},
        {"theta": f32(6).astype(">f4" if sys.byteorder == "little" else "<f4")},
        {"theta": f32(6).astype(np.float16)},
        {"theta": [1.0] * 6},
        {"theta": f32(2, 3)},
        {"theta": np.float32(1)},
        {"dtheta": f32(5)},
        {"dtheta": f32(6, 1)},
        {"dtheta": np.ones(6)},
        {"state": []},
        {"state": [f32(6)]},
        {"state": [f32(6), f32(5)]},
        {"state": [f32(6), f32(6, 1)]},
        {"state": [f32(6), np.ones(6)]},
        {"state": [f32(6), read_only(f32(6))]},
        {"state": [f32(6), f32(12)[::2]]},
        {"step": -1},
        {"step": 2**64},
        {"step": 0.5},
        {"learning_rate": "0.1"},
        {"learning_rate": None},
    ],
)
def test_updates_of_what_cannot_be_written_in_place_are_refused(arguments):
    given = {"theta": f32(6), "dtheta": f32(6), "state": [f32(6), f32(6)], "step": 0, **arguments}
    with pytest.raises(REFUSALS):
        update(**given)


def test_settings_of_another_type_are_refused():
    for settings in ({"momentum": "much"}, {"nesterov": "x"}, {"weight_decay": None}, {"kind": "sgd", 1: 2}):
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            _core.optimizer_update(f32(2), f32(2), [], settings, 0.1, 0)


# Networks


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [(4, 0, "relu", True, "dense", 0.0)],
        [(0, 4, "relu", True, "dense", 0.0)],
        [(4, -1, "relu", True, "dense", 0.0)],
        [(4, 2**31, "relu", True, "dense", 0.0)],
        [(4, 2**64, "relu", True, "dense", 0.0)],
        [(4, 2.5, "relu", True, "dense", 0.0)],
        [(4, 5, "relu", True, "dense", 0.0), (6, 3, "relu", True, "dense", 0.0)],
        [(4, 5, "relu")],
        [(4, 5, "relu", True, 1, 0.0)],
        [(4, 5, None, True, "dense", 0.0)],
        [(4, 5, "relu", True, "dense")],
        [(4, 5, "identity", True, "dropout", 0.5)],
        [(4, 4, "identity", True, "dropout", 1.0)],
        [(4, 4, "identity", True, "dropout", -0.1)],
        [(4, 4, "identity", True, "dropout", float("nan"))],
        [(4, 4, "identity", True, "dropout", "half")],
        [4, 5],
        "layers",
        None,
        [(2**31 - 1, 2**31 - 1, "relu", True, "dense", 0.0)],
        [(2**31 - 1, 2**31 - 1, "relu", True, "dense", 0.0)] * 3,
    ],
)
def test_networks_that_cannot_be_are_refused(layers):
    with pytest.raises(REFUSALS):
        network(layers=layers)


class Calls:
    """One call of each method that reads rows, with arguments that fit until one is replaced."""

    def __init__(self, loss="softmax_cross_entropy"):
        self.network = network(loss)
        self.arguments = {
            "theta": f32(SIZE), "buffers": NONE, "X": X, "y": LABELS, "labels": True, "sample_weight": None,
            "mean": None, "scale": None, "n_threads": 1,
        }  # fmt: skip

    def forward(self, **changes):
        a = self.arguments | changes
        return self.network.forward(a["theta"], a["buffers"], a["X"], a["mean"], a["scale"], a["n_threads"])

    def evaluate(self, **changes):
        return self.network.evaluate(**self.arguments | changes)

    def loss_and_gradients(self, **changes):
        own = {"training": True, "draws": np.zeros(2, dtype=np.int64), "wants_dX": True}
        return self.network.loss_and_gradients(**self.arguments | own | changes)

    def trainer(self, **changes):
        moments = [np.zeros(SIZE, dtype=np.float32) for _ in range(2)]
        settings = {
            "state": moments,
            "settings": {"kind": "adam"},
            "batch_size": 5,
            "loss_factor": 1.0,
            "penalty": 0.0,
            "loss_cap": float("inf"),
            "draws": np.zeros(2, dtype=np.int64),
        }
        return _core.Trainer_float32(self.network, **self.arguments | settings | changes)

    def epoch(self, **changes):
        return run(self.trainer(**changes))


WRONG_ROWS = [
    {"theta": f32(SIZE - 1)},
    {"theta": f32(SIZE + 1)},
    {"theta": f32(SIZE, 1)},
    {"theta": np.ones(SIZE)},
    {"theta": f32(2 * SIZE)[::2]},
    {"theta": None},
    {"buffers": None},
    {"buffers": f32(1)},
    {"buffers": np.zeros(0)},
    {"X": X[:, :3]},
    {"X": X[0]},
    {"X": X[np.newaxis]},
    {"X": X.tolist()},
    {"X": None},
    {"X": X + 1j},
    {"X": X.astype(object)},
    {"X": X.astype("S8")},
    {"X": X.astype("M8[s]")},
    {"X": np.zeros(M, dtype=[("a", "f4")] * 1)},
    {"X": np.float64(1)},
    {"mean": np.zeros(4)},
    {"scale": np.ones(4)},
    {"mean": np.zeros(3), "scale": np.ones(3)},
    {"mean": np.zeros((1, 4)), "scale": np.ones((1, 4))},
    {"mean": "mean", "scale": "scale"},
    {"n_threads": -1},
    {"n_threads": 2**64},
    {"n_threads": 1.5},
    {"n_threads": None},
]
WRONG_TARGETS = [
    {"X": X[:0], "y": LABELS[:0]},
    {"y": LABELS[:-1]},
    {"y": LABELS[np.newaxis]},
    {"y": LABELS.tolist()},
    {"y": None},
    {"y": LABELS + 1},
    {"y": LABELS - 1},
    {"y": LABELS.astype(np.float64) + 0.5},
    {"y": np.where(LABELS == 1, np.nan, LABELS)},
    {"y": LABELS.astype(np.uint64) + np.uint64(2**63)},
    {"y": LABELS.astype(np.int8) - np.int8(1)},
    {"y": LABELS.astype(complex)},
    {"y": LABELS, "labels": False},
    {"y": f32(M, 2), "labels": False},
    {"y": f32(M + 1, 3), "labels": False},
    {"labels": "yes"},
    {"sample_weight": np.ones(M - 1)},
    {"sample_weight": np.ones((M, 2))},
    {"sample_weight": np.ones(M).tolist()},
    {"sample_weight": np.ones(M) * 1j},
]


@pytest.mark.parametrize("method", ["forward", "evaluate", "loss_and_gradients", "trainer"])
@pytest.mark.parametrize("changes", WRONG_ROWS, ids=", ".join)
def test_rows_and_parameters_that_do_not_fit_are_refused(method, changes):
    calls = Calls()
    getattr(calls, method)()
    with pytest.raises(REFUSALS):
        getattr(calls, method)(**changes)


@pytest.mark.parametrize("method", ["evaluate", "loss_and_gradients", "epoch"])
@pytest.mark.parametrize("changes", WRONG_TARGETS, ids=", ".join)
def test_targets_that_do_not_fit_are_refused(method, changes):
    """A label that is out of range is found at the latest where it is read, before it is an index."""
    with pytest.raises(REFUSALS):
        getattr(Calls(), method)(**changes)


def test_labels_are_refused_where_the_loss_takes_values():
    for method in ("evaluate", "loss_and_gradients", "trainer"):
        with pytest.raises(TypeError, match="labels"):
            getattr(Calls("huber"), method)()


WRONG_DRAWS = [
    {"draws": None},
    {"draws": np.zeros(1, dtype=np.int64)},
    {"draws": np.zeros(2, dtype=np.int32)},
    {"draws": np.zeros(2)},
    {"draws": np.array([-1, 0])},
    {"draws": np.array([0, -1])},
]


@pytest.mark.parametrize("changes", WRONG_DRAWS, ids=", ".join)
def test_what_nothing_can_be_drawn_from_is_refused(changes):
    with pytest.raises(REFUSALS):
        Calls().loss_and_gradients(**changes)


# Trainers


def run(trainer, **changes):
    arguments = {
        "order": None, "first": 0, "learning_rates": np.full(3, 0.1), "steps": np.zeros(1, dtype=np.int64),
        "sums": np.zeros(5), "seconds": 10.0,
    }  # fmt: skip
    return trainer.run(**arguments | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"network": None},
        {"network": object()},
        {"network": _core.Network_float64(LAYERS, "softmax_cross_entropy", "full")},
        {"theta": read_only(f32(SIZE))},
        {"state": [f32(SIZE)]},
        {"state": [f32(SIZE), read_only(f32(SIZE))]},
        {"state": [f32(SIZE), f32(SIZE - 1)]},
        {"state": [f32(SIZE), np.ones(SIZE)]},
        {"state": [f32(SIZE), np.asfortranarray(f32(SIZE, 2))[:, :1]]},
        {"settings": {"kind": "lbfgs"}},
        {"settings": None},
        {"batch_size": 0},
        {"batch_size": -1},
        {"batch_size": 2**31},
        {"batch_size": 2**64},
        {"batch_size": 1.5},
        {"loss_factor": float("nan")},
        {"loss_factor": None},
        {"penalty": -1.0},
        {"loss_cap": 0.0},
        {"loss_cap": float("nan")},
        {"penalty": float("inf")},
        {"draws": read_only(np.zeros(2, dtype=np.int64))},
        *WRONG_DRAWS,
    ],
    ids=", ".join,
)
def test_trainers_that_cannot_be_are_refused(changes):
    calls = Calls()
    arguments = {
        "state": [f32(SIZE), f32(SIZE)], "settings": {"kind": "adam"}, "batch_size": 5, "network": calls.network,
        "loss_factor": 1.0, "penalty": 0.0, "loss_cap": 30.0, "draws": np.zeros(2, dtype=np.int64),
        **calls.arguments, **changes,
    }  # fmt: skip
    with pytest.raises((*REFUSALS, RuntimeError)):
        _core.Trainer_float32(**arguments)


ORDER = np.arange(M)[::-1].copy()


@pytest.mark.parametrize(
    "changes",
    [
        {"order": ORDER[:-1]},
        {"order": ORDER, "first": 1},
        {"order": ORDER.astype(np.int32)},
        {"order": ORDER[::-1]},
        {"order": ORDER.astype(float)},
        {"order": ORDER[:, np.newaxis]},
        {"order": ORDER.tolist()},
        {"order": ORDER + 1},
        {"order": ORDER - 1},
        {"order": np.full(M, 2**63 - 1)},
        {"order": np.full(M, -(2**63))},
        {"first": -1},
        {"first": 4},
        {"first": 2**64},
        {"learning_rates": np.ones((2, 2))},
        {"learning_rates": "fast"},
        {"learning_rates": None},
        {"steps": np.zeros(1)},
        {"steps": np.zeros(2, dtype=np.int64)},
        {"steps": np.zeros(0, dtype=np.int64)},
        {"steps": np.int64(0)},
        {"steps": read_only(np.zeros(1, dtype=np.int64))},
        {"steps": np.array([-1])},
        {"steps": 0},
        {"sums": np.zeros(2)},
        {"sums": np.zeros(3, dtype=np.float32)},
        {"sums": read_only(np.zeros(5))},
        {"seconds": "long"},
    ],
    ids=", ".join,
)
def test_runs_that_cannot_be_are_refused(changes):
    trainer = Calls().trainer()
    assert trainer.steps_in_epoch == 3
    with pytest.raises(REFUSALS):
        run(trainer, **changes)


def test_a_run_does_no_more_steps_than_there_are():
    theta, steps = f32(SIZE), np.zeros(1, dtype=np.int64)
    trainer = Calls().trainer(theta=theta)
    before = theta.copy()
    assert run(trainer, learning_rates=np.zeros(0), steps=steps)[0] == 0
    assert run(trainer, first=3, steps=steps)[0] == 0
    assert (theta == before).all()
    assert run(trainer, first=2, learning_rates=np.full(1000, 0.1), steps=steps)[0] == 1
    assert steps[0] == 1
    assert (theta != before).any()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("-inf")])
def test_a_run_out_of_time_has_done_some_steps_and_not_all(seconds):
    n = 300_000
    data = {"X": np.broadcast_to(X[:1], (n, 4)), "y": np.broadcast_to(LABELS[:1], n), "batch_size": 1}
    steps = np.zeros(1, dtype=np.int64)
    done, stop = run(Calls().trainer(**data), learning_rates=np.zeros(n), steps=steps, seconds=seconds)
    assert stop == "out_of_time"
    assert 0 < done == steps[0] < n


def test_training_writes_to_the_callers_vectors_and_to_nothing_beside_them():
    around = np.zeros((3, SIZE + 64), dtype=np.float32)
    around[:, 32:-32] = f32(SIZE)
    around[2, 32:-32] = 1  # a second moment is not negative
    before = around.copy()
    theta, m, v = (row[32:-32] for row in around)
    run(Calls().trainer(theta=theta, state=[m, v], batch_size=M))
    assert (around[:, :32] == 0).all()
    assert (around[:, -32:] == 0).all()
    assert (around[:, 32:-32] != before[:, 32:-32]).any(axis=1).all()


def test_a_trainer_keeps_alive_what_it_reads_and_writes():
    def trained(keep):
        calls = Calls()
        calls.network = network()
        rng = np.random.default_rng(1)
        arrays = {
            "theta": rng.normal(size=SIZE).astype(np.float32),
            "state": [np.zeros(SIZE, dtype=np.float32) for _ in range(2)],
            "X": rng.normal(size=(M, 4)),
            "y": rng.integers(3, size=M),
            "sample_weight": rng.uniform(size=M),
            "mean": rng.normal(size=4).tolist(),  # converted at the door: nobody else holds the copy
            "scale": [1.0, 2.0, 3.0, 4.0],
        }
        trainer = calls.trainer(**arrays)
        if not keep:
            del arrays, calls
            gc.collect()
            junk = [np.full(n, np.nan) for n in (SIZE, 4 * M, M, 4, 2 * SIZE) for _ in range(50)]
            del junk
        sums = np.zeros(5)
        return run(trainer, sums=sums), sums.tolist()

    assert trained(keep=True) == trained(keep=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", _core.losses)
@pytest.mark.parametrize("sigma", _core.activations)
def test_a_wrong_number_reaches_the_loss(sigma, loss, dtype):
    """Whichever layer and parameter it comes in by: a run stops where the loss is NaN. A row is refused."""
    net = getattr(_core, f"Network_{dtype}")(
        [(4, 5, sigma, True, "dense", 0.0), (5, 3, sigma, True, "dense", 0.0), (3, 3, "identity", True, "dense", 0.0)],
        loss,
        "full",
    )
    healthy = np.linspace(-0.5, 0.5, net.parameters).astype(dtype)
    y = np.full((M, 3), 1 / 3)

    def loss_of(theta, rows):
        return net.evaluate(theta, theta[:0], rows, y, False, None, None, None, 1)[0]

    assert np.isfinite(loss_of(healthy, X))
    for i in range(net.parameters):
        theta = healthy.copy()
        theta[i] = np.nan
        assert np.isnan(loss_of(theta, X)), f"theta[{i}]"
    for where in np.ndindex(X.shape):
        rows = X.copy()
        rows[where] = np.nan
        with pytest.raises(ValueError, match="X must be finite"):
            loss_of(healthy, rows)


@pytest.mark.parametrize("name", ["Network_float32", "Network_float64", "Trainer_float32", "Trainer_float64"])
def test_an_object_that_was_never_made_is_no_crash(name):
    script = f"""
import numpy as np
from backsweep import _core
try:
    thing = _core.{name}.__new__(_core.{name})
    print(thing.parameters if "Network" in {name!r} else thing.steps_in_epoch)
except (TypeError, ValueError, RuntimeError):
    raise SystemExit(0)
raise SystemExit("an object that was never made had an answer")
"""
    run_apart(script)


def test_unaligned_arrays_are_refused_where_no_copy_is_made():
    """Reading a float from an odd address is undefined in C++, whatever this processor makes of it."""
    odd = np.frombuffer(b"x" + f32(3, 4).tobytes(), dtype=np.float32, offset=1).reshape(3, 4)
    assert not odd.flags.aligned
    with pytest.raises(REFUSALS):
        _core.activation_forward("relu", odd)
    buffer = np.zeros(4 * SIZE + 1, dtype=np.uint8)
    theta = buffer[1:].view(np.float32)
    with pytest.raises(REFUSALS):
        Calls().trainer(theta=theta)
    with pytest.raises(REFUSALS):
        Calls().forward(theta=theta)


# Anything at all


FUZZ = """
import sys, warnings
import numpy as np
from backsweep import _core

rng = np.random.default_rng(int(sys.argv[1]))
SIZES = [0, 1, 2, 3, 4, 5, 8, 17]
DTYPES = ["f4", "f8", "f2", "i1", "u1", "i4", "i8", "u8", "?", ">f4", ">i8", "g", "c8", "O", "S3", "M8[s]"]
NUMBERS = [-(2**63), -1, 0, 1, 2, 3, 4, 7, 64, 2**31 - 1, 2**31, 2**63, 2**64, True]
REALS = [0.0, -0.0, 0.1, 1.0, -1.0, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"), 3]
NAMES = [*_core.activations, *_core.losses, *_core.optimizers, "", "none", "relu\\0"]

def choice(values):
    return values[rng.integers(len(values))]

def array(shape=None, dtype=None):
    if shape is None:
        shape = tuple(int(choice(SIZES)) for _ in range(rng.integers(4)))
    values = rng.normal(size=shape) * choice([1, 3, 1e3])
    if rng.random() < 0.1 and values.size:
        values.flat[rng.integers(values.size)] = choice([np.nan, np.inf, -np.inf, 1e300])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = np.asarray(values).astype(dtype or choice(DTYPES))
    layout = rng.integers(12)
    if layout == 0:
        values = np.asfortranarray(values)
    elif layout == 1 and values.ndim:
        values = values[::-1]
    elif layout == 2 and values.ndim:
        values = np.repeat(values, 2, axis=-1)[..., ::2]
    elif layout == 3 and values.ndim:
        values = np.broadcast_to(values[:1], (4, *values.shape[1:]))
    elif layout == 4:
        values.setflags(write=False)
    elif layout == 5 and values.dtype != object:
        raw = np.frombuffer(b"x" + values.tobytes() + b"y" * 16, dtype=np.uint8)
        values = raw[1 : 1 + values.nbytes].view(values.dtype).reshape(values.shape)
    return values

def anything():
    kind = rng.integers(8)
    if kind < 3:
        return array()
    return [None, int(choice(NUMBERS)), choice(REALS), choice(NAMES), [array(), array()]][kind - 3]

def exact(*shape):
    return rng.normal(size=shape).astype(T)

def labels(m, k):
    return rng.integers(-1 if rng.random() < 0.1 else 0, k, size=m)

def weights(m):
    return choice([None, rng.uniform(size=m).astype(T)])

def settings():
    kind = choice(_core.optimizers)
    names = ["momentum", "weight_decay", "beta1", "beta2", "alpha", "epsilon", "clip_norm", "centered", "nesterov",
             "epsilon_hat"]
    return {"kind": kind, **{name: choice([0.0, 0.1, 0.9, *REALS]) for name in names if rng.random() < 0.2}}

def spec():
    widths = [int(choice([1, 2, 3, 8, 40, 70])) for _ in range(rng.integers(2, 5))]
    layers = []
    for a, b in zip(widths, widths[1:]):
        kind = choice(_core.layers)
        bias = bool(rng.integers(2)) if kind == "dense" else kind != "dropout"
        layers.append((a, b if kind == "dense" else a, choice(_core.activations), bias, kind, choice([0.0, 0.3])))
        if kind != "dense":
            layers.append((a, b, choice(_core.activations), True, "dense", 0.0))
    return layers, choice(_core.losses)

def size(layers):
    return sum(({"dense": a, "dropout": 0}.get(kind, 1) + bias) * b for a, b, _, bias, kind, _ in layers)

def data(layers, loss):
    m, n, k = int(choice([1, 2, 9, 33])), layers[0][0], layers[-1][1]
    has_labels = loss == "softmax_cross_entropy" and rng.random() < 0.5
    y = labels(m, k) if has_labels else rng.uniform(size=(m, k))
    standard = rng.random() < 0.3
    return {"X": array((m, n), choice(["f4", "f8", "u1", "i8", "f2", ">f4"])), "y": y, "labels": has_labels,
            "sample_weight": weights(m), "mean": rng.normal(size=n) if standard else None,
            "scale": rng.uniform(size=n) if standard else None}

def alike(value):
    if isinstance(value, np.ndarray):
        shape = list(value.shape)
        shape[rng.integers(len(shape))] += choice([-1, 1, 5])
        return array(tuple(max(n, 0) for n in shape), value.dtype)
    if isinstance(value, str):
        return choice(NAMES)
    return choice(REALS) if isinstance(value, float) else int(choice(NUMBERS))

def call(function, arguments):
    # Most calls fit but for one argument or two, or one of the right kind: that is how far in a wrong one gets.
    arguments = dict(arguments)
    for _ in range(choice([0, 0, 1, 1, 1, 2])):
        name = choice(list(arguments))
        arguments[name] = alike(arguments[name]) if rng.random() < 0.6 else anything()
    return function(**arguments)

def one():
    global T
    T = choice([np.float32, np.float64])
    name = np.dtype(T).name
    m, n, k = (int(choice([0, 1, 3, 3, 8, 20])) for _ in range(3))
    which = rng.integers(12)
    if which == 0:
        call(_core.activation_backward, {"sigma": choice(_core.activations), "G": exact(m, n), "A": exact(m, n)})
    elif which == 1 and T == np.float32:
        B = exact(m, k) if (transposed := bool(rng.integers(2))) else exact(n, k)
        call(_core.bf16_product, {"A": exact(m, n), "B": B, "transposed": transposed})
    elif which == 1:
        call(_core.activation_forward, {"sigma": choice(_core.activations), "A": exact(m, n)})
    elif which == 2:
        call(_core.dense_backward, {"G_next": exact(m, k), "Z": exact(m, n), "W": exact(n, k),
                                    "b": choice([None, exact(k)]), "sigma": choice(_core.activations)})
    elif which == 3:
        y = exact(m, k) if rng.random() < 0.5 else labels(m, max(k, 1))
        function = choice([_core.loss_value, _core.loss_gradient])
        call(function, {"loss": choice(_core.losses), "Z": exact(m, k), "y": y, "sample_weight": weights(m)})
    elif which == 4:
        states = [exact(n) for _ in range(rng.integers(4))]
        call(_core.optimizer_update, {"theta": exact(n), "dtheta": exact(n), "state": states, "settings": settings(),
                                      "learning_rate": choice(REALS), "step": int(choice([0, 1, 1000]))})
    elif which == 10:
        function = choice([_core.batch_norm, _core.batch_norm_backward])
        first = {"beta": exact(n)} if function is _core.batch_norm else {"D": exact(m, n)}
        call(function, {"Z": exact(m, n), "gamma": exact(n), **first})
    elif which == 9:
        call(_core.dropout, {"Z": exact(m, n), "p": choice([0.0, 0.5, *REALS]), "seed": int(choice(NUMBERS)),
                             "step": int(choice(NUMBERS)), "layer": int(choice(NUMBERS))})
    elif which == 11:
        around = np.full(n + 32, 7)
        around[16:-16] = np.arange(n)
        draws = np.frombuffer(rng.bytes(8 * int(choice([m, n]))), dtype=np.uint64)
        if rng.random() < 0.5:
            call(_core.shuffle, {"order": around[16:-16], "left": int(choice([n, m, *NUMBERS])), "draws": draws})
        else:
            along, across = (rng.integers(choice([1, 2, 9]), size=(3, int(choice([1, 2, 9])))) for _ in range(2))
            call(_core.rectangle_order, {"order": around[16:-16], "begin": int(choice([0, 1, *NUMBERS])),
                                         "m": int(choice([n, along.shape[1] * across.shape[1], *NUMBERS])),
                                         "row_shifts": along, "column_shifts": across})
        assert (around[:16] == 7).all() and (around[-16:] == 7).all()
    elif which == 5:
        call(getattr(_core, f"first_nonfinite_{name}"), {"X": array(), "n_threads": int(choice(NUMBERS))})
        call(_core.copy, {"source": array(), "target": array(), "n_threads": int(choice(NUMBERS))})
        call(_core.first_no_label, {"y": array((int(choice([0, 1, 9, 2000])),)), "classes": int(choice(NUMBERS))})
    else:
        layers, loss = spec()
        if rng.random() < 0.1:
            call(getattr(_core, f"Network_{name}"), {"layers": layers, "loss": loss, "precision": "bf16"})
        precision = str(choice(_core.precisions)) if T == np.float32 else "full"
        network = getattr(_core, f"Network_{name}")(layers, loss, precision)
        assert network.parameters == size(layers)
        buffers = rng.uniform(size=sum(2 * b for _, b, _, _, kind, _ in layers if kind == "batch_norm")).astype(T)
        assert network.buffers == len(buffers)
        arguments = {"theta": exact(size(layers)), "buffers": buffers, **data(layers, loss),
                     "n_threads": int(choice([0, 1, 2]))}
        if which == 6:
            call(network.loss_and_gradients, {**arguments, "training": bool(rng.integers(2)),
                                              "draws": rng.integers(9, size=2), "wants_dX": bool(rng.integers(2))})
        elif which == 7:
            call(network.evaluate, arguments)
        else:
            around = np.full(size(layers) + 32, 7, dtype=T)
            theta = around[16:-16]
            theta[:] = arguments.pop("theta")
            states = [exact(size(layers)) for _ in range(3)]
            m = len(arguments["X"])
            trainer = call(getattr(_core, f"Trainer_{name}"), {
                "network": network, "theta": theta, "state": states, "settings": settings(), **arguments,
                "batch_size": int(choice([1, 4, 1000])), "loss_factor": choice([1.0, *REALS]),
                "penalty": choice([0.0, 0.1, *REALS]), "loss_cap": choice([2.0, *REALS]),
                "draws": rng.integers(9, size=2)})
            for _ in range(2):
                order = choice([None, rng.permutation(m), rng.integers(-1, m + 1, size=m)])
                try:
                    call(trainer.run, {"order": order, "first": int(choice([0, 0, 1])),
                                       "learning_rates": np.full(5, choice([0.1, *REALS])),
                                       "steps": np.zeros(1, dtype=np.int64), "sums": np.zeros(5),
                                       "seconds": choice([0.0, 1.0])})
                finally:
                    assert (around[:16] == 7).all() and (around[-16:] == 7).all()

results = {}
for _ in range(int(sys.argv[2])):
    try:
        one()
        outcome = "result"
    except (TypeError, ValueError, RuntimeError, MemoryError, OverflowError) as error:
        outcome = type(error).__name__
    results[outcome] = results.get(outcome, 0) + 1
print(results["result"], sum(results.values()), results)
"""


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_thousand_calls_with_anything_end_in_results_or_exceptions(seed):
    results, calls, *_ = run_apart(FUZZ, str(seed), "1000").split()
    assert int(calls) == 1000
    assert int(results) > 200  # enough of them fit to have come all the way
