"""What `backsweep.sklearn` has beyond scikit-learn, each against a definition or against `Network`."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.9")

import backsweep as bs
from backsweep.sklearn import MLPClassifier, MLPRegressor
from checks import difference_error, differences
from estimators import BY_HAND, Listener, X, Y, classifier, fit
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV
from sklearn.utils import compute_sample_weight
from tolerances import assert_close, gamma

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIABETES, VALUES = load_diabetes(return_X_y=True)
VALUES = VALUES / 50


def test_an_activation_for_each_layer():
    estimator = fit(hidden_layer_sizes=(12, 8, 5), activation=["gelu", "logistic", "relu"])
    assert [layer.activation for layer in estimator.network_.layers] == ["gelu", "sigmoid", "relu", "identity"]
    Z = X
    for name, W, b in zip(("gelu", "sigmoid", "relu"), estimator.coefs_, estimator.intercepts_, strict=False):
        Z = getattr(bs.reference, name)(Z @ W + b)
    assert_close(estimator.transform(X), Z, 1e-13 * (1 + np.abs(Z)), "the last hidden layer")
    with pytest.raises(ValueError, match="one for each of 1 hidden layers"):
        fit(activation=["relu", "relu"])
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        fit(activation=["rellu"])


def test_class_weights_are_sample_weights():
    for weights in ("balanced", {label: 1 + label for label in range(10)}):
        one = classifier(class_weight=weights).fit(X, Y)
        other = classifier().fit(X, Y, compute_sample_weight(weights, Y))
        assert one.loss_curve_ == other.loss_curve_
        assert one.loss_curve_ != fit().loss_curve_


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "absolute_error", "huber"])
def test_validation_loss_is_the_loss_of_the_rows_given(loss):
    """Trained on the same rows in one batch at no rate to speak of, both curves are one."""
    options = {"max_iter": 3, "alpha": 0, "random_state": 0, "learning_rate_init": 1e-300, "batch_size": 442}
    estimator = MLPRegressor(loss, (7,), **options)
    estimator.fit(DIABETES, VALUES, X_val=DIABETES, y_val=VALUES)
    np.testing.assert_allclose(estimator.validation_loss_curve_, estimator.loss_curve_, rtol=1e-12)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_batch_of_weight_0_has_loss_0(loss, shuffle):
    """The reported loss counts each batch's mean by its rows."""
    X, y = DIABETES[:40], VALUES[:40]
    w = np.repeat([1.0, 0.0], 20) if not shuffle else np.eye(40)[7]
    options = {"learning_rate_init": 1e-300, "alpha": 0, "max_iter": 1, "random_state": 0, "solver": "sgd"}
    estimator = MLPRegressor(loss, (7,), batch_size=20, shuffle=shuffle, **options).fit(X, y, sample_weight=w)
    alone = MLPRegressor(loss, (7,), **options).fit(X[w > 0], y[w > 0])
    assert estimator.loss_ == pytest.approx(alone.loss_ / 2, rel=1e-12)


def test_validation_rows_of_the_users_stop_early():
    estimator = classifier(early_stopping=True, max_iter=300, learning_rate_init=0.01)
    estimator.fit(X[:200], Y[:200], X_val=X[200:], y_val=Y[200:])
    assert len(estimator.validation_loss_curve_) == len(estimator.validation_scores_) == estimator.n_iter_ < 300
    assert estimator.score(X[200:], Y[200:]) == estimator.best_validation_score_
    with pytest.raises(ValueError, match="given together"):
        classifier().fit(X, Y, X_val=X)
    with pytest.raises(ValueError, match="y_val must have 300 rows"):
        classifier().fit(X, Y, X_val=X, y_val=Y[1:])


@pytest.mark.parametrize("kind", [np.array, list, lambda y: np.array(y, dtype=object), lambda y: np.array(y)[:, None]])
@pytest.mark.parametrize(
    ("known", "unknown", "message"),
    [
        ([0, 1, 2], 7, r"\[0, 1, 2\], got 7$"),
        ([0, 1], 2, r"\[0, 1\], got 2$"),
        (["cat", "dog"], "cow", r"\['cat', 'dog'\], got 'cow'$"),
        (["1", "2", "3"], 1, r"\['1', '2', '3'\], got 1, 2, 3$"),
    ],
)
def test_rows_to_validate_with_are_of_known_classes(known, unknown, message, kind):
    """One of another class would count as one of the first."""
    y = np.resize(known, 30)
    y_val = [1, 2, 3, unknown] if isinstance(unknown, int) and isinstance(known[0], str) else [*known, unknown]
    with pytest.raises(ValueError, match=f"^y_val must hold classes that y has, {message}"):
        classifier().fit(X[:30], y, X_val=X[: len(y_val)], y_val=kind(y_val))


