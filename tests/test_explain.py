"""`explain`: the quantities of the two sweeps are the network's, and each sign of ill health is seen."""

import copy
import math
from xml.etree import ElementTree

import backsweep as bs
import numpy as np
import pytest

LOSSES = ["softmax_cross_entropy", "sigmoid_cross_entropy", "mean_squared_error", "mean_absolute_error", "huber",
          "poisson"]  # fmt: skip


def batch(loss, m=5, n=4, k=3):
    rng = np.random.default_rng(0)
    y = {
        "softmax_cross_entropy": rng.integers(0, k, m),
        "sigmoid_cross_entropy": rng.integers(0, 2, (m, k)),
        "poisson": rng.poisson(2, (m, k)),
    }.get(loss, rng.normal(size=(m, k)))
    return rng.normal(size=(m, n)), y


def check(explanation, name, layer=None):
    (found,) = [c for c in explanation.checks if c.name == name and c.layer == layer]
    return found


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["core", "reference"])
def test_the_figures_are_the_networks(loss, dtype, backend):
    net = bs.Network([4, bs.Dense(6, "gelu"), bs.Dense(5, "elu", bias=False), 3], loss=loss, dtype=dtype,
                     backend=backend, seed=0)  # fmt: skip
    X, y = batch(loss)
    net.standardise(X)
    w = np.linspace(0.5, 2, 5)
    explanation = bs.explain(net, X, y, sample_weight=w)
    value, g = net.loss_and_gradients(X, y, sample_weight=w)
    rtol = {"float32": 1e-4, "float64": 1e-11}[dtype]
    assert explanation.loss == pytest.approx(value, rel=rtol)
    for i in range(3):
        np.testing.assert_allclose(explanation.trace[f"dW[{i}]"], g.dW[i], rtol=rtol, atol=rtol / 10)
        if i != 1:
            np.testing.assert_allclose(explanation.trace[f"db[{i}]"], g.db[i], rtol=rtol, atol=rtol / 10)
    np.testing.assert_allclose(explanation.trace["Z[3]"], net.forward(X), rtol=rtol, atol=rtol / 10)
    assert "b[1]" not in explanation.trace
    assert explanation.trace["W[0]"].dtype == dtype
    assert check(explanation, "agreement").verdict == "fine"


def test_the_ledger_is_that_of_the_notes():
    net = bs.Network([4, 6, 3], dtype="float64", seed=0)
    X, y = batch("softmax_cross_entropy")
    explanation = bs.explain(net, X, y)
    assert [(row.symbol, row.formula, row.letters) for row in explanation.ledger] == [
        ("Z[0]", "X", ("m", "n_0")),
        ("W[0]", "weights, in × out", ("n_0", "n_1")),
        ("b[0]", "biases, added to each row", ("n_1",)),
        ("A[0]", "Z[0] W[0] + b[0]", ("m", "n_1")),
        ("Z[1]", "relu(A[0])", ("m", "n_1")),
        ("W[1]", "weights, in × out", ("n_1", "k")),
        ("b[1]", "biases, added to each row", ("k",)),
        ("A[1]", "Z[1] W[1] + b[1]", ("m", "k")),
        ("Z[2]", "A[1]", ("m", "k")),
        ("S", "softmax(Z[2]), along each row", ("m", "k")),
        ("I_y", "labels as rows of the identity", ("m", "k")),
        ("loss", "softmax_cross_entropy(Z[2], y)", ()),
        ("G[2]", "(S - I_y)/m", ("m", "k")),
        ("D[1]", "G[2]", ("m", "k")),
        ("dW[1]", "Z[1]ᵀ D[1]", ("n_1", "k")),
        ("db[1]", "column sums of D[1]", ("k",)),
        ("G[1]", "D[1] W[1]ᵀ", ("m", "n_1")),
        ("D[0]", "G[1] ∘ relu'(A[0])", ("m", "n_1")),
        ("dW[0]", "Z[0]ᵀ D[0]", ("n_0", "n_1")),
        ("db[0]", "column sums of D[0]", ("n_1",)),
        ("G[0]", "D[0] W[0]ᵀ", ("m", "n_0")),
    ]
    sizes = {"m": 5, "n_0": 4, "n_1": 6, "k": 3}
    for row in explanation.ledger:
        assert row.shape == tuple(sizes[letter] for letter in row.letters)
        assert row.norm == pytest.approx(np.sqrt((explanation.trace[row.symbol] ** 2).sum()))


