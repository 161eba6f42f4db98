"""What the estimators refuse, and that a refused fit changes nothing."""

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.9")

from backsweep.sklearn import MLPRegressor
from estimators import Listener, X, Y, classifier, fit
from sklearn.exceptions import NotFittedError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

VALUES = np.column_stack([Y, Y % 3]).astype(float)


def regressor(**parameters):
    return MLPRegressor(**{"hidden_layer_sizes": (12,), "max_iter": 5, "random_state": 0, **parameters})


def fails(step):
    raise RuntimeError("no rate")


REFUSED = {
    "batch of one row": ({"batch_norm": True, "batch_size": 299}, {}),
    "two norms": ({"batch_norm": True, "layer_norm": True}, {}),
    "initial weights": ({"coefs_init": [np.zeros((2, 2))]}, {}),
    "dropout": ({"dropout": [0.5, 0.5]}, {}),
    "activation": ({"activation": ["relu", "relu"]}, {}),
    "activation's name": ({"activation": ["rellu"]}, {}),
    "validation": ({}, {"X_val": X, "y_val": Y[1:]}),
    "columns of the validation": ({}, {"X_val": X[:, 1:], "y_val": Y}),
    "held out": ({"early_stopping": True, "validation_fraction": 1e-3}, {}),
    "schedule": ({"learning_rate": fails}, {}),
    "weight decay": ({"solver": "sgd", "weight_decay": 0.1}, {}),
}


def attributes(estimator):
    """What a fit has left, less the parameters."""
    kept = {name: value for name, value in estimator.__dict__.items() if name not in estimator.get_params()}
    return {name: id(value) for name, value in kept.items()}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("kind", [classifier, regressor])
def test_a_refused_fit_leaves_the_estimator_as_it_was(kind, case):
    parameters, arguments = REFUSED[case]
    new, fitted = kind(**parameters), kind().fit(X, Y)
    values, before, curve = fitted.predict(X), attributes(fitted), list(fitted.loss_curve_)
    defaults = {name: value for name, value in fitted.get_params().items() if name in parameters}
    with pytest.raises((ValueError, RuntimeError)):
        fitted.set_params(**parameters).fit(X, Y, **arguments)
    assert attributes(fitted) == before
    assert np.array_equal(fitted.predict(X), values)
    assert fitted.loss_curve_ == curve
    fitted.set_params(**defaults).partial_fit(X, Y)

    with pytest.raises((ValueError, RuntimeError)):
        new.fit(X, Y, **arguments)
    assert not attributes(new)
    with pytest.raises(NotFittedError):
        new.predict(X)
    first = {"classes": range(10)} if kind is classifier else {}
    new.set_params(**defaults).partial_fit(X, Y, **first)


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        ((3.7,), r"\[3\.7\]"),
        ((5, 3.0), r"\[5, 3\.0\]"),
        ((True,), r"\[True\]"),
        (True, r"\[True\]"),
        (np.array([2.5]), "2.5"),
        (["5"], r"\['5'\]"),
        ([(5, 3)], r"\[\(5, 3\)\]"),
    ],
)
def test_widths_that_are_no_integers(sizes, shown):
    with pytest.raises(TypeError, match=f"^hidden_layer_sizes must be integers, got .*{shown}"):
        classifier(hidden_layer_sizes=sizes).fit(X, Y)


def test_widths_of_every_kind_of_integer():
    for sizes in (np.array([5, 3]), [np.int8(5), 3], (5, 3)):
        assert [W.shape[1] for W in fit(hidden_layer_sizes=sizes).coefs_] == [5, 3, 10]
    assert fit(hidden_layer_sizes=np.int64(5)).coefs_[0].shape == (64, 5)
    with pytest.raises(ValueError, match="hidden_layer_sizes must be > 0"):
        fit(hidden_layer_sizes=(5, 0))


