"""The estimators' further layers: where they stand, what sees them, and that copies keep them."""

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.9")

import backsweep as bs
from checks import difference_error, differences
from estimators import BY_HAND, Listener, X, Y, classifier, fit
from tolerances import assert_close

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Layer normalisation


def by_formula(estimator, X, sigma):
    """The last hidden layer and the output, before its activation, from the lists of arrays alone."""
    Z = X
    *hidden, last = zip(estimator.coefs_, estimator.intercepts_, strict=True)
    for (W, b), g, beta in zip(hidden, estimator.scales_, estimator.shifts_, strict=True):
        Z = sigma(bs.reference.layer_norm(Z @ W + b, g, beta))
    return Z, Z @ last[0] + last[1]


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_layer_norm_stands_between_the_affine_map_and_its_activation(solver):
    estimator = fit(hidden_layer_sizes=(12, 8), layer_norm=True, activation="tanh", solver=solver, alpha=0.1)
    kinds = [(layer.kind, layer.activation) for layer in estimator.network_.layers]
    assert kinds == 2 * [("dense", "identity"), ("layer_norm", "tanh")] + [("dense", "identity")]
    assert [W.shape for W in estimator.coefs_] == [(64, 12), (12, 8), (8, 10)]
    assert [a.shape for a in estimator.scales_] == [b.shape for b in estimator.shifts_] == [(12,), (8,)]
    assert estimator.n_layers_ == 4
    assert all((g != 1).any() for g in estimator.scales_)
    Z, logits = by_formula(estimator, X, np.tanh)
    assert_close(estimator.transform(X), Z, 1e-12, "the last hidden layer")
    assert_close(estimator.predict_proba(X), bs.reference.softmax(logits), 1e-12, "S")
    J = estimator.input_gradients(X[:2])
    x = X[:1].copy()
    slopes = differences(lambda: by_formula(estimator, x, np.tanh)[1][0, 3], x)
    assert_close(J[0, 3], slopes[0], difference_error(64 * 12, 100.0), "∂Z[L]/∂X")
    assert not fit().scales_


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_penalty_is_on_weights_not_on_scales(solver):
    """A penalty beside which the loss is nothing shrinks W to nothing, and not γ."""
    estimator = fit(layer_norm=True, solver=solver, alpha=1e4, learning_rate_init=0.01, max_iter=200)
    start = fit(layer_norm=True, learning_rate_init=1e-300, max_iter=1)
    assert np.abs(estimator.coefs_[0]).max() < 0.1 * np.abs(start.coefs_[0]).max()
    assert estimator.scales_[0].min() > 0.4


def test_layer_norm_is_trained_as_a_network_is():
    estimator = fit(layer_norm=True, learning_rate_init=0.01, **BY_HAND)
    network = fit(layer_norm=True, max_iter=1, learning_rate_init=1e-300, shuffle=False).network_
    optimizer = bs.Adam(0.01, eps=1e-30)
    network.fit(X, Y, epochs=5, batch_size=200, optimizer=optimizer, shuffle=False, progress=False)
    for got, want in zip(estimator.network_.W + estimator.network_.b, network.W + network.b, strict=True):
        assert_close(got, want, 1e-10, "W and b")


def test_layer_norm_in_copies_of_all_kinds():
    listener = Listener(last=3)
    estimator = classifier(layer_norm=True).set_callbacks(listener).fit(X, Y)
    assert listener.scores[-1] == estimator.score(X, Y)
    estimator = fit(layer_norm=True, warm_start=True)
    for other in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        assert np.array_equal(other.predict_proba(X), estimator.predict_proba(X))
        before = estimator.scales_[0].copy()
        other.fit(X, Y)
        assert not np.array_equal(other.scales_[0], before)
        assert np.array_equal(estimator.scales_[0], before)
    kept = estimator.scales_[0]
    estimator.partial_fit(X, Y)
    assert estimator.scales_[0].base is kept.base
    estimator.scales_[0] = np.zeros(12)
    estimator.shifts_ = [np.zeros(12)]
    assert len(np.unique(estimator.predict_proba(X), axis=0)) == 1


def test_early_stopping_brings_back_the_best_scales():
    estimator = classifier(layer_norm=True, early_stopping=True, max_iter=300, learning_rate_init=0.05)
    estimator.fit(X[:200], Y[:200], X_val=X[200:], y_val=Y[200:])
    assert estimator.n_iter_ < 300
    assert estimator.score(X[200:], Y[200:]) == estimator.best_validation_score_


def test_a_copy_has_the_layers_that_were_fitted():
    estimator = fit(activation="tanh", layer_norm=True)
    values = estimator.predict_proba(X)
    estimator.set_params(activation="relu", layer_norm=False)
    assert np.array_equal(pickle.loads(pickle.dumps(estimator)).predict_proba(X), values)
    assert not np.array_equal(estimator.fit(X, Y).predict_proba(X), values)
    assert not estimator.scales_


# Dropout


