"""The estimator's callbacks, by scikit-learn's protocol: a task for the fit, and in it one for each round.

A round is an epoch, or an iteration of L-BFGS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backsweep.sklearn.perceptron import Perceptron
    from backsweep.sklearn.stochastic import Rows


class Untold:
    """Nobody listens."""

    listens = False

    def round_begins(self) -> None:
        """Nothing to say."""

    def round_ends(self) -> bool:
        return False

    def round_never_ran(self) -> None:
        """Nothing to say."""

    def fit_ends(self) -> None:
        """Nothing to say."""


class Told(Untold):
    """The callbacks that are set on an estimator."""

    listens = True

    def __init__(self, estimator: Perceptron, rows: Rows, name: str, most: int) -> None:
        self.estimator, self.name = estimator, name
        self.said: dict[str, Any] = {"estimator": estimator, "X": rows.X, "y": rows.y}
        self.fit = estimator._init_callback_context(max_subtasks=most)
        self.fit.call_on_fit_task_begin(**self.said)

    def round_begins(self) -> None:
        self.round = self.fit.subcontext(task_name=self.name).call_on_fit_task_begin(**self.said)

    def round_ends(self) -> bool:
        """Whether a callback wants the training to stop."""
        stop: bool = self.round.call_on_fit_task_end(
            **self.said,
            metadata={"loss": self.estimator.loss_},
            reconstruction_attributes=self.estimator._snapshot,
        )
        return stop

    def round_never_ran(self) -> None:
        """Of SciPy one hears only when an iteration has ended; the one begun after the last ends with nothing said."""
        self.round.call_on_fit_task_end(estimator=self.estimator)

    def fit_ends(self) -> None:
        self.fit.call_on_fit_task_end(**self.said, reconstruction_attributes=self.estimator._snapshot)
