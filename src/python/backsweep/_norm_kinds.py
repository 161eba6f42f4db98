"""The layers that normalise, as kinds: by each row's statistics, by the batch's, or by those of former batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from backsweep._checks import Array
from backsweep.reference import normalisation


class Normalising(ABC):
    """``A[i] = Ẑ[i] ∘ W[i] + b[i]``, γ and β standing as W and b."""

    normalises = True

    def in_dtype(self, dtype: Any) -> Normalising:
        return self

    @abstractmethod
    def normalised(self, Z: Array) -> tuple[Array, Array]:
        """Ẑ[i] (m, n), and r[i] = 1/√(variance + ε), which broadcasts to it."""

    @abstractmethod
    def down(self, D: Array, Z: Array, W: Array) -> Array:
        """G[i]."""

    def preactivation(self, Z: Array, W: Array, b: Array | None) -> Array:
        A: Array = self.normalised(Z)[0] * W
        return A if b is None else A + b

    def weights(self, D: Array, Z: Array) -> Array:
        dW: Array = (D * self.normalised(Z)[0]).sum(axis=0)
        return dW

    def reach(self, Z: Array) -> Array:
        reach: Array = np.abs(self.normalised(Z)[0]).max(axis=0)
        return reach

    @abstractmethod
    def size(self, Z: Array, W: Array, b: Array | None, sizes: Array) -> Array:
        """Of A[i]."""

    @abstractmethod
    def size_down(self, D: Array, Z: Array, W: Array) -> Array:
        """Of G[i]."""

    def size_of_weights(self, D: Array, Z: Array) -> Array:
        # As in `size`, something is lost of Z[i]: where a column is constant, Ẑ[i] is nothing but that.
        Zhat, r = self.normalised(Z)
        size: Array = (D * (abs(Zhat) + r * abs(Z))).sum(axis=0)
        return size

    def says_preactivation(self, i: int | str) -> str:
        return f"Ẑ[{i}] ∘ W[{i}]"

    @abstractmethod
    def says_down(self, i: int | str) -> str:
        """G[i]."""

    def says_weights(self, i: int | str) -> str:
        return f"column sums of D[{i}] ∘ Ẑ[{i}]"

    @abstractmethod
    def says_r(self, i: int | str) -> str:
        """r[i]."""

    @abstractmethod
    def says_normalised(self, i: int | str) -> str:
        """Ẑ[i]."""


class OfItself(Normalising):
    """With the statistics of Z[i] along `axis`, on which Ẑ[i] then depends: of each row, or of each column."""

    axis: int
    of_each: str

    def size(self, Z: Array, W: Array, b: Array | None, sizes: Array) -> Array:
        # What is lost of Z[i] is as much larger in Ẑ[i] as a row or column is divided by a small deviation.
        Zhat, r = self.normalised(Z)
        lost = 2 * r * sizes.max(axis=self.axis, keepdims=True) * (1 + abs(Zhat))
        size: Array = abs(W) * (abs(Zhat) + lost) + (0 if b is None else abs(b))
        return size

    def size_down(self, D: Array, Z: Array, W: Array) -> Array:
        Zhat, r = self.normalised(Z)
        scaled, size = D * abs(W), abs(Zhat)
        G: Array = r * (scaled + self.mean(scaled) + size * self.mean(scaled * size))
        return G

    def mean(self, E: Array) -> Array:
        """Along the axis, which is kept."""
        mean: Array = E.mean(axis=self.axis, keepdims=True)
        return mean

    def says_down(self, i: int | str) -> str:
        scaled = f"D[{i}] ∘ W[{i}]"
        return f"r[{i}] ∘ ({scaled} - mean({scaled}) - Ẑ[{i}] ∘ mean({scaled} ∘ Ẑ[{i}]))"

    def says_r(self, i: int | str) -> str:
        return f"1/√(variance + {normalisation.EPSILON:g}), of each {self.of_each} of Z[{i}]"

    def says_normalised(self, i: int | str) -> str:
        return f"(Z[{i}] - mean) ∘ r[{i}], the mean of each {self.of_each}"


class LayerNorm(OfItself):
    """A layer norm, in either pass."""

    axis = 1
    of_each = "row"

    def normalised(self, Z: Array) -> tuple[Array, Array]:
        return normalisation._normalised(Z)

    def down(self, D: Array, Z: Array, W: Array) -> Array:
        return normalisation.layer_norm_backward(D, Z, W)[0]


class BatchNorm(OfItself):
    """A batch norm in the pass of training."""

    axis = 0
    of_each = "column"

    def normalised(self, Z: Array) -> tuple[Array, Array]:
        mean, variance = normalisation.statistics(Z)
        r = normalisation._reciprocal_deviation(variance)
        return (Z - mean) * r, r

    def down(self, D: Array, Z: Array, W: Array) -> Array:
        return normalisation.batch_norm_backward(D, Z, W)[0]

    def says_down(self, i: int | str) -> str:
        return f"{super().says_down(i)}, means of columns"


@dataclass(frozen=True)
class RunningNorm(Normalising):
    """A batch norm in the pass of prediction: its running mean and variance (n,) do not depend on Z[i]."""

    mean: Array
    variance: Array

    def in_dtype(self, dtype: Any) -> RunningNorm:
        return RunningNorm(self.mean.astype(dtype), self.variance.astype(dtype))

    def normalised(self, Z: Array) -> tuple[Array, Array]:
        r = normalisation._reciprocal_deviation(self.variance)
        return (Z - self.mean) * r, r

    def down(self, D: Array, Z: Array, W: Array) -> Array:
        return normalisation.batch_norm_given_backward(D, Z, self.mean, self.variance, W)[0]

    def size(self, Z: Array, W: Array, b: Array | None, sizes: Array) -> Array:
        _, r = self.normalised(Z)
        size: Array = abs(W) * r * (sizes + abs(self.mean)) + (0 if b is None else abs(b))
        return size

    def size_down(self, D: Array, Z: Array, W: Array) -> Array:
        G: Array = D * abs(W) * self.normalised(Z)[1]
        return G

    def says_down(self, i: int | str) -> str:
        return f"r[{i}] ∘ D[{i}] ∘ W[{i}]"

    def says_r(self, i: int | str) -> str:
        return f"1/√(running_var[{i}] + {normalisation.EPSILON:g}), a number for each column"

    def says_normalised(self, i: int | str) -> str:
        return f"(Z[{i}] - running_mean[{i}]) ∘ r[{i}]"
