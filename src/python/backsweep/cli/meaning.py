"""What a network's output means: classes or a quantity, and how it is told beside the network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import backsweep as bs
from backsweep import files
from backsweep._checks import Array

MOST_INTEGER_CLASSES = 20  # more distinct integers than that are taken for a quantity


@dataclass(frozen=True)
class Classes:
    """Output i is the class that stands at i."""

    classes: list[Any]

    task: ClassVar[str] = "classification"
    loss: ClassVar[str] = "softmax_cross_entropy"

    @property
    def n_out(self) -> int:
        return len(self.classes)

    @property
    def target_type(self) -> str:
        return "text" if isinstance(self.classes[0], str) else "number"

    def encode(self, y: Array) -> Array:
        return np.searchsorted(np.array(self.classes), y)

    def predict(self, network: bs.Network, X: Array, threads: int | None) -> Array:
        return np.array(self.classes)[network.predict(X, n_threads=threads)]

    def probabilities(self, network: bs.Network, X: Array, threads: int | None) -> Array:
        S = network.predict_proba(X, n_threads=threads)
        return S if S.shape[1] > 1 else np.column_stack([1 - S, S])

    def score(self, predicted: Array, y: Array) -> str:
        if (predicted.dtype.kind == "U") != (y.dtype.kind == "U"):
            predicted, y = predicted.astype(str), y.astype(str)
        right = int((predicted == y).sum())
        return f"accuracy {100 * right / len(y):.2f} % ({right:,} of {len(y):,} rows)"

    def __str__(self) -> str:
        from backsweep.datasets import listed

        return f"classification, {len(self.classes)} classes: {listed(self.classes)}"


@dataclass(frozen=True)
class Quantity:
    """The output is a number, standardised as the training rows were."""

    mean: float
    scale: float

    task: ClassVar[str] = "regression"
    loss: ClassVar[str] = "mean_squared_error"
    n_out: ClassVar[int] = 1
    target_type: ClassVar[str] = "number"

    def encode(self, y: Array) -> Array:
        standardised: Array = (y.astype(np.float64) - self.mean) / self.scale
        return standardised

    def predict(self, network: bs.Network, X: Array, threads: int | None) -> Array:
        Z = network.predict(X, n_threads=threads).astype(np.float64)
        return Z * self.scale + self.mean

    def score(self, predicted: Array, y: Array) -> str:
        values = y.astype(np.float64)
        square, variance = float(((predicted - values) ** 2).mean()), float(values.var())
        explained = f"{1 - square / variance:.4f}" if variance > 0 else "undefined"
        return f"R² {explained}, RMSE {square**0.5:.6g} ({len(y):,} rows)"

    def __str__(self) -> str:
        return f"regression, mean {self.mean:.6g}, standard deviation {self.scale:.6g}"


def task_of(asked: str, y: Array) -> str:
    """What is asked for, or else what the help of --task says of such a target."""
    distinct = len(np.unique(y))
    repeated = 2 * distinct <= len(y)
    is_text = y.dtype.kind == "U"
    if asked == "regression" and is_text:
        raise ValueError(f"target must hold numbers for regression, got {str(y[0])!r}")
    if asked != "auto":
        return asked
    if is_text and not repeated:
        raise ValueError(
            f"target must hold numbers, or classes that occur twice or more on average, got {distinct:,} texts such as "
            f"{str(y[0])!r} in {len(y):,} rows; --task says which it is"
        )
    is_class = y.dtype.kind in "Ub" or (y.dtype.kind in "iu" and repeated and distinct <= MOST_INTEGER_CLASSES)
    return Classes.task if is_class else Quantity.task


def measured(task: str, y: Array) -> Classes | Quantity:
    """What there is to learn from the target of the training rows."""
    if task == Classes.task:
        classes = np.unique(y).tolist()
        if len(classes) < 2:
            raise ValueError(f"target must hold at least 2 classes, got {classes[0]!r} alone")
        return Classes(classes)
    numbers = y.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(numbers.mean()), float(numbers.std())
    if not math.isfinite(scale):
        raise ValueError(f"target must have a finite variance, got values up to {np.abs(numbers).max():g}")
    return Quantity(mean, scale or 1.0)


def recalled(network: bs.Network, notes: dict[str, Any]) -> Classes | Quantity:
    """What `train` wrote beside a network; without it, what the network alone says."""
    task, classes, mean, scale = (notes.get(name) for name in ("task", "classes", "mean", "scale"))
    single = network.n_out == 1
    if task is None and network.classifies and (single or network.loss == Classes.loss):
        return Classes(list(range(2 if single else network.n_out)))
    if task is None and not network.classifies and single:
        return Quantity(0.0, 1.0)
    if task == Classes.task and isinstance(classes, list) and len(classes) == network.n_out:
        return Classes(classes)
    if task == Quantity.task and single and isinstance(mean, float) and isinstance(scale, float):
        return Quantity(mean, scale)
    raise ValueError(f"MODEL must have one output or one for each class, and notes that fit it, got {network}")


def notes_of(path: str) -> dict[str, Any]:
    """What `train` wrote beside the network in this file."""
    notes = files.read(path)[1].get("notes")
    return notes if isinstance(notes, dict) else {}
