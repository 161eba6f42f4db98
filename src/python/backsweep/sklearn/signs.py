"""Weights of rows below 0: scikit-learn divides by what the weights of a batch sum to; to the core that is positive."""

from __future__ import annotations

import numpy as np

from backsweep import _checks
from backsweep._checks import Array
from backsweep.network import Network


def check_weights(sample_weight: Array | None, network: Network, name: str) -> None:
    """Refuse what no network could be trained on, or judged by, with all rows in a batch."""
    if sample_weight is None:
        return
    _checks.weights(np.abs(sample_weight), len(sample_weight), network.dtype, name)
    total = float(sample_weight.sum(dtype=np.float64))
    if total <= 0:
        raise ValueError(f"{name} must have a positive sum, got {total:g}")


class Signs:
    """Looks at the sums of batches, where a weight is below 0."""

    def __init__(self, sample_weight: Array | None, batch_size: int) -> None:
        self.mixed = sample_weight if sample_weight is not None and (sample_weight < 0).any() else None
        self.batch_size = batch_size

    def check(self, order: Array | None) -> None:
        """Refuse an order of the rows with a batch that the core would pass over: one without weights it may."""
        if self.mixed is None:
            return
        w = self.mixed if order is None else self.mixed[order]
        starts = np.arange(0, len(w), self.batch_size)
        sums = np.add.reduceat(w, starts, dtype=np.float64)
        wrong = (sums <= 0) & np.logical_or.reduceat(w != 0, starts)
        if wrong.any():
            raise ValueError(
                f"sample_weight must have a positive sum in each batch, got {sums[wrong][0]:g} in one of "
                f"{self.batch_size} rows; larger batches may help"
            )
