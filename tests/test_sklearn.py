"""`backsweep.sklearn` against scikit-learn: the same curves, its checks, its own tests, and what surrounds them."""

import copy
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.9")

import scipy.sparse
import sklearn.neural_network as theirs
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import backsweep.sklearn as ours  # isort: skip

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS = DIGITS / 16
DIABETES, VALUES = load_diabetes(return_X_y=True)
VALUES = VALUES / 50
SEVERAL = make_multilabel_classification(300, 20, random_state=0)
WEIGHTS = np.random.default_rng(0).random(len(DIGITS)) + 0.1
SMALL, SMALL_LABELS = DIGITS[:300], LABELS[:300]

CURVE = 1e-6  # relative


@parametrize_with_checks([ours.MLPClassifier(), ours.MLPRegressor()])
@pytest.mark.filterwarnings("ignore")
def test_estimator_checks(estimator, check):
    check(estimator)


# The same curves

CLASSIFIER, REGRESSOR = "MLPClassifier", "MLPRegressor"
SGD = {"solver": "sgd", "learning_rate_init": 0.05}
CASES = {
    "probabilities clipped": (CLASSIFIER, 16 * DIGITS, LABELS, {}),
    "adam": (CLASSIFIER, DIGITS, LABELS, {}),
    "sgd, momentum": (CLASSIFIER, DIGITS, LABELS, SGD),
    "without Nesterov": (CLASSIFIER, DIGITS, LABELS, {**SGD, "nesterovs_momentum": False}),
    "without momentum": (CLASSIFIER, DIGITS, LABELS, {**SGD, "momentum": 0}),
    "invscaling": (CLASSIFIER, DIGITS, LABELS, {**SGD, "learning_rate": "invscaling", "power_t": 0.2}),
    "adaptive": (
        CLASSIFIER,
        DIGITS,
        LABELS,
        {**SGD, "learning_rate_init": 0.5, "learning_rate": "adaptive", "tol": 1e-2, "n_iter_no_change": 1},
    ),
    "early stopping": (CLASSIFIER, DIGITS, LABELS, {"early_stopping": True, "n_iter_no_change": 1, "max_iter": 60}),
    "in order": (CLASSIFIER, DIGITS, LABELS, {"shuffle": False, "batch_size": 64}),
    "penalty, tanh": (CLASSIFIER, DIGITS, LABELS, {"alpha": 3.0, "activation": "tanh"}),
    "logistic, two layers": (CLASSIFIER, DIGITS, LABELS, {"activation": "logistic", "hidden_layer_sizes": (30, 20)}),
    "identity": (CLASSIFIER, DIGITS, LABELS, {"activation": "identity"}),
    "no hidden layer": (CLASSIFIER, DIGITS, LABELS, {"hidden_layer_sizes": ()}),
    "epsilon, betas": (CLASSIFIER, DIGITS, LABELS, {"epsilon": 1e-2, "beta_1": 0.5, "beta_2": 0.9}),
    "two classes": (CLASSIFIER, DIGITS, LABELS > 4, {}),
    "two classes, early stopping": (CLASSIFIER, DIGITS, LABELS > 4, {"early_stopping": True}),
    "names of classes": (CLASSIFIER, SMALL, SMALL_LABELS.astype(str), {}),
    "several classes a row": (CLASSIFIER, *SEVERAL, {}),
    "sparse": (CLASSIFIER, scipy.sparse.csr_matrix(DIGITS), LABELS, {}),
    "one output": (REGRESSOR, DIABETES, VALUES, {}),
    "two outputs": (REGRESSOR, DIABETES, np.c_[VALUES, VALUES**2], {}),
    "regression, early stopping": (REGRESSOR, DIABETES, VALUES, {"early_stopping": True}),
    "poisson": (REGRESSOR, DIABETES, VALUES, {"loss": "poisson"}),
    "poisson, two outputs": (REGRESSOR, DIABETES, np.c_[VALUES, VALUES**2], {"loss": "poisson"}),
}


def pair(kind, **parameters):
    parameters = {"random_state": 0, "max_iter": 20, **parameters}
    return getattr(theirs, kind)(**parameters), getattr(ours, kind)(**parameters)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("case", CASES)
