"""A network's gradients as subjects of judgement: what is claimed, and what float32 may lose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from backsweep import _sweeps
from backsweep._checks import CLASSIFIERS, Array, real_array
from backsweep._differences import FIRST_STEP
from backsweep._judging import Subject, measured_noise
from backsweep._rounding import noise_on_the_way, rounding_of_float32, rounding_of_float64
from backsweep._sweeps import KINKS, Problem

if TYPE_CHECKING:
    from backsweep.network import Network

NEXT_TO = 1e-12  # of a kink, on its other side
TOLERANCES = {"float64": 1e-6, "float32": 1e-5}


def given_gradients(
    net: Network, X: Any, y: Any, sample_weight: object, grads: Any, training: bool = False
) -> tuple[dict[str, Array], list[str]]:
    """The claimed gradients by name, and remarks."""
    if grads is None:
        _, own = net.loss_and_gradients(X, y, sample_weight=sample_weight, training=training)
        return _sweeps.named(own.dW, own.db), []
    notes: list[str] = []
    if callable(grads):
        theta = net.theta.copy()
        try:
            grads = grads(net, X, y) if sample_weight is None else grads(net, X, y, sample_weight=sample_weight)
        finally:
            if not np.array_equal(net.theta, theta):
                net.theta[:] = theta
                notes.append("grads changed the network's parameters while it ran; they have been put back")
    if hasattr(grads, "dW") and hasattr(grads, "db"):
        grads = (grads.dW, grads.db)
    if not isinstance(grads, (tuple, list)) or len(grads) != 2:
        raise TypeError(f"grads must be (dW, db) for a network, got {_described(grads)}")
    dW = _each(grads[0], [W.shape if W.size else None for W in net.W], "dW")
    db = _each(grads[1], [None if b is None else b.shape for b in net.b], "db")
    given = {}
    for i, (W, b) in enumerate(zip(net.W, net.b, strict=True)):
        if W.size:
            given[f"W[{i}]"] = _array(dW[i], f"dW[{i}]")
        if b is not None:
            given[f"b[{i}]"] = _array(db[i], f"db[{i}]")
    return given, notes


def _described(value: Any) -> str:
    length = f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
    return f"{type(value).__name__}{length}"


def _array(value: Any, name: str) -> Array:
    if value is None:
        raise TypeError(f"grads must hold {name} as an array, got None")
    return real_array(value, f"grads' {name}")


def _each(value: Any, shapes: Sequence[tuple[int, ...] | None], name: str) -> list[Any]:
    """One gradient for each layer; that of a single layer may stand bare."""
    if value is None and all(shape is None for shape in shapes):
        return [None] * len(shapes)
    alone = len(shapes) == 1 and isinstance(value, np.ndarray) and value.shape != (1, *(shapes[0] or ()))
    if alone:
        return [value]
    if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != len(shapes):
        raise ValueError(f"grads must hold {name} as {len(shapes)} arrays, one for each layer, got {_described(value)}")
    return list(value)


def subjects(p: Problem, given: dict[str, Array], dtype: np.dtype[Any], tolerance: float | None) -> list[Subject]:
    """One for each array of parameters."""
    f = _sweeps.forward(p)
    if not np.isfinite(f.loss):
        raise ValueError(f"the loss must be finite to be differentiated, got {f.loss}")
    expected = _sweeps.backward(p, f).gradients()
    allowances = {coarse: _allowances(p, coarse) for coarse in (True, False)}
    # A cross-entropy is log of a sum of at least 1: its rounding does not shrink with it.
    floor = float(np.finfo(np.float64).eps) if p.loss in CLASSIFIERS else 0.0
    noise = floor + measured_noise(_value_from(p, f, 0), list(p.parameters().values()))
    if any(kind.normalises for kind in p.kinds):  # which enlarges what rounding does before it
        noise += noise_on_the_way(p, f)
    parts = []
    for name, point in p.parameters().items():
        i = int(name[2:-1])
        # Where an input is large, a small step: A[i] moves by at most FIRST_STEP.
        reach = np.maximum(1.0, p.kind(i).reach(f.Z[i])) if name[0] == "W" else np.ones(())
        coarse = dtype == np.float32 or given[name].dtype in (np.float32, np.float16)
        parts.append(
            Subject(
                name,
                point,
                given[name],
                _value_from(p, f, i),
                noise,
                FIRST_STEP / reach,
                TOLERANCES["float32" if coarse else "float64"] if tolerance is None else tolerance,
                allowances[coarse][0][name],
                allowances[coarse][1][name],
                expected[name],
                True,
            )
        )
    return parts


def _value_from(p: Problem, f: _sweeps.Forward, first: int) -> Callable[[], tuple[float, bool]]:
    """The loss as a function of the parameters of layer `first`, and whether anything has crossed a kink."""
    pieces = [_piece(p, i, A) for i, A in enumerate(f.A)]
    last = _loss_piece(p, f.Z[-1])

    def value() -> tuple[float, bool]:
        Z, crossed = f.Z[first], False
        for i in range(first, p.depth):
            A, Z = _sweeps.layer_forward(p, i, Z)
            here = pieces[i]
            crossed = crossed or (here is not None and bool((here != _piece(p, i, A)).any()))
        crossed = crossed or (last is not None and bool((last != _loss_piece(p, Z)).any()))
        return _sweeps.loss_value(p, Z), crossed

    return value


def _piece(p: Problem, i: int, A: Array) -> Array | None:
    """On which side of σ's kink each pre-activation lies."""
    kink = KINKS.get(p.layers[i].activation)
    above: Array | None = None if kink is None else np.greater(A, kink)
    return above


