"""The training workloads, as data: ReLU, softmax cross-entropy, biases, float32, shuffled rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Workload:
    """A network, a batch size and an optimizer ("sgd" or "adam")."""

    name: str
    widths: tuple[int, ...]
    batch_size: int
    optimizer: str

    @property
    def flops(self) -> float:
        """Multiplications and additions in a step: three products a layer, two in the first."""
        layers = [2.0 * n_in * n_out for n_in, n_out in zip(self.widths, self.widths[1:], strict=False)]
        return self.batch_size * (3 * sum(layers) - layers[0])

    def data(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Random rows and labels for so many steps."""
        rng = np.random.default_rng(0)
        m = steps * self.batch_size
        return rng.normal(size=(m, self.widths[0])).astype(np.float32), rng.integers(0, self.widths[-1], m)

    def parameters(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The initial W and b of each layer, the same for every peer."""
        rng = np.random.default_rng(1)
        return [
            ((rng.normal(size=(n_in, n_out)) / np.sqrt(n_in)).astype(np.float32), np.zeros(n_out, dtype=np.float32))
            for n_in, n_out in zip(self.widths, self.widths[1:], strict=False)
        ]


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("A", (784, 100, 10), 100, "sgd"),
        Workload("B", (784, 512, 512, 10), 128, "adam"),
        Workload("C", (64, 100, 10), 200, "adam"),
        Workload("D", (20, 64, 64, 2), 32, "adam"),
        Workload("E", (8, 16, 16, 2), 32, "sgd"),
        Workload("F", (1024, 4096, 4096, 1000), 512, "sgd"),
        Workload("G", (100, 256, 256, 256, 2), 256, "adam"),
    )
}

LEARNING_RATES = {"sgd": 0.01, "adam": 1e-3}
