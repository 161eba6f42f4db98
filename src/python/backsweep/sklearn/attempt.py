"""A fit that is refused before its first step leaves the estimator as it was."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backsweep.sklearn.perceptron import Perceptron

LISTENED_TO = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")  # by these scikit-learn takes leave of its callbacks


class Attempt:
    """A training that has not begun: an exception puts back the attributes; one that has begun stays as it is.

    What the attributes refer to is not copied, so that nothing before the first step may write into it. A fit afresh
    makes a network, an optimizer and lists of its own.
    """

    def __init__(self, estimator: Perceptron) -> None:
        self.estimator = estimator
        self.before = dict(estimator.__dict__)
        self.begun = False

    def __enter__(self) -> Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None or self.begun:
            return
        now = self.estimator.__dict__
        self.estimator.__dict__ = self.before | {name: now[name] for name in LISTENED_TO if name in now}
