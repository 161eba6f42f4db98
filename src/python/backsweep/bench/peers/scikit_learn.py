"""scikit-learn's `MLPClassifier`, an epoch a call of `partial_fit`.

Without shuffling of its own, `partial_fit` takes the rows it is given in their order, a batch at a time: that is one
epoch, and cheaper than a call for each batch.
"""

from __future__ import annotations

import numpy as np
from sklearn.neural_network import MLPClassifier

from backsweep._checks import Array
from backsweep.bench.workloads import LEARNING_RATES, Training

# Two classes would get one logistic output: another network. A third class that no row has, behind a bias that makes
# its probability and all its gradients exactly 0, leaves the softmax of the two.
NEVER = np.float32(-1e9)

# It adds ε to √v before v is corrected by 1 - 0.999^t, PyTorch after that. This is PyTorch's 1e-8 in its terms, at the
# tenth step.
EPSILON = 1e-8 * (1 - 0.999**10) ** 0.5


class Trainer:
    def __init__(self, w: Training, X: Array, y: Array, optimizer: str, threads: int) -> None:
        *hidden, k = w.widths[1:]
        self.k = k
        self.X, self.y = X, y
        self.model = MLPClassifier(
            hidden, activation="relu", solver=optimizer, alpha=0.0, batch_size=w.batch_size, shuffle=False,
            learning_rate_init=LEARNING_RATES[optimizer], momentum=0.0, epsilon=EPSILON, random_state=0,
        )  # fmt: skip
        # Its first call draws weights, which are replaced, and makes an optimizer, which the next makes anew.
        self.model.partial_fit(X[: w.batch_size], y[: w.batch_size], classes=np.arange(max(k, 3)))
        del self.model._optimizer
        for W, b, (W0, b0) in zip(self.model.coefs_, self.model.intercepts_, w.parameters(), strict=True):
            W[:], b[:] = 0, NEVER
            W[:, : W0.shape[1]], b[: len(b0)] = W0, b0

    def epoch(self, order: Array) -> None:
        self.model.partial_fit(self.X[order], self.y[order])

    def parameters(self) -> list[Array]:
        pairs = [[W, b] for W, b in zip(self.model.coefs_, self.model.intercepts_, strict=True)]
        pairs[-1] = [pairs[-1][0][:, : self.k], pairs[-1][1][: self.k]]
        return [array for pair in pairs for array in pair]
