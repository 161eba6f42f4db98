"""Reverse-mode differentiation of any graph: the notes' forward and backward passes (3.3), with JAX's conventions.

Forward, each operation on a traced value puts a node on a tape, and the node keeps its pullback: the vector-
Jacobian product that takes G, the gradient by the node's value, to the gradients by its arguments. Backward, the
nodes come in reverse order of creation and each hands its G to its pullback; what was used more than once adds up
what it is handed. That is all of it: `_tape.Tape.sweep`.

The arithmetic is NumPy's and the core's. `autodiff_rules` has the derivatives of NumPy's functions, `functional_rules`
those of the compiled ones; `primitive` makes more.

Each `vjp` has a tape of its own. An operation is recorded on the innermost tape among its arguments and carried out
on the values below it, which an outer tape may be tracing as well. Pullbacks consist of such operations too, and so
a gradient has gradients.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from backsweep import autodiff_rules, functional_rules  # noqa: F401  (they fill the table of rules)
from backsweep._checks import real_array, whole_number
from backsweep._tape import Node, Tape, Traced, Value, is_traced

Tree = Any  # a value, None, or lists, tuples and dicts of trees


def vjp(f: Callable[..., Tree], *primals: Tree) -> tuple[Tree, Callable[[Tree], tuple[Tree, ...]]]:
    """The value of a function, and its pullback: G ↦ the gradient of ⟨G, f⟩ by each argument.

    Parameters
    ----------
    f : callable
        Written in ``@ + - * / **``, comparisons, indexing, NumPy's functions, `functional` and `primitive`
        operations. It must not write into an array that it has computed with before.
    *primals
        Its arguments: floating-point arrays or numbers, or lists, tuples and dicts of them; None stays None.

    Returns
    -------
    value
        ``f(*primals)``.
    pullback : callable
        ``pullback(G)``, G of the structure and shapes of the value, returns a tuple of one gradient for each
        argument, in its structure, shapes and dtypes. It may be called more than once.

    Notes
    -----
    Arguments and value are copied, so that the caller may write into either before the pullback is called. Arrays that
    f takes from elsewhere, such as data, are read where they are and must stay as they are until then.

    Examples
    --------
    >>> value, pullback = bs.vjp(lambda X, W: X @ W, X, W)
    >>> dX, dW = pullback(G)  # G Wᵀ and Xᵀ G
    """
    value, pullback = _vjp(f, _map(_copied, primals), range(len(primals)))
    return _map(_copied, value), pullback


def _vjp(
    f: Callable[..., Tree], primals: tuple[Tree, ...], positions: Iterable[int]
) -> tuple[Tree, Callable[[Tree], tuple[Tree, ...]]]:
    """`vjp` of the arguments at some positions, which messages name; nothing is copied."""
    tape = Tape()
    inputs = tuple(
        _map(lambda x, i=i: tape.record(_leaf(x, i), Node((), (), tuple)), tree)
        for i, tree in zip(positions, primals, strict=True)
    )
    leaves = len(tape.nodes)
    outputs = f(*inputs)
    value = _map(lambda Z: Z.value if _is_on(tape, Z) else Z, outputs)

    def pullback(G: Tree) -> tuple[Tree, ...]:
        gradients: dict[int, Value] = {}

        def seed(Z: Value, g: Value) -> None:
            g = _cotangent(g, Z)
            if _is_on(tape, Z):
                gradients[Z.index] = gradients[Z.index] + g if Z.index in gradients else g

        _map(seed, outputs, G)
        tape.sweep(gradients, leaves)
        seen: set[int] = set()

        def gradient(x: Traced) -> Value:
            return _own(gradients[x.index], seen) if x.index in gradients else np.zeros(x.shape, x.dtype)[()]

        return tuple(_map(gradient, x) for x in inputs)

    return value, pullback


def value_and_grad(f: Callable[..., Value], argnums: int | Sequence[int] = 0) -> Callable[..., tuple[Value, Tree]]:
    """A function that returns the value of `f`, a real scalar, and its gradient.

    Parameters
    ----------
    f : callable
        As in `vjp`, with a real scalar value, such as a loss.
    argnums : int or sequence of int
        The position of the argument to differentiate by; several give a tuple of gradients.

    Returns
    -------
    callable
        ``(value, gradient)`` for the arguments of `f`; the gradient has the structure, the shapes and the
        dtypes of its argument.

    Examples
    --------
    >>> def loss(parameters, X, y):
    ...     Z = X
    ...     for W, b in parameters[:-1]:
    ...         Z = bs.functional.relu(Z @ W + b)
    ...     W, b = parameters[-1]
    ...     return bs.functional.softmax_cross_entropy(Z @ W + b, y)
    >>> value, gradient = bs.value_and_grad(loss)(list(zip(net.W, net.b)), X, y)
    """

    @functools.wraps(f)
    def differentiated(*args: Any, **kwargs: Any) -> tuple[Value, Tree]:
        value, pullback = _vjp(*_restricted(f, argnums, args, kwargs))
        dtype = getattr(value, "dtype", np.dtype(type(value)))
        if dtype.kind != "f" or np.shape(value):
            got = f"{dtype} of shape {np.shape(value)}" if dtype.kind in "biuf" else f"a {type(value).__name__}"
            raise TypeError(f"f must return a real scalar to have a gradient, got {got}; see vjp and jacobian")
        gradients = pullback(np.ones((), dtype))
        return value, gradients[0] if isinstance(argnums, int) else gradients

    return differentiated


def grad(f: Callable[..., Value], argnums: int | Sequence[int] = 0) -> Callable[..., Tree]:
    """The gradient of a real scalar function: `value_and_grad` without the value.

    Examples
    --------
    >>> bs.grad(lambda x: x**3)(2.0)
    np.float64(12.0)
    >>> bs.grad(bs.grad(lambda x: x**3))(2.0)
    np.float64(12.0)
    """

    @functools.wraps(f)
    def differentiated(*args: Any, **kwargs: Any) -> Tree:
        return value_and_grad(f, argnums)(*args, **kwargs)[1]

    return differentiated


def jacobian(f: Callable[..., Tree], argnums: int | Sequence[int] = 0) -> Callable[..., Tree]:
    """All derivatives of a function of arrays, a back sweep for each entry of its value.

    Returns
    -------
    callable
        For a value of shape s and an argument of shape t an array of shape s + t; for a structure of values, that
        structure, of the argument's structures.

    Examples
    --------
    >>> J = bs.jacobian(lambda x: W.T @ x)(x)  # Wᵀ
    >>> H = bs.jacobian(bs.grad(f))(x)  # the Hessian of f
    """

    @functools.wraps(f)
    def differentiated(*args: Any, **kwargs: Any) -> Tree:
        g, chosen, positions = _restricted(f, argnums, args, kwargs)
        value, pullback = _vjp(g, chosen, positions)
        counter = itertools.count()
        numbers = _map(lambda _: next(counter), value)

        def rows(number: int, Z: Value) -> Tree:
            def sweep(k: int) -> tuple[Tree, ...]:
                return pullback(_map(lambda n, Y: _unit(Y, k if n == number else None), numbers, value))

            def stack(x: Value, *g: Value) -> Value:  # no g at all where the value has no entries
                return np.reshape(np.stack(g) if g else np.zeros(0), np.shape(Z) + np.shape(x))

            J = _map(stack, chosen, *map(sweep, range(np.size(Z))))
            return J[0] if isinstance(argnums, int) else J

        return _map(rows, numbers, value)

    return differentiated


def _unit(Z: Value, k: int | None) -> Value:
    """Zeros in the shape of Z, but for a 1 in entry k."""
    E = np.zeros(np.shape(Z), getattr(Z, "dtype", np.float64))
    if k is not None:
        E.flat[k] = 1
    return E


def _restricted(
    f: Callable[..., Tree], argnums: int | Sequence[int], args: tuple[Tree, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Tree], tuple[Tree, ...], list[int]]:
    """f as a function of the arguments that `argnums` names, these, and their positions."""
    positions = [whole_number(i, "argnums", -len(args)) for i in ([argnums] if isinstance(argnums, int) else argnums)]
    if any(i >= len(args) for i in positions):
        raise ValueError(f"argnums must name positional arguments, of which there are {len(args)}, got {argnums}")

    def g(*chosen: Tree) -> Tree:
        merged = list(args)
        for i, x in zip(positions, chosen, strict=True):
            merged[i] = x
        return f(*merged, **kwargs)

    return g, tuple(args[i] for i in positions), positions


def _map(f: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """f of each leaf of a tree, and of the leaves in its place in others, in the tree's structure."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        _check_structure(tree, others, dict, tree.keys())
        return {key: _map(f, x, *(other[key] for other in others)) for key, x in tree.items()}
    if isinstance(tree, (list, tuple)):
        kind = list if isinstance(tree, list) else tuple
        _check_structure(tree, others, kind, None)
        items = [_map(f, *leaves) for leaves in zip(tree, *others, strict=True)]
        return type(tree)(*items) if hasattr(tree, "_fields") else kind(items)
    return f(tree, *others)