def test_dropout_stands_behind_each_hidden_layer():
    estimator = fit(hidden_layer_sizes=(12, 8), dropout=[0.2, 0.5], layer_norm=True)
    kinds = [layer.kind for layer in estimator.network_.layers]
    assert kinds == 2 * ["dense", "layer_norm", "dropout"] + ["dense"]
    assert [layer.p for layer in estimator.network_.layers if layer.kind == "dropout"] == [0.2, 0.5]
    assert [W.shape for W in estimator.coefs_] == [(64, 12), (12, 8), (8, 10)]
    assert estimator.n_layers_ == 4
    for dropout, kinds in ((0.3, ["dense", "dropout"]), (0, ["dense"]), ([0, 0.3], ["dense", "dropout"])):
        layers = fit(hidden_layer_sizes=(12, 8), dropout=dropout).network_.layers
        assert [layer.kind for layer in layers[-1 - len(kinds) :]] == [*kinds, "dense"]


def test_a_prediction_drops_nothing():
    estimator = fit(hidden_layer_sizes=(12, 8), dropout=0.5, activation="tanh")
    Z = X
    for W, b in zip(estimator.coefs_[:-1], estimator.intercepts_[:-1], strict=True):
        Z = np.tanh(Z @ W + b)
    logits = Z @ estimator.coefs_[-1] + estimator.intercepts_[-1]
    assert_close(estimator.transform(X), Z, 1e-12, "the last hidden layer")
    for some in (X, X[:1]):
        assert_close(estimator.predict_proba(some), bs.reference.softmax(logits)[: len(some)], 1e-12, "S")
    x = X[:1].copy()
    slopes = differences(lambda: estimator.network_.forward(x)[0, 3], x)
    assert_close(estimator.input_gradients(X[:1])[0, 3], slopes[0], difference_error(64 * 12, 100.0), "∂Z[L]/∂X")


def test_dropout_is_trained_as_a_network_is():
    """The same masks, from the seed that the estimator has drawn; the loss that is reported is the training's."""
    estimator = fit(dropout=0.4, learning_rate_init=0.01, **BY_HAND)
    start = fit(dropout=0.4, max_iter=1, learning_rate_init=1e-300, shuffle=False)
    network = start.network_
    assert network._draws[0] == estimator.network_._draws[0] > 0
    network._draws[1] = 0
    history = network.fit(X, Y, epochs=5, batch_size=200, optimizer=bs.Adam(0.01, eps=1e-30), shuffle=False,
                          progress=False)  # fmt: skip
    for got, want in zip(estimator.coefs_, (W for W in network.W if W.size), strict=True):
        assert_close(got, want, 1e-10, "W")
    np.testing.assert_allclose(estimator.loss_curve_, history.loss, rtol=1e-9)


def test_masks_come_from_the_random_state_and_the_weights_are_scikit_learns():
    first, same, other = (fit(dropout=0.5, random_state=seed) for seed in (0, 0, 1))
    assert first.loss_curve_ == same.loss_curve_ != other.loss_curve_
    start = {"max_iter": 1, "learning_rate_init": 1e-300}
    for got, want in zip(fit(dropout=0.5, **start).coefs_, fit(**start).coefs_, strict=True):
        assert np.array_equal(got, want)
    assert fit(dropout=0.0).loss_curve_ == fit().loss_curve_
    assert fit(dropout=0.5, n_jobs=2).loss_curve_ == first.loss_curve_


def test_dropout_goes_on_where_it_was():
    """In a copy, too: the second half of a training is the same in all of them."""
    whole = classifier(dropout=0.5, shuffle=False)
    for _ in range(4):
        whole.partial_fit(X, Y, classes=range(10))
    half = classifier(dropout=0.5, shuffle=False)
    for _ in range(2):
        half.partial_fit(X, Y, classes=range(10))
    for copied in (pickle.loads(pickle.dumps(half)), pickle.loads(pickle.dumps(copy.deepcopy(half)))):
        for _ in range(2):
            copied.partial_fit(X, Y)
        assert copied.loss_curve_ == whole.loss_curve_
    warm = fit(dropout=0.5, warm_start=True)
    curve = list(warm.loss_curve_)
    warm.fit(X, Y)
    assert warm.loss_curve_[: len(curve)] == curve
    assert warm.network_._draws[1] == 2 * 5 * 2


def test_scores_of_early_stopping_drop_nothing():
    estimator = classifier(dropout=0.5, early_stopping=True, max_iter=100, learning_rate_init=0.02)
    estimator.fit(X[:200], Y[:200], X_val=X[200:], y_val=Y[200:])
    assert estimator.score(X[200:], Y[200:]) == estimator.best_validation_score_
    listener = Listener(last=3)
    estimator = classifier(dropout=0.5).set_callbacks(listener).fit(X, Y)
    assert listener.scores[-1] == estimator.score(X, Y)