def test_a_refused_fit_leaves_the_classes():
    estimator = fit()
    letters = np.array(list("ab"))[Y % 2]
    with pytest.raises(ValueError, match="class_weight"):
        estimator.set_params(class_weight={0: 1.0, 7: 2.0}).fit(X, letters)
    assert list(estimator.classes_) == list(range(10))
    assert (estimator.set_params(class_weight=None).predict(X) < 10).all()
    new = classifier()
    with pytest.raises(ValueError, match="`y` has classes not in"):
        new.partial_fit(X, Y, classes=[0, 1])
    assert not attributes(new)
    new.partial_fit(X, letters, classes=["a", "b"])


@pytest.mark.parametrize("k", [1, 2])
def test_a_refused_partial_fit_leaves_the_outputs(k):
    estimator = regressor().partial_fit(X, VALUES[:, :k].squeeze())
    values = estimator.predict(X)
    with pytest.raises(ValueError, match=rf"^y must have {k} outputs, as in the fit before, got {3 - k}"):
        estimator.partial_fit(X, VALUES[:, : 3 - k].squeeze())
    assert estimator.n_outputs_ == k
    assert np.array_equal(estimator.predict(X), values)
    estimator.partial_fit(X, VALUES[:, :k].squeeze())
    with pytest.raises(ValueError, match=rf"^y must have {k} outputs"):
        estimator.set_params(warm_start=True).fit(X, VALUES[:, : 3 - k].squeeze())


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_training_that_has_begun_stays(solver):
    class Breaks(Listener):
        def on_fit_task_end(self, estimator, context, **of_the_task):
            raise RuntimeError("enough")

    listener = Breaks(last=3)
    estimator = classifier(solver=solver).set_callbacks(listener)
    with pytest.raises(RuntimeError, match="enough"):
        estimator.fit(X, Y)
    assert listener.states[-1] == "teardown"
    estimator.predict(X)


def test_callbacks_are_taken_leave_of_where_a_fit_is_put_back():
    class Breaks(Listener):
        def on_fit_task_begin(self, estimator, context):
            raise RuntimeError("enough")

    listener = Breaks(last=3)
    with pytest.raises(RuntimeError, match="enough"):
        classifier().set_callbacks(listener).fit(X, Y)
    assert listener.states == ["setup", "teardown"]


@pytest.mark.parametrize(
    ("name", "i", "array", "message"),
    [
        ("intercepts_", 0, None, r"intercepts_\[0\] must be an array of real numbers, got dtype object"),
        ("intercepts_", 1, np.zeros(1), r"intercepts_\[1\] must have shape \(10,\), got \(1,\)"),
        ("intercepts_", 0, 0.0, r"intercepts_\[0\] must have shape \(12,\), got \(\)"),
        (
            "intercepts_",
            0,
            np.zeros(12) * 1j,
            r"intercepts_\[0\] must be an array of real numbers, got dtype complex",
        ),
        ("shifts_", 0, np.zeros((12, 1)), r"shifts_\[0\] must have shape \(12,\), got \(12, 1\)"),
        ("coefs_", 1, None, r"coefs_ must be matrices .*, got shapes \[\(64, 12\), \(\)\]"),
        ("coefs_", 1, np.zeros((3, 10)), r"coefs_ must be matrices .*, got shapes \[\(64, 12\), \(3, 10\)\]"),
        ("coefs_", 0, np.full((64, 12), "1"), r"coefs_\[0\] must be an array of real numbers, got dtype <U1"),
    ],
)
def test_weights_that_a_user_puts_in_and_that_do_not_fit(name, i, array, message):
    estimator = fit(layer_norm=True)
    values = estimator.predict_proba(X)
    view = getattr(estimator, name)[i]
    getattr(estimator, name)[i] = array
    for call in (estimator.predict, lambda X: estimator.partial_fit(X, Y), estimator.predict):
        with pytest.raises((TypeError, ValueError), match=f"^{message}"):
            call(X)
    getattr(estimator, name)[i] = view
    assert np.array_equal(estimator.predict_proba(X), values)
    getattr(estimator, name).pop()
    with pytest.raises(ValueError, match=f"^{name} must be|^intercepts_ must be 1 arrays, got 2"):
        estimator.predict(X)
