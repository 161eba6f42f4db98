"""Orders of rows for an epoch: NumPy draws what they are made from, a backend makes them."""

from __future__ import annotations

import math

import numpy as np

from backsweep._backends import Backend
from backsweep._checks import Array

MOST_KEPT = 1 << 20  # rows: an order of more would take memory that grows with the data
DRAWS_AT_A_TIME = 1 << 13  # few enough to stay in the cache
ROUNDS = 3


class Scattered:
    """An order of many rows that is nowhere kept: a slice of it is computed when it is asked for."""

    def __init__(self, m: int, generator: np.random.Generator, backend: Backend) -> None:
        self.m, self.backend = m, backend
        width = math.isqrt(m - 1) + 1
        height = (m - 1) // width + 1
        self.row_shifts = generator.integers(width, size=(ROUNDS, height), dtype=np.int64)
        self.column_shifts = generator.integers(height, size=(ROUNDS, width), dtype=np.int64)

    def __getitem__(self, rows: slice) -> Array:
        begin, end, _ = rows.indices(self.m)
        entries = np.empty(end - begin, dtype=np.int64)
        self.backend.rectangle_order(entries, begin, self.m, self.row_shifts, self.column_shifts)
        return entries


Order = Array | Scattered


def shuffled(m: int, generator: np.random.Generator, backend: Backend) -> Array:
    """An order as an array. NumPy's own shuffle takes two to three times as long."""
    order = np.arange(m, dtype=np.int64)
    for left in range(m, 0, -DRAWS_AT_A_TIME):
        draws = generator.bit_generator.random_raw(min(left, DRAWS_AT_A_TIME))
        backend.shuffle(order, left, draws)
    return order


def drawn(m: int, generator: np.random.Generator, backend: Backend) -> Order:
    """A new order of m rows: it takes 8 bytes for each of up to `MOST_KEPT`, and no more for any number."""
    return (shuffled if m <= MOST_KEPT else Scattered)(m, generator, backend)
