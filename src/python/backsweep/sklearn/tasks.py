"""The estimator's callbacks, by scikit-learn's protocol: a task for the fit, and in it one for each epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backsweep.sklearn.perceptron import Perceptron
    from backsweep.sklearn.stochastic import Rows


class Untold:
    """Nobody listens."""

    def epoch_begins(self) -> None:
        """Nothing to say."""

    def epoch_ends(self) -> bool:
        return False

    def fit_ends(self) -> None:
        """Nothing to say."""


class Told(Untold):
    """The callbacks that are set on an estimator."""

    def __init__(self, estimator: Perceptron, rows: Rows) -> None:
        self.estimator = estimator
        self.said: dict[str, Any] = {"estimator": estimator, "X": rows.X, "y": rows.y}
        self.fit = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        self.fit.call_on_fit_task_begin(**self.said)

    def epoch_begins(self) -> None:
        self.epoch = self.fit.subcontext(task_name="epoch").call_on_fit_task_begin(**self.said)

    def epoch_ends(self) -> bool:
        """Whether a callback wants the training to stop."""
        stop: bool = self.epoch.call_on_fit_task_end(
            **self.said,
            metadata={"loss": self.estimator.loss_},
            reconstruction_attributes=self.estimator._snapshot,
        )
        return stop

    def fit_ends(self) -> None:
        self.fit.call_on_fit_task_end(**self.said, reconstruction_attributes=self.estimator._snapshot)