def test_rows_to_validate_with_may_lack_a_class_or_have_several():
    assert len(classifier().fit(X[:30], Y[:30], X_val=X[:2], y_val=Y[:2]).validation_loss_curve_) == 5
    several = np.eye(10, dtype=int)[Y[:30]]
    assert len(classifier().fit(X[:30], several, X_val=X[:2], y_val=several[:2]).validation_loss_curve_) == 5


def test_many_unknown_classes_are_not_all_listed():
    with pytest.raises(ValueError, match=r"got 10\.0, 11\.0, 12\.0, 13\.0, 14\.0, \.\.\.$"):
        classifier().fit(X, Y, X_val=X, y_val=10.0 + np.arange(300))


def trained_by_hand(optimizer, estimator):
    """`Network.fit`, in the order of the rows, from the weights that an estimator draws."""
    start = fit(max_iter=1, learning_rate_init=1e-300, shuffle=False)
    network = start.network_
    network.fit(X, Y, epochs=5, batch_size=200, optimizer=optimizer, shuffle=False, progress=False)
    for got, want in zip(estimator.coefs_, network.W, strict=True):
        assert_close(got, want, 1e-10, "W")


def test_weight_decay_is_decoupled():
    estimator = fit(weight_decay=0.5, learning_rate_init=0.01, **BY_HAND)
    trained_by_hand(bs.AdamW(0.01, weight_decay=0.5, eps=1e-30), estimator)
    with pytest.raises(ValueError, match="weight_decay must be 0 with solver='sgd'"):
        fit(weight_decay=0.5, solver="sgd")


def test_a_schedule_and_a_clipped_gradient():
    def rate(step):
        return 0.1 / (1 + step)

    estimator = fit(learning_rate=rate, solver="sgd", clip_norm=0.1, **BY_HAND)
    trained_by_hand(bs.SGD(rate, momentum=0.9, nesterov=True, clip_norm=0.1), estimator)


def test_initial_weights():
    given = fit()
    again = classifier(coefs_init=given.coefs_, intercepts_init=given.intercepts_, max_iter=1).fit(X, Y)
    assert again.loss_curve_[0] < given.loss_curve_[-1] + 1e-3
    assert again.coefs_[0] is not given.coefs_[0]
    with pytest.raises(ValueError, match="coefs_init must be arrays of shapes"):
        fit(coefs_init=[np.zeros((64, 3)), np.zeros((3, 10))])


