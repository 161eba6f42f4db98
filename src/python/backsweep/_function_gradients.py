"""A function's gradients as subjects of judgement: its arguments, taken apart into arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from backsweep._checks import Array, real_array
from backsweep._differences import FIRST_STEP
from backsweep._judging import Subject, measured_noise

TOLERANCES = {"float64": 1e-6, "float32": 1e-3}
ROUNDING = 16.0  # units in the last place of the largest gradient, which those that cancel to zero may be off by


def subjects(
    f: Callable[..., Any], primals: Sequence[Any], grads: Any, rng: np.random.Generator, tolerance: float | None
) -> tuple[list[Subject], list[str]]:
    """One for each array of real numbers among the primals, and remarks."""
    if not primals:
        raise TypeError("check_gradients must be given the function's arguments, got none")
    names = _names(f, len(primals))
    leaves = [dict(_leaves(primal, name)) for primal, name in zip(primals, names, strict=True)]
    differentiable = [i for i, found in enumerate(leaves) if any(_is_real(leaf) for leaf in found.values())]
    if not differentiable:
        raise TypeError(f"one argument at least must hold real numbers, got {', '.join(names)} of integers")
    notes = [f"{name} holds integers and is not differentiated" for i, name in enumerate(names)
             if i not in differentiable]  # fmt: skip

    points: dict[str, Array] = {}
    moved = [_copied(primal, name, points) for primal, name in zip(primals, names, strict=True)]
    value, V = _scalar(f, moved, rng)
    centre, _ = value()
    if not np.isfinite(centre):
        raise ValueError(f"the function must be finite to be differentiated, got {centre}")
    given = _given(f, primals, names, differentiable, grads, V)
    noise = measured_noise(value, list(points.values()))
    originals = {path: leaf for found in leaves for path, leaf in found.items()}
    claims = {path: real_array(given[path], f"grads' {path}") for path in points if path in given}
    magnitudes = [np.abs(claim[np.isfinite(claim)]).max(initial=0.0) for claim in claims.values()]
    largest = float(max(magnitudes, default=0.0))
    parts = []
    for path, claimed in claims.items():
        point = points[path]
        coarse = any(array.dtype.kind == "f" and array.dtype.itemsize < 8 for array in (claimed, originals[path]))
        dtype = np.float32 if coarse else np.float64
        parts.append(
            Subject(
                path,
                point,
                claimed,
                value,
                noise,
                FIRST_STEP * np.maximum(1.0, np.abs(point)),
                TOLERANCES[np.dtype(dtype).name] if tolerance is None else tolerance,
                np.asarray(ROUNDING * float(np.finfo(dtype).eps) * largest),
                np.zeros(()),
                None,
                False,
            )
        )
    return parts, notes


def _names(f: Callable[..., Any], count: int) -> list[str]:
    """The parameters' names, or arguments[i]."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [named[i] if i < len(named) else f"arguments[{i}]" for i in range(count)]


def _children(value: Any) -> Iterator[tuple[str, Any]] | None:
    if isinstance(value, dict):
        return ((f"[{key!r}]", child) for key, child in value.items())
    if isinstance(value, (list, tuple)):
        return ((f"[{i}]", child) for i, child in enumerate(value))
    return None


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Array]]:
    """The arrays of a nested structure by path."""
    children = _children(value)
    if children is None:
        if value is not None:
            yield path, real_array(value, path)
        return
    for step, child in children:
        yield from _leaves(child, path + step)


def _is_real(array: Array) -> bool:
    return array.dtype.kind == "f"


def _copied(value: Any, path: str, points: dict[str, Array]) -> Any:
    """The same structure with float64 copies, which are collected, in the place of arrays of real numbers."""
    if isinstance(value, dict):
        return type(value)((key, _copied(child, f"{path}[{key!r}]", points)) for key, child in value.items())
    if isinstance(value, (list, tuple)):
        children = [_copied(child, f"{path}[{i}]", points) for i, child in enumerate(value)]
        return type(value)(*children) if hasattr(value, "_fields") else type(value)(children)
    if value is None or not _is_real(np.asarray(value)):
        return value
    points[path] = np.array(value, dtype=np.float64, order="C")
    return points[path]


def _scalar(
    f: Callable[..., Any], moved: Sequence[Any], rng: np.random.Generator
) -> tuple[Callable[[], tuple[float, bool]], Array | None]:
    """The function of the copies as a number: of an array ⟨V, f⟩."""
    first = real_array(f(*moved), "the function's value")
    V = None if first.ndim == 0 else rng.normal(size=first.shape)

    def value() -> tuple[float, bool]:
        result = f(*moved)
        return (float(result) if V is None else float((V * np.asarray(result)).sum())), False

    return value, V


def _given(
    f: Callable[..., Any], primals: Sequence[Any], names: Sequence[str], differentiable: Sequence[int], grads: Any,
    V: Array | None,
) -> dict[str, Any]:  # fmt: skip
    """The claimed gradients by path."""
    if grads is None:
        from backsweep.autodiff import grad

        def number(*arguments: Any) -> Any:
            return f(*arguments) if V is None else (f(*arguments) * V).sum()

        found = dict(zip(differentiable, grad(number, argnums=tuple(differentiable))(*primals), strict=True))
    else:
        if V is not None:
            raise ValueError(f"grads must be left out for a function of array value, got one of shape {V.shape}")
        claimed = grads(*primals) if callable(grads) else grads
        if len(primals) == 1 and not (isinstance(claimed, (tuple, list)) and len(claimed) == 1):
            claimed = (claimed,)
        if not isinstance(claimed, (tuple, list)):
            raise TypeError(f"grads must hold one gradient for each argument, got {type(claimed).__name__}")
        if len(claimed) not in (len(primals), len(differentiable)):
            raise ValueError(f"grads must hold one gradient for each of {', '.join(names)}, got {len(claimed)} of them")
        places = range(len(primals)) if len(claimed) == len(primals) else differentiable
        found = {i: gradient for i, gradient in zip(places, claimed, strict=True) if gradient is not None}
    paths: dict[str, Any] = {}
    for i in found.keys() & set(differentiable):
        paths |= dict(_leaves(found[i], names[i]))
    missing = [
        path
        for i in found.keys() & set(differentiable)
        for path, leaf in _leaves(primals[i], names[i])
        if _is_real(leaf) and path not in paths
    ]
    if missing:
        raise ValueError(f"grads must be built like the arguments, got nothing for {missing[0]}")
    return paths
