"""The two implementations behind one interface: the compiled core, and the NumPy reference."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any, Protocol

import numpy as np

from backsweep import _core
from backsweep._checks import Array, known_name
from backsweep.layers import LayerShape

BACKENDS = ("core", "reference")
DTYPES = ("float32", "float64")


class BackendNetwork(Protocol):
    """A chain of layers and a loss, without its parameters."""

    parameters: int
    buffers: int

    def forward(
        self, theta: Array, buffers: Array, X: Array, mean: Array | None, scale: Array | None, n_threads: int
    ) -> Array: ...

    def forward_few(self, theta: Array, buffers: Array, X: object) -> Array | None:
        """`forward` without a further check, or None where X is more than a few rows or not as ordinary as can be."""
        ...

    def evaluate(
        self, theta: Array, buffers: Array, X: Array, y: Array, labels: bool, sample_weight: Array | None,
        mean: Array | None, scale: Array | None, n_threads: int,
    ) -> tuple[float, float]: ...  # fmt: skip

    def loss_and_gradients(
        self, theta: Array, buffers: Array, X: Array, y: Array, labels: bool, sample_weight: Array | None,
        mean: Array | None, scale: Array | None, training: bool, draws: Array, wants_dX: bool, n_threads: int,
    ) -> tuple[float, Array, Array | None]: ...  # fmt: skip


class BackendTrainer(Protocol):
    """Mini-batches in order, an update for each."""

    steps_in_epoch: int

    def run(
        self, order: Array | None, first: int, learning_rates: Array, steps: Array, sums: Array, seconds: float
    ) -> tuple[int, str]: ...


class Backend:
    """One implementation in one dtype."""

    def __init__(self, name: str, dtype: np.dtype[Any]) -> None:
        known_name(name, BACKENDS, "backend")
        self.name = name
        self.dtype = dtype
        self._suffix = dtype.name  # of the core's functions; NumPy takes microseconds to make it

    def network(self, layers: tuple[LayerShape, ...], loss: str, precision: str = "full") -> BackendNetwork:
        specs = [astuple(layer) for layer in layers]
        network: BackendNetwork
        if self.name == "core":
            network = getattr(_core, f"Network_{self._suffix}")(specs, loss, precision)
        else:
            from backsweep.reference.network import Network

            network = Network(specs, loss, precision)
        return network

    def trainer(self, network: BackendNetwork, **arguments: Any) -> BackendTrainer:
        """The arguments are those of the reference's `Trainer`, by name."""
        trainer: BackendTrainer
        if self.name == "core":
            trainer = getattr(_core, f"Trainer_{self._suffix}")(network, **arguments)
        else:
            from backsweep.reference.network import Trainer

            trainer = Trainer(network, **arguments)  # type: ignore[arg-type]
        return trainer

    def copy(self, source: Array, target: Array, n_threads: int) -> None:
        """Between arrays alike."""
        if self.name == "core":
            _core.copy(source, target, n_threads)
        else:
            np.copyto(target, source)

    def shuffle(self, order: Array, left: int, draws: Array) -> None:
        self._orders().shuffle(order, left, draws)

    def rectangle_order(self, order: Array, begin: int, m: int, row_shifts: Array, column_shifts: Array) -> None:
        self._orders().rectangle_order(order, begin, m, row_shifts, column_shifts)

    def _orders(self) -> Any:
        """The module that makes orders of rows."""
        if self.name == "core":
            return _core
        from backsweep.reference import order

        return order


def checked_dtype(dtype: object) -> np.dtype[Any]:
    """float32 or float64, by name or as NumPy's."""
    if dtype is None:  # NumPy takes it for float64
        raise TypeError(f"dtype must be one of {', '.join(DTYPES)}, got None")
    try:
        name = np.dtype(dtype).name if not isinstance(dtype, str) else dtype  # type: ignore[call-overload]
    except TypeError:
        name = dtype
    return np.dtype(known_name(name, DTYPES, "dtype"))


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """A vector that starts on a cache line."""
    line = 64
    buffer = np.zeros(size * dtype.itemsize + line, dtype=np.uint8)
    offset = -buffer.ctypes.data % line
    return buffer[offset : offset + size * dtype.itemsize].view(dtype)
