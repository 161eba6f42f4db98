"""What each kind of layer is to the two sweeps: its formulas, in numbers, in sizes and in words.

Sizes are sums of magnitudes in the place of the sums themselves: what rounding is measured against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from backsweep._checks import Array
from backsweep.reference.dense import preactivation


class Kind(Protocol):
    """A kind of layer, ``Z[i+1] = σ(A[i])``, with what it takes in its pass beside Z[i], W[i] and b[i]."""

    @property
    def normalises(self) -> bool:
        """Whether it may enlarge what rounding did before it."""

    def in_dtype(self, dtype: Any) -> Kind:
        """Holding its arrays in `dtype`."""

    def preactivation(self, Z: Array, W: Array, b: Array | None) -> Array:
        """A[i]."""

    def down(self, D: Array, Z: Array, W: Array) -> Array:
        """G[i]."""

    def weights(self, D: Array, Z: Array) -> Array:
        """dW[i]."""

    def reach(self, Z: Array) -> Array:
        """How far A[i] moves at most with an entry of W[i], in its shape or one that broadcasts to it."""

    def size(self, Z: Array, W: Array, b: Array | None, sizes: Array) -> Array:
        """Of A[i], where `sizes` are those of Z[i]."""

    def size_down(self, D: Array, Z: Array, W: Array) -> Array:
        """Of G[i], where D holds magnitudes."""

    def size_of_weights(self, D: Array, Z: Array) -> Array:
        """Of dW[i], where D holds magnitudes."""

    def says_preactivation(self, i: int | str) -> str:
        """A[i] without its bias."""

    def says_down(self, i: int | str) -> str:
        """G[i]."""

    def says_weights(self, i: int | str) -> str:
        """dW[i]."""


class Dense:
    """``A[i] = Z[i] W[i] + b[i]``."""

    normalises = False

    def in_dtype(self, dtype: Any) -> Dense:
        return self

    def preactivation(self, Z: Array, W: Array, b: Array | None) -> Array:
        return preactivation(Z, W, b)

    def down(self, D: Array, Z: Array, W: Array) -> Array:
        G: Array = D @ W.T
        return G

    def weights(self, D: Array, Z: Array) -> Array:
        dW: Array = Z.T @ D
        return dW

    def reach(self, Z: Array) -> Array:
        reach: Array = np.abs(Z).max(axis=0)[:, np.newaxis]
        return reach

    def size(self, Z: Array, W: Array, b: Array | None, sizes: Array) -> Array:
        return preactivation(abs(Z), abs(W), None if b is None else abs(b))

    def size_down(self, D: Array, Z: Array, W: Array) -> Array:
        G: Array = D @ abs(W).T
        return G

    def size_of_weights(self, D: Array, Z: Array) -> Array:
        size: Array = abs(Z).T @ D
        return size

    def says_preactivation(self, i: int | str) -> str:
        return f"Z[{i}] W[{i}]"

    def says_down(self, i: int | str) -> str:
        return f"D[{i}] W[{i}]ᵀ"

    def says_weights(self, i: int | str) -> str:
        return f"Z[{i}]ᵀ D[{i}]"


@dataclass(frozen=True)
class Dropout:
    """``A[i] = Z[i] ∘ M[i]``, and Z[i] itself in the pass of prediction, where there is no M[i]."""

    M: Array | None = None

    normalises = False

    def in_dtype(self, dtype: Any) -> Dropout:
        return Dropout(None if self.M is None else self.M.astype(dtype))

    def preactivation(self, Z: Array, W: Array, b: Array | None) -> Array:
        return self._masked(Z)

    def down(self, D: Array, Z: Array, W: Array) -> Array:
        return self._masked(D)

    def weights(self, D: Array, Z: Array) -> Array:
        return np.zeros(0, D.dtype)

    def reach(self, Z: Array) -> Array:
        return np.zeros(0, Z.dtype)

    def size(self, Z: Array, W: Array, b: Array | None, sizes: Array) -> Array:
        return self._masked(sizes)

    def size_down(self, D: Array, Z: Array, W: Array) -> Array:
        return self._masked(D)

    def size_of_weights(self, D: Array, Z: Array) -> Array:
        return np.zeros(0, D.dtype)

    def says_preactivation(self, i: int | str) -> str:
        return f"Z[{i}]" if self.M is None else f"Z[{i}] ∘ M[{i}]"

    def says_down(self, i: int | str) -> str:
        return f"D[{i}]" if self.M is None else f"D[{i}] ∘ M[{i}]"

    def says_weights(self, i: int | str) -> str:
        return "nothing: the layer has no parameters"

    def _masked(self, Z: Array) -> Array:
        return Z if self.M is None else Z * self.M
