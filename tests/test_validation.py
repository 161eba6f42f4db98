"""What is refused, and how.

Every message names the argument, says what was expected and what was got; and a refused call changes nothing:
not the weights, not the generator, not the optimizer. Longer than 300 lines because it is one table.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import backsweep as bs
import numpy as np
import pytest

M, N_IN, K = 24, 4, 3
BACKENDS = ("core", "reference")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(M, N_IN)).astype(np.float32)
LABELS = np.arange(M) % K
VALUES = RNG.uniform(size=(M, K)).astype(np.float32)
PROBABILITIES = VALUES / VALUES.sum(axis=1, keepdims=True)


def changed(array, where, value, dtype=np.float64):
    copy = np.array(array, dtype=dtype)
    copy[where] = value
    return copy


def network(backend="core", **settings):
    return bs.Network([N_IN, 5, K], **{"activation": "tanh", "seed": 1, "backend": backend, **settings})


def train(net, **arguments):
    y = LABELS if net.loss == "softmax_cross_entropy" else VALUES
    return net.fit(**{"X": X, "y": y, "epochs": 2, "batch_size": 7, **arguments})


def state(net, optimizer):
    """All that a refused call must leave as it is."""
    return (
        net.theta.tobytes(),
        *(vector if vector is None else vector.tobytes() for vector in (net.input_mean, net.input_scale)),
        net._rng.bit_generator.state,
        optimizer.steps,
        [vector.tobytes() for vector in optimizer._state],
        optimizer._network and optimizer._network(),
    )


@dataclass(frozen=True)
class Refusal:
    """Arguments that are refused with ``<name> must ... <expected> ..., got <got>``."""

    name: str
    expected: str
    got: str
    error: type[Exception]
    arguments: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)  # of the network

    def check(self, error):
        message = str(error)
        assert type(error) is self.error, repr(error)
        assert message.startswith(f"{self.name} must "), message
        expected, _, got = message.partition(", got ")
        assert self.expected in expected, message
        assert self.got in got, message

    def __str__(self):
        return f"{self.name}: {self.expected}, {self.got}"[:60]


def refused(name, expected, got, error=ValueError, settings=None, **arguments):
    return Refusal(name, expected, got, error, arguments, settings or {})


def table(cases):
    return pytest.mark.parametrize("case", cases, ids=str)


class Sparse:
    """As scipy.sparse's matrices look from here; it is not installed with us."""

    shape = (M, N_IN)

    def toarray(self):
        return X


MASKED = np.ma.array(X, mask=False)

ROWS = [
    refused("X", "shape (m, 4)", "(4,)", X=X[0]),
    refused("X", "shape (m, 4)", "(24, 3)", X=X[:, :3]),
    refused("X", "shape (m, 4)", "(1, 24, 4)", X=X[np.newaxis]),
    refused("X", "shape (m, 4)", "()", X=5),
    refused("X", "shape (m, 4)", "(0,)", X=[]),
    refused("X", "real numbers", "complex64", TypeError, X=X + 1j),
    refused("X", "real numbers", "object", TypeError, X=X.astype(object)),
    refused("X", "real numbers", "<U", TypeError, X=X.astype(str)),
    refused("X", "real numbers", "datetime64", TypeError, X=X.astype("M8[s]")),
    refused("X", "real numbers", "timedelta64", TypeError, X=X.astype("m8[s]")),
    refused("X", "real numbers", "object", TypeError, X=None),
    refused("X", "ordinary array", "masked", TypeError, X=MASKED),
    refused(
        "X", "dense", "Sparse; X.toarray() is, and the estimators of backsweep.sklearn take it", TypeError, X=Sparse()
    ),
    refused("X", "array of numbers", "list", X=[[1.0, 2.0], [3.0]]),
    refused("X", "finite", "X[3, 1] = nan", X=changed(X, (3, 1), np.nan)),
    refused("X", "finite", "X[23, 3] = inf", X=changed(X, (23, 3), np.inf, np.float32)),
    refused("X", "finite", "X[0, 0] = -inf", X=changed(X, (0, 0), -np.inf, np.float16)),
    refused("X", "finite", "X[3, 1] = 1e+300, too large for float32", X=changed(X, (3, 1), 1e300)),
]