def test_a_bar_over_epochs(capsys):
    fit(progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "/5" in err
    assert "epoch" in err


def test_names_of_the_hidden_layer():
    estimator = fit()
    assert list(estimator.get_feature_names_out()) == [f"mlpclassifier{i}" for i in range(12)]
    assert estimator.transform(X).shape == (300, 12)


def test_input_gradients_are_the_slopes_of_the_logits():
    estimator = fit(activation="tanh")
    J = estimator.input_gradients(X[:3])
    assert J.shape == (3, 10, 64)
    x = X[:1].copy()
    for k in (0, 9):
        slopes = differences(lambda k=k: estimator.network_.forward(x)[0, k], x)
        assert_close(J[0, k], slopes[0], difference_error(64 * 12, 10.0), "∂Z[L]/∂X")


def test_callbacks_of_scikit_learn():
    listener = Listener(last=3)
    estimator = classifier().set_callbacks(listener).fit(X, Y)
    assert listener.losses == estimator.loss_curve_
    assert estimator.n_iter_ == 3
    assert listener.scores[-1] == estimator.score(X, Y)
    assert listener.states == ["setup", "fit", "epoch", "epoch", "epoch", "teardown"]


class Iterations(Listener):
    def on_fit_task_end(self, estimator, context, *, metadata, fitted_estimator):
        self.states.append("end")
        if metadata is None:  # of the iteration that never ran, or the fit
            return False
        self.losses.append(metadata["loss"])
        self.scores.append(fitted_estimator.score(X, Y))
        return len(self.losses) == self.last


def test_callbacks_of_lbfgs():
    for last, left_over in ((4, []), (99, ["lbfgs-iter", "end"])):
        listener = Iterations(last)
        estimator = classifier(solver="lbfgs", max_iter=7).set_callbacks(listener).fit(X, Y)
        iterations = min(last, 7)
        each = iterations * ["lbfgs-iter", "end"]
        assert listener.states == ["setup", "fit", *each, *left_over, "end", "teardown"]
        assert estimator.n_iter_ == len(listener.losses) == iterations
        assert listener.losses[-1] == estimator.loss_
        assert listener.losses == sorted(listener.losses, reverse=True)
        assert listener.scores[-1] == estimator.score(X, Y)
    assert np.array_equal(fit(solver="lbfgs", max_iter=7).coefs_[0], estimator.coefs_[0])


def test_a_callback_that_comes_from_a_search():
    class Propagated(Listener):
        max_propagation_depth = None

    listener = Propagated(last=9)
    search = GridSearchCV(classifier(max_iter=2), {"alpha": [0, 1]}, cv=2, refit=False).set_callbacks(listener)
    search.fit(X, Y)
    assert listener.states.count("epoch") == 8
    assert len(listener.losses) == 8


def test_the_network_underneath():
    estimator = fit()
    assert isinstance(estimator.network_, bs.Network)
    assert all(W is view for W, view in zip(estimator.coefs_, estimator.network_.W, strict=True))
    assert_close(estimator.network_.predict_proba(X), estimator.predict_proba(X), gamma(4, "float64"), "S")
    with pytest.raises(AttributeError, match="not fitted"):
        _ = MLPClassifier().network_


def test_weights_that_a_user_sets_count():
    estimator = fit()
    estimator.coefs_[0][:] = 0
    estimator.coefs_[1] = np.zeros((12, 10))
    estimator.intercepts_ = [np.zeros(12), np.arange(10.0)]
    assert (estimator.predict(X) == 9).all()


def test_a_loss_of_counts_wants_counts():
    with pytest.raises(ValueError, match="y must be at least 0"):
        MLPRegressor(loss="poisson").fit(DIABETES, -VALUES)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(
    ("first", "second"), [("squared_error", "poisson"), ("poisson", "squared_error"), ("squared_error", "huber")]
)
def test_a_loss_set_anew_waits_for_a_fit_afresh(first, second, solver):
    options = {"solver": solver, "max_iter": 5, "random_state": 0, "warm_start": True}
    plain, changed = (MLPRegressor(first, (7,), **options).fit(DIABETES, VALUES) for _ in range(2))
    for estimator in (plain, changed.set_params(loss=second), pickle.loads(pickle.dumps(changed))):
        estimator.fit(DIABETES, VALUES)
        if solver == "adam":
            estimator.partial_fit(DIABETES, VALUES)
        assert estimator.loss_ == plain.loss_
        assert np.array_equal(estimator.predict(DIABETES), plain.predict(DIABETES))
    if first == "poisson":
        with pytest.raises(ValueError, match="y must be at least 0"):
            changed.fit(DIABETES, -VALUES)
    afresh = MLPRegressor(second, (7,), **options).fit(DIABETES, VALUES)
    changed.set_params(warm_start=False).fit(DIABETES, VALUES)
    assert np.array_equal(changed.predict(DIABETES), afresh.predict(DIABETES))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"weight_decay": 0.1}, r"^weight_decay must be 0 with solver='lbfgs', got 0\.1"),
        ({"clip_norm": 2.0}, r"^clip_norm must be None with solver='lbfgs'.*, got 2\.0"),
        ({"learning_rate": lambda step: 0.1}, r"^learning_rate must be a name with solver='lbfgs'.*, got <function"),
    ],
    ids=["weight_decay", "clip_norm", "learning_rate"],
)
def test_lbfgs_refuses_what_it_would_not_heed(parameters, message):
    estimator = fit(solver="lbfgs", warm_start=True)
    before = estimator.network_.theta.copy()
    for each in (estimator.set_params(**parameters), classifier(solver="lbfgs", **parameters)):
        with pytest.raises(ValueError, match=message):
            each.fit(X, Y)
    assert np.array_equal(estimator.network_.theta, before)


def test_lbfgs_refuses_rows_to_validate_with():
    for estimator, y in ((classifier(solver="lbfgs"), Y), (MLPRegressor(solver="lbfgs"), Y / 10)):
        with pytest.raises(ValueError, match=r"^X_val and y_val must be None with solver='lbfgs'"):
            estimator.fit(X, y, X_val=X, y_val=y)
        assert not hasattr(estimator, "coefs_")


def test_lbfgs_ignores_what_scikit_learn_ignores_with_it():
    plain = fit(solver="lbfgs")
    ignored = {"batch_size": 7, "learning_rate": "adaptive", "learning_rate_init": 0.5, "power_t": 0.1, "momentum": 0.2,
               "nesterovs_momentum": False, "shuffle": False, "early_stopping": True, "validation_fraction": 0.3,
               "beta_1": 0.1, "beta_2": 0.2, "epsilon": 0.1, "n_iter_no_change": 3}  # fmt: skip
    given = fit(solver="lbfgs", **ignored)
    assert np.array_equal(given.network_.theta, plain.network_.theta)


@pytest.mark.parametrize(
    "parameters",
    [
        {"clip_norm": 0},
        {"weight_decay": -1},
        {"progress": "yes"},
        {"n_jobs": 1.5},
        {"activation": "sin"},
        {"layer_norm": 2},
    ],
)
def test_parameters_that_cannot_be(parameters):
    name = next(iter(parameters))
    with pytest.raises(ValueError, match=f"The '{name}' parameter of MLPClassifier must be"):
        fit(**parameters)