def test_curves_are_scikit_learns(case, weighted):
    kind, X, y, parameters = CASES[case]
    w = WEIGHTS[: X.shape[0]] if weighted else None
    one, other = (estimator.fit(X, y, w) for estimator in pair(kind, **parameters))
    assert one.loss_curve_[0] > one.loss_curve_[-1]
    np.testing.assert_allclose(other.loss_curve_, one.loss_curve_, rtol=CURVE)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(other, name) == getattr(one, name), name
    for name in ("loss_", "best_loss_", "best_validation_score_", "validation_scores_"):
        wanted = getattr(one, name)
        assert wanted is getattr(other, name) is None or np.allclose(getattr(other, name), wanted, rtol=CURVE), name
    for got, want in zip(other.coefs_ + other.intercepts_, one.coefs_ + one.intercepts_, strict=True):
        np.testing.assert_allclose(got, want, atol=CURVE)
    if kind == CLASSIFIER:
        assert np.array_equal(other.predict(X), one.predict(X))
        np.testing.assert_allclose(other.predict_proba(X), one.predict_proba(X), atol=CURVE)
    else:
        np.testing.assert_allclose(other.predict(X), one.predict(X), rtol=CURVE)


@pytest.mark.parametrize("kind", [CLASSIFIER, REGRESSOR])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("loss", ["", "poisson"])
def test_lbfgs_comes_to_the_same(kind, weighted, loss):
    if kind == CLASSIFIER and loss:
        pytest.skip("a loss of the regressor")
    X, y = (SMALL, SMALL_LABELS) if kind == CLASSIFIER else (DIABETES, np.c_[VALUES, VALUES**2])
    w = WEIGHTS[: len(X)] if weighted else None
    parameters = {"solver": "lbfgs", "max_iter": 10, **({"loss": loss} if loss else {})}
    one, other = (estimator.fit(X, y, w) for estimator in pair(kind, **parameters))
    assert other.n_iter_ == one.n_iter_
    np.testing.assert_allclose(other.loss_, one.loss_, rtol=CURVE)


def test_warm_start_and_partial_fit_go_on_as_scikit_learn_does():
    for parameters in ({}, {**SGD, "learning_rate": "invscaling", "power_t": 0.1}):
        one, other = pair(CLASSIFIER, warm_start=True, **parameters)
        for estimator in (one, other):
            for _ in range(3):
                estimator.set_params(max_iter=4).fit(SMALL, SMALL_LABELS)
        np.testing.assert_allclose(other.loss_curve_, one.loss_curve_, rtol=CURVE)
        one, other = pair(CLASSIFIER, **parameters)
        for estimator in (one, other):
            for _ in range(5):
                estimator.partial_fit(SMALL, SMALL_LABELS, classes=range(10))
        assert len(one.loss_curve_) == 5
        np.testing.assert_allclose(other.loss_curve_, one.loss_curve_, rtol=CURVE)


def test_float32_is_kept():
    X = SMALL.astype(np.float32)
    estimator = ours.MLPClassifier(max_iter=3, random_state=0).fit(X, SMALL_LABELS)
    assert {a.dtype for a in estimator.coefs_ + estimator.intercepts_} == {np.dtype(np.float32)}
    assert estimator.predict_proba(X).dtype == estimator.transform(X).dtype == np.float32


@pytest.mark.parametrize("n_jobs", [1, 2, 3, 8])
def test_same_bits_on_any_number_of_threads(n_jobs):
    one, other = (ours.MLPClassifier(max_iter=3, random_state=0, n_jobs=n).fit(DIGITS, LABELS) for n in (1, n_jobs))
    assert one.loss_curve_ == other.loss_curve_
    assert all(map(np.array_equal, one.coefs_, other.coefs_))


# scikit-learn's own tests

PRIVATE = {"test_gradient": "calls _loss_grad_lbfgs, _unpack and _coef_indptr, which are scikit-learn's own"}