DATA = [
    *ROWS,
    refused("X", "at least 1 row", "(0, 4)", X=X[:0], y=LABELS[:0]),
    # Targets: labels
    refused("y", "one label for each of the 24 rows", "(23,)", y=LABELS[:-1]),
    refused("y", "(24,) of labels, or (24, 3)", "(24, 1)", y=LABELS[:, np.newaxis]),
    refused("y", "(24, 3)", "(24, 2)", y=PROBABILITIES[:, :2]),
    refused("y", "(24, 3)", "()", y=1),
    refused("y", "labels 0, 1, ..., 2", "y[5] = 3", y=changed(LABELS, 5, 3, np.int64)),
    refused("y", "labels 0, 1, ..., 2", "y[5] = -1", y=changed(LABELS, 5, -1, np.int8)),
    refused("y", "labels 0, 1, ..., 2", "y[5] = 255", y=changed(LABELS, 5, 255, np.uint8)),
    refused("y", "labels 0, 1, ..., 2", f"y[5] = {2**64 - 1}", y=changed(LABELS, 5, 2**64 - 1, np.uint64)),
    refused("y", "labels 0, 1, ..., 2", "y[5] = 0.5", y=changed(LABELS, 5, 0.5)),
    refused("y", "labels 0, 1, ..., 2", "y[5] = nan", y=changed(LABELS, 5, np.nan)),
    refused("y", "labels 0, 1, ..., 2", "y[5] = inf", y=changed(LABELS, 5, np.inf, np.float32)),
    *(refused("y", "real numbers", f"{got}; {says}, and backsweep.sklearn.MLPClassifier takes any", TypeError,
              y=LABELS.astype(dtype), settings={"loss": loss})
      for got, dtype in (("<U3", "U3"), ("|S3", "S3"), ("object", object))
      for says, loss in (("labels are whole numbers 0 to 2 for softmax_cross_entropy", "softmax_cross_entropy"),
                         ("a class is 0 or 1 for sigmoid_cross_entropy", "sigmoid_cross_entropy"))),
    refused("y", "real numbers", "complex128", TypeError, y=LABELS + 0j),
    refused("y", "real numbers", "datetime64", TypeError, y=LABELS.astype("M8[D]")),
    refused("y", "real numbers", "object", TypeError, y=None),
    refused("y", "ordinary array", "masked", TypeError, y=np.ma.array(LABELS)),
    # Targets: values
    refused("y", "finite", "y[2, 1] = nan", y=changed(PROBABILITIES, (2, 1), np.nan)),
    refused("y", "sum to 1", "1.5 in row 2", y=changed(PROBABILITIES, 2, 0.5)),
    refused("y", "between 0 and 1", "y[2, 0] = -0.5", y=changed(PROBABILITIES, 2, [-0.5, 0.75, 0.75])),
    refused("y", "between 0 and 1", "y[2, 1] = 1.5", y=changed(VALUES, (2, 1), 1.5),
            settings={"loss": "sigmoid_cross_entropy"}),
    refused("y", "at least 0, for poisson", "y[2, 1] = -1.0", y=changed(VALUES, (2, 1), -1),
            settings={"loss": "poisson"}),
    refused("y", "(24, 3)", "(24,)", y=VALUES[:, 0], settings={"loss": "mean_squared_error"}),
    refused("y", "(24, 3)", "(3, 24)", y=VALUES.T, settings={"loss": "huber"}),
    refused("y", "finite", "y[0, 2] = inf", y=changed(VALUES, (0, 2), np.inf),
            settings={"loss": "mean_absolute_error"}),
    refused("y", "finite", "too large for float32", y=changed(VALUES, (0, 2), 1e39),
            settings={"loss": "mean_squared_error"}),
    # Weights of the samples
    refused("sample_weight", "shape (24,)", "(23,)", sample_weight=np.ones(M - 1)),
    refused("sample_weight", "shape (24,)", "(24, 1)", sample_weight=np.ones((M, 1))),
    refused("sample_weight", "shape (24,)", "()", sample_weight=1.0),
    refused("sample_weight", "at least 0", "sample_weight[4] = -1.0", sample_weight=changed(np.ones(M), 4, -1)),
    refused("sample_weight", "finite", "sample_weight[4] = nan", sample_weight=changed(np.ones(M), 4, np.nan)),
    refused("sample_weight", "finite", "sample_weight[4] = inf", sample_weight=changed(np.ones(M), 4, np.inf)),
    refused("sample_weight", "finite", "too large for float32", sample_weight=np.full(M, 1e300)),
    refused("sample_weight", "positive sum", "0", sample_weight=np.zeros(M)),
    refused("sample_weight", "real numbers", "complex128", TypeError, sample_weight=np.ones(M) * 1j),
    refused("sample_weight", "real numbers", "<U", TypeError, sample_weight="balanced"),
    refused("sample_weight", "ordinary array", "masked", TypeError, sample_weight=np.ma.ones(M)),
    # The core takes subnormal numbers as zero: of the dtype, and of float32 as it is read.
    *(refused("sample_weight", f"at least {least} where it counts", f"{w * M:g} of {w * M:g} in all; scale all",
              sample_weight=np.full(M, w, given), settings={"dtype": dtype})
      for w, given, dtype, least in ((1e-60, "f8", "float32", "1.17549e-38"), (1e-40, "f8", "float32", "1.17549e-38"),
                                     (2.0**-130, "f4", "float32", "1.17549e-38"),
                                     (2.0**-130, "f4", "float64", "1.17549e-38"),
                                     (1e-310, "f8", "float64", "2.22507e-308"))),
    refused("sample_weight", "at least 1.17549e-38", "of 1.", sample_weight=changed(np.full(M, 1e-38), 0, 1e-36)),
    refused("sample_weight", "positive sum that is finite in float32", "2.4e+39", sample_weight=np.full(M, 1e38)),
    refused("sample_weight", "positive sum that is finite in float64", "inf", sample_weight=np.full(M, 1e308),
            settings={"dtype": "float64"}),
]  # fmt: skip

