"""Parameters that change from one fit to the next with `warm_start`."""

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.9")

from estimators import X, Y, classifier, fit

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_batches_after_lbfgs():
    first = fit(solver="lbfgs", warm_start=True)
    weights = first.network_.theta.copy()
    first.set_params(solver="adam", learning_rate_init=1e-300, alpha=0.0).fit(X, Y)
    assert np.array_equal(first.network_.theta, weights)
    assert len(first.loss_curve_) == 5
    first.partial_fit(X, Y)
    assert len(first.loss_curve_) == 6
    first.set_params(solver="lbfgs").fit(X, Y)
    first.set_params(solver="sgd").fit(X, Y)
    assert len(first.loss_curve_) == 11


def test_a_fit_afresh_forgets_the_curve_of_the_one_before():
    estimator = fit().set_params(solver="lbfgs").fit(X, Y)
    assert not hasattr(estimator, "loss_curve_")
    assert len(estimator.set_params(solver="adam", warm_start=True).fit(X, Y).loss_curve_) == 5


@pytest.mark.parametrize("given", [{}, {"X_val": X[200:], "y_val": Y[200:]}], ids=["held out", "given"])
def test_early_stopping_switched_on_and_off(given):
    estimator = fit(warm_start=True)
    estimator.set_params(early_stopping=True).fit(X, Y, **given)
    assert len(estimator.loss_curve_) == 10
    assert len(estimator.validation_scores_) == 5
    assert estimator.best_validation_score_ == max(estimator.validation_scores_)
    assert estimator.best_loss_ is None
    estimator.fit(X, Y, **given)
    assert len(estimator.validation_scores_) == 10
    estimator.set_params(early_stopping=False).fit(X, Y)
    assert len(estimator.loss_curve_) == 20
    assert estimator.validation_scores_ is estimator.best_validation_score_ is None
    assert estimator.best_loss_ == min(estimator.loss_curve_[15:])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_solver_and_what_is_watched_change_together(early_stopping):
    estimator = classifier(solver="lbfgs", early_stopping=not early_stopping, warm_start=True).fit(X, Y)
    estimator.set_params(solver="adam", early_stopping=early_stopping).fit(X, Y)
    assert (estimator.validation_scores_ is not None) == early_stopping
