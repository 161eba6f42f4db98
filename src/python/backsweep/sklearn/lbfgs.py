"""The solver "lbfgs": SciPy's, on the compiled loss and gradient of all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import scipy.optimize
from sklearn.utils.fixes import _get_additional_lbfgs_options_dict
from sklearn.utils.optimize import _check_optimize_result

from backsweep._checks import Array
from backsweep.sklearn.objectives import constant_of_poisson

if TYPE_CHECKING:
    from backsweep.network import Network
    from backsweep.sklearn.attempt import Attempt
    from backsweep.sklearn.perceptron import Perceptron
    from backsweep.sklearn.stochastic import Rows


class Stopped(Exception):
    """By a callback: SciPy before 1.11 knows no other way out."""


def refuse_unheeded(estimator: Perceptron, validates: bool) -> None:
    """Refuse of our own parameters those that this solver would not heed; scikit-learn's it ignores, as there."""
    if validates:
        raise ValueError("X_val and y_val must be None with solver='lbfgs', which has no epochs to validate after")
    if estimator.weight_decay:
        raise ValueError(f"weight_decay must be 0 with solver='lbfgs', got {estimator.weight_decay!r}; see alpha")
    if estimator.clip_norm is not None:
        raise ValueError(
            f"clip_norm must be None with solver='lbfgs', which takes no batches, got {estimator.clip_norm!r}"
        )
    if callable(estimator.learning_rate):
        raise ValueError(
            f"learning_rate must be a name with solver='lbfgs', which finds the length of its steps itself, "
            f"got {estimator.learning_rate!r}"
        )


def minimise(estimator: Perceptron, network: Network, rows: Rows, attempt: Attempt) -> None:
    """Leave in the network the parameters that L-BFGS comes to."""
    objective = estimator._objective()
    targets, w, threads = rows.targets(objective), rows.sample_weight, estimator._threads()
    total = float(len(rows.X) if w is None else w.sum())
    decay = estimator.alpha / total
    constant = 0.0
    if objective.loss == "poisson":
        terms = constant_of_poisson(rows.y)
        constant = float((terms if w is None else terms * w).sum() / total)

    def value_and_gradient(theta: Array) -> tuple[float, Array]:
        network.theta[:] = theta
        loss, dtheta, _ = network._network.loss_and_gradients(
            network.theta, network.buffers, rows.X, targets, objective.labels, sample_weight=w, mean=None, scale=None,
            training=False, draws=network._draws, wants_dX=False, n_threads=threads,
        )  # fmt: skip
        dtheta *= objective.gradient_factor
        squares = 0.0
        for W, dW, layer in zip(network.W, network._views(dtheta)[0], network.layers, strict=True):
            if layer.kind == "dense":  # the penalty is on weights
                dW += decay * W
                squares += float((W * W).sum())
        return objective.loss_factor * loss + constant + decay / 2 * squares, dtheta

    told = estimator._told(rows, "lbfgs-iter", estimator.max_iter + 1)
    iterations = 0

    def iterated(theta: Array) -> None:
        nonlocal iterations
        iterations += 1
        estimator.loss_, _ = value_and_gradient(theta)
        if told.round_ends():
            raise Stopped
        told.round_begins()

    verbose: Any = estimator.verbose
    told.round_begins()
    attempt.begun = True
    try:
        found = scipy.optimize.minimize(
            value_and_gradient,
            network.theta.copy(),
            method="L-BFGS-B",
            jac=True,
            callback=iterated if told.listens else None,
            options={
                "maxfun": estimator.max_fun,
                "maxiter": estimator.max_iter,
                "gtol": estimator.tol,
                **_get_additional_lbfgs_options_dict("iprint", 1 if verbose is True or verbose >= 1 else -1),
            },
        )
    except Stopped:
        estimator.n_iter_ = iterations
    else:
        told.round_never_ran()
        estimator.n_iter_ = _check_optimize_result("lbfgs", found, estimator.max_iter)
        estimator.loss_ = found.fun
        network.theta[:] = found.x
    told.fit_ends()
