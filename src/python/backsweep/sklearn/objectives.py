"""What scikit-learn descends, in terms of the core's losses.

scikit-learn adds the cross-entropies and the Poisson deviance over outputs where the core takes their mean. Its
squared error is half a mean over outputs, but the gradient that it follows is that of half the sum: hence two factors.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from backsweep._checks import Array


class Objective(NamedTuple):
    """A loss of the core, and how often it counts."""

    loss: str
    out_activation: str
    loss_factor: float = 1.0
    gradient_factor: float = 1.0

    def cap(self, dtype: np.dtype[Any]) -> float:
        """What a row's loss is reported as at most: scikit-learn clips probabilities at machine epsilon."""
        return -math.log(np.finfo(dtype).eps) if self.out_activation in ("softmax", "logistic") else math.inf

    @property
    def labels(self) -> bool:
        """Whether targets are given as labels 0..k-1."""
        return self.loss == "softmax_cross_entropy"


def objective(name: str, k: int, *, multiclass: bool = False) -> Objective:
    """The objective of a name as scikit-learn has it, or of one of ours, for k outputs."""
    return {
        "log_loss": Objective("softmax_cross_entropy", "softmax")
        if multiclass
        else Objective("sigmoid_cross_entropy", "logistic", k, k),
        "squared_error": Objective("mean_squared_error", "identity", 0.5, k / 2),
        "poisson": Objective("poisson", "exp", k, k),
        "absolute_error": Objective("mean_absolute_error", "identity"),
        "huber": Objective("huber", "identity"),
    }[name]


def constant_of_poisson(y: Array) -> Array:
    """What the deviance of each row adds to the core's loss: Σ (y log y - y) over outputs, in float64."""
    y = np.asarray(y, np.float64)
    terms = y * np.log(np.where(y > 0, y, 1.0)) - y
    constant: Array = terms.sum(axis=1)
    return constant