def _check_structure(tree: Tree, others: Iterable[Tree], kind: Any, keys: Any) -> None:
    for other in others:
        if not isinstance(other, kind) or len(other) != len(tree) or (keys is not None and other.keys() != keys):
            expected = f"keys {list(keys)}" if keys is not None else f"{len(tree)} items"
            raise TypeError(f"G must be a {kind.__name__} of {expected} like the value, got {other!r}")


def _copied(x: Value) -> Value:
    """An array of the caller's, in its layout, as it is now."""
    return x.copy(order="K") if isinstance(x, np.ndarray) else x


def _leaf(x: Value, i: int) -> Value:
    """A number or an array to differentiate by. A Python number stays one: it takes the dtype of what it meets."""
    if isinstance(x, Traced) or type(x) is float:
        return x
    array = real_array(x, f"argument {i}")
    if array.dtype.kind != "f":
        raise TypeError(f"argument {i} must hold floating-point numbers to differentiate by it, got {array.dtype}: "
                        "leave it out, by argnums or a lambda")  # fmt: skip
    return array


def _is_on(tape: Tape, x: Value) -> bool:
    return isinstance(x, Traced) and x.tape is tape


def _cotangent(G: Value, Z: Value) -> Value:
    """What a pullback was given for an output Z."""
    if not is_traced(G):
        # A view, so that `_own` knows it for the caller's.
        G = real_array(G, "G").astype(getattr(Z, "dtype", np.float64), copy=False)[...]
    if G.shape != np.shape(Z):
        raise ValueError(f"G must have the shape of the value, {np.shape(Z)}, got {G.shape}")
    return G


def _own(g: Value, seen: set[int]) -> Value:
    """A gradient that the caller may write into: no view, and no array that was handed out already."""
    if is_traced(g) or g.ndim == 0:
        return g if is_traced(g) else g[()]
    shared = g.base is not None or not g.flags.writeable or id(g) in seen
    seen.add(id(g))
    return g.copy() if shared else g