def test_scikit_learns_own_tests_pass(tmp_path):
    """Those of the installed release, with our classes in the place of its own."""
    import sklearn.neural_network.tests as folder

    files = [str(Path(folder.__file__).parent / name) for name in ("test_mlp.py", "test_base.py")]
    others = " and ".join(f"not {name}" for name in PRIVATE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "patched", "-p", "no:cacheprovider", "-c", os.devnull,
         "--rootdir", str(Path(folder.__file__).parent), "-k", others, *files],
        capture_output=True, text=True, timeout=600, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert f"{len(PRIVATE)} deselected" in done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 50


def test_patch_and_unpatch():
    before = theirs.MLPClassifier
    try:
        ours.patch()
        ours.patch()
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        assert (MLPClassifier, MLPRegressor) == (ours.MLPClassifier, ours.MLPRegressor)
    finally:
        ours.unpatch()
    assert theirs.MLPClassifier is before
    ours.unpatch()


def test_divergence_is_scikit_learns_error():
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        ours.MLPRegressor(solver="sgd", learning_rate_init=1e6, random_state=0).fit(DIABETES * 1e3, VALUES)


def test_a_fit_that_has_not_converged_warns():
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        ours.MLPClassifier(max_iter=2).fit(SMALL, SMALL_LABELS)


# In scikit-learn's company


def fitted(**parameters):
    return ours.MLPClassifier((20,), max_iter=5, random_state=0, **parameters).fit(SMALL, SMALL_LABELS)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))], ids=["copy", "pickle"])
def test_a_copy_predicts_and_goes_on_by_itself(copied):
    estimator = fitted()
    other = copied(estimator)
    assert np.array_equal(other.predict_proba(SMALL), estimator.predict_proba(SMALL))
    before = estimator.coefs_[0].copy()
    other.partial_fit(SMALL, SMALL_LABELS)
    assert not np.array_equal(other.coefs_[0], before)
    assert np.array_equal(estimator.coefs_[0], before)


def test_pickles_hold_moments_only_where_training_may_go_on():
    weights = sum(a.nbytes for a in fitted().coefs_)
    assert len(pickle.dumps(fitted())) < 1.5 * weights + 4096
    assert len(pickle.dumps(fitted(warm_start=True))) > 3 * weights
    one = ours.MLPClassifier((20,), random_state=0).partial_fit(SMALL, SMALL_LABELS, classes=range(10))
    other = pickle.loads(pickle.dumps(one))
    assert one.partial_fit(SMALL, SMALL_LABELS).loss_ == other.partial_fit(SMALL, SMALL_LABELS).loss_


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search(backend):
    import joblib

    search = GridSearchCV(
        make_pipeline(StandardScaler(), ours.MLPClassifier(max_iter=5, random_state=0)),
        {"mlpclassifier__hidden_layer_sizes": [(5,), (30,)]}, cv=2, n_jobs=2,
    )  # fmt: skip
    with joblib.parallel_config(backend), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(SMALL, SMALL_LABELS)
    assert search.best_params_ == {"mlpclassifier__hidden_layer_sizes": (30,)}


def test_calibration_and_bagging():
    base = ours.MLPClassifier((20,), max_iter=30, learning_rate_init=0.02, random_state=0)
    for meta in (CalibratedClassifierCV(base, cv=2), BaggingClassifier(base, 2, random_state=0)):
        assert meta.fit(SMALL, SMALL_LABELS).score(SMALL, SMALL_LABELS) > 0.8


def test_frames_have_names():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(SMALL, columns=[f"pixel{i}" for i in range(64)])
    estimator = ours.MLPClassifier((3,), max_iter=3).fit(X, SMALL_LABELS)
    assert list(estimator.feature_names_in_) == list(X.columns)
    estimator.predict(X)
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(X[X.columns[::-1]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        estimator.predict(SMALL)


def test_clone_forgets():
    estimator = fitted(n_jobs=1, clip_norm=1.0)
    again = clone(estimator)
    assert again.get_params() == estimator.get_params()
    assert not hasattr(again, "coefs_")


def test_one_row_and_input_that_does_not_fit():
    estimator = fitted()
    assert np.allclose(estimator.predict_proba(SMALL[:1]), estimator.predict_proba(SMALL)[:1])
    with pytest.raises(ValueError, match="NaN"):
        estimator.predict_proba(np.full((1, 64), np.nan))
    with pytest.raises(ValueError, match="features"):
        estimator.predict_proba(SMALL[:, :3])