SETTINGS = [
    *(refused("batch_size", "at least 1", repr(v), batch_size=v) for v in (0, -1, 2**31)),
    *(refused("batch_size", "an integer", repr(v), TypeError, batch_size=v) for v in (True, 2.0, "2", None, [2])),
    *(refused("epochs", "at least 0", repr(v), epochs=v) for v in (-1, 2**31)),
    *(refused("epochs", "an integer", repr(v), TypeError, epochs=v) for v in (False, 2.0, "2", None)),
    *(refused("n_threads", "at least 1", repr(v), n_threads=v) for v in (0, -1, 2**31)),
    *(refused("n_threads", "an integer", repr(v), TypeError, n_threads=v) for v in (True, 2.0, "2")),
    *(refused("shuffle", "True or False", repr(v), TypeError, shuffle=v) for v in ("no", None, 2)),
    *(refused("progress", 'True, False or "auto"', repr(v), progress=v) for v in (1, None, "yes", "")),
    refused("progress", 'True, False or "auto"', "array", progress=np.zeros(2)),
    refused("optimizer", "Adam", "'adam'", TypeError, optimizer="adam"),
    refused("optimizer", "Adam", "<class", TypeError, optimizer=bs.Adam),
    refused("optimizer", "Adam", "0.1", TypeError, optimizer=0.1),
    refused("optimizer", "Adam", "Optimizer(", TypeError, optimizer=bs.Optimizer(0.1, 0.0, None)),
    refused("callbacks", "functions", "5", TypeError, callbacks=5),
    refused("callbacks", "functions", "function", TypeError, callbacks=lambda network, history: None),
    refused("callbacks", "functions", "'stop'", TypeError, callbacks=["stop"]),
    refused("validation_data", "(X, y)", "str", validation_data="ab"),
    refused("validation_data", "(X, y)", "ndarray", validation_data=np.zeros((2, 2))),
    refused("validation_data", "(X, y)", "tuple", validation_data=(X,)),
    refused("validation_data", "(X, y)", "tuple", validation_data=(X, LABELS, None, None)),
]

VALIDATION = [
    ("shape (m, 4)", "(24, 3)", ValueError, (X[:, :3], LABELS)),
    ("finite", "nan", ValueError, (changed(X, (3, 1), np.nan), LABELS)),
    ("labels", "y[5] = 3", ValueError, (X, changed(LABELS, 5, 3, np.int64))),
    ("one label for each", "(23,)", ValueError, (X, LABELS[:-1])),
    ("at least 1 row", "(0, 4)", ValueError, (X[:0], LABELS[:0])),
    ("at least 0", "-1.0", ValueError, (X, LABELS, -np.ones(M))),
    ("real numbers", "complex64", TypeError, (X + 1j, LABELS)),
]


def check_unchanged_by(case, call, backend, trained):
    """`call(net, optimizer)` is refused as `case` says; what follows is what would have followed without it."""
    net, twin = (network(backend, **case.settings) for _ in range(2))
    optimizer, twin_optimizer = bs.Adam(0.01), bs.Adam(0.01)
    if trained:
        train(net, optimizer=optimizer)
        train(twin, optimizer=twin_optimizer)
    before = state(net, optimizer)
    with pytest.raises(Exception) as refusal:  # noqa: PT011 - `check` wants the exact type
        call(net, optimizer)
    case.check(refusal.value)
    assert state(net, optimizer) == before
    assert train(net, optimizer=optimizer).loss == train(twin, optimizer=twin_optimizer).loss
    assert net.theta.tobytes() == twin.theta.tobytes()


@pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
@pytest.mark.parametrize("backend", BACKENDS)
@table([*DATA, *SETTINGS])
def test_fit_refuses(case, backend, trained):
    def call(net, optimizer):
        train(net, **{"optimizer": optimizer, **case.arguments})

    check_unchanged_by(case, call, backend, trained)


