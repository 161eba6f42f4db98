"""The solvers "sgd" and "adam": scikit-learn's loop over epochs around the compiled one over batches."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from backsweep._checks import Array
from backsweep.optimizers import SGD, Adam, AdamW, Optimizer
from backsweep.sklearn.objectives import Objective, constant_of_poisson
from backsweep.sklearn.signs import Signs
from backsweep.training import SECONDS_BETWEEN_LOOKS, progress_bar

if TYPE_CHECKING:
    from backsweep.network import Network
    from backsweep.sklearn.attempt import Attempt
    from backsweep.sklearn.perceptron import Perceptron

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
SMALLEST_RATE = 1e-6  # of the adaptive schedule


class Rows(NamedTuple):
    """Rows to train on or to validate with."""

    X: Array  # (m, n)
    y: Array  # (m, k): values, or indicators of the classes
    sample_weight: Array | None  # (m,)

    def targets(self, objective: Objective) -> Array:
        """y as the core takes it."""
        return self.y.argmax(axis=1) if objective.labels else self.y


class ScikitAdam(Adam):
    """Adam with ε beside √v, as scikit-learn has it."""

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "epsilon_hat": True}


class ScikitAdamW(AdamW, ScikitAdam):
    """The same with decoupled weight decay."""


class Descent:
    """An optimizer with its state and its learning rate, from one call of ``partial_fit`` to the next."""

    def __init__(self, estimator: Perceptron) -> None:
        self.schedule = estimator.learning_rate if callable(estimator.learning_rate) else None
        self.named_schedule = estimator.learning_rate if estimator.solver == "sgd" else "constant"
        self.learning_rate_init = float(estimator.learning_rate_init)
        self.power_t = estimator.power_t
        self.learning_rate = self.learning_rate_init
        self.optimizer = self._optimizer(estimator)

    def _optimizer(self, estimator: Perceptron) -> Optimizer:
        rate, clip_norm = self.schedule or self.learning_rate, estimator.clip_norm
        if estimator.solver == "sgd":
            if estimator.weight_decay:
                raise ValueError(f"weight_decay must be 0 with solver='sgd', got {estimator.weight_decay!r}; see alpha")
            momentum = estimator.momentum
            nesterov = bool(estimator.nesterovs_momentum and momentum > 0)
            return SGD(rate, momentum=momentum, nesterov=nesterov, clip_norm=clip_norm)
        betas = (estimator.beta_1, estimator.beta_2)
        if estimator.weight_decay:
            decay = estimator.weight_decay
            return ScikitAdamW(rate, betas=betas, eps=estimator.epsilon, weight_decay=decay, clip_norm=clip_norm)
        return ScikitAdam(rate, betas=betas, eps=estimator.epsilon, clip_norm=clip_norm)

    def rates(self, n_steps: int) -> Array:
        """The learning rates of the epoch's steps."""
        if self.schedule is None:
            return np.full(n_steps, self.learning_rate)
        first = self.optimizer.steps
        return np.array([self.optimizer.rate(first + step) for step in range(n_steps)])

    def epoch_ends(self, rows_seen: int) -> None:
        if self.named_schedule == "invscaling":
            self._set_rate(self.learning_rate_init / (rows_seen + 1) ** self.power_t)

    def stops(self, message: str, verbose: Any) -> bool:
        """Whether a standstill ends the training; the adaptive schedule goes on with a smaller rate."""
        if self.named_schedule != "adaptive":
            message += " Stopping."
        elif self.learning_rate <= SMALLEST_RATE:
            message += " Learning rate too small. Stopping."
        else:
            self._set_rate(self.learning_rate / 5)
            if verbose:
                print(message + f" Setting learning rate to {self.learning_rate:f}")
            return False
        if verbose:
            print(message)
        return True

    def _set_rate(self, rate: float) -> None:
        # scikit-learn's velocity is in units of θ, the core's in units of the gradient: what is under way stays.
        ratio = self.learning_rate / rate if rate > 0 else math.inf
        for velocity in self.optimizer._state:
            velocity *= ratio if math.isfinite(ratio) else 0.0
        self.learning_rate = self.optimizer.learning_rate = rate


