"""Training as its caller sees it: history, callbacks, the order of rows, the optimizer's bond, divergence.

Longer than 300 lines because `fit` has that many promises.
"""

import copy
import gc
import io
import pickle
import re
import sys

import backsweep as bs
import numpy as np
import pytest

M, N_IN, K = 50, 4, 3
BACKENDS = ("core", "reference")
OPTIMIZERS = [
    lambda: bs.SGD(0.1),
    lambda: bs.SGD(0.1, momentum=0.9, nesterov=True),
    lambda: bs.Adam(0.01),
    lambda: bs.AdamW(0.01),
    lambda: bs.RMSprop(0.01, momentum=0.5, centered=True),
    lambda: bs.Adam(lambda step: 0.1 / (1 + step), clip_norm=0.1),
]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(M, N_IN)).astype(np.float32)
LABELS = (np.abs(X).argmax(axis=1) % K).astype(np.int64)
VALUES = RNG.uniform(size=(M, K)).astype(np.float32)


def network(backend="core", **settings):
    return bs.Network([N_IN, 6, K], **{"activation": "tanh", "seed": 3, "backend": backend, **settings})


def same_bits(a, b):
    return a.theta.tobytes() == b.theta.tobytes()


def state_bits(optimizer):
    return optimizer.steps, [vector.tobytes() for vector in optimizer._state]


def in_order(net, X, y, optimizer, **arguments):
    return net.fit(X, y, **{"epochs": 1, "batch_size": 8, "shuffle": False, "optimizer": optimizer, **arguments})


# History


@pytest.mark.parametrize("backend", BACKENDS)
def test_history_of_a_classifier_with_validation(backend):
    net = network(backend)
    history = net.fit(X, LABELS, epochs=3, batch_size=8, validation_data=(X[:9], LABELS[:9]))
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    assert history.epochs == 3
    for column in history:
        assert history[column] is getattr(history, column)
        assert [type(value) for value in history[column]] == [float] * 3
    assert all(seconds >= 0 for seconds in history.seconds)
    last = net.evaluate(X[:9], LABELS[:9])
    assert (history.val_loss[-1], history.val_accuracy[-1]) == (last["loss"], last["accuracy"])


@pytest.mark.parametrize("loss", ["mean_squared_error", "mean_absolute_error", "huber", "poisson"])
def test_history_of_a_regression_has_no_accuracy(loss):
    history = network(loss=loss).fit(X, VALUES, epochs=2, validation_data=[X, VALUES, np.ones(M)])
    assert list(history) == ["loss", "val_loss", "seconds"]
    assert dict(history) == {"loss": history.loss, "val_loss": history.val_loss, "seconds": history.seconds}
    with pytest.raises(KeyError, match="accuracy"):
        history["accuracy"]
    with pytest.raises(KeyError, match="rubbish"):
        history["rubbish"]


def test_history_as_text_is_a_table():
    history = network().fit(X, LABELS, epochs=2, optimizer=bs.SGD(0.0))
    header, first, second = repr(history).splitlines()
    assert header.split() == ["epoch", "loss", "accuracy", "seconds"]
    assert first.split()[:2] == ["1", f"{history.loss[0]:.4f}"]
    assert second.split()[:3] == ["2", f"{history.loss[1]:.4f}", f"{history.accuracy[1]:.4f}"]
    assert repr(bs.History()) == "History(0 epochs)"


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_history_is_the_mean_over_batches_each_before_its_update(backend, weighted):
    net, twin = network(backend, dtype="float64"), network(backend, dtype="float64")
    weights = np.arange(M, dtype=np.float64) if weighted else None
    history = in_order(net, X, LABELS, bs.SGD(0.1), sample_weight=weights)

    loss, right, total = 0.0, 0.0, 0.0
    for begin in range(0, M, 8):
        batch = slice(begin, begin + 8)
        w = np.ones(len(X[batch])) if weights is None else weights[batch]
        value, gradients = twin.loss_and_gradients(X[batch], LABELS[batch], sample_weight=w)
        loss += value * w.sum()
        right += w[twin.predict(X[batch]) == LABELS[batch]].sum()
        total += w.sum()
        twin.theta -= 0.1 * gradients.dtheta
    np.testing.assert_allclose(history.loss, [loss / total], rtol=1e-12)
    np.testing.assert_allclose(history.accuracy, [right / total], rtol=1e-12)
    np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-9)