@pytest.mark.parametrize(("expected", "got", "error", "data"), VALIDATION)
def test_fit_refuses_validation_data(expected, got, error, data):
    """The message says that it is not the training data that are meant."""
    net, optimizer = network(), bs.Adam()
    before = state(net, optimizer)
    with pytest.raises(error, match="validation_data") as refusal:
        train(net, optimizer=optimizer, validation_data=data)
    assert expected in str(refusal.value)
    assert got in str(refusal.value)
    assert state(net, optimizer) == before


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale", [1e-37, 1e-20, 1e36])
def test_only_the_proportions_of_weights_matter(backend, scale):
    """Small and large as they may be; what vanishes beside others is no reason to refuse them."""
    net, w = network(backend), np.linspace(0.2, 1, M)
    expected = net.evaluate(X, LABELS, sample_weight=changed(w, 3, 0))["loss"]
    scaled = changed(w * scale, 3, scale * 1e-20)
    assert net.evaluate(X, LABELS, sample_weight=scaled)["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_refused_optimizer_is_bound_to_no_network():
    optimizer = bs.SGD(0.1, momentum=0.9)
    for arguments in ({"y": LABELS + 1}, {"batch_size": 0}, {"progress": "yes"}, {"n_threads": 0}):
        with pytest.raises(ValueError, match="must"):
            train(network(), optimizer=optimizer, **arguments)
    train(network(), optimizer=optimizer)
    assert optimizer.steps == 8


@pytest.mark.parametrize("backend", BACKENDS)
@table(DATA)
@pytest.mark.parametrize("method", ["evaluate", "loss_and_gradients"])
def test_data_are_refused_alike_elsewhere(case, backend, method):
    def call(net, _):
        y = LABELS if net.loss == "softmax_cross_entropy" else VALUES
        getattr(net, method)(**{"X": X, "y": y, **case.arguments})

    check_unchanged_by(case, call, backend, False)


@table(ROWS)
@pytest.mark.parametrize("method", ["forward", "predict", "predict_proba"])
def test_rows_are_refused_alike_elsewhere(case, method):
    check_unchanged_by(case, lambda net, _: getattr(net, method)(case.arguments["X"]), "core", False)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_rows_give_no_results(backend):
    net = network(backend)
    assert net.forward(X[:0]).shape == net.predict_proba(X[:0]).shape == (0, K)
    assert net.predict(X[:0]).shape == (0,)


def test_frames_of_pandas_own_dtypes():
    pandas = pytest.importorskip("pandas")
    numbers = np.arange(M * N_IN, dtype=float).reshape(M, N_IN)
    numbers[:, 2] = np.arange(M) % 2
    frame = pandas.DataFrame(numbers).astype({0: "Int64", 1: "Float32", 2: "boolean", 3: "UInt8"})
    assert np.asarray(frame).dtype == object
    net, labels = network(), pandas.Series(LABELS, dtype="Int64")
    assert np.array_equal(net.predict_proba(frame), net.predict_proba(numbers))
    assert net.evaluate(frame, labels) == net.evaluate(numbers, LABELS)
    frame.loc[3, 0] = None
    with pytest.raises((TypeError, ValueError), match=r"^X must be .*(X\[3, 0\] = nan|missing values)"):
        net.predict(frame)
    for column in (["1"] * M, pandas.Categorical(LABELS)):
        with pytest.raises(TypeError, match=r"^X must be an array of real numbers, got dtype object$"):
            net.predict(frame.assign(**{"3": column}).drop(columns=3))


def test_sparse_rows_are_to_be_made_dense():
    sparse = pytest.importorskip("scipy.sparse")
    for matrix in (sparse.csr_matrix(X), sparse.coo_array(X)):
        with pytest.raises(TypeError, match=r"^X must be dense, got (csr_matrix|coo_array); X\.toarray\(\) is"):
            network().predict(matrix)
        assert np.array_equal(network().predict(matrix.toarray()), network().predict(X))


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is double here")
def test_swapped_long_doubles_are_refused():
    """The one real dtype that is not read: no machine has the other's."""
    swapped = X.astype(np.longdouble).astype(np.dtype(np.longdouble).newbyteorder())
    with pytest.raises(TypeError, match="X must be in the machine's byte order"):
        network().predict(swapped)


STANDARDISE = [
    *(case for case in ROWS if "too large for float32" not in case.got),  # measured in float64
    refused("X", "at least 1 row", "(0, 4)", X=X[:0]),
    # The mean or the deviation of these is no number.
    refused("X", "finite deviation", "column 0", X=np.linspace(-1, 1.5, M)[:, np.newaxis] * np.full(N_IN, 1e308)),
    refused("X", "", "", X=np.where(np.arange(M) % 2, 1e200, -1e200)[:, np.newaxis] * np.ones(N_IN)),
]


@table(STANDARDISE)
def test_standardise_refuses(case):
    check_unchanged_by(case, lambda net, _: net.standardise(case.arguments["X"]), "core", False)


@pytest.mark.parametrize("method", ["forward", "predict", "predict_proba", "evaluate", "loss_and_gradients"])
@pytest.mark.parametrize("n_threads", [0, -1, 2.0, True, "2"])
def test_n_threads_is_refused_alike_elsewhere(method, n_threads):
    error = ValueError if type(n_threads) is int else TypeError
    case = Refusal("n_threads", "integer", repr(n_threads), error, {})
    data = (X, LABELS) if method in ("evaluate", "loss_and_gradients") else (X,)
    check_unchanged_by(case, lambda net, _: getattr(net, method)(*data, n_threads=n_threads), "core", False)


def test_dX_is_refused_unless_it_is_a_truth_value():
    case = Refusal("dX", "True or False", "'yes'", TypeError, {})
    check_unchanged_by(case, lambda net, _: net.loss_and_gradients(X, LABELS, dX="yes"), "core", False)


@pytest.mark.parametrize("loss", ["mean_squared_error", "mean_absolute_error", "huber", "poisson"])
def test_probabilities_are_refused_where_the_loss_gives_none(loss):
    case = Refusal("loss", "cross-entropy", repr(loss), ValueError, {}, {"loss": loss})
    check_unchanged_by(case, lambda net, _: net.predict_proba(X), "core", False)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "i", "where"), [("W", 0, (3, 4)), ("W", 1, (2, 0)), ("b", 0, (4,)), ("b", 1, (1,))])
def test_fit_refuses_weights_that_are_not_finite(backend, name, i, where, value):
    net, fresh, optimizer = network(backend), network(backend), bs.SGD(0.1, momentum=0.9)
    array = getattr(net, name)[i]
    healthy = array[where]
    array[where] = value
    before = state(net, optimizer)
    with pytest.raises(ValueError, match="must be finite") as refusal:
        train(net, optimizer=optimizer)
    assert str(refusal.value) == f"{name}[{i}] must be finite, got {name}[{i}]{list(where)} = {value}"
    assert state(net, optimizer) == before
    array[where] = healthy
    train(net, optimizer=optimizer)
    train(fresh, optimizer=bs.SGD(0.1, momentum=0.9))
    assert net.theta.tobytes() == fresh.theta.tobytes()


@pytest.mark.parametrize(
    ("mean", "scale"),
    [
        (np.zeros(N_IN), None),
        (None, np.ones(N_IN)),
        (np.zeros(N_IN - 1), np.ones(N_IN - 1)),
        (np.full(N_IN, np.nan), np.ones(N_IN)),
        (np.zeros(N_IN), np.zeros(N_IN)),
        (np.zeros(N_IN), np.full(N_IN, 1e-310)),
    ],
    ids=["mean alone", "scale alone", "shape", "NaN", "zero", "subnormal"],
)
def test_fit_refuses_a_standardisation_that_is_none(mean, scale):
    net, optimizer = network(), bs.Adam()
    net.input_mean, net.input_scale = mean, scale
    before = state(net, optimizer)
    with pytest.raises(ValueError, match=r"mean|scale"):
        train(net, optimizer=optimizer)
    assert state(net, optimizer) == before


# Learning rates: as a number when the optimizer is made; of a schedule, or set later, when they are used.

BAD_RATES = [(np.nan, ValueError), (-1e-3, ValueError), (np.inf, ValueError), ("0.1", TypeError), (True, TypeError),
             (None, TypeError), (1j, TypeError)]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("rate", "error"), BAD_RATES)
