"""The comparisons: shared by the tests, and by the seeded faults that show that they can fail."""

import copy

import backsweep as bs
import numpy as np
import tolerances
from problems import IMPLEMENTATIONS, function_calls, optimizer
from tolerances import FORMULA, assert_close, gamma

TEAMS = [1, 2, 3, 8, 16, None]  # of threads; None: as many as the work is worth


def check_function(name, shape, dtype):
    """A function of `bs.functional` against its twin in `bs.reference`."""
    one, other = (getattr(module, name) for module in IMPLEMENTATIONS.values())
    # One entry may meet a kink; of one class the probability is 1, and the loss 0; of one feature Ẑ is 0.
    may_vanish = shape == (1, 1) or (shape[1] == 1 and name.startswith(("softmax_cross_entropy", "layer_norm")))
    for arguments, options, bounds in function_calls(name, *shape, dtype):
        what = f"{name} {options or ''}"
        if bounds is None:  # an update: in place
            mine, its = copy.deepcopy(arguments), copy.deepcopy(arguments)
            assert one(*mine, **options) is None
            assert other(*its, **options) is None
            for got, want, before in zip(
                [mine[0], *mine[2]], [its[0], *its[2]], [arguments[0], *arguments[2]], strict=True
            ):
                assert_close(got, want, gamma(2 * FORMULA, dtype) * (np.abs(before) + np.abs(want - before)), what)
                assert not np.array_equal(got, before), f"{what} moves nothing"
            assert np.array_equal(mine[1], arguments[1])
            continue
        got, want = one(*arguments, **options), other(*arguments, **options)
        if not isinstance(want, tuple):
            got, want = (got,), (want,)
        assert len(got) == len(want)
        for a, b, bound in zip(got, want, bounds, strict=False):
            assert (a is None) == (b is None)
            if b is not None:
                assert_close(a, b, bound, what, may_vanish=may_vanish)


def check_sweeps(problem, teams=(None,)):
    """forward, evaluate and loss_and_gradients: the core, with teams of threads, against the reference."""
    X, y, w = problem.data()
    core, reference = problem.network("core"), problem.network("reference")
    bounds = tolerances.sweeps(core, X, y, w)
    # A quantity of one entry, or under a kink, may happen to vanish; the others must stand out.
    may_vanish = problem.rows * problem.widths[-1] == 1 or 1 in problem.widths or "relu" in problem.output
    Z, scores = reference.forward(X), reference.evaluate(X, y, sample_weight=w)
    loss, wanted = reference.loss_and_gradients(X, y, sample_weight=w, dX=True)
    for n in teams:
        assert_close(core.forward(X, n_threads=n), Z, bounds.Z, "Z[L]", may_vanish=may_vanish)
        got = core.evaluate(X, y, sample_weight=w, n_threads=n)
        assert got.keys() == scores.keys()
        assert_close(got["loss"], scores["loss"], bounds.loss, "loss of evaluate", may_vanish=may_vanish)
        if "accuracy" in scores:
            share = 2 * gamma(Z.size + FORMULA, core.dtype)
            assert_close(got["accuracy"], scores["accuracy"], share, "accuracy", may_vanish=True)

        got_loss, got = core.loss_and_gradients(X, y, sample_weight=w, dX=True, n_threads=n)
        assert_close(got_loss, loss, bounds.loss, "loss", may_vanish=may_vanish)
        assert_close(got.dX, wanted.dX, bounds.dX, "dX", may_vanish=may_vanish)
        for i in range(len(core.W)):
            assert_close(got.dW[i], wanted.dW[i], bounds.dW[i], f"dW[{i}]", may_vanish=may_vanish)
            if problem.bias:
                assert_close(got.db[i], wanted.db[i], bounds.db[i], f"db[{i}]", may_vanish=may_vanish)
            else:
                assert got.db[i] is None
                assert wanted.db[i] is None


