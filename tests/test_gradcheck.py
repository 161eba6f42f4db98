"""`check_gradients`: right gradients pass, and each slip is found and called by its name.

Longer than 300 lines because every slip has its own gradients.
"""

import copy
import re
from xml.etree import ElementTree

import backsweep as bs
import figures
import handwritten
import numpy as np
import pytest
from backsweep.diagnosis import FAULTS
from graphs import Graph

ACTIVATIONS = list(handwritten.SIGMA)
LOSSES = ["softmax_cross_entropy", "sigmoid_cross_entropy", "mean_squared_error", "mean_absolute_error", "huber",
          "poisson"]  # fmt: skip
NETWORKS_PER_SLIP = 20


def targets(rng, loss, m, k):
    draw = {
        "softmax_cross_entropy": lambda: rng.integers(0, k, m),
        "sigmoid_cross_entropy": lambda: rng.integers(0, 2, (m, k)),
        "poisson": lambda: rng.poisson(1.5, (m, k)),
    }
    return draw.get(loss, lambda: rng.normal(size=(m, k)))()


def outputs(rng, loss):
    return int(rng.integers(2 if loss == "softmax_cross_entropy" else 1, 5))


def small_network(**options):
    rng = np.random.default_rng(0)
    net = bs.Network([4, 5, 3], seed=0, **({"dtype": "float64"} | options))
    net.b[0][:] = rng.normal(size=5)
    return net, rng.normal(size=(8, 4)), rng.integers(0, 3, 8)


# Right gradients


