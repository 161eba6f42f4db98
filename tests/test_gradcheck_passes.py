"""`check_gradients` and `explain` where layers drop or normalise batches, in the passes of prediction and training."""

import backsweep as bs
import figures
import handwritten
import numpy as np
import pytest
from test_gradcheck import ACTIVATIONS, LOSSES, outputs, targets
from tolerances import relative_error

NETWORKS = 100
NETWORKS_PER_SLIP = 8


def right_case(case):
    """Layers of all kinds in any order; dropout and a batch norm may be last."""
    rng = np.random.default_rng([9, case])
    loss = LOSSES[case % 6]
    k = outputs(rng, loss)
    layers = [int(rng.integers(1, 15))]
    for kind in rng.integers(4, size=rng.integers(1, 9)):
        sigma = str(rng.choice(ACTIVATIONS))
        dense = bs.Dense(int(rng.integers(1, 15)), sigma, bias=bool(rng.integers(2)))
        layers.append([dense, bs.LayerNorm(sigma), bs.BatchNorm(sigma), bs.Dropout(float(rng.uniform(0, 0.9)))][kind])
    last = ([bs.BatchNorm()] if case % 4 == 0 else []) + ([bs.Dropout(0.3)] if case % 5 == 0 else [])
    net = bs.Network(
        [*layers, k, *last], loss=loss, dtype=("float32", "float64")[case % 2],
        backend=("core", "reference")[case // 2 % 2], seed=case,
    )  # fmt: skip
    set_numbers(net, rng)
    m = int(rng.integers(1, 30))
    X = rng.normal(size=(m, layers[0])) * 10 ** rng.uniform(-3, 1)
    if case % 11 == 0:
        net.standardise(X)
    return net, X, targets(rng, loss, m, k), rng.uniform(0.1, 2, m) if case % 3 == 0 else None


def set_numbers(net, rng):
    """Nothing is 0 or 1 by accident."""
    for W, b in zip(net.W, net.b, strict=True):
        if b is not None:
            b[:] = rng.normal(0, 0.5, b.shape)
        if W.ndim == 1:
            W[:] = rng.uniform(0.5, 2, W.shape)
    for mean, variance in zip(net.running_mean, net.running_var, strict=True):
        if mean is not None:
            mean[:] = rng.normal(0, 1, mean.shape)
            variance[:] = rng.uniform(0.1, 4, variance.shape)


@pytest.mark.parametrize("training", [False, True])
def test_no_false_alarm(training):
    judged = 0
    for case in range(NETWORKS):
        net, X, y, w = right_case(case)
        if training and len(X) == 1:
            continue
        before = net.theta.copy(), net.buffers.copy(), net._draws.copy()
        report = bs.check_gradients(net, X, y, sample_weight=w, training=training, entries=12)
        assert "wrong" not in {row.verdict for row in report.rows}, f"case {case}\n{report}"
        assert {row.name for row in report.rows} == {
            name for i, (W, b) in enumerate(zip(net.W, net.b, strict=True))
            for name in [f"W[{i}]"] * bool(W.size) + [f"b[{i}]"] * (b is not None)
        }  # fmt: skip
        for now, then in zip((net.theta, net.buffers, net._draws), before, strict=True):
            assert np.array_equal(now, then)
        judged += sum(row.verdict == "right" for row in report.rows)
    figures.measured("arrays judged right in networks that drop and normalise", f"training={training}", judged)
    assert judged > 4 * NETWORKS


# Planted faults, by sweeps that share nothing with the package. A slip is of one pass or of both.


SLIPS = {
    "": None,
    "constants": "statistics_constant",
    "deviation constant": "statistics_constant",
    "mean constant": "statistics_constant",
    "variance over m - 1": "unbiased_variance",
    "running taken for the batch's": "other_pass",
    "no scale on the way down": "scale_missing",
    "no r on the way down": "scale_missing",
    "Z for its normalised": "stale_activation",
    "no mask on the way down": "dropout",
    "no 1/(1 - p) on the way down": "dropout",
    "no 1/(1 - p)": "dropout",
    "1 - p": "dropout",
    "the other pass": "other_pass",
    "no division by m": "mean_missing",
    "sign": "sign",
    "no σ'": "mask_missing",
    "bias mean": "bias_mean",
    "zero": "zero",
    "last sample": "one_sample",
}
OF_TRAINING = {"constants", "deviation constant", "mean constant", "variance over m - 1", "no mask on the way down",
               "no 1/(1 - p) on the way down", "no 1/(1 - p)"}  # fmt: skip
OF_PREDICTION = {"running taken for the batch's", "1 - p"}
CASES = [
    (slip, training)
    for slip in SLIPS
    for training in (False, True)
    if slip not in (OF_PREDICTION if training else OF_TRAINING)
]


def by_hand(net, X, y, training, slip=""):
    """(dW, db) of dense layers, batch norms and dropout in a pass, with a slip."""
    L, m = len(net.layers), len(X)
    training = training != (slip == "the other pass")
    masks = net.dropout_masks(m)
    sigma = [handwritten.SIGMA[layer.activation] for layer in net.layers]
    Z, A, kept = [np.asarray(X, net.dtype)], [], []
    for i, layer in enumerate(net.layers):
        kept.append(None)
        if layer.kind == "dropout":
            kept[i] = masks[i] if training else 1.0
            if slip == "no 1/(1 - p)":
                kept[i] = masks[i] > 0
            if slip == "1 - p":
                kept[i] = 1 - layer.p
            A.append(Z[i] * kept[i])
        elif layer.kind == "batch_norm":
            mean, variance = net.running_mean[i], net.running_var[i]
            if training:
                mean, variance = Z[i].mean(axis=0), Z[i].var(axis=0, ddof=int(slip == "variance over m - 1"))
            kept[i] = (Z[i] - mean) / np.sqrt(variance + 1e-5), 1 / np.sqrt(variance + 1e-5)
            A.append(kept[i][0] * net.W[i] + net.b[i])
        else:
            A.append(Z[i] @ net.W[i] + net.b[i])
        Z.append(sigma[i][0](A[i]).astype(net.dtype))
    G = handwritten.output_gradient(Z[L], y, net.loss, slip)
    if slip == "last sample":
        G[:-1] = 0
    dW, db = [None] * L, [None] * L
    for i in reversed(range(L)):
        D = G if slip == "no σ'" else G * sigma[i][1](A[i])
        if net.layers[i].kind == "dropout":
            present = {"no mask on the way down": 1.0, "no 1/(1 - p) on the way down": masks[i] > 0}
            G = D * present.get(slip, kept[i])
            continue
        db[i] = D.mean(axis=0) if slip == "bias mean" else D.sum(axis=0)
        if net.layers[i].kind == "dense":
            dW[i] = Z[i].T @ D
            G = D @ net.W[i].T
            continue
        Zhat, r = kept[i]
        dW[i] = (D * (Z[i] if slip == "Z for its normalised" else Zhat)).sum(axis=0)
        E = D if slip == "no scale on the way down" else D * net.W[i]
        G = E
        if training or slip == "running taken for the batch's":
            over = m - (slip == "variance over m - 1")
            if slip not in ("constants", "mean constant"):
                G = G - E.mean(axis=0)
            if slip not in ("constants", "deviation constant"):
                G = G - Zhat * (E * Zhat).sum(axis=0) / over
        if slip != "no r on the way down":
            G = G * r
    if slip == "sign":
        dW, db = ([None if d is None else -d for d in of] for of in (dW, db))
    if slip == "zero":
        dW[0][:] = 0
    return dW, db


def planted(slip, training, number):
    for attempt in range(100):
        rng = np.random.default_rng([11, list(SLIPS).index(slip), training, number, attempt])
        loss, sigma = str(rng.choice(LOSSES)), str(rng.choice(ACTIVATIONS[1:]))
        n, p, h = (int(n) for n in rng.integers(4, 9, 3))
        m, k = int(rng.integers(5, 12)), outputs(rng, loss)
        drop, norm = bs.Dropout(float(rng.uniform(0.2, 0.6))), bs.BatchNorm(sigma)
        hidden = (
            [bs.Dense(h, "identity"), norm, drop] if rng.integers(2) else [drop, bs.Dense(h, sigma), bs.BatchNorm()]
        )
        net = bs.Network(
            [n, bs.Dense(p, sigma), *hidden, k], loss=loss, seed=number, dtype=str(rng.choice(["float32", "float64"]))
        )
        set_numbers(net, rng)
        X, y = rng.normal(size=(m, n)).astype(net.dtype), targets(rng, loss, m, k)
        got, right = by_hand(net, X, y, training, slip), by_hand(net, X, y, training)
        pairs = [(a, b) for a, b in zip(got[0] + got[1], right[0] + right[1], strict=True) if b is not None]
        shown = [relative_error(a, b) for a, b in pairs if np.abs(b).max() > 1e-4]  # not a bias under a batch's mean
        if not slip or max(shown) > 1e-2:
            return net, X, y, got
    raise AssertionError(f"{slip} shows nowhere")


@pytest.mark.parametrize(("slip", "training"), CASES)
def test_planted_faults_are_found_and_named(slip, training):
    unnamed = []
    for number in range(NETWORKS_PER_SLIP):
        net, X, y, grads = planted(slip, training, number)
        report = bs.check_gradients(net, X, y, grads=grads, training=training)
        faults = {row.fault for row in report.rows if row.verdict == "wrong"}
        assert bool(faults) == bool(slip), f"{slip} on {net}\n{report}"
        if slip and faults != {SLIPS[slip]}:
            unnamed.append((number, faults))
    figures.measured(
        f"planted faults of dropout and batch norms not named, of {NETWORKS_PER_SLIP}", slip or "none", len(unnamed)
    )
    assert len(unnamed) <= 1, unnamed


def test_the_diagnosis_names_pass_layer_and_formula():
    net = bs.Network([4, bs.Dense(5, "tanh"), bs.Dropout(0.5), 6, bs.BatchNorm("tanh"), 3], dtype="float64", seed=0)
    rng = np.random.default_rng(0)
    set_numbers(net, rng)
    X, y = rng.normal(size=(8, 4)), rng.integers(0, 3, 8)
    _, of_training = net.loss_and_gradients(X, y, training=True)
    assert bs.check_gradients(net, X, y, grads=of_training, training=True).ok
    said = str(bs.check_gradients(net, X, y, grads=of_training))
    assert "it is of the pass of training, which training=True checks" in said
    report = bs.check_gradients(net, X, y, grads=net.loss_and_gradients(X, y)[1], training=True)
    assert "in training:" in report.title + ":"
    assert "it is of the pass of prediction" in str(report)
    grads = by_hand(net, X, y, True, "no mask on the way down")
    said = str(bs.check_gradients(net, X, y, grads=grads, training=True))
    assert "W[0], b[0]: M[1] is missing on the way down: G[1] = D[1] ∘ M[1]" in said
    grads = by_hand(net, X, y, True, "deviation constant")
    said = str(bs.check_gradients(net, X, y, grads=grads, training=True))
    assert "the deviation is taken for a constant: G[3] = r[3] ∘ (D[3] ∘ W[3] - mean(D[3] ∘ W[3])" in said


def test_gradients_have_a_place_for_each_layer():
    net = bs.Network([3, 4, bs.Dropout(0.5), 2], dtype="float64", seed=0)
    X, y = np.ones((3, 3)), np.array([0, 1, 1])
    _, g = net.loss_and_gradients(X, y)
    assert bs.check_gradients(net, X, y, grads=([g.dW[0], None, g.dW[2]], g.db)).ok
    with pytest.raises(ValueError, match="grads must hold dW as 3 arrays, one for each layer, got list of 2"):
        bs.check_gradients(net, X, y, grads=([g.dW[0], g.dW[2]], g.db))


@pytest.mark.parametrize("look", [bs.check_gradients, bs.explain])
def test_what_does_not_fit_is_refused(look):
    net = bs.Network([2, bs.BatchNorm(), 2], seed=0)
    with pytest.raises(ValueError, match="X must have at least 2 rows for the statistics of BatchNorm, got 1"):
        look(net, np.ones((1, 2)), [0], training=True)
    with pytest.raises(TypeError, match="training must be True or False, got 'yes'"):
        look(net, np.ones((2, 2)), [0, 1], training="yes")
    look(net, np.ones((1, 2)), [0])


def test_a_function_has_no_pass_of_training():
    with pytest.raises(TypeError, match="training must be left out for a function, got True"):
        bs.check_gradients(lambda x: (x * x).sum(), np.ones(2), training=True)


@pytest.mark.parametrize("training", [False, True])
def test_the_ledger_of_a_pass(training):
    net = bs.Network([4, bs.Dropout(0.25), 5, bs.BatchNorm("tanh"), 3], dtype="float64", seed=0)
    rng = np.random.default_rng(0)
    set_numbers(net, rng)
    X, y = rng.normal(size=(8, 4)), rng.integers(0, 3, 8)
    explanation = bs.explain(net, X, y, training=training)
    formulas = {row.symbol: row.formula for row in explanation.ledger}
    t = explanation.trace
    if training:
        assert formulas["M[0]"] == "0 with probability 0.25, else 1/(1 - 0.25)"
        assert formulas["A[0]"] == "Z[0] ∘ M[0]"
        assert formulas["G[0]"] == "D[0] ∘ M[0]"
        assert formulas["r[2]"] == "1/√(variance + 1e-05), of each column of Z[2]"
        assert formulas["Ẑ[2]"] == "(Z[2] - mean) ∘ r[2], the mean of each column"
        assert "mean(D[2] ∘ W[2] ∘ Ẑ[2])), means of columns" in formulas["G[2]"]
        assert np.array_equal(t["M[0]"], net.dropout_masks(8)[0])
        assert np.array_equal(t["A[0]"], X * t["M[0]"])
        E = t["D[2]"] * t["W[2]"]
        G = t["r[2]"] * (E - E.mean(axis=0) - t["Ẑ[2]"] * (E * t["Ẑ[2]"]).mean(axis=0))
        assert relative_error(t["Ẑ[2]"], (t["Z[2]"] - t["Z[2]"].mean(axis=0)) * t["r[2]"]) < 1e-12
        assert relative_error(t["G[2]"], G) < 1e-11
    else:
        assert "M[0]" not in formulas
        assert (formulas["A[0]"], formulas["G[0]"]) == ("Z[0]", "D[0]")
        assert formulas["r[2]"] == "1/√(running_var[2] + 1e-05), a number for each column"
        assert formulas["Ẑ[2]"] == "(Z[2] - running_mean[2]) ∘ r[2]"
        assert formulas["G[2]"] == "r[2] ∘ D[2] ∘ W[2]"
        assert relative_error(t["G[2]"], t["r[2]"] * t["D[2]"] * t["W[2]"]) < 1e-12
    assert formulas["dW[2]"] == "column sums of D[2] ∘ Ẑ[2]"
    assert {"W[0]", "b[0]", "dW[0]", "db[0]"}.isdisjoint(formulas)
    dW, db = by_hand(net, X, y, training)
    for i in (1, 2, 3):
        assert relative_error(t[f"dW[{i}]"], dW[i]) < 1e-11
        if not (training and i == 1):  # under a batch's mean it is zero but for rounding
            assert relative_error(t[f"db[{i}]"], db[i]) < 1e-11
    assert ("in training" in explanation.title) == training
    for row in explanation.ledger:
        assert len(row.shape) == len(row.letters)


@pytest.mark.parametrize("training", [False, True])
def test_what_is_explained_is_what_the_network_computes(training):
    for case in range(0, NETWORKS, 5):
        net, X, y, w = right_case(case)
        if training and len(X) == 1:
            continue
        explanation = bs.explain(net, X, y, sample_weight=w, training=training)
        agreement = next(check for check in explanation.checks if check.name == "agreement")
        assert agreement.verdict == "fine", agreement
        assert str(explanation)