def check_training(problem, optimizer_name, *, epochs=3, batch_size=4, teams=(None,)):
    """A trajectory of fit: the core, with teams of threads, against the reference."""
    X, y, w = problem.data()

    def trained(backend, n_threads=None):
        network, opt = problem.network(backend), optimizer(optimizer_name)
        history = network.fit(
            X, y, sample_weight=w, epochs=epochs, batch_size=batch_size, optimizer=opt, validation_data=(X, y, w),
            n_threads=n_threads, progress=False,
        )  # fmt: skip
        return network, history, opt

    start = problem.network("core").theta
    assert np.array_equal(start, problem.network("reference").theta)
    reference, wanted, its = trained("reference")
    steps = epochs * -(-problem.rows // batch_size)
    share = tolerances.trajectory(reference, batch_size, steps)
    moved = tolerances.norm(reference.theta - start)
    size = max(tolerances.norm(start), tolerances.norm(reference.theta))
    assert moved > tolerances.VISIBLE * share * size, f"training moved by {moved:.3g}: too little to compare"
    for n in teams:
        core, history, own = trained("core", n)
        assert own.steps == its.steps == steps
        difference = tolerances.norm(core.theta - reference.theta)
        assert difference <= share * size, f"theta is {difference:.3g} away, should be within {share * size:.3g}"
        for one, other in zip(own._state, its._state, strict=True):
            difference = tolerances.norm(one - other)
            assert difference <= share * max(tolerances.norm(other), size), f"the state is {difference:.3g} away"
        assert list(history) == list(wanted)
        for column in history:
            if "loss" in column:
                # The slope of the loss along the way is that of a few units, so its difference is that of theta.
                assert_close(history[column], wanted[column], 10 * share * (1 + np.abs(wanted[column])), column)
            elif "accuracy" in column:
                share_of_rows = 2 * gamma(problem.rows + FORMULA, core.dtype)
                assert_close(history[column], wanted[column], share_of_rows, column, may_vanish=True)


def differences(f, x):
    """df/dx of a scalar function, entry by entry, by the central difference of fourth order.

    Its error is h⁴/30 |f⁽⁵⁾| + 1.5 u |f| / h, least about h = u^(1/5); x, of float64, is restored.
    """
    h = tolerances.unit("float64") ** 0.2
    slopes = np.zeros_like(x)
    for j in np.ndindex(x.shape):
        kept = x[j]
        values = []
        for step in (-2, -1, 1, 2):
            x[j] = kept + step * h
            values.append(f())
        x[j] = kept
        slopes[j] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
    return slopes


def differences_of_some(f, net, count):
    """Some of a network's parameters, and df/dtheta there."""
    picked = np.random.default_rng(3).permutation(net.theta.size)[:count]
    theta = net.theta[picked]

    def f_of_theta():
        net.theta[picked] = theta
        return f()

    slopes = differences(f_of_theta, theta)
    net.theta[picked] = theta
    return picked, slopes


def difference_error(terms, size=1.0):
    """The error of `differences` for a sum of so many terms of this size, with fifth derivatives of up to 100."""
    h = tolerances.unit("float64") ** 0.2
    return size * (100 / 30 * h**4 + 2 * gamma(terms + FORMULA, "float64") / h)


def away_from_kinks(*arrays):
    """Whether no entry is so near zero that a difference would reach across it."""
    return all((np.abs(A) > 0.02).all() for A in arrays)


def check_differences(problem, backend):
    """loss_and_gradients against the differences of its own loss: every W, every b, and X."""
    for seed in range(1000):  # the first draw without a preactivation beside a kink
        problem = problem.but(seed=seed)
        X, y, w = problem.data()
        network = problem.network(backend)
        Z, away = (X - network.input_mean) / network.input_scale if problem.standardised else X, True
        for W, b, layer in zip(network.W, network.b, network.layers, strict=True):
            A = Z @ W + (0 if b is None else b)
            away &= layer.activation not in ("relu", "leaky_relu", "elu") or away_from_kinks(A)
            Z = getattr(bs.functional, layer.activation)(A)
        if problem.loss in ("mean_absolute_error", "huber"):
            away &= away_from_kinks(Z - y, np.abs(Z - y) - 1)
        if away:
            break
    loss, gradients = network.loss_and_gradients(X, y, sample_weight=w, dX=True)
    bound = difference_error(problem.rows * sum(problem.widths), max(1.0, loss))

    def f():
        return network.loss_and_gradients(X, y, sample_weight=w)[0]

    for i in range(len(network.W)):
        assert_close(gradients.dW[i], differences(f, network.W[i]), bound, f"dW[{i}]")
        if problem.bias:
            assert_close(gradients.db[i], differences(f, network.b[i]), bound, f"db[{i}]")
    assert_close(gradients.dX, differences(f, X), bound, "dX")


def bits(network, X, y, w=None, *, n_threads=None, opt=None, batch_size=256, epochs=1):
    """Everything that a network computes of a batch, then what an epoch makes of it, as one list of arrays."""
    loss, gradients = network.loss_and_gradients(X, y, sample_weight=w, dX=True, n_threads=n_threads)
    results = [network.forward(X, n_threads=n_threads), np.float64(loss), gradients.dtheta, gradients.dX]
    results.append(np.array(list(network.evaluate(X, y, sample_weight=w, n_threads=n_threads).values())))
    history = network.fit(
        X, y, sample_weight=w, epochs=epochs, batch_size=batch_size, optimizer=opt or bs.Adam(), n_threads=n_threads,
        progress=False,
    )  # fmt: skip
    return [*results, np.array(history.loss), network.theta]


def assert_same_bits(one, other):
    assert [a.dtype for a in one] == [a.dtype for a in other]
    differences = {i: np.abs(a - b).max() for i, (a, b) in enumerate(zip(one, other, strict=True)) if (a != b).any()}
    assert not differences, f"results differ, by their number in `bits`: {differences}"
