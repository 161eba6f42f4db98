"""The workloads, as data: ReLU, softmax cross-entropy, biases, float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from backsweep._checks import Array

LEARNING_RATES = {"sgd": 0.01, "adam": 1e-3}

# What a peer does in one turn: long enough to be timed, short enough that turns alternate.
FLOPS_IN_A_TURN = 1e10
MOST_STEPS_IN_A_TURN = 1000
FEWEST_STEPS_IN_A_TURN = 8  # a turn is an epoch: what that costs beside its steps is not what is compared


@dataclass(frozen=True)
class Workload:
    """A network, and so many rows at a time. Its parameters start a share `nudge` away from where they should."""

    name: str
    group: str
    widths: tuple[int, ...]
    batch_size: int
    nudge: float = field(default=0.0, kw_only=True)

    @property
    def network(self) -> str:
        return "-".join(map(str, self.widths))

    @property
    def _products(self) -> list[float]:
        """Multiplications and additions of each layer's product for one row."""
        return [2.0 * n_in * n_out for n_in, n_out in zip(self.widths, self.widths[1:], strict=False)]

    @property
    def longest_sum(self) -> int:
        """The most terms that one entry of a result depends on."""
        return sum(self.widths) + self.batch_size

    def parameters(self) -> list[tuple[Array, Array]]:
        """The initial W and b of each layer, the same for every peer. No b is 0: zeros would hide faults."""
        rng = np.random.default_rng(1)
        pairs: list[tuple[Array, Array]] = [
            (
                rng.standard_normal((n_in, n_out), dtype=np.float32) * np.float32(n_in**-0.5),
                rng.standard_normal(n_out, dtype=np.float32) * np.float32(0.1),
            )
            for n_in, n_out in zip(self.widths, self.widths[1:], strict=False)
        ]
        if self.nudge:
            for array in (array for pair in pairs for array in pair):
                array *= 1 + rng.choice(np.array([-self.nudge, self.nudge], np.float32), array.shape)
        return pairs

    def rows(self, m: int) -> Array:
        """X (m, n_0), random."""
        return np.random.default_rng(0).standard_normal((m, self.widths[0]), dtype=np.float32)


@dataclass(frozen=True)
class Training(Workload):
    """Steps of "sgd" or "adam" on shuffled rows; `all_rows` of them in a turn, if given."""

    optimizer: str
    all_rows: int | None = None

    kind: ClassVar[str] = "training"
    unit: ClassVar[str] = "step"
    turns: ClassVar[int] = 1

    @property
    def flops(self) -> float:
        """Multiplications and additions in the products of a step: three a layer, two in the first."""
        return self.batch_size * (3 * sum(self._products) - self._products[0])

    def steps(self, share: float = 1.0) -> int:
        """Steps in a turn, or in so large a share of one."""
        if self.all_rows is not None:
            return self.all_rows // self.batch_size
        return max(FEWEST_STEPS_IN_A_TURN, int(share * min(MOST_STEPS_IN_A_TURN, FLOPS_IN_A_TURN / self.flops)))

    def data(self, steps: int) -> tuple[Array, Array]:
        """Random rows and labels for so many steps."""
        m = steps * self.batch_size
        return self.rows(m), np.random.default_rng(2).integers(0, self.widths[-1], m)

    def __str__(self) -> str:
        rows = "" if self.all_rows is None else f", {self.all_rows:,} rows"
        optimizer = {"sgd": "SGD", "adam": "Adam"}[self.optimizer]
        return f"{self.network}, batch {self.batch_size}, {optimizer}{rows}"


@dataclass(frozen=True)
class Forward(Workload):
    """The output of `batch_size` rows, from an array in Python to an array in Python."""

    kind: ClassVar[str] = "forward"
    unit: ClassVar[str] = "call"
    turns: ClassVar[int] = 5  # short ones, for each that is asked for

    @property
    def flops(self) -> float:
        return self.batch_size * sum(self._products)

    def __str__(self) -> str:
        return f"{self.network}, {self.batch_size:,} row{'s' if self.batch_size > 1 else ''}"


AnyWorkload = Training | Forward


def restored(description: dict[str, Any]) -> AnyWorkload:
    """The workload that `dataclasses.asdict` described, perhaps by way of JSON."""
    kind = Training if "optimizer" in description else Forward
    return kind(**{**description, "widths": tuple(description["widths"])})


TRAINING = (
    Training("A", "training", (784, 100, 10), 100, "sgd"),
    Training("B", "training", (784, 512, 512, 10), 128, "adam"),
    Training("C", "training", (64, 100, 10), 200, "adam"),
    Training("D", "training", (20, 64, 64, 2), 32, "adam"),
    Training("E", "training", (8, 16, 16, 2), 32, "sgd"),
    Training("F", "training", (1024, 4096, 4096, 1000), 512, "sgd"),
    Training("G", "training", (100, 256, 256, 256, 2), 256, "adam"),
)

FORWARD = tuple(
    Forward(f"{letter}-forward-{rows}", "forward", widths, rows)
    for letter, widths in (("D", (20, 64, 64, 2)), ("B", (784, 512, 512, 10)))
    for rows in (1, 1000)
)

# One size grows, the others stay.
GROWTH = (
    *(Training(f"rows-{m}", "growth", (20, 64, 64, 2), 128, "adam", m) for m in (1_000, 10_000, 100_000, 1_000_000)),
    *(Training(f"batch-{m}", "growth", (64, 256, 256, 10), m, "adam") for m in (1, 4, 16, 64, 256, 1024, 4096)),
    *(Training(f"width-{n}", "growth", (64, n, n, 10), 128, "adam") for n in (16, 64, 256, 1024, 4096)),
    *(Training(f"depth-{d}", "growth", (64, *[256] * d, 10), 128, "adam") for d in (1, 2, 4, 8, 16)),
)

GRID = tuple(
    Training(f"grid-{m}-{n}", "grid", (n, n, n, 10), m, "adam") for m in (1, 32, 128, 1024) for n in (16, 64, 256, 1024)
)

_ALL: tuple[AnyWorkload, ...] = (*TRAINING, *FORWARD, *GROWTH, *GRID)
WORKLOADS = {w.name: w for w in _ALL}
GROUPS = ("training", "forward", "growth", "grid")

SHORT = ("A", "B", "C", "D", "D-forward-1", "B-forward-1000")  # what `backsweep bench` runs


def chosen(names: Sequence[str]) -> list[AnyWorkload]:
    """The workloads of these names, or of groups of these names, in the order of this file."""
    unknown = [name for name in names if name not in WORKLOADS and name not in GROUPS]
    if unknown:
        raise ValueError(f"workloads must be of {', '.join((*GROUPS, *WORKLOADS))}, got {unknown[0]!r}")
    return [w for w in WORKLOADS.values() if w.name in names or w.group in names]