def test_every_step_follows_from_those_before():
    net = bs.Network([4, 6, 3], dtype="float64", seed=0)
    X, y = batch("softmax_cross_entropy")
    t = bs.explain(net, X, y).trace
    steps = {
        "Z[0]": X,
        "A[0]": t["Z[0]"] @ t["W[0]"] + t["b[0]"],
        "Z[1]": np.maximum(t["A[0]"], 0),
        "A[1]": t["Z[1]"] @ t["W[1]"] + t["b[1]"],
        "S": np.exp(t["Z[2]"]) / np.exp(t["Z[2]"]).sum(axis=1, keepdims=True),
        "I_y": np.eye(3)[y],
        "G[2]": (t["S"] - t["I_y"]) / 5,
        "dW[1]": t["Z[1]"].T @ t["D[1]"],
        "db[1]": t["D[1]"].sum(axis=0),
        "G[1]": t["D[1]"] @ t["W[1]"].T,
        "D[0]": t["G[1]"] * (t["A[0]"] > 0),
        "dW[0]": t["Z[0]"].T @ t["D[0]"],
    }
    for symbol, value in steps.items():
        np.testing.assert_allclose(t[symbol], value, rtol=1e-12, atol=1e-15, err_msg=symbol)


def test_initial_loss():
    X, y = batch("softmax_cross_entropy", m=200, k=10)
    net = bs.Network([4, 8, 10], dtype="float64", seed=0)
    net.W[1][:] *= 0.01
    start = check(bs.explain(net, X, y), "initial loss")
    assert start.value == pytest.approx(math.log(10), rel=0.01)
    assert start.expected == math.log(10)
    assert start.verdict == "fine"
    assert "at its start" in start.sentence
    net.W[1][:] *= 2000
    assert check(bs.explain(net, X, y), "initial loss").verdict == "look"
    net.W[1][:] = 0
    net.b[1][:] = 0
    net.b[1][3] = 20
    sure = check(bs.explain(net, X, np.full(200, 3)), "initial loss")
    assert sure.verdict == "fine"
    assert "knows something" in sure.sentence

    X, y = batch("sigmoid_cross_entropy")
    net = bs.Network([4, 3], loss="sigmoid_cross_entropy", seed=0)
    net.W[0][:] = 0
    explanation = bs.explain(net, X, y)
    assert check(explanation, "initial loss").value == pytest.approx(math.log(2))
    X, y = batch("huber")
    assert not [c for c in bs.explain(bs.Network([4, 3], loss="huber"), X, y).checks if c.name == "initial loss"]


def test_dead_units():
    X, y = batch("softmax_cross_entropy", m=40)
    net = bs.Network([4, bs.Dense(10, "relu"), bs.Dense(8, "tanh"), 3], seed=0)
    healthy = check(bs.explain(net, X, y), "dead units", 0)
    assert (healthy.value, healthy.verdict) == (0, "fine")
    net.b[0][:7] = -100
    ill = check(bs.explain(net, X, y), "dead units", 0)
    assert (ill.value, ill.verdict) == (pytest.approx(0.7), "look")
    assert "7 of 10 units" in ill.sentence
    assert len([c for c in bs.explain(net, X, y).checks if c.name == "dead units"]) == 1


def test_gradient_by_layer():
    X, y = batch("softmax_cross_entropy", m=20)
    widths = [4, *[16] * 6, 3]
    deep = bs.Network(widths, activation="sigmoid", dtype="float64", seed=0)
    vanishing = bs.explain(deep, X, y)
    norms = [np.linalg.norm(vanishing.trace[f"G[{i}]"]) for i in range(8)]
    for i in range(7):
        assert check(vanishing, "gradient by layer", i).value == pytest.approx(norms[i] / norms[i + 1])
    assert check(vanishing, "gradient by layer", 0).verdict == "look"
    assert "vanishes" in check(vanishing, "gradient by layer", 0).sentence
    steep = bs.Network(widths, activation="relu", dtype="float64", seed=0)
    assert all(c.verdict == "fine" for c in bs.explain(steep, X, y).checks if c.name == "gradient by layer")
    for W in steep.W:
        W *= 20
    assert "explodes" in check(bs.explain(steep, X, y), "gradient by layer", 0).sentence
    steep.W[6][:] = 0
    assert "nothing comes through" in check(bs.explain(steep, X, y), "gradient by layer", 5).sentence