# Going on


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_further_fit_goes_on_from_where_the_last_one_ended(backend, make):
    parts, whole = network(backend), network(backend)
    optimizer, whole_optimizer = make(), make()
    losses = [parts.fit(X, LABELS, epochs=n, batch_size=8, optimizer=optimizer).loss for n in (2, 0, 1)]
    history = whole.fit(X, LABELS, epochs=3, batch_size=8, optimizer=whole_optimizer)
    assert sum(losses, []) == history.loss  # noqa: RUF017 - three short lists
    assert same_bits(parts, whole)
    assert state_bits(optimizer) == state_bits(whole_optimizer)
    assert optimizer.steps == 21


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_default_optimizer_is_one_adam_kept_from_call_to_call(backend):
    net, twin, adam = network(backend), network(backend), bs.Adam()
    for epochs in (2, 1):
        net.fit(X, LABELS, epochs=epochs)
        twin.fit(X, LABELS, epochs=epochs, optimizer=adam)
    assert same_bits(net, twin)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_epochs_change_nothing(backend):
    net, twin, optimizer = network(backend), network(backend), bs.Adam()
    history = net.fit(X, LABELS, epochs=0, optimizer=optimizer, callbacks=[lambda *_: pytest.fail("called")])
    assert history.epochs == 0
    assert list(history) == []
    assert optimizer.steps == 0
    assert same_bits(net, twin)
    net.fit(X, LABELS, epochs=1)
    twin.fit(X, LABELS, epochs=1)
    assert same_bits(net, twin)


# Callbacks


def test_callbacks_are_called_after_each_epoch_with_the_network_and_its_history():
    calls = []

    def callback(network, history):
        calls.append((network, history, history.epochs, network.theta.copy()))

    net = network()
    history = net.fit(X, LABELS, epochs=3, callbacks=(f for f in [callback, callback]))
    assert [epochs for _, _, epochs, _ in calls] == [1, 1, 2, 2, 3, 3]
    assert all(given is net and kept is history for given, kept, _, _ in calls)
    assert (calls[-1][3] == net.theta).all()
    assert not (calls[0][3] == net.theta).all()


def test_a_callback_that_returns_true_ends_the_training_once_every_callback_was_told():
    told = []
    stop = [lambda _, history: history.epochs == 2, lambda _, history: told.append(history.epochs)]
    net, twin = network(), network()
    assert net.fit(X, LABELS, epochs=9, callbacks=stop).epochs == 2
    assert told == [1, 2]
    twin.fit(X, LABELS, epochs=2)
    assert same_bits(net, twin)


@pytest.mark.parametrize("value", [None, False, 1, "stop", 0.5])
def test_only_true_itself_ends_the_training(value):
    """A callback that happens to return something must not stop the training by accident."""
    assert network().fit(X, LABELS, epochs=3, callbacks=[lambda *_: value]).epochs == 3


def test_an_error_in_a_callback_leaves_everything_as_after_the_epoch():
    def fail(net, history):
        raise RuntimeError("from the callback")

    net, twin, optimizer, twin_optimizer = network(), network(), bs.Adam(), bs.Adam()
    with pytest.raises(RuntimeError, match="from the callback"):
        net.fit(X, LABELS, epochs=5, optimizer=optimizer, callbacks=[fail])
    net.fit(X, LABELS, epochs=1, optimizer=optimizer)
    twin.fit(X, LABELS, epochs=2, optimizer=twin_optimizer)
    assert same_bits(net, twin)
    assert state_bits(optimizer) == state_bits(twin_optimizer)