class Epochs:
    """Epochs of a network on some rows; each gives the loss that scikit-learn reports."""

    def __init__(
        self, estimator: Perceptron, network: Network, descent: Descent, rows: Rows, batch_size: int, attempt: Attempt
    ) -> None:
        self.attempt = attempt
        self.objective = objective = estimator._objective()
        self.m, self.batch_size, self.theta = len(rows.X), batch_size, network.theta
        self.diverged = False
        self.descent = descent
        self.constants = constant_of_poisson(rows.y) if objective.loss == "poisson" else None
        self.weights, self.signs = rows.sample_weight, Signs(rows.sample_weight, batch_size)
        self.sums = np.zeros(5)
        backend, optimizer = network._backend, descent.optimizer
        self.trainer = backend.trainer(
            network._network, theta=network.theta, buffers=network.buffers, state=optimizer.bind(network),
            settings=optimizer.settings(), X=rows.X, y=rows.targets(objective), labels=objective.labels,
            sample_weight=rows.sample_weight, mean=None, scale=None, batch_size=batch_size,
            n_threads=estimator._threads(), loss_factor=objective.gradient_factor, penalty=float(estimator.alpha),
            loss_cap=objective.cap(network.dtype), draws=network._draws,
        )  # fmt: skip
        self.rates = descent.rates(self.trainer.steps_in_epoch)

    def run(self, order: Array | None) -> float:
        """One epoch, with the rows in some order or as they are.

        Where the loss would not stay finite, no further epoch has anything to do: all weights are NaN from then on,
        as they would be soon in scikit-learn's loop.
        """
        if self.diverged:
            return math.nan
        descent, trainer, sums = self.descent, self.trainer, self.sums
        if descent.schedule is not None or self.rates[0] != descent.learning_rate:
            self.rates = descent.rates(len(self.rates))
        self.signs.check(order)
        sums[:] = 0
        done = 0
        self.attempt.begun = True
        while done < len(self.rates):
            counted = descent.optimizer._steps
            left = None if order is None else order[done * self.batch_size :]
            steps, stop = trainer.run(left, done, self.rates[done:], counted, sums, SECONDS_BETWEEN_LOOKS)
            done += steps
            if stop == "diverged":
                self.diverged = True
                self.theta[:] = math.nan
                return math.nan
        loss: float = (self.objective.loss_factor * sums[3] + sums[4]) / self.m + self._constant(order)
        return float(loss)

    def _constant(self, order: Array | None) -> float:
        if self.constants is None:
            return 0.0
        if self.weights is None:
            return float(self.constants.mean())
        rows = np.arange(self.m) if order is None else order
        starts = np.arange(0, self.m, self.batch_size)
        w = np.add.reduceat(self.weights[rows], starts)
        of_batches = np.add.reduceat((self.weights * self.constants)[rows], starts)
        counts = np.diff(np.append(starts, self.m))
        # A batch of weight 0 has loss 0.
        means = np.divide(of_batches, w, out=np.zeros_like(of_batches), where=w > 0)
        return float((counts * means).sum() / self.m)


class Stopping:
    """When to stop: scikit-learn's bookkeeping of the loss, or of the score on rows held out."""

    def __init__(self, estimator: Perceptron, validation: Rows | None) -> None:
        self.estimator, self.validation = estimator, validation
        self.best: tuple[Array, Array] | None = None  # parameters and running statistics

    def update(self, network: Network) -> None:
        estimator = self.estimator
        if estimator.early_stopping:
            assert self.validation is not None
            score = estimator._score(*self.validation)
            estimator.validation_scores_.append(score)
            if estimator.verbose:
                print(f"Validation score: {score:f}")
            stands = score < estimator.best_validation_score_ + estimator.tol
            if score > estimator.best_validation_score_:
                estimator.best_validation_score_ = score
                self.best = network.theta.copy(), network.buffers.copy()
        else:
            loss = estimator.loss_curve_[-1]
            stands = loss > estimator.best_loss_ - estimator.tol
            estimator.best_loss_ = min(loss, estimator.best_loss_)
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if stands else 0

    def message(self) -> str:
        what = "Validation score" if self.estimator.early_stopping else "Training loss"
        estimator = self.estimator
        tol, epochs = estimator.tol, estimator.n_iter_no_change
        return f"{what} did not improve more than tol={tol:f} for {epochs:d} consecutive epochs."


def batch_rows(batch_size: int | str, m: int) -> int:
    """Rows of a batch."""
    if isinstance(batch_size, str):
        return min(200, m)
    if batch_size > m:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2
        )
    return min(int(batch_size), m)


def train(
    estimator: Perceptron, network: Network, rows: Rows, validation: Rows | None, attempt: Attempt, *, incremental: bool
) -> None:
    """Epochs until the estimator has converged; one with `incremental`."""
    m = len(rows.X)
    size = batch_rows(estimator.batch_size, m)
    if (m % size or size) < network._fewest_rows:
        raise ValueError(f"batch_size must leave no batch of 1 row, which has no variance for batch_norm, got {size} "
                         f"for {m} rows")  # fmt: skip
    if not incremental or not hasattr(estimator, "_optimizer"):
        estimator._optimizer = Descent(estimator)
    descent = estimator._optimizer
    epochs = Epochs(estimator, network, descent, rows, size, attempt)
    stopping = Stopping(estimator, validation)
    order = np.arange(m)
    told = estimator._told(rows, "epoch", estimator.max_iter)
    with progress_bar(estimator.progress, estimator.max_iter, "epoch") as bar:
        try:
            estimator.n_iter_ = 0
            for _ in range(estimator.max_iter):
                told.round_begins()
                if estimator.shuffle:  # the same draws and the same order as `sklearn.utils.shuffle`'s
                    estimator._random_state.shuffle(order)
                estimator.loss_ = epochs.run(order if estimator.shuffle else None)
                estimator.n_iter_ += 1
                estimator.t_ += m
                estimator.loss_curve_.append(estimator.loss_)
                if estimator.verbose:
                    print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
                if bar is not None:
                    bar.update()
                if validation is not None and not incremental:
                    estimator._record_validation_loss(validation)
                stopping.update(network)
                descent.epoch_ends(estimator.t_)
                if told.round_ends():
                    break
                if estimator._no_improvement_count > estimator.n_iter_no_change:
                    if descent.stops(stopping.message(), estimator.verbose):
                        break
                    estimator._no_improvement_count = 0
                if incremental:
                    break
                if estimator.n_iter_ == estimator.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
                        "optimization hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=2,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
    if stopping.best is not None:
        network.theta[:], network.buffers[:] = stopping.best
    told.fit_ends()
