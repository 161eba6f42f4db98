"""Operations of the user's own: a value and its pullback."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from backsweep._tape import Pullback, Value, apply, is_traced, name_of


def primitive(f: Callable[..., tuple[Value, Pullback]]) -> Callable[..., Value]:
    """Make an operation of your own from a function that returns a value and its pullback.

    Parameters
    ----------
    f : callable
        ``f(*arguments) -> (value, pullback)``, where ``pullback(G)`` returns a tuple of one gradient for each
        argument, in its shape; None for an argument that is never differentiated, such as labels.

    Returns
    -------
    operation : callable
        ``operation(*arguments)`` is the value, for arrays and traced values alike. It has second derivatives
        where f computes with operations that have first ones. The pullback's gradients are checked in the
        back sweep: a ValueError or TypeError says what was expected.

    Examples
    --------
    >>> @bs.primitive
    ... def cube(x):
    ...     return x**3, lambda G: (3 * G * x**2,)
    >>> bs.grad(lambda x: cube(x).sum())(np.array([1.0, 2.0]))
    array([ 3., 12.])
    """

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not is_traced(*args, *kwargs.values()):
            return _value_and_pullback(f, args, kwargs)[0]

        def evaluate(below: list[Value], traced: list[int]) -> tuple[Value, Pullback]:
            Z, pullback = _value_and_pullback(f, below, kwargs)
            if is_traced(*below):
                Z = call(*below, **kwargs)  # so that an outer tape holds this operation, not what f does inside
            return Z, lambda G: _checked_gradients(f, pullback(G), below, traced)

        return apply(call, args, evaluate)

    return call


def _value_and_pullback(f: Callable[..., Any], args: Sequence[Value], kwargs: dict[str, Any]) -> tuple[Value, Pullback]:
    result = f(*args, **kwargs)
    if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
        raise TypeError(f"{name_of(f)} must return (value, pullback), got {type(result).__name__}")
    return result if is_traced(result[0]) else (np.asarray(result[0])[()], result[1])


def _checked_gradients(
    f: Callable[..., Any], gradients: Sequence[Value], args: Sequence[Value], wanted: Sequence[int]
) -> list[Value]:
    """The wanted ones of the gradients that a user's pullback returned."""
    if not isinstance(gradients, (tuple, list)) or len(gradients) != len(args):
        got = str(len(gradients)) if isinstance(gradients, (tuple, list)) else type(gradients).__name__
        raise TypeError(f"the pullback of {name_of(f)} must return a tuple of {len(args)}, one gradient for each "
                        f"argument, got {got}")  # fmt: skip
    for i in wanted:
        if gradients[i] is None or np.shape(gradients[i]) != np.shape(args[i]):
            got = "None" if gradients[i] is None else str(np.shape(gradients[i]))
            raise ValueError(f"gradient {i} from the pullback of {name_of(f)} must have shape {np.shape(args[i])}, "
                             f"got {got}")  # fmt: skip
    # A view, never the user's own array: the sweep's results are the caller's to write into.
    return [g if is_traced(g) else np.asarray(g)[...] for g in (gradients[i] for i in wanted)]