def test_a_callback_may_change_the_learning_rate_and_the_weights():
    def callback(net, history):
        optimizer.learning_rate = 0.0
        net.theta[:] = 0.5

    net, optimizer = network(), bs.SGD(0.1)
    net.fit(X, LABELS, epochs=3, optimizer=optimizer, callbacks=[callback])
    assert (net.theta == 0.5).all()


# The progress bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("progress", "stream", "shown"),
    [
        (True, io.StringIO, True),
        (False, Terminal, False),
        ("auto", Terminal, True),
        ("auto", io.StringIO, False),
    ],
)
def test_progress_bar(monkeypatch, capsys, progress, stream, shown):
    net, twin = network(), network()
    monkeypatch.setattr(sys, "stderr", stream())
    net.fit(X, LABELS, epochs=2, batch_size=8, progress=progress)
    text = sys.stderr.getvalue()
    monkeypatch.undo()
    assert bool(text) == shown
    if shown:
        assert "/14" in text  # steps in two epochs
    assert capsys.readouterr() == ("", "")
    twin.fit(X, LABELS, epochs=2, batch_size=8, progress=False)
    assert same_bits(net, twin)


class Plain:
    """All that `print` needs of a stream."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("progress", ["auto", True, False])
@pytest.mark.parametrize("stream", [lambda: None, closed, Plain], ids=["none", "closed", "plain"])
def test_training_needs_no_standard_error(monkeypatch, stream, progress):
    net, twin = network(), network()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stream())
        net.fit(X, LABELS, epochs=2, batch_size=8, progress=progress)
        assert bool(getattr(sys.stderr, "text", "")) == (stream is Plain and progress is True)
    twin.fit(X, LABELS, epochs=2, batch_size=8, progress=False)
    assert same_bits(net, twin)


def test_progress_bar_goes_away_with_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(ZeroDivisionError):
        network().fit(X, LABELS, epochs=2, progress=True, callbacks=[lambda *_: 1 / 0])
    assert re.search(r"\r\s*\r$", sys.stderr.getvalue())


# Rows and labels are looked at as they are read: what is refused in the middle of an epoch has changed nothing


WRONG_ENTRIES = {
    "nan": (lambda X, y: X.__setitem__((250, 1), np.nan), r"X must be finite, got X\[250, 1\] = nan"),
    "inf": (lambda X, y: X.__setitem__((499, 0), -np.inf), r"X must be finite, got X\[499, 0\] = -inf"),
    "large": (lambda X, y: X.__setitem__((0, 2), 1e300), r"X\[0, 2\] = 1e\+300, too large for float32"),
    "label": (lambda X, y: y.__setitem__(400, 3), r"y must hold labels 0, 1, ..., 2, got y\[400\] = 3"),
    "fraction": (lambda X, y: y.__setitem__(400, 0.5), r"got y\[400\] = 0.5"),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("standardised", [True, False])
@pytest.mark.parametrize("wrong", WRONG_ENTRIES)
def test_what_is_refused_in_the_middle_of_an_epoch_has_changed_nothing(backend, shuffle, standardised, wrong):
    spoil, message = WRONG_ENTRIES[wrong]
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(502, 3)), rng.integers(3, size=502).astype(np.float64)
    layers = [3, bs.BatchNorm("relu"), bs.Dropout(0.2), 4, 3]
    net, twin = (bs.Network(layers, seed=0, backend=backend) for _ in range(2))
    if standardised:
        net.standardise(X)
        twin.standardise(X)
        if wrong == "large":
            message = "X must be finite in float32 once it is standardised"
    optimizer, other = bs.SGD(0.01, momentum=0.9), bs.SGD(0.01, momentum=0.9)
    spoilt_X, spoilt_y, told = X.copy(), y.copy(), []
    spoil(spoilt_X, spoilt_y)
    for epochs in (0, 1, 2):
        with pytest.raises(ValueError, match=message):
            net.fit(spoilt_X, spoilt_y, epochs=epochs, batch_size=10, optimizer=optimizer, shuffle=shuffle,
                    callbacks=[lambda *_: told.append(1)])  # fmt: skip
        assert not told
        assert optimizer.steps == 0
        assert np.array_equal(net.buffers, twin.buffers)
        assert np.array_equal(net.theta, twin.theta)
    assert optimizer._network is None  # it may still be another's
    for each, its_optimizer in ((net, optimizer), (twin, other)):
        each.fit(X, y, epochs=2, batch_size=10, optimizer=its_optimizer, shuffle=shuffle)
    assert np.array_equal(net.theta, twin.theta)
    assert np.array_equal(net.buffers, twin.buffers)
    assert optimizer.steps == other.steps == 102

    # What has been bound and trained stays so.
    with pytest.raises(ValueError, match=message):
        net.fit(spoilt_X, spoilt_y, epochs=1, batch_size=10, optimizer=optimizer, shuffle=shuffle)
    assert np.array_equal(net.theta, twin.theta)
    for each, its_optimizer in ((net, optimizer), (twin, other)):
        each.fit(X, y, epochs=1, batch_size=10, optimizer=its_optimizer, shuffle=shuffle)
    assert np.array_equal(net.theta, twin.theta)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_wrong_row_is_named_also_where_training_diverges_before_it(backend):
    X = np.ones((100, 3))
    X[99, 2] = np.nan
    net = bs.Network([3, 1], loss="mean_squared_error", seed=0, backend=backend)
    theta = net.theta.copy()
    with pytest.raises(ValueError, match=r"X must be finite, got X\[99, 2\] = nan") as error:
        net.fit(X, X[:, 0], epochs=3, batch_size=1, optimizer=bs.SGD(1e6), shuffle=False)
    assert not isinstance(error.value, bs.DivergenceError)
    assert np.array_equal(net.theta, theta)


# The order of rows


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_are_taken_as_they_are_without_shuffling(backend):
    """Batch by batch: m = 50 in eights ends in a batch of two, whose mean is over two."""
    net, twin, optimizer, twin_optimizer = network(backend), network(backend), bs.Adam(), bs.Adam()
    in_order(net, X, LABELS, optimizer)
    for begin in range(0, M, 8):
        in_order(twin, X[begin : begin + 8], LABELS[begin : begin + 8], twin_optimizer)
    assert same_bits(net, twin)
    assert state_bits(optimizer) == state_bits(twin_optimizer)
    assert optimizer.steps == 7


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_epoch_draws_a_new_order_from_the_seed(backend):
    net, twin, optimizer, twin_optimizer = network(backend), network(backend), bs.Adam(), bs.Adam()
    weights = RNG.uniform(size=M)
    net.fit(X, LABELS, epochs=2, batch_size=8, optimizer=optimizer, sample_weight=weights)
    orders = [twin._permutation(M) for _ in range(2)]
    for order in orders:
        in_order(twin, X[order], LABELS[order], twin_optimizer, sample_weight=weights[order])
    assert same_bits(net, twin)
    assert (orders[0] != orders[1]).any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch_size", [M, M + 1, 10**9])
def test_a_batch_beyond_all_rows_is_all_rows(backend, batch_size):
    net, twin, optimizer = network(backend), network(backend), bs.Adam()
    net.fit(X, LABELS, epochs=2, batch_size=batch_size, shuffle=False, optimizer=optimizer)
    twin.fit(X, LABELS, epochs=2, batch_size=M, shuffle=False)
    assert same_bits(net, twin)
    assert optimizer.steps == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_of_no_weight_count_nothing_not_even_as_a_whole_batch(backend):
    weights = np.ones(M)
    weights[8:16] = 0  # the second batch
    weights[20] = 0
    net, twin = network(backend), network(backend)
    history = in_order(net, X, LABELS, bs.SGD(0.1), sample_weight=weights)
    kept = np.delete(np.arange(M), np.s_[8:16])
    expected = in_order(twin, X[kept], LABELS[kept], bs.SGD(0.1), sample_weight=weights[kept])
    assert same_bits(net, twin)
    np.testing.assert_allclose(history.loss, expected.loss, rtol=1e-6)
    np.testing.assert_allclose(history.accuracy, expected.accuracy, rtol=1e-6)
    assert np.isfinite(net.theta).all()


# An optimizer belongs to one network


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_an_optimizer_refuses_a_second_network(make):
    net, other, optimizer = network(), network(), make()
    net.fit(X, LABELS, epochs=1, batch_size=8, optimizer=optimizer)
    before = state_bits(optimizer), other.theta.tobytes(), other._rng.bit_generator.state
    with pytest.raises(ValueError, match=r"^optimizer must be new, or the one that trained .* after 7 steps$"):
        other.fit(X, LABELS, optimizer=optimizer)
    assert (state_bits(optimizer), other.theta.tobytes(), other._rng.bit_generator.state) == before

    optimizer.reset()
    assert optimizer.steps == 0
    fresh = network()
    other.fit(X, LABELS, epochs=1, optimizer=optimizer)
    fresh.fit(X, LABELS, epochs=1, optimizer=make())
    assert same_bits(other, fresh)


def test_an_optimizer_stays_bound_when_its_network_is_gone():
    net, optimizer = network(), bs.Adam()
    net.fit(X, LABELS, epochs=1, optimizer=optimizer)
    del net
    gc.collect()
    with pytest.raises(ValueError, match="holds the state of another"):
        network().fit(X, LABELS, optimizer=optimizer)


def test_an_optimizer_keeps_no_network_alive():
    net, optimizer = network(), bs.Adam()
    net.fit(X, LABELS, epochs=1, optimizer=optimizer)
    bound = optimizer._network
    del net
    gc.collect()
    assert bound() is None


COPIES = [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]


@pytest.mark.parametrize("make", OPTIMIZERS[:-1])  # the last holds a lambda, which pickle does not take
@pytest.mark.parametrize("copied", COPIES, ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_copies_of_network_and_optimizer_go_on_to_the_same_bits(backend, copied, make):
    net, optimizer = network(backend), make()
    net.fit(X, LABELS, epochs=2, batch_size=8, optimizer=optimizer)
    twin, twin_optimizer = copied((net, optimizer))
    assert same_bits(net, twin)
    assert state_bits(optimizer) == state_bits(twin_optimizer)

    before = twin.theta.tobytes(), state_bits(twin_optimizer)
    net.fit(X, LABELS, epochs=2, batch_size=8, optimizer=optimizer)
    assert (twin.theta.tobytes(), state_bits(twin_optimizer)) == before  # nothing is shared
    twin.fit(X, LABELS, epochs=2, batch_size=8, optimizer=twin_optimizer)
    assert same_bits(net, twin)
    assert state_bits(optimizer) == state_bits(twin_optimizer)
    with pytest.raises(ValueError, match="holds the state of another"):
        net.fit(X, LABELS, optimizer=twin_optimizer)


@pytest.mark.parametrize("copied", COPIES, ids=["deepcopy", "pickle"])
def test_a_copied_network_goes_on_with_its_default_optimizer(copied):
    net = network()
    net.fit(X, LABELS, epochs=2)
    twin = copied(net)
    net.fit(X, LABELS, epochs=1)
    twin.fit(X, LABELS, epochs=1)
    assert same_bits(net, twin)


def test_a_shallow_copy_of_an_optimizer_shares_no_state():
    """Two networks that wrote to the same moments would spoil each other's training without a word."""
    net, twin, optimizer, twin_optimizer = network(), network(), bs.Adam(), bs.Adam()
    net.fit(X, LABELS, epochs=1, optimizer=optimizer)
    twin.fit(X, LABELS, epochs=1, optimizer=twin_optimizer)
    network(seed=4).fit(X, LABELS, epochs=1, optimizer=copy.copy(optimizer))
    net.fit(X, LABELS, epochs=1, optimizer=optimizer)
    twin.fit(X, LABELS, epochs=1, optimizer=twin_optimizer)
    assert same_bits(net, twin)
    assert optimizer.steps == twin_optimizer.steps


