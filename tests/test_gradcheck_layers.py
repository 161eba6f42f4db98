"""`check_gradients` and `explain` of networks that normalise: no false alarms, and every planted fault is named."""

import backsweep as bs
import figures
import handwritten
import numpy as np
import pytest
from test_gradcheck import ACTIVATIONS, LOSSES, outputs, targets
from tolerances import relative_error

NETWORKS = 100
NETWORKS_PER_SLIP = 12


def layers_of(rng, widths):
    """Layer norms anywhere: first, last, between W and σ, behind one another."""
    layers = [widths[0]]
    for n in widths[1:]:
        kind = rng.integers(4)
        sigma = str(rng.choice(ACTIVATIONS))
        if kind == 0:
            layers += [bs.Dense(n, bias=bool(rng.integers(2)))]
        elif kind == 1:
            layers += [bs.Dense(n, "identity", bias=bool(rng.integers(2))), bs.LayerNorm(sigma)]
        elif kind == 2:
            layers += [bs.LayerNorm(), bs.Dense(n, sigma)]
        else:
            layers += [bs.Dense(n, sigma), bs.LayerNorm(), bs.LayerNorm(sigma)]
    return layers


def right_case(case):
    rng = np.random.default_rng([3, case])
    loss = LOSSES[case % 6]
    k = outputs(rng, loss)
    widths = [int(n) for n in rng.integers(1, 15, rng.integers(1, 5))]
    layers = layers_of(rng, widths) + ([bs.Dense(k), bs.LayerNorm()] if case % 4 == 0 else [bs.LayerNorm(), k])
    net = bs.Network(
        layers, activation=ACTIVATIONS[case % 9], loss=loss, dtype=("float32", "float64")[case % 2],
        backend=("core", "reference")[case // 2 % 2], seed=case,
    )  # fmt: skip
    for W, b in zip(net.W, net.b, strict=True):
        if b is not None and case % 3:
            b[:] = rng.normal(0, 0.5, b.shape)
        if W.ndim == 1 and case % 5:
            W[:] = rng.normal(0, 1, W.shape)
    m = int(rng.integers(1, 30))
    X = rng.normal(size=(m, widths[0])) * 10 ** rng.uniform(-3, 1)
    if case % 7 == 0:
        X = np.round(X)  # rows of one number each, whose variance is 0
    if case % 11 == 0:
        net.standardise(X)
    return net, X, targets(rng, loss, m, k), rng.uniform(0.1, 2, m) if case % 3 == 0 else None


def test_no_false_alarm():
    judged = 0
    for case in range(NETWORKS):
        net, X, y, w = right_case(case)
        report = bs.check_gradients(net, X, y, sample_weight=w)
        assert "wrong" not in {row.verdict for row in report.rows}, f"case {case}\n{report}"
        judged += sum(row.verdict == "right" for row in report.rows)
    figures.measured("arrays judged right in networks that normalise", "of all", judged)
    assert judged > 6 * NETWORKS


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_small_error_is_still_one(dtype):
    size = {"float32": 1e-2, "float64": 1e-5}[dtype]
    seen = 0
    for case in range(dtype == "float64", 40, 2):
        net, X, y, w = right_case(case)
        _, g = net.loss_and_gradients(X, y, sample_weight=w)
        i = int(np.argmax([np.abs(dW).max() for dW in g.dW]))
        at = np.unravel_index(int(np.abs(g.dW[i]).argmax()), g.dW[i].shape)
        g.dW[i][at] *= 1 + size
        row = next(r for r in bs.check_gradients(net, X, y, grads=g, sample_weight=w).rows if r.name == f"W[{i}]")
        seen += row.verdict == "wrong" and row.worst == at
    figures.measured("errors of 1 % (float32) and 1e-5 seen where layers normalise, of 20", dtype, seen)
    assert seen >= {"float32": 16, "float64": 19}[dtype]


# Planted faults, by sweeps that share nothing with the package


SLIPS = {
    "": None,
    "constants": "statistics_constant",
    "deviation constant": "statistics_constant",
    "mean constant": "statistics_constant",
    "no scale on the way down": "scale_missing",
    "Z for its normalised": "stale_activation",
    "no division by m": "mean_missing",
    "sign": "sign",
    "no mask": "mask_missing",
    "bias mean": "bias_mean",
    "bias first row": "bias_not_summed",
    "zero": "zero",
    "last sample": "one_sample",
}


def by_hand(net, X, y, slip=""):
    """(dW, db) of dense layers and layer norms, with a slip."""
    L = len(net.layers)
    sigma = [handwritten.SIGMA[layer.activation] for layer in net.layers]
    Z, A, kept = [np.asarray(X, net.dtype)], [], []
    for i, layer in enumerate(net.layers):
        if layer.kind == "layer_norm":
            centred = Z[i] - Z[i].mean(axis=1, keepdims=True)
            deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
            kept.append((centred / deviation, deviation))
            A.append(kept[i][0] * net.W[i] + net.b[i])
        else:
            kept.append(None)
            A.append(Z[i] @ net.W[i] + net.b[i])
        Z.append(sigma[i][0](A[i]).astype(net.dtype))
    G = handwritten.output_gradient(Z[L], y, net.loss, slip)
    if slip == "last sample":
        G[:-1] = 0
    dW, db = [None] * L, [None] * L
    for i in reversed(range(L)):
        D = G if slip == "no mask" else G * sigma[i][1](A[i])
        db[i] = {"bias mean": D.mean(axis=0), "bias first row": D[0]}.get(slip, D.sum(axis=0))
        if kept[i] is None:
            dW[i] = Z[i].T @ D
            G = D @ net.W[i].T
            continue
        Zhat, deviation = kept[i]
        dW[i] = (D * (Z[i] if slip == "Z for its normalised" else Zhat)).sum(axis=0)
        E = D if slip == "no scale on the way down" else D * net.W[i]
        G = E
        if slip not in ("constants", "mean constant"):
            G = G - E.mean(axis=1, keepdims=True)
        if slip not in ("constants", "deviation constant"):
            G = G - Zhat * (E * Zhat).mean(axis=1, keepdims=True)
        G = G / deviation
    c = -1 if slip == "sign" else 1
    if slip == "zero":
        dW[0][:] = 0
    return [c * d for d in dW], [c * d for d in db]


def planted(slip, number):
    for attempt in range(100):
        rng = np.random.default_rng([4, list(SLIPS).index(slip), number, attempt])
        loss, sigma = str(rng.choice(LOSSES)), str(rng.choice(ACTIVATIONS[1:]))
        n, p, h = (int(n) for n in rng.integers(4, 9, 3))
        m, k = int(rng.integers(3, 12)), outputs(rng, loss)
        between = bool(rng.integers(2))
        hidden = [bs.Dense(h, "identity"), bs.LayerNorm(sigma)] if between else [bs.Dense(h, sigma), bs.LayerNorm()]
        net = bs.Network(
            [n, bs.Dense(p, sigma), *hidden, k], loss=loss, seed=number, dtype=str(rng.choice(["float32", "float64"]))
        )
        for W, b in zip(net.W, net.b, strict=True):
            b[:] = rng.normal(0, 0.3, b.shape)
            if W.ndim == 1:
                W[:] = rng.uniform(0.5, 2, W.shape)
        X, y = rng.normal(size=(m, n)).astype(net.dtype), targets(rng, loss, m, k)
        got, right = by_hand(net, X, y, slip), by_hand(net, X, y)
        pairs = zip(got[0] + got[1], right[0] + right[1], strict=True)
        if not slip or any(relative_error(a, b) > 1e-2 for a, b in pairs):
            return net, X, y, got
    raise AssertionError(f"{slip} shows nowhere")


@pytest.mark.parametrize("slip", SLIPS)
def test_planted_faults_are_found_and_named(slip):
    unnamed = []
    for number in range(NETWORKS_PER_SLIP):
        net, X, y, grads = planted(slip, number)
        report = bs.check_gradients(net, X, y, grads=grads)
        faults = {row.fault for row in report.rows if row.verdict == "wrong"}
        assert bool(faults) == bool(slip), f"{slip} on {net}\n{report}"
        if slip and faults != {SLIPS[slip]}:
            unnamed.append((number, faults))
    figures.measured(f"planted faults of layer norms not named, of {NETWORKS_PER_SLIP}", slip or "none", len(unnamed))
    assert len(unnamed) <= 1, unnamed


def test_the_diagnosis_names_the_layer_and_the_formula():
    net, X, y, grads = planted("constants", 0)
    said = str(bs.check_gradients(net, X, y, grads=grads))
    assert "G[2] = r[2] ∘ (D[2] ∘ W[2] - mean(D[2] ∘ W[2]) - Ẑ[2] ∘ mean(D[2] ∘ W[2] ∘ Ẑ[2]))" in said
    assert "W[0], b[0], W[1], b[1]: mean and deviation are taken for constants" in said
    net, X, y, grads = planted("Z for its normalised", 0)
    assert "W[2]: Z[2] stands in the place of Ẑ[2]: dW[2] = column sums of D[2] ∘ Ẑ[2]" in str(
        bs.check_gradients(net, X, y, grads=grads)
    )


def test_one_wrong_scale_is_found():
    net, X, y, grads = planted("", 0)
    grads[0][2][3] *= 1.01
    report = bs.check_gradients(net, X, y, grads=grads)
    (row,) = [row for row in report.rows if row.verdict == "wrong"]
    assert (row.name, row.worst) == ("W[2]", (3,))
    assert "dW[2] = column sums of D[2] ∘ Ẑ[2]" in row.diagnosis


# explain


def test_the_ledger_of_a_layer_norm():
    net, X, y, grads = planted("", 0)
    explanation = bs.explain(net, X, y)
    formulas = {row.symbol: row.formula for row in explanation.ledger}
    sigma = net.layers[2].activation
    assert formulas["r[2]"] == "1/√(variance + 1e-05), of each row of Z[2]"
    assert formulas["Ẑ[2]"] == "(Z[2] - mean) ∘ r[2], the mean of each row"
    assert formulas["A[2]"] == "Ẑ[2] ∘ W[2] + b[2]"
    assert formulas["dW[2]"] == "column sums of D[2] ∘ Ẑ[2]"
    assert formulas["D[2]"] == ("G[3]" if sigma == "identity" else f"G[3] ∘ {sigma}'(A[2])")
    t = explanation.trace
    assert relative_error(t["Ẑ[2]"], (t["Z[2]"] - t["Z[2]"].mean(axis=1, keepdims=True)) * t["r[2]"]) < 1e-5
    E = t["D[2]"] * t["W[2]"]
    G = t["r[2]"] * (E - E.mean(axis=1, keepdims=True) - t["Ẑ[2]"] * (E * t["Ẑ[2]"]).mean(axis=1, keepdims=True))
    assert relative_error(t["G[2]"], G) < 1e-4
    for i, (dW, db) in enumerate(zip(*grads, strict=True)):
        assert relative_error(t[f"dW[{i}]"], dW) < 1e-4
        assert relative_error(t[f"db[{i}]"], db) < 1e-4
    agreement = next(check for check in explanation.checks if check.name == "agreement")
    assert agreement.verdict == "fine"
    for row in explanation.ledger:
        assert len(row.shape) == len(row.letters)


@pytest.mark.parametrize("case", range(0, NETWORKS, 10))
def test_what_is_explained_is_what_the_network_trains_with(case):
    net, X, y, w = right_case(case)
    checks = bs.explain(net, X, y, sample_weight=w).checks
    agreement = next(check for check in checks if check.name == "agreement")
    assert agreement.verdict == "fine", agreement
    assert str(bs.explain(net, X, y))