def test_fit_refuses_a_schedule_that_begins_with_no_rate(backend, rate, error):
    net, fresh, optimizer = network(backend), network(backend), bs.Adam(lambda step: rate)
    before = state(net, optimizer)
    with pytest.raises(error, match=r"^learning_rate\(0\) must be a .*number.*, got "):
        train(net, optimizer=optimizer)
    assert state(net, optimizer) == before
    optimizer.learning_rate = 0.01
    train(net, optimizer=optimizer)
    train(fresh, optimizer=bs.Adam(0.01))
    assert net.theta.tobytes() == fresh.theta.tobytes()


@pytest.mark.parametrize(("rate", "error"), BAD_RATES)
def test_fit_refuses_a_learning_rate_that_was_set_later(rate, error):
    net, optimizer = network(), bs.Adam(0.01)
    optimizer.learning_rate = rate
    before = state(net, optimizer)
    with pytest.raises(error, match=r"^learning_rate"):
        train(net, optimizer=optimizer)
    assert state(net, optimizer) == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_schedule_that_fails_later_leaves_network_and_optimizer_at_the_steps_that_were_taken(backend):
    """24 rows in batches of 7 are 4 steps an epoch: step 6 lies in the second."""
    net, twin = network(backend), network(backend)
    optimizer = bs.Adam(lambda step: 0.01 if step < 6 else np.nan)
    with pytest.raises(ValueError, match=r"^learning_rate\(6\)"):
        train(net, optimizer=optimizer)
    assert optimizer.steps % 4 == 0
    train(twin, optimizer=bs.Adam(0.01), epochs=optimizer.steps // 4)
    assert net.theta.tobytes() == twin.theta.tobytes()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("rate", "error"), BAD_RATES)
def test_a_learning_rate_that_a_callback_spoils_is_not_used(backend, rate, error):
    """Three epochs were taken, of four steps each; they stay."""
    net, twin, optimizer = network(backend), network(backend), bs.Adam(0.01)

    def spoil(net, history):
        if history.epochs == 3:
            optimizer.learning_rate = rate

    with pytest.raises(error, match=r"^learning_rate must be a .*number.*, got "):
        train(net, optimizer=optimizer, epochs=5, callbacks=[spoil])
    assert optimizer.steps == 12
    train(twin, optimizer=bs.Adam(0.01), epochs=3)
    assert net.theta.tobytes() == twin.theta.tobytes()


LATE = 4500  # steps into an epoch: more than a schedule is asked for at once
MANY_X, MANY_LABELS = np.resize(X, (LATE + 10, 4)), np.resize(LABELS, LATE + 10)


def failing_at(step, how):
    """A schedule, 0.001 before a step; there a number that is no rate, or an exception."""

    def schedule(now):
        if now < step:
            return 1e-3
        if isinstance(how, float):
            return how
        raise how

    return schedule


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
@pytest.mark.parametrize(("how", "error"), [(-1.0, ValueError), (KeyError("late"), KeyError)], ids=["rate", "raised"])
def test_a_schedule_that_fails_late_in_the_first_epoch_changes_nothing(backend, trained, how, error):
    net, twin = network(backend), network(backend)
    optimizer, twin_optimizer = bs.Adam(1e-3), bs.Adam(1e-3)
    for one, its in ((net, optimizer), (twin, twin_optimizer)) if trained else ():
        train(one, optimizer=its)
    before = state(net, optimizer)
    optimizer.learning_rate = failing_at(optimizer.steps + LATE, how)
    with pytest.raises(error, match=r"learning_rate|late"):
        net.fit(MANY_X, MANY_LABELS, epochs=2, batch_size=1, optimizer=optimizer)
    assert state(net, optimizer) == before
    optimizer.learning_rate = 1e-3
    assert train(net, optimizer=optimizer).loss == train(twin, optimizer=twin_optimizer).loss
    assert net.theta.tobytes() == twin.theta.tobytes()


@pytest.mark.parametrize("how", [-1.0, KeyError("late")], ids=["rate", "raised"])
def test_a_schedule_that_fails_in_a_later_epoch_leaves_what_the_one_before_left(how):
    """Down to the order of rows that comes next."""
    net, twin, steps = network(), network(), LATE + 10
    optimizer, twin_optimizer = bs.Adam(failing_at(steps + LATE, how)), bs.Adam(1e-3)
    with pytest.raises((ValueError, KeyError), match=r"learning_rate|late"):
        net.fit(MANY_X, MANY_LABELS, epochs=3, batch_size=1, optimizer=optimizer)
    twin.fit(MANY_X, MANY_LABELS, epochs=1, batch_size=1, optimizer=twin_optimizer)
    assert optimizer.steps == steps
    assert state(net, optimizer)[:-1] == state(twin, twin_optimizer)[:-1]  # less the network itself