def test_a_shallow_copy_of_a_network_shares_no_generator():
    net, twin = network(), network()
    copy.copy(net).fit(X, LABELS, epochs=1)
    net.fit(X, LABELS, epochs=1)
    twin.fit(X, LABELS, epochs=1)
    assert same_bits(net, twin)


@pytest.mark.parametrize("settings", [{"dtype": "float64"}, {"layers": [N_IN, 7, K]}])
def test_an_optimizer_copy_fits_only_a_network_of_its_size_and_dtype(settings):
    net, optimizer = network(), bs.Adam()
    net.fit(X, LABELS, epochs=1, optimizer=optimizer)
    layers = settings.pop("layers", [N_IN, 6, K])
    with pytest.raises(ValueError, match="optimizer must hold the state of a network of this size and dtype"):
        bs.Network(layers, **settings).fit(X, LABELS, optimizer=copy.deepcopy(optimizer))


# Divergence: found at the step where it happens, and undone


def run_steps(net, optimizer, X, y, batch_size, n):
    """Exactly n steps as `fit` takes them: whole epochs, then the beginning of one in its own order."""
    epochs, rest = divmod(n, -(-len(X) // batch_size))
    net.fit(X, y, epochs=epochs, batch_size=batch_size, optimizer=optimizer, n_threads=1)
    order = net._permutation(len(X))
    if rest:
        begin = order[: rest * batch_size]
        in_order(net, X[begin], y[begin], optimizer, batch_size=batch_size)
    return order[rest * batch_size :]


def check_divergence(net, twin, make, X, y, batch_size=8, epochs=6):
    """`fit` on `net` diverges; `twin` is stopped just before that step, and takes it. Returns the error.

    One runs on two threads, the other on one: the whole team must notice, and the bits do not depend on it.
    """
    optimizer, twin_optimizer = make(), make()
    with pytest.raises(bs.DivergenceError) as caught:
        net.fit(X, y, epochs=epochs, batch_size=batch_size, optimizer=optimizer, n_threads=2)
    message = str(caught.value)
    epoch, step = map(int, re.match(r"training diverged in epoch (\d+), step (\d+): ", message).groups())
    steps_in_epoch = -(-len(X) // batch_size)
    assert optimizer.steps == (epoch - 1) * steps_in_epoch + step - 1
    assert np.isfinite(net.theta).all()

    rest = run_steps(twin, twin_optimizer, X, y, batch_size, optimizer.steps)
    assert same_bits(net, twin)
    assert state_bits(optimizer) == state_bits(twin_optimizer)
    next_rows = rest[:batch_size]
    with pytest.raises(bs.DivergenceError, match="epoch 1, step 1: "):
        in_order(twin, X[next_rows], y[next_rows], twin_optimizer, batch_size=batch_size)
    assert same_bits(net, twin)
    assert state_bits(optimizer) == state_bits(twin_optimizer)
    return message


def jump(step_of_jump, rate, usual=1e-3):
    return lambda step: rate if step == step_of_jump else usual


# Where numbers overflow the reference says so by NumPy's warnings; another test asks for silence.
overflows = pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")


@overflows
@pytest.mark.parametrize("step", [0, 3, 6, 16, 20])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_that_overflows(backend, dtype, step):
    """One huge step, and the squares of the next batch are beyond the dtype."""
    rate = 1e30 if dtype == "float32" else 1e200
    settings = {"loss": "mean_squared_error", "activation": "relu", "dtype": dtype}
    nets = [network(backend, **settings) for _ in range(2)]
    message = check_divergence(*nets, lambda: bs.SGD(jump(step, rate), momentum=0.5), X, VALUES)
    assert f"epoch {(step + 1) // 7 + 1}, step {(step + 1) % 7 + 1}: the loss is not finite" in message
    assert "the weights are those before that step" in message
    assert "learning_rate (got " in message


def dying_network(backend, dtype="float32"):
    """Its hidden unit can be driven to -inf in one step, is dead from then on, and the loss remains finite."""
    net = bs.Network([1, 1, 1], loss="mean_absolute_error", backend=backend, dtype=dtype, seed=0)
    net.W[0][:], net.b[0][:] = 1e-6, 0.0
    net.W[1][:], net.b[1][:] = 1.0, 0.0
    return net


@overflows
@pytest.mark.parametrize("step", [0, 2, 5, 11])
@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_that_overflow_while_the_loss_stays_finite(backend, step):
    rows, y = np.full((20, 1), 1e6), np.full(20, -1.0)
    nets = [dying_network(backend) for _ in range(2)]
    message = check_divergence(*nets, lambda: bs.SGD(jump(step, 1e34, 1e-15)), rows, y, batch_size=5)
    assert f"epoch {step // 4 + 1}, step {step % 4 + 1}: a weight is not finite" in message


@overflows
@pytest.mark.parametrize("make", [lambda: bs.SGD(0.1, clip_norm=1.0), lambda: bs.Adam(0.1), lambda: bs.RMSprop(0.1)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_that_overflow_while_the_loss_stays_finite(backend, make):
    """|z - y| is finite, ∂ℓ/∂W = x·2e30·w is not: infinity over infinity, in whatever optimizer."""

    def large_network():
        net = bs.Network([1, 2, 1], activation="leaky_relu", loss="mean_absolute_error", backend=backend, seed=0)
        net.W[0][:], net.W[1][:] = [[1e-20, -1e-20]], 1e30
        return net

    rows, y = np.full((20, 1), 1e20), np.full(20, -1.0)
    message = check_divergence(large_network(), large_network(), make, rows, y, batch_size=5)
    assert "a weight is not finite" in message


@overflows
def test_divergence_in_a_later_run_of_a_long_epoch():
    """An epoch of more steps than the core takes at once."""
    rows = np.resize(X, (4500, N_IN))
    y = np.resize(VALUES, (4500, K))
    nets = [network(loss="mean_squared_error", activation="relu") for _ in range(2)]
    message = check_divergence(*nets, lambda: bs.SGD(jump(4299, 1e30)), rows, y, batch_size=1, epochs=1)
    assert "epoch 1, step 4301: the loss is not finite" in message


@overflows
def test_divergence_is_a_value_error_and_a_floating_point_error():
    for error in (bs.DivergenceError, ValueError, FloatingPointError):
        with pytest.raises(error, match="diverged"):
            network(loss="mean_squared_error").fit(X, VALUES, optimizer=bs.SGD(1e30))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("loss", "y"), [("mean_squared_error", VALUES), ("softmax_cross_entropy", LABELS)])
def test_divergence_comes_without_warnings(backend, loss, y):
    """A warning made an error, as here, must not take the place of the DivergenceError."""
    with pytest.raises(bs.DivergenceError):
        network(backend, loss=loss, activation="relu").fit(X, y, epochs=6, batch_size=8, optimizer=bs.SGD(1e37))


@pytest.mark.parametrize("backend", BACKENDS)
def test_large_weights_are_not_divergence(backend):
    """Their squares overflow, they do not."""
    net = network(backend)
    net.b[1][:] = 1e30
    net.fit(X, LABELS, epochs=2, optimizer=bs.SGD(1e-3))
    assert np.isfinite(net.theta).all()