def right_case(case):
    """A network of any kind, data of any size, and the same again by hand."""
    rng = np.random.default_rng([1, case])
    activation, loss = ACTIVATIONS[case % 9], LOSSES[case // 9 % 6]
    m, k = int(rng.integers(1, 30)), outputs(rng, loss)
    widths = [int(n) for n in rng.integers(1, 20, rng.integers(1, 6))]
    hidden = [bs.Dense(n, bias=bool(rng.integers(2))) for n in widths[1:]]
    net = bs.Network(
        [widths[0], *hidden, bs.Dense(k, bias=bool(rng.integers(2)))], activation=activation, loss=loss,
        dtype=("float32", "float64")[case % 2], backend=("core", "reference")[case // 2 % 2], seed=case,
    )  # fmt: skip
    for b in net.b:
        if b is not None and case % 3:
            b[:] = rng.normal(0, 0.5, b.shape)
    X = rng.normal(size=(m, widths[0])) * 10 ** rng.uniform(-2, 0.5)
    if case % 5 == 0:
        X = np.round(X)  # rows of zeros and pre-activations on the kink
    if case % 4 == 0:
        net.standardise(X)
    weights = rng.uniform(0.1, 2, m) if case % 3 == 0 else None
    return net, X, targets(rng, loss, m, k), weights


def test_no_false_alarm_on_two_hundred_networks():
    judged = 0
    for case in range(200):
        net, X, y, weights = right_case(case)
        report = bs.check_gradients(net, X, y, sample_weight=weights)
        assert report.ok, f"case {case}\n{report}"
        judged += sum(row.verdict == "right" for row in report.rows)
    assert judged > 900


def test_no_false_alarm_on_gradients_by_hand():
    for case in range(100):
        net, X, y, _ = right_case(4 * case + 1 + case % 3)  # every fourth network standardises; by hand nothing does
        report = bs.check_gradients(net, X, y, grads=handwritten.gradients(net, X, y))
        assert report.ok, f"case {case}\n{report}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_small_error_is_still_one(dtype):
    """The tolerances that right gradients get are not those that everything gets."""
    size = {"float32": 5e-3, "float64": 1e-5}[dtype]
    for case in range(12):
        net, X, y, _ = right_case(2 * case + (dtype == "float64"))
        _, g = net.loss_and_gradients(X, y)
        i = int(np.argmax([np.abs(dW).max() for dW in g.dW]))
        at = np.unravel_index(int(np.abs(g.dW[i]).argmax()), g.dW[i].shape)
        if g.dW[i][at] == 0:
            continue  # a dead network
        g.dW[i][at] *= 1 + size
        row = next(r for r in bs.check_gradients(net, X, y, grads=g).rows if r.name == f"W[{i}]")
        assert row.verdict == "wrong", f"case {case}: {row}"
        assert row.worst == at
        assert row.error == pytest.approx(size, rel=0.1)


# Planted faults


def planted(slip, number):
    """A network on which the slip shows, and the gradients that it gives."""
    for attempt in range(100):
        rng = np.random.default_rng([2, list(handwritten.SLIPS).index(slip), number, attempt])
        loss, depth = str(rng.choice(LOSSES)), int(rng.integers(2, 5))
        if slip in handwritten.SOFTMAX or (slip == "logits" and loss not in (*LOSSES[:2], "poisson")):
            loss = "softmax_cross_entropy"
        activation = str(rng.choice(ACTIVATIONS[1:]))
        if slip == "mask at the output" and "relu" in activation:
            activation = "tanh"
        widths = [int(n) for n in rng.integers(3, 8, depth)]
        if slip in handwritten.SQUARE:
            widths = [widths[0]] * depth
        m, k = int(rng.integers(2, 12)), outputs(rng, loss)
        net = bs.Network([*widths, k], activation=activation, loss=loss, seed=number,
                         dtype=str(rng.choice(["float32", "float64"])))  # fmt: skip
        for b in net.b:
            b[:] = rng.normal(0, 0.3, b.shape)
        X, y = rng.normal(size=(m, widths[0])).astype(net.dtype), targets(rng, loss, m, k)
        if slip == "no max":
            net.W[-1][:] *= 2000 if net.dtype == np.float32 else 20000
        with np.errstate(all="ignore"):
            dW, db = handwritten.gradients(net, X, y, slip)
            if slip == "before the update":
                for array, step in zip([*net.W, *net.b], [*dW, *db], strict=True):
                    array -= 0.1 * step.astype(net.dtype)
            right = handwritten.gradients(net, X, y)
        pairs = list(zip([*dW, *db], [*right[0], *right[1]], strict=True))
        if not all(a.shape == c.shape and np.allclose(a, c, rtol=1e-3, atol=1e-6) for a, c in pairs):
            return net, X, y, (dW, db)
    raise AssertionError(f"{slip} shows nowhere")


@pytest.mark.parametrize("slip", handwritten.SLIPS)
def test_every_planted_fault_is_found_and_named(slip):
    unnamed = []
    for number in range(NETWORKS_PER_SLIP):
        net, X, y, grads = planted(slip, number)
        report = bs.check_gradients(net, X, y, grads=grads)
        wrong = [row for row in report.rows if row.verdict == "wrong"]
        assert wrong, f"{slip} on {net} is not found"
        assert not report.ok
        assert all(row.diagnosis and row.fault in (*FAULTS, None) for row in wrong)
        if {row.fault for row in wrong} != {handwritten.SLIPS[slip]}:
            unnamed.append((number, [(row.name, row.fault) for row in wrong]))
    figures.measured(f"planted faults not named, of {NETWORKS_PER_SLIP}", slip, len(unnamed))
    assert len(unnamed) <= 0.05 * NETWORKS_PER_SLIP, unnamed


@pytest.mark.parametrize(
    ("slip", "says"),
    [
        ("no division by m", r"8 times too large, the division by m = 8 is missing: .*G\[2\] = \(S - I_y\)/m"),
        ("sign", r"sign is flipped: G\[2\] = \(S - I_y\)/m"),
        ("no mask", r"σ' of layer 0 is missing: D\[0\] = G\[1\] ∘ relu'\(A\[0\]\)"),
        ("bias rows", r"must have shape \(5,\), got \(8, 5\): it is not summed over the 8 rows"),
        ("transposed", r"must have shape \(4, 5\), got \(5, 4\): it is transposed; .*dW\[i\] = Z\[i\]ᵀ D\[i\]"),
        ("updated on the way down", r"updated before they were used: G\[i\] = D\[i\] W\[i\]ᵀ"),
        ("no one-hot", r"labels are not subtracted, S stands where S - I_y must"),
        ("reversed lists", r"is the order reversed\?"),
    ],
)
def test_the_diagnosis_says_the_formula(slip, says):
    net, X, y = small_network()
    report = bs.check_gradients(net, X, y, grads=handwritten.gradients(net, X, y, slip))
    assert re.search(says, str(report)), report


def test_softmax_without_the_max_names_the_logit():
    net, X, y = small_network()
    net.W[1][:] *= 5000
    with np.errstate(all="ignore"):
        grads = handwritten.gradients(net, X, y, "no max")
    report = bs.check_gradients(net, X, y, grads=grads)
    assert {row.fault for row in report.rows} == {"softmax_overflow"}
    assert "exp overflows at a logit of" in str(report)
    assert all(not np.isfinite(row.analytic) and np.isfinite(row.numerical) for row in report.rows)


def test_other_slips():
    net, X, y = small_network()
    weights = np.linspace(0.1, 2, 8)
    _, g = net.loss_and_gradients(X, y, sample_weight=weights)
    _, unweighted = net.loss_and_gradients(X, y)

    def faults(dW, db, **options):
        return {row.fault for row in bs.check_gradients(net, X, y, grads=(dW, db), **options).rows if row.fault}

    assert faults(unweighted.dW, unweighted.db, sample_weight=weights) == {"weights_ignored"}
    times = weights.sum()
    assert faults([times * d for d in g.dW], [times * d for d in g.db], sample_weight=weights) == {"mean_missing"}
    dW, db = unweighted.dW, unweighted.db
    assert faults([8 * d for d in dW], db) == {"mean_missing"}
    assert faults(dW, [d[np.newaxis] for d in db]) == {"shape"}
    assert faults([d.ravel() for d in dW], db) == {"shape"}
    assert faults(db, dW) == {"wrong_layer"}
    assert faults([dW[0] * np.inf, dW[1]], db) == {"not_finite"}
    combined = faults([-2.5 * d for d in handwritten.gradients(net, X, y, "no mask")[0]], db)
    assert combined == {"mask_missing", "factor"}
    noise = np.random.default_rng(1).normal(size=(4, 5))
    report = bs.check_gradients(net, X, y, grads=([noise, dW[1]], db))
    assert [row.fault for row in report.rows] == [None] * 4
    assert "no slip that is known" in report.rows[0].diagnosis
    assert "db[0] is right, so look at Z[0] first" in report.rows[0].diagnosis


def test_one_wrong_entry_of_many_is_found():
    net = bs.Network([60, 80, 10], dtype="float64", seed=0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(16, 60)), rng.integers(0, 10, 16)
    _, g = net.loss_and_gradients(X, y)
    g.dW[0][41, 17] += 1e-3
    rows = bs.check_gradients(net, X, y, grads=g, entries=5).rows
    assert [row.verdict for row in rows] == ["wrong", "right", "right", "right"]
    assert rows[0].worst == (41, 17)
    assert rows[0].checked == 6


# Kinks


def test_pre_activations_beside_a_kink():
    """Each step would cross it: smaller ones are taken."""
    net, X, y = small_network(activation="relu")
    A = X @ net.W[0] + net.b[0]
    net.b[0][:] -= A[3] - np.array([1e-4, -1e-4, 1e-6, -1e-6, 1e-5])
    report = bs.check_gradients(net, X, y)
    assert report.ok
    assert all(row.skipped == 0 for row in report.rows)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_a_pre_activation_on_a_kink(activation):
    """A row of zeros without biases: one side belongs to the slope that the network takes."""
    net, X, y = small_network(activation=activation)
    net.b[0][:] = 0
    X[2] = 0
    report = bs.check_gradients(net, X, y)
    assert report.ok
    assert all(row.verdict == "right" and row.skipped == 0 for row in report.rows)


def test_entries_on_a_kink_are_counted():
    net = bs.Network([2, 1], loss="mean_absolute_error", dtype="float64", seed=0)
    X = np.array([[1.0, 2.0], [3.0, 4.0]])
    report = bs.check_gradients(net, X, net.forward(X))
    assert [row.verdict for row in report.rows] == ["not judged"] * 2
    assert [row.skipped for row in report.rows] == [2, 1]
    assert not report.ok
    assert "kink" in str(report)


def test_a_kink_of_a_function():
    x = np.array([0.0, 1e-5, -1e-7, 2.0, -3.0])
    report = bs.check_gradients(lambda x: np.maximum(x, 0).sum(), x, grads=[(x > 0) * 1.0])
    assert report.ok
    assert (report.rows[0].checked, report.rows[0].skipped) == (4, 1)
    assert not bs.check_gradients(lambda x: np.maximum(x, 0).sum(), x, grads=[(x > 0) * 1.01]).ok


# Functions


def network_function(params, X, y):
    (W0, b0), (W1, b1) = params["hidden"], params["out"]
    return bs.functional.softmax_cross_entropy(bs.functional.tanh(X @ W0 + b0) @ W1 + b1, y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_function_of_nested_arrays(dtype):
    net, X, y = small_network(activation="tanh")
    params = {
        name: [W.astype(dtype), b.astype(dtype)] for name, W, b in zip(("hidden", "out"), net.W, net.b, strict=True)
    }
    report = bs.check_gradients(network_function, params, X.astype(dtype), y)
    assert report.ok
    assert [row.name for row in report.rows] == [
        "params['hidden'][0]", "params['hidden'][1]", "params['out'][0]", "params['out'][1]", "X",
    ]  # fmt: skip
    assert "y holds integers" in str(report)


def test_a_function_of_array_value():
    x = np.random.default_rng(0).normal(size=(3, 4))
    assert bs.check_gradients(bs.functional.softmax, x).ok


def test_no_false_alarm_on_two_hundred_graphs():
    rng, judged = np.random.default_rng(6), 0
    for number in range(200):
        graph = Graph(rng, nodes=int(rng.integers(5, 31)))
        report = bs.check_gradients(graph, *graph.leaves)
        assert report.ok, f"graph {number}\n{report}"
        judged += sum(row.verdict == "right" for row in report.rows)
    assert judged > 500


def test_a_gradient_that_cancels_to_zero():
    """A shift of all logits changes nothing: what is left of its gradient is rounding, and no fault."""
    rng = np.random.default_rng(0)
    Z, y = rng.normal(size=(13, 7)), rng.integers(0, 7, 13)

    def f(shift, Z):
        return bs.functional.softmax_cross_entropy(Z + shift, y)

    assert 0 < abs(bs.grad(f)(0.3, Z)) < 1e-15
    report = bs.check_gradients(f, 0.3, Z)
    assert [row.verdict for row in report.rows] == ["not judged", "right"]
    assert report.ok
    wrong = bs.check_gradients(f, 0.3, Z, grads=(1e-3, bs.grad(f, argnums=1)(0.3, Z)))
    assert [row.verdict for row in wrong.rows] == ["wrong", "right"]


def test_an_operation_of_ones_own():
    @bs.primitive
    def cube(x):
        return x**3, lambda G: (3 * G * x**2,)

    @bs.primitive
    def careless_cube(x):
        return x**3, lambda G: (-3 * G * x**2,)

    x = np.linspace(-2, 3, 12).reshape(3, 4)
    assert bs.check_gradients(cube, x).ok
    (row,) = bs.check_gradients(careless_cube, x).rows
    assert (row.name, row.fault) == ("x", "sign")


def test_extreme_arguments():
    assert bs.check_gradients(lambda x: np.log(x).sum(), np.array([1e-6, 1.0, 1e5])).ok
    assert bs.check_gradients(lambda x, c: np.sqrt(x).sum() * c, np.array([1e-3, 1.0, 1e5]), 2.0).ok
    tiny = np.array([3.0, -2.0])
    assert bs.check_gradients(lambda x: 1e-20 * (x**3).sum(), tiny, grads=[3e-20 * tiny**2]).ok
    assert not bs.check_gradients(lambda x: 1e-20 * (x**3).sum(), tiny, grads=[3.01e-20 * tiny**2]).ok


def test_diagnoses_of_functions():
    rng = np.random.default_rng(0)
    X, W, b, V = rng.normal(size=(8, 4)), rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(4, 3))
    M = rng.normal(size=(3, 3))

    def f(W, b, X):
        return float((np.tanh(X @ W + b) ** 2).sum() / len(X))

    T = np.tanh(X @ W + b)
    D = 2 * T * (1 - T**2) / 8
    dW, db, dX = X.T @ D, D.sum(axis=0), D @ W.T

    def faults(f, primals, grads):
        return [row.fault for row in bs.check_gradients(f, *primals, grads=grads).rows]

    assert faults(f, (W, b, X), (dW, db, dX)) == [None] * 3
    assert faults(f, (W, b, X), lambda W, b, X: (dW, db, dX)) == [None] * 3
    assert faults(f, (W, b, X), (-dW, 8 * db, dX / 8)) == ["sign", "mean_missing", "mean_twice"]
    assert faults(lambda W: f(W, b, X), (W,), [8 * dW]) == ["mean_missing"]  # the rows are nowhere to be seen
    assert faults(lambda b: f(W, b, X), (b,), [db / 8]) == ["mean_twice"]
    assert faults(lambda b: float((b**2).sum()), (b,), [b]) == ["factor"]  # the 2 of the square
    assert faults(f, (W, b, X), (dW.T, D, 0 * dX)) == ["transposed", "not_reduced", "zero"]
    assert faults(f, (W, b, X), (dW.ravel(), db * np.nan, 1.7 * dX)) == ["shape", "not_finite", "factor"]
    assert faults(f, (W, b, X), (V, None, dX)) == [None, None]  # wrong but unknown; b is left out; right
    assert faults(lambda M: float((M @ M).sum()), (M,), [M.sum(0)[:, None] + M.sum(1)[None]]) == [None]
    assert faults(lambda M: float((M @ M).sum()), (M,), [M.sum(0)[None] + M.sum(1)[:, None]]) == ["transposed"]
    assert faults(lambda W, V: float((W * V * V).sum()), (W, V), (2 * W * V, V * V)) == ["wrong_layer"] * 2


# What it promises


def test_nothing_changes():
    net, X, y = small_network(dtype="float32")
    net.standardise(X)
    state = copy.deepcopy(net.__getstate__())
    rng = copy.deepcopy(net._rng.bit_generator.state)
    data = X.copy(), y.copy()

    def careless(net, X, y):
        _, g = net.loss_and_gradients(X, y)
        net.theta[:] = 0
        return g.dW, g.db

    assert bs.check_gradients(net, X, y).ok
    report = bs.check_gradients(net, X, y, grads=careless)
    assert report.ok
    assert "put back" in str(report)
    np.testing.assert_equal(net.__getstate__()["tensors"], state["tensors"])
    assert net._rng.bit_generator.state == rng
    assert np.array_equal(X, data[0])
    assert np.array_equal(y, data[1])
    x = np.ones((2, 2))
    bs.check_gradients(lambda x: (x**2).sum(), x)
    assert np.array_equal(x, np.ones((2, 2)))


def test_the_same_seed_gives_the_same_report():
    net = bs.Network([30, 40, 5], seed=0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(10, 30)), rng.integers(0, 5, 10)
    assert bs.check_gradients(net, X, y, seed=3) == bs.check_gradients(net, X, y, seed=3)
    assert bs.check_gradients(net, X, y, seed=3) != bs.check_gradients(net, X, y, seed=4)


def test_the_forms_of_a_networks_gradients():
    net, X, y = small_network()
    _, g = net.loss_and_gradients(X, y)
    assert bs.check_gradients(net, X, y, grads=(list(g.dW), [d.tolist() for d in g.db])).ok
    assert bs.check_gradients(net, X, y, grads=g).ok
    assert bs.check_gradients(net, X, y, grads=lambda net, X, y: handwritten.gradients(net, X, y)).ok
    w = np.linspace(1, 2, 8)
    weighted = bs.check_gradients(
        net, X, y, sample_weight=w,
        grads=lambda net, X, y, sample_weight: net.loss_and_gradients(X, y, sample_weight=sample_weight)[1],
    )  # fmt: skip
    assert weighted.ok
    regression = bs.Network([4, bs.Dense(3, bias=False)], dtype="float64", seed=0)
    _, g = regression.loss_and_gradients(X, y)
    assert bs.check_gradients(regression, X, y, grads=(g.dW[0], None)).ok
    assert bs.check_gradients(regression, X, y, grads=(g.dW, [None])).ok


def test_the_report_as_text_and_html():
    net, X, y = small_network()
    report = bs.check_gradients(net, X, y, grads=handwritten.gradients(net, X, y, "no division by m"))
    assert isinstance(report, bs.GradientReport)
    lines = str(report).splitlines()
    assert lines[0].endswith("on 8 rows: 4 wrong of 4 arrays")
    assert lines[1].split()[:3] == ["array", "shape", "checked"]
    assert lines[-1].startswith("W[0], b[0], W[1], b[1]: 8 times too large")
    table = ElementTree.fromstring(report._repr_html_()).find("table")
    assert len(table.findall("tbody/tr")) == 4
    row = report.rows[0]
    assert row.analytic == pytest.approx(8 * row.numerical, rel=1e-6)
    assert "&lt;lambda&gt;" in bs.check_gradients(lambda x: (x * x).sum(), np.ones(2))._repr_html_()


def test_refusals():
    net, X, y = small_network()
    _, g = net.loss_and_gradients(X, y)
    for error, message, call in [
        (TypeError, "target must be a Network or a function, got int", lambda: bs.check_gradients(3, X)),
        (TypeError, "must be given X and y after a network, got 1 arguments", lambda: bs.check_gradients(net, X)),
        (ValueError, r"X must have shape \(m, 4\), got \(8, 3\)", lambda: bs.check_gradients(net, X[:, :3], y)),
        (ValueError, "entries must be an integer of at least 1", lambda: bs.check_gradients(net, X, y, entries=0)),
        (ValueError, "tolerance must be a finite number", lambda: bs.check_gradients(net, X, y, tolerance=0.0)),
        (TypeError, r"grads must be \(dW, db\) for a network, got ndarray",
         lambda: bs.check_gradients(net, X, y, grads=X)),
        (ValueError, "grads must hold dW as 2 arrays, one for each layer, got tuple of 1",
         lambda: bs.check_gradients(net, X, y, grads=(g.dW[:1], g.db))),
        (TypeError, r"grads must hold db\[1\] as an array, got None",
         lambda: bs.check_gradients(net, X, y, grads=(g.dW, (g.db[0], None)))),
        (TypeError, "sample_weight must be left out for a function",
         lambda: bs.check_gradients(np.sum, X, sample_weight=y)),
        (TypeError, "one argument at least must hold real numbers", lambda: bs.check_gradients(np.sum, y)),
        (ValueError, "grads must hold one gradient for each of a, b, got 3 of them",
         lambda: bs.check_gradients(lambda a, b: a.sum() + b.sum(), X, X, grads=(X, X, X))),
        (ValueError, "the function must be finite", lambda: bs.check_gradients(lambda a: np.log(a).sum(), -X)),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            call()
    net.W[0][1, 2] = np.nan
    with pytest.raises(ValueError, match=r"W\[0\] must be finite"):
        bs.check_gradients(net, X, y)