def test_an_interrupt_in_a_schedule_keeps_the_steps_that_are_taken():
    net, start, optimizer = network(), network(), bs.SGD(failing_at(LATE, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        net.fit(MANY_X, MANY_LABELS, epochs=1, batch_size=1, optimizer=optimizer)
    assert 0 < optimizer.steps <= LATE
    assert net.theta.tobytes() != start.theta.tobytes()
    optimizer.learning_rate = 1e-3
    train(net, optimizer=optimizer)


# The networks that there are

NETWORKS = [
    refused("layers", "at least one layer", "[]", layers=[]),
    refused("layers", "at least one layer", "[3]", layers=[3]),
    refused("layers", "a list such as", "'abc'", TypeError, layers="abc"),
    refused("layers", "a list such as", "None", TypeError, layers=None),
    refused("layers", "a list such as", "3", TypeError, layers=3),
    refused("layers[1]", "at least 1 and below 2**31", "0", layers=[3, 0]),
    refused("layers[1]", "at least 1 and below 2**31", "-1", layers=[3, -1]),
    refused("layers[0]", "at least 1 and below 2**31", "0", layers=[0, 3]),
    refused("layers[2]", "at least 1 and below 2**31", "2147483648", layers=[3, 4, 2**31]),
    refused("layers[1]", "an integer", "2.5", TypeError, layers=[3, 2.5]),
    refused("layers[1]", "an integer", "True", TypeError, layers=[3, True]),
    refused("layers[0]", "an integer", "True", TypeError, layers=[True, 3]),
    refused("layers[1]", "an integer", "'4'", TypeError, layers=[3, "4"]),
    refused("layers[0]", "an integer", "Dense", TypeError, layers=[bs.Dense(3), 3]),
    refused("layers", "at least 2 outputs", "1", layers=[3, 1]),
    refused("activation", "one of identity, relu", "'Relu'; did you mean 'relu'?", layers=[3, 2], activation="Relu"),
    refused("activation", "one of identity, relu", "'sigmod'; did you mean 'sigmoid'?",
            layers=[3, 2], activation="sigmod"),
    refused("activation", "one of identity, relu", "None", TypeError, layers=[3, 2], activation=None),
    refused("loss", "huber", "'cross_entropy'; did you mean 's", layers=[3, 2], loss="cross_entropy"),
    refused("loss", "huber", "'mean_square_error'; did you mean 'mean_squared_error'?",
            layers=[3, 2], loss="mean_square_error"),
    refused("loss", "huber", "5", TypeError, layers=[3, 2], loss=5),
    refused("dtype", "float32, float64", "'float46'; did you mean 'float64'?", layers=[3, 2], dtype="float46"),
    refused("dtype", "float32, float64", "'float16'", layers=[3, 2], dtype=np.float16),
    refused("dtype", "float32, float64", "'int64'", layers=[3, 2], dtype=np.int64),
    refused("dtype", "float32, float64", "None", TypeError, layers=[3, 2], dtype=None),
    refused("dtype", "float32, float64", "object", TypeError, layers=[3, 2], dtype=object()),
    refused("backend", "core, reference", "'referense'; did you mean 'reference'?",
            layers=[3, 2], backend="referense"),
    refused("backend", "core, reference", "None", TypeError, layers=[3, 2], backend=None),
    refused("seed", "at least 0", "-1", layers=[3, 2], seed=-1),
    refused("seed", "an integer", "1.5", TypeError, layers=[3, 2], seed=1.5),
    refused("seed", "an integer", "'1'", TypeError, layers=[3, 2], seed="1"),
    refused("seed", "an integer", "True", TypeError, layers=[3, 2], seed=True),
]  # fmt: skip


@table(NETWORKS)
def test_network_refuses(case):
    with pytest.raises(Exception) as refusal:  # noqa: PT011 - `check` wants the exact type
        bs.Network(**case.arguments)
    case.check(refusal.value)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"width": 0}, ValueError, "width must be an integer of at least 1 and below 2**31, got 0"),
        ({"width": 2.0}, TypeError, "width must be an integer, got 2.0"),
        ({"width": True}, TypeError, "width must be an integer, got True"),
        ({"width": 2, "activation": "reluu"}, ValueError, "did you mean 'relu'?"),
        ({"width": 2, "activation": 1}, TypeError, "activation must be one of"),
        ({"width": 2, "bias": 1}, TypeError, "bias must be True or False, got 1"),
        ({"width": 2, "bias": None}, TypeError, "bias must be True or False, got None"),
    ],
)
def test_dense_refuses(arguments, error, message):
    with pytest.raises(Exception) as refusal:  # noqa: PT011 - the exact type is wanted
        bs.Dense(**arguments)
    assert type(refusal.value) is error
    assert message in str(refusal.value)