@pytest.mark.parametrize("dropout", [[0.5], [0.5, 1.0], ["half", 0.5], [0.5, True], [0.5, -0.1]], ids=str)
def test_dropout_that_cannot_be(dropout):
    with pytest.raises(ValueError, match="dropout must be at least 0 and below 1, or a list of such for each of 2"):
        fit(hidden_layer_sizes=(12, 8), dropout=dropout)


def test_dropout_needs_batches():
    with pytest.raises(ValueError, match="dropout must be 0 with solver='lbfgs'"):
        fit(dropout=0.5, solver="lbfgs")
    for dropout in (1.0, -0.1, "half"):
        with pytest.raises(ValueError, match="The 'dropout' parameter of MLPClassifier must be"):
            fit(dropout=dropout)


# Batch normalisation


def test_batch_norm_predicts_by_running_statistics():
    estimator = fit(hidden_layer_sizes=(12, 8), batch_norm=True, activation="tanh", dropout=0.1)
    network = estimator.network_
    kinds = [layer.kind for layer in network.layers]
    assert kinds == 2 * ["dense", "batch_norm", "dropout"] + ["dense"]
    assert [a.shape for a in estimator.scales_] == [b.shape for b in estimator.shifts_] == [(12,), (8,)]
    Z = X
    for j, i in enumerate((1, 4)):
        A = Z @ estimator.coefs_[j] + estimator.intercepts_[j]
        assert (network.running_mean[i] != 0).all()
        Zhat = (A - network.running_mean[i]) / np.sqrt(network.running_var[i] + 1e-5)
        Z = np.tanh(Zhat * estimator.scales_[j] + estimator.shifts_[j])
    logits = Z @ estimator.coefs_[-1] + estimator.intercepts_[-1]
    assert_close(estimator.transform(X), Z, 1e-12, "the last hidden layer")
    for some in (X, X[:1]):
        assert_close(estimator.predict_proba(some), bs.reference.softmax(logits)[: len(some)], 1e-12, "S")
    x = X[:1].copy()
    slopes = differences(lambda: network.forward(x)[0, 3], x)
    assert_close(estimator.input_gradients(X[:1])[0, 3], slopes[0], difference_error(64 * 12, 100.0), "∂Z[L]/∂X")


def test_batch_norm_is_trained_as_a_network_is():
    # By sgd: the gradient of a bias that the batch's mean takes away is rounding, and Adam would make steps of it.
    estimator = fit(batch_norm=True, solver="sgd", learning_rate_init=0.1, **BY_HAND)
    start = classifier(batch_norm=True, max_iter=1, learning_rate_init=1e-300, shuffle=False).fit(X, Y)
    network = bs.Network([64, bs.Dense(12, "identity"), bs.BatchNorm("relu"), 10], dtype="float64")
    network.theta[:] = start.network_.theta
    optimizer = bs.SGD(0.1, momentum=0.9, nesterov=True)
    history = network.fit(X, Y, epochs=5, batch_size=200, optimizer=optimizer, shuffle=False, progress=False)
    assert_close(estimator.network_.theta, network.theta, 1e-10, "theta")
    assert_close(estimator.network_.buffers, network.buffers, 1e-10, "running statistics")
    np.testing.assert_allclose(estimator.loss_curve_, history.loss, rtol=1e-9)


def test_running_statistics_in_copies_and_on_the_way():
    listener = Listener(last=3)
    estimator = classifier(batch_norm=True).set_callbacks(listener).fit(X, Y)
    assert listener.scores[-1] == estimator.score(X, Y)
    estimator = fit(batch_norm=True)
    for other in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        assert np.array_equal(pickle.loads(pickle.dumps(other)).predict_proba(X), estimator.predict_proba(X))
        before = estimator.network_.buffers.copy()
        other.partial_fit(X, Y)
        assert not np.array_equal(other.network_.buffers, before)
        assert np.array_equal(estimator.network_.buffers, before)
    values = estimator.predict_proba(X)
    estimator.fit(X, Y)  # afresh
    assert np.array_equal(estimator.predict_proba(X), values)
    estimator = classifier(batch_norm=True, early_stopping=True, max_iter=300, learning_rate_init=0.05)
    estimator.fit(X[:200], Y[:200], X_val=X[200:], y_val=Y[200:])
    assert estimator.n_iter_ < 300
    assert estimator.score(X[200:], Y[200:]) == estimator.best_validation_score_


def test_batch_norm_that_cannot_be():
    with pytest.raises(ValueError, match="batch_norm must be False with layer_norm=True"):
        fit(batch_norm=True, layer_norm=True)
    with pytest.raises(ValueError, match="batch_norm must be False with solver='lbfgs'"):
        fit(batch_norm=True, solver="lbfgs")
    with pytest.raises(ValueError, match=r"batch_size must leave no batch of 1 row, .* got 299 for 300 rows"):
        fit(batch_norm=True, batch_size=299)
    estimator = fit(batch_norm=True)
    before = estimator.coefs_[0].copy()
    with pytest.raises(ValueError, match="batch_size must leave no batch of 1 row"):
        estimator.partial_fit(X[:1], Y[:1])
    assert np.array_equal(estimator.coefs_[0], before)