def test_update_by_weight():
    X, y = batch("softmax_cross_entropy")
    net = bs.Network([4, 8, 3], dtype="float64", seed=0)
    _, g = net.loss_and_gradients(X, y)
    ratio = np.linalg.norm(g.dW[1]) / np.linalg.norm(net.W[1])
    usual = check(bs.explain(net, X, y), "update/weight", 1)
    assert usual.value == pytest.approx(1e-3 * ratio)
    assert usual.verdict == "fine"
    for rate, word in ((1e3, "much"), (1e-9, "little")):
        found = check(bs.explain(net, X, y, learning_rate=rate), "update/weight", 1)
        assert found.value == pytest.approx(rate * ratio)
        assert found.verdict == "look"
        assert word in found.sentence
    net.W[1][:] = 0
    assert check(bs.explain(net, X, y), "update/weight", 1).verdict == "look"


def test_a_network_that_differs_from_its_reference_is_seen(monkeypatch):
    """The last check can fail."""
    X, y = batch("softmax_cross_entropy")
    net = bs.Network([4, 8, 3], dtype="float64", seed=0)
    original = bs.Network.loss_and_gradients

    def other(self, *arguments, **options):
        loss, g = original(self, *arguments, **options)
        g.dW[0][2, 3] *= 1.001
        return loss, g

    monkeypatch.setattr(bs.Network, "loss_and_gradients", other)
    assert check(bs.explain(net, X, y), "agreement").verdict == "look"


def test_text():
    X, y = batch("softmax_cross_entropy")
    net = bs.Network([4, 6, 3], dtype="float64", seed=0)
    explanation = bs.explain(net, X, y)
    assert isinstance(explanation, bs.Explanation)
    text = str(explanation)
    assert "dW[1]   Z[1]ᵀ D[1]" in text
    assert "(n_1, k)" in text
    row = "  ".join(f"{x:.4g}" for x in explanation.trace["db[1]"])
    assert f"db[1] = column sums of D[1]  (3,)\n    [ {row} ]" in text
    assert max(map(len, text.splitlines())) <= 120
    X, y = batch("softmax_cross_entropy", m=50, n=30)
    large = str(bs.explain(bs.Network([30, 40, 3], seed=0), X, y))
    assert "Step by step" not in large
    assert "(50, 40)" in large


def test_html():
    X, y = batch("softmax_cross_entropy")
    net = bs.Network([4, 6, 3], dtype="float64", seed=0)
    html = bs.explain(net, X, y)._repr_html_()
    page = ElementTree.fromstring(html)  # every tag is closed, every < and & escaped
    ledger, health = page.findall("table")
    assert len(ledger.findall("tbody/tr")) == 21
    assert len(page.findall("details/div/table")) == 21
    assert len(health.findall("tbody/tr")) == len(bs.explain(net, X, y).checks)
    assert "Network(4 -&gt; 6 relu" in html


def test_nothing_changes():
    X, y = batch("softmax_cross_entropy")
    net = bs.Network([4, 6, 3], seed=0)
    net.standardise(X)
    state, rng = copy.deepcopy(net.__getstate__()["tensors"]), copy.deepcopy(net._rng.bit_generator.state)
    explanation = bs.explain(net, X, y)
    for value in explanation.trace.values():
        assert not value.flags.writeable
        assert not any(np.shares_memory(value, array) for array in (net.theta, X, y))
    with pytest.raises(TypeError):
        explanation.trace["S"] = 0
    np.testing.assert_equal(net.__getstate__()["tensors"], state)
    assert net._rng.bit_generator.state == rng


def test_refusals():
    X, y = batch("softmax_cross_entropy")
    net = bs.Network([4, 6, 3], seed=0)
    with pytest.raises(TypeError, match="net must be a Network, got str"):
        bs.explain("net", X, y)
    with pytest.raises(ValueError, match="learning_rate must be a finite number greater than 0, got 0"):
        bs.explain(net, X, y, learning_rate=0)
    with pytest.raises(ValueError, match=r"X must have shape \(m, 4\), got \(5, 3\)"):
        bs.explain(net, X[:, :3], y)
    net.W[1][0, 0] = np.inf
    with pytest.raises(ValueError, match=r"W\[1\] must be finite"):
        bs.explain(net, X, y)
