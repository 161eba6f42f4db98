"""What each kind of layer is to the two sweeps: its formulas, in numbers, in sizes and in words.

Sizes are sums of magnitudes in the place of the sums themselves: what rounding is measured against.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from backsweep._checks import Array
from backsweep.reference import normalisation
from backsweep.reference.dense import preactivation


class Kind(Protocol):
    """A kind of layer, ``Z[i+1] = σ(A[i])``."""

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


class LayerNorm:
    """``A[i] = Ẑ[i] ∘ W[i] + b[i]``, γ and β standing as W and b."""

    def preactivation(self, Z: Array, W: Array, b: Array | None) -> Array:
        return normalisation.layer_norm(Z, W, np.zeros_like(W) if b is None else b)

    def down(self, D: Array, Z: Array, W: Array) -> Array:
        return normalisation.layer_norm_backward(D, Z, W)[0]

    def weights(self, D: Array, Z: Array) -> Array:
        return normalisation.layer_norm_backward(D, Z, np.ones_like(Z[0]))[1]

    def reach(self, Z: Array) -> Array:
        Zhat, _ = normalisation._normalised(Z)
        reach: Array = np.abs(Zhat).max(axis=0)
        return reach

    def size(self, Z: Array, W: Array, b: Array | None, sizes: Array) -> Array:
        # What is lost of Z[i] is as much larger in Ẑ[i] as a row is divided by a small deviation.
        Zhat, r = normalisation._normalised(Z)
        lost = 2 * r * sizes.max(axis=1, keepdims=True) * (1 + abs(Zhat))
        size: Array = abs(W) * (abs(Zhat) + lost) + (0 if b is None else abs(b))
        return size

    def size_down(self, D: Array, Z: Array, W: Array) -> Array:
        Zhat, r = normalisation._normalised(Z)
        scaled, size = D * abs(W), abs(Zhat)
        along = (scaled * size).mean(axis=1, keepdims=True)
        G: Array = r * (scaled + scaled.mean(axis=1, keepdims=True) + size * along)
        return G

    def size_of_weights(self, D: Array, Z: Array) -> Array:
        size: Array = (D * abs(normalisation._normalised(Z)[0])).sum(axis=0)
        return size

    def says_preactivation(self, i: int | str) -> str:
        return f"Ẑ[{i}] ∘ W[{i}]"

    def says_down(self, i: int | str) -> str:
        scaled = f"D[{i}] ∘ W[{i}]"
        return f"r[{i}] ∘ ({scaled} - mean({scaled}) - Ẑ[{i}] ∘ mean({scaled} ∘ Ẑ[{i}]))"

    def says_weights(self, i: int | str) -> str:
        return f"column sums of D[{i}] ∘ Ẑ[{i}]"


KINDS: dict[str, Kind] = {"dense": Dense(), "layer_norm": LayerNorm()}
