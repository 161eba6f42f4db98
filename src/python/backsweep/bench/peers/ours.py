"""backsweep: `Network.fit`, an epoch a call, and `Network.forward`."""

from __future__ import annotations

from typing import Any

import backsweep as bs
from backsweep._checks import Array
from backsweep.bench.workloads import LEARNING_RATES, AnyWorkload, Forward, Training


def network(w: AnyWorkload, **options: Any) -> bs.Network:
    """The network of a workload, with its initial parameters."""
    net = bs.Network(list(w.widths), seed=0, **options)
    for W, b, (W0, b0) in zip(net.W, net.b, w.parameters(), strict=True):
        assert b is not None
        W[:], b[:] = W0, b0
    return net


class Trainer:
    precision = "full"

    def __init__(self, w: Training, X: Array, y: Array, optimizer: str, threads: int, **options: Any) -> None:
        self.net = network(w, **options)
        rate = LEARNING_RATES[optimizer]
        self.optimizer = bs.SGD(rate) if optimizer == "sgd" else bs.Adam(rate)
        self.X, self.y, self.batch_size = X, y, w.batch_size

    def epoch(self, order: Array) -> None:
        def given(m: int) -> Array:
            """The order of rows is the benchmark's to give."""
            assert len(order) == m
            return order

        self.net._permutation = given  # type: ignore[method-assign]
        self.net.fit(
            self.X, self.y, epochs=1, batch_size=self.batch_size, optimizer=self.optimizer, progress=False,
            precision=self.precision,
        )  # fmt: skip

    def parameters(self) -> list[Array]:
        return [array for pair in zip(self.net.W, self.net.b, strict=True) for array in pair if array is not None]


class Predictor:
    def __init__(self, w: Forward, X: Array, threads: int, **options: Any) -> None:
        self.net, self.X = network(w, **options), X

    def forward(self) -> Array:
        return self.net.forward(self.X)