def _loss_piece(p: Problem, Z: Array) -> Array | None:
    """The same for losses that are not smooth everywhere."""
    piece: Array | None = None
    if p.loss == "mean_absolute_error":
        piece = np.sign(Z - p.y.reshape(Z.shape))
    elif p.loss == "huber":
        piece = np.abs(Z - p.y.reshape(Z.shape)) > 1
    return piece


def _allowances(p: Problem, coarse: bool) -> tuple[dict[str, Array], dict[str, Array]]:
    """What arithmetic in the network's dtype may lose of each gradient, and what kinks leave open of it.

    A pre-activation on a kink, or so near that rounding may put it on the other side, may have either slope.
    """
    f = _sweeps.forward(p)
    exact = _sweeps.backward(p, f)
    right = exact.gradients()
    lost = rounding_of_float32(p) if coarse else rounding_of_float64(p)
    swapped = _on_the_other_side(p, f, exact, 8 * float(np.finfo(np.float32 if coarse else np.float64).eps))
    return lost, {name: np.abs(swapped.get(name, gradient) - gradient) for name, gradient in right.items()}


def _on_the_other_side(p: Problem, f: _sweeps.Forward, exact: _sweeps.Backward, unit: float) -> dict[str, Array]:
    """The gradients with the other slope wherever rounding may choose it; none where it may nowhere."""
    slopes, any_near = [], False
    terms = abs(f.Z[0])
    for i, A in enumerate(f.A):
        slopes.append(_sweeps.slope(p, i, A))
        kink = KINKS.get(p.layers[i].activation)
        terms = p.kind(i).size(f.Z[i], p.W[i], p.b[i], terms)
        if kink is not None:
            near = np.abs(A - kink) <= unit * terms
            any_near |= bool(near.any())
            beyond = np.where(np.greater(A, kink), kink - NEXT_TO, kink + NEXT_TO)
            other = _sweeps.slope(p, i, beyond)
            slopes[i] = np.where(near, other, slopes[i])
    G_L = exact.G[-1]
    if p.loss == "mean_absolute_error":
        Z, y = f.Z[-1], p.y.reshape(f.Z[-1].shape)
        near = np.abs(Z - y) <= unit * (abs(Z) + abs(y))
        any_near |= bool(near.any())
        G_L = np.where(near, -G_L, G_L)
    return _sweeps.backward(p, f, G_L=G_L, slopes=slopes).gradients() if any_near else {}
