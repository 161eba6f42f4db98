"""Weights of rows: scikit-learn's meaning where the core can follow, a refusal where it would train on nothing."""

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.9")

import sklearn.neural_network as theirs
from backsweep import sklearn as ours
from estimators import X, Y, classifier
from sklearn.exceptions import NotFittedError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

M = len(X)
SOME = np.where(np.arange(M) % 7 == 3, -0.5, 1.0)  # below 0
SUBNORMAL = [(np.float64, np.full(M, 1e-310)), (np.float32, np.full(M, 1e-40)),
             (np.float64, np.full(M, 1e-40, np.float32))]  # fmt: skip


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize(("kind", "y"), [("MLPClassifier", Y), ("MLPClassifier", Y > 4), ("MLPRegressor", Y / 10.0)])
def test_weights_below_0_are_scikit_learns(kind, y, solver):
    losses, options = [], {"solver": solver, "max_iter": 5, "random_state": 0, "batch_size": 50, "alpha": 0.01}
    for module in (ours, theirs):
        estimator = getattr(module, kind)(hidden_layer_sizes=(7,), **options).fit(X, y, sample_weight=SOME)
        losses.append(estimator.loss_ if solver == "lbfgs" else estimator.loss_curve_)
    np.testing.assert_allclose(*losses, rtol=1e-6 if solver == "lbfgs" else 1e-10)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("w", [-np.ones(M), np.where(np.arange(M) % 3, -1.0, 1.0), np.where(np.arange(M) % 2, -1.0, 1)])
def test_a_sum_that_is_not_positive_is_refused(w, solver):
    estimator = classifier(solver=solver)
    with pytest.raises(ValueError, match=r"^sample_weight must have a positive sum, got -?\d"):
        estimator.fit(X, Y, sample_weight=w)
    with pytest.raises(NotFittedError):
        estimator.predict(X)
    if solver != "lbfgs":
        with pytest.raises(ValueError, match=r"^sample_weight must have a positive sum"):
            estimator.partial_fit(X, Y, sample_weight=w, classes=range(10))


def test_a_batch_without_a_positive_sum_is_refused():
    w = np.where(np.arange(M) < 100, -0.1, 1.0)
    estimator = classifier(batch_size=100, shuffle=False)
    message = r"^sample_weight must have a positive sum in each batch, got -10 in one of 100 rows"
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, Y, sample_weight=w)
    assert not hasattr(estimator, "coefs_")
    estimator.set_params(batch_size=200).fit(X, Y, sample_weight=w)
    before = estimator.network_.theta.copy()
    with pytest.raises(ValueError, match=message):
        estimator.set_params(batch_size=100).partial_fit(X, Y, sample_weight=w)
    assert np.array_equal(estimator.network_.theta, before)
    w[:100] = 0  # one without weights is passed over, whatever the others have
    w[100] = -1
    estimator.fit(X, Y, sample_weight=w)


def test_an_order_with_such_a_batch_ends_the_training_where_it_comes():
    """The epochs before stay trained; where there were none, so does nothing."""
    w = np.ones(M)
    w[:2] = -13  # too much for the 23 others, where both come into one batch
    ends = []
    for seed in range(30):
        estimator = classifier(batch_size=25, random_state=seed, max_iter=200, n_iter_no_change=200)
        with pytest.raises(ValueError, match=r"positive sum in each batch, got -3 in one of 25 rows"):
            estimator.fit(X, Y, sample_weight=w)
        ends.append(getattr(estimator, "n_iter_", 0))
        assert hasattr(estimator, "coefs_") == (ends[-1] > 0)
    assert min(ends) == 0
    assert max(ends) > 1


def test_weights_of_classes_that_leave_nothing():
    message = r"^sample_weight times class_weight must have a positive sum that is finite in float64, got 0$"
    with pytest.raises(ValueError, match=message):
        classifier(class_weight=dict.fromkeys(range(10), 0)).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        classifier(class_weight={0: 0}).fit(X, Y, sample_weight=Y == 0)
    with pytest.raises(ValueError, match=r"^sample_weight times class_weight must have a positive sum, got -"):
        classifier(class_weight=dict.fromkeys(range(10), -1)).fit(X, Y)


@pytest.mark.parametrize("w", [-1, -SOME, np.full(M, 1e-310)], ids=["-1", "most", "tiny"])
def test_weights_of_rows_to_validate_with(w):
    with pytest.raises(ValueError, match=r"^sample_weight_val must "):
        classifier().fit(X, Y, X_val=X, y_val=Y, sample_weight_val=w)


def test_weights_of_the_parts_of_a_split():
    """A weight of one row is missing in one part or in the other."""
    named = set()
    for i in range(30):
        with pytest.raises(ValueError, match="must have a positive sum") as refusal:
            classifier(early_stopping=True).fit(X, Y, sample_weight=np.eye(M)[i])
        named.add(str(refusal.value).partition(" must ")[0])
    assert named == {"sample_weight of the rows trained on", "sample_weight of the rows held out"}


@pytest.mark.parametrize(("dtype", "w"), SUBNORMAL)
def test_weights_that_the_core_takes_as_0(dtype, w):
    for estimator in (classifier(), classifier(solver="lbfgs")):
        with pytest.raises(ValueError, match=r"^sample_weight must be at least .* where it counts"):
            estimator.fit(X.astype(dtype), Y, sample_weight=w)
    w = w.copy()
    w[::2] = 1.0  # beside which they are rounding
    classifier().fit(X.astype(dtype), Y, sample_weight=w)