@pytest.mark.skipif(os.name != "posix", reason="needs resource limits")
@pytest.mark.parametrize("layers", [[2**31 - 1, 2**31 - 1], [2**31 - 1, 2**20], [2**31 - 1, 16], [2**16] * 60])
def test_a_network_beyond_memory_is_refused_before_memory_is_taken(layers):
    """Under a limit, so that the machine is safe where the promise is broken."""
    script = f"""
import resource
import backsweep as bs
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    bs.Network({layers})
except (MemoryError, ValueError) as error:
    print(type(error).__name__, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    name, mebibytes = done.stdout.split()
    assert name in ("MemoryError", "ValueError")
    assert int(mebibytes) < 64


# The optimizers

OPTIMIZERS = [
    *(refused("learning_rate", "number", repr(v), error, kind=kind, learning_rate=v)
      for kind in (bs.SGD, bs.Adam, bs.AdamW, bs.RMSprop) for v, error in BAD_RATES),
    *(refused(name, "number", repr(v), error, kind=kind, **{name: v})
      for kind, name in [(bs.SGD, "momentum"), (bs.SGD, "weight_decay"), (bs.SGD, "clip_norm"), (bs.Adam, "eps"),
                         (bs.Adam, "weight_decay"), (bs.Adam, "clip_norm"), (bs.AdamW, "weight_decay"),
                         (bs.RMSprop, "alpha"), (bs.RMSprop, "eps"), (bs.RMSprop, "momentum"),
                         (bs.RMSprop, "weight_decay"), (bs.RMSprop, "clip_norm")]
      for v, error in BAD_RATES if not (v is None and name == "clip_norm")),
    *(refused("clip_norm", "greater than 0", "0", kind=kind, clip_norm=0) for kind in (bs.SGD, bs.Adam, bs.RMSprop)),
    refused("alpha", "below 1", "1", kind=bs.RMSprop, alpha=1),
    *(refused(f"betas[{i}]", "below 1", repr(v), kind=bs.Adam, betas=(0.9, v)[:: 1 if i else -1])
      for i in (0, 1) for v in (1.0, -0.1, np.nan, np.inf)),
    refused("betas[0]", "a number", "'0.9'", TypeError, kind=bs.AdamW, betas=("0.9", 0.999)),
    refused("betas", "", "0.9", TypeError, kind=bs.Adam, betas=0.9),
    refused("betas", "", "(0.9,)", kind=bs.Adam, betas=(0.9,)),
    refused("betas", "", "(0.9, 0.99, 0.999)", kind=bs.AdamW, betas=(0.9, 0.99, 0.999)),
    refused("momentum", "greater than 0 with nesterov", "0", kind=bs.SGD, nesterov=True),
    *(refused("nesterov", "True or False", repr(v), TypeError, kind=bs.SGD, momentum=0.9, nesterov=v)
      for v in ("no", 1, None)),
    *(refused("centered", "True or False", repr(v), TypeError, kind=bs.RMSprop, centered=v) for v in ("no", 1, None)),
]  # fmt: skip


@table(OPTIMIZERS)
def test_optimizer_refuses(case):
    arguments = dict(case.arguments)
    with pytest.raises(Exception) as refusal:  # noqa: PT011 - `check` wants the exact type
        arguments.pop("kind")(**arguments)
    case.check(refusal.value)


SETTINGS_OF_ANOTHER_STATE = [
    (bs.SGD, {"momentum": 0.9}, {"momentum": 0}, r"\(velocity\), got some for another \(none\)"),
    (bs.RMSprop, {"momentum": 0.9, "centered": True}, {"momentum": 0}, r"\(average of squares, velocity, average\)"),
    (bs.RMSprop, {"momentum": 0.9, "centered": True}, {"centered": False}, r"another \(average of squares, velocity\)"),
    (bs.RMSprop, {}, {"momentum": 0.5}, r"\(average of squares\), got some for another"),
    # As many vectors, but others.
    (bs.RMSprop, {"momentum": 0.9}, {"momentum": 0, "centered": True}, r"velocity\), .*squares, average\); reset\(\)"),
]


def check_later_settings(kind, arguments, changes, trained, match):
    """They are refused when training begins, and the optimizer goes on as if it had never had them."""
    net, twin = network(), network()
    optimizer, twin_optimizer = kind(0.01, **arguments), kind(0.01, **arguments)
    if trained:
        train(net, optimizer=optimizer)
        train(twin, optimizer=twin_optimizer)
    for name, value in changes.items():
        setattr(optimizer, name, value)
    before = state(net, optimizer)
    with pytest.raises((TypeError, ValueError), match=match) as refusal:
        train(net, optimizer=optimizer)
    assert not isinstance(refusal.value, bs.DivergenceError)
    assert state(net, optimizer) == before
    for name in changes:
        setattr(optimizer, name, getattr(twin_optimizer, name))
    train(net, optimizer=optimizer)
    train(twin, optimizer=twin_optimizer)
    assert net.theta.tobytes() == twin.theta.tobytes()


@pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
@table([case for case in OPTIMIZERS if case.name != "learning_rate"])  # see there
def test_fit_refuses_settings_that_were_set_later(case, trained):
    changes = dict(case.arguments)
    kind = changes.pop("kind")
    momentum = {"momentum": changes.pop("momentum")} if "nesterov" in changes and "momentum" in changes else {}
    check_later_settings(kind, momentum, changes, trained, f"^{re.escape(case.name)} must ")


@pytest.mark.parametrize(("kind", "arguments", "changes", "match"), SETTINGS_OF_ANOTHER_STATE)
def test_fit_refuses_settings_of_another_state(kind, arguments, changes, match):
    check_later_settings(kind, arguments, changes, True, match)
    optimizer = kind(0.01, **arguments)
    train(network(), optimizer=optimizer)
    for name, value in changes.items():
        setattr(optimizer, name, value)
    optimizer.reset()
    net, twin = network(), network()
    train(net, optimizer=optimizer)
    train(twin, optimizer=kind(0.01, **{**arguments, **changes}))
    assert net.theta.tobytes() == twin.theta.tobytes()


def test_settings_that_leave_the_state_what_it_is_may_change():
    """A velocity that there was not begins at 0."""
    net, twin, optimizer = network(), network(), bs.SGD(0.01)
    train(net, optimizer=optimizer)
    train(twin, optimizer=bs.SGD(0.01))
    optimizer.momentum, optimizer.nesterov, optimizer.clip_norm, optimizer.weight_decay = 0.9, True, 1, 1e-3
    train(net, optimizer=optimizer)
    train(twin, optimizer=bs.SGD(0.01, momentum=0.9, nesterov=True, clip_norm=1.0, weight_decay=1e-3))
    assert net.theta.tobytes() == twin.theta.tobytes()


@pytest.mark.parametrize("value", [10**400, -(10**400), Fraction(10**5000, 3)], ids=["large", "negative", "fraction"])
@pytest.mark.parametrize(
    ("make", "name"),
    [(bs.Adam, "learning_rate"), (lambda v: bs.SGD(momentum=v), "momentum"), (bs.Dropout, "p"),
     (lambda v: bs.Adam(betas=(0.9, v)), r"betas\[1\]")],
)  # fmt: skip
def test_numbers_beyond_float64_are_refused_by_name(make, name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a finite number, got one beyond float64"):
        make(value)


# The stateless functions

FUNCTIONS = [
    ("softmax", (X[0],), ValueError, "Z must have two dimensions, got (4,)"),
    ("relu", (X + 1j,), TypeError, "A must be an array of real numbers, got dtype complex64"),
    ("relu", (MASKED,), TypeError, "A must be an ordinary array, got a masked array"),
    ("relu_backward", (X[:3], X), ValueError, "G must have shape (24, 4), got (3, 4)"),
    ("relu_backward", (X[0], X), ValueError, "G must have shape (24, 4), got (4,)"),
    ("softmax", (X[:, :0],), ValueError, "Z must have at least one column, got (24, 0)"),
    ("dense", (X, X), ValueError, "Z must have shape (24, 24), got (24, 4)"),
    ("dense", (X, X.T, np.ones(3)), ValueError, "b must have shape (24,), got (3,)"),
    ("dense", (X, X.T, None, "reluu"), ValueError, "did you mean 'relu'?"),
    ("dense_backward", (X, X, X.T), ValueError, "G_next must have shape (24, 24), got (24, 4)"),
    ("softmax_cross_entropy", (X, LABELS + 2), ValueError, "y must hold labels 0, 1, ..., 3, got y[2] = 4"),
    ("softmax_cross_entropy", (X, LABELS[:3]), ValueError, "y must have one label for each of the 24 rows"),
    ("softmax_cross_entropy", (X[:0], LABELS[:0]), ValueError, "Z must have shape (m, k) with at least one row"),
    ("softmax_cross_entropy", (X, LABELS, -np.ones(M)), ValueError, "sample_weight must be at least 0"),
    ("mean_squared_error", (X, X[:, :3]), ValueError, "y must have shape (24, 4) for mean_squared_error, got (24, 3)"),
    ("poisson_backward", (X, -np.ones((M, N_IN))), ValueError, "y must be counts, at least 0"),
    ("sgd_update", ([1.0], np.ones(1), [], 0, 0.1), TypeError, "theta must be a contiguous vector of float32 or"),
    ("sgd_update", (np.ones(2), np.ones(3), [], 0, 0.1), ValueError, "dtheta must have shape (2,), got (3,)"),
    ("sgd_update", (np.ones(2), np.ones(2, "f"), [], 0, 0.1), TypeError, "dtheta must be a contiguous vector"),
    ("sgd_update", (np.ones(4)[::2], np.ones(2), [], 0, 0.1), TypeError, "theta must be a contiguous vector"),
    ("adam_update", (np.ones(2), np.ones(2), [np.ones(2)], 0, 0.1), ValueError, "state must hold one vector for each"),
    ("adam_update", (np.ones(2), np.ones(2), [np.ones(3)] * 2, 0, 0.1), ValueError, "state must have shape (2,)"),
    ("adam_update", (np.ones(2), np.ones(2), [np.ones(2)] * 2, -1, 0.1), ValueError, "step must be"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "error", "message"), FUNCTIONS)
def test_functional_refuses(name, arguments, error, message):
    with pytest.raises(error) as refusal:
        getattr(bs.functional, name)(*arguments)
    assert message in str(refusal.value)


def test_an_update_of_a_read_only_vector_is_refused():
    theta = np.ones(2)
    theta.setflags(write=False)
    with pytest.raises(ValueError, match="writeable"):
        bs.functional.sgd_update(theta, np.ones(2), [], 0, 0.1)
    assert (theta == 1).all()


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)])
def test_set_num_threads_refuses(n, error):
    before = bs.num_threads()
    with pytest.raises(error, match="n must be an integer"):
        bs.set_num_threads(n)
    assert bs.num_threads() == before


def test_set_num_threads_takes_any_number_for_what_it_can_have():
    for n, expected in ((1, 1), (256, 256), (300, 256), (2**31 - 1, 256)):
        bs.set_num_threads(n)
        assert bs.num_threads() == expected
    bs.set_num_threads(None)


def test_layer_norm_refuses_what_does_not_fit():
    Z, g = np.zeros((4, 3)), np.ones(3)
    for call, message in (
        (lambda: bs.functional.layer_norm(Z, g[1:], g), r"gamma must have shape \(3,\), got \(2,\)"),
        (lambda: bs.functional.layer_norm(Z, g, Z), r"beta must have shape \(3,\), got \(4, 3\)"),
        (lambda: bs.functional.layer_norm(g, g, g), "Z must have two dimensions"),
        (lambda: bs.functional.layer_norm(Z[:, :0], g[:0], g[:0]), "Z must have at least one column"),
        (lambda: bs.functional.layer_norm_backward(Z.T, Z, g), r"D must have shape \(4, 3\), got \(3, 4\)"),
        (lambda: bs.functional.layer_norm_backward(Z, Z, g[1:]), r"gamma must have shape \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("value", [np.nan, -np.inf], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_what_is_not_finite_is_seen_wherever_it_stands(dtype, value):
    """Rows are looked at as they are turned round: in whole blocks, and by strips where rows or columns are left."""
    rows, features = 37, 27
    X = np.ones((rows, features), dtype)
    net = bs.Network([features, 3, 2], dtype=dtype, seed=0)
    y = np.zeros(rows, np.int64)
    for i, j in np.ndindex(X.shape):
        X[i, j] = value
        with pytest.raises(ValueError, match=re.escape(f"X must be finite, got X[{i}, {j}] = ")):
            net.loss_and_gradients(X, y)
        X[i, j] = 1
    net.loss_and_gradients(X, y)
