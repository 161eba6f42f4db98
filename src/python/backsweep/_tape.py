"""Traced values, and the tape of nodes that the back sweep reads in reverse: the engine of `autodiff`."""

from __future__ import annotations

import functools
import inspect
import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np

Value = Any  # an array, a number or a traced value
Pull = Callable[..., Value]  # (G, Z, x, y, ...) -> the gradient by one argument of Z = f(x, y, ...)
Pullback = Callable[[Value], Sequence[Value]]  # G -> the gradients by several arguments
F = TypeVar("F", bound=Callable[..., Any])

RULES: dict[Callable[..., Any], tuple[Pull | None, ...]] = {}  # a pull for each argument; None where there is none
COMPOSITES: dict[Callable[..., Any], Callable[..., Any]] = {}  # functions that are formulas in others
CONSTANT: set[Callable[..., Any]] = set()  # functions of slope 0 wherever they have one: plain results


class Node(NamedTuple):
    """An operation: the indices and the values of its traced arguments, and its pullback."""

    parents: Sequence[int]
    arguments: Sequence[Value]
    pullback: Pullback


class Tape:
    """Nodes in order of creation. They name each other by index, so no cycle keeps a finished tape in memory."""

    _levels = itertools.count()

    def __init__(self) -> None:
        self.level = next(Tape._levels)  # an inner tape is started after the outer one
        self.nodes: list[Node] = []

    def record(self, Z: Value, node: Node) -> Traced:
        self.nodes.append(node)
        return Traced(Z, self, len(self.nodes) - 1)

    def sweep(self, G: dict[int, Value], leaves: int) -> None:
        """The back sweep: turn gradients by outputs into gradients by the leaves, which are the first nodes."""
        for i in reversed(range(leaves, len(self.nodes))):
            if i in G:
                node = self.nodes[i]
                for parent, x, g in zip(node.parents, node.arguments, node.pullback(G.pop(i)), strict=True):
                    g = _like(g, x)
                    G[parent] = G[parent] + g if parent in G else g


def _like(g: Value, x: Value) -> Value:
    """A gradient in the shape and dtype of its argument: summed over what broadcasting made of one entry."""
    shape, dtype = np.shape(x), getattr(x, "dtype", np.float64)
    if g.shape != shape:
        new = g.ndim - len(shape)
        repeated = [new + i for i, n in enumerate(shape) if n == 1]
        g = np.reshape(np.sum(g, axis=(*range(new), *repeated)), shape)
    return g if g.dtype == dtype else cast(g, dtype)


class Traced:
    """A value on a tape. It computes as its array does; comparisons give plain arrays."""

    __slots__ = ("index", "tape", "value")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Value, tape: Tape, index: int) -> None:
        self.value, self.tape, self.index = value, tape, index

    shape = property(lambda self: np.shape(self.value))
    ndim = property(lambda self: np.ndim(self.value))
    size = property(lambda self: np.size(self.value))
    dtype = property(lambda self: np.dtype(getattr(self.value, "dtype", np.float64)))
    T = property(lambda self: np.transpose(self))

    # fmt: off
    def __add__(self, other: Value) -> Value: return np.add(self, other)
    def __radd__(self, other: Value) -> Value: return np.add(other, self)
    def __sub__(self, other: Value) -> Value: return np.subtract(self, other)
    def __rsub__(self, other: Value) -> Value: return np.subtract(other, self)
    def __mul__(self, other: Value) -> Value: return np.multiply(self, other)
    def __rmul__(self, other: Value) -> Value: return np.multiply(other, self)
    def __truediv__(self, other: Value) -> Value: return np.divide(self, other)
    def __rtruediv__(self, other: Value) -> Value: return np.divide(other, self)
    def __matmul__(self, other: Value) -> Value: return np.matmul(self, other)
    def __rmatmul__(self, other: Value) -> Value: return np.matmul(other, self)
    # Not np.power, which has no short way for squares.
    def __pow__(self, other: Value) -> Value: return _dispatch(operator.pow, (self, other), {})
    def __rpow__(self, other: Value) -> Value: return _dispatch(operator.pow, (other, self), {})
    def __neg__(self) -> Value: return np.negative(self)
    def __pos__(self) -> Value: return self
    def __abs__(self) -> Value: return np.absolute(self)
    def __lt__(self, other: Value) -> Value: return np.less(self, other)
    def __le__(self, other: Value) -> Value: return np.less_equal(self, other)
    def __gt__(self, other: Value) -> Value: return np.greater(self, other)
    def __ge__(self, other: Value) -> Value: return np.greater_equal(self, other)
    def __eq__(self, other: Value) -> Value: return np.equal(self, other)
    def __ne__(self, other: Value) -> Value: return np.not_equal(self, other)
    def __bool__(self) -> bool: return bool(plain(self))
    def __len__(self) -> int: return len(plain(self))
    def __getitem__(self, index: Any) -> Value: return take(self, index)
    def __iter__(self) -> Iterator[Value]: return (self[i] for i in range(len(self)))
    def __repr__(self) -> str: return f"Traced({self.value!r})"
    def __format__(self, spec: str) -> str: return format(plain(self) if spec else self.value, spec)

    def reshape(self, *shape: Any, **order: Any) -> Value:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **order)
    def transpose(self, *axes: Any) -> Value: return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)
    def flatten(self) -> Value: return np.ravel(self)
    def astype(self, dtype: Any) -> Value: return self if self.dtype == dtype else cast(self, np.dtype(dtype))
    # fmt: on

    def __getattr__(self, name: str) -> Any:
        """Any other method of arrays: NumPy's function of that name."""
        f = getattr(np, name, None)
        if callable(f) and callable(getattr(np.ndarray, name, None)):
            return functools.partial(f, self)
        raise AttributeError(f"a traced value has no attribute {name!r}")

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError("a traced value cannot be written into: make a new one by np.where, np.concatenate or np.stack")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Value, **kwargs: Any) -> Value:
        if method != "__call__" or kwargs:
            name = f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else "")
            raise TypeError(f"{name}({', '.join(f'{word}=' for word in kwargs)}) has no derivative rule, "
                            f"np.{ufunc.__name__} alone may have; traced values are not written in place")  # fmt: skip
        return _dispatch(ufunc, args, kwargs)

    def __array_function__(self, f: Callable[..., Any], types: Any, args: Any, kwargs: dict[str, Any]) -> Value:
        if kwargs.get("out") is not None:
            raise TypeError(f"{name_of(f)}(out=) has no derivative rule: traced values are not written in place")
        return _dispatch(f, args, kwargs)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            f"a traced value of shape {self.shape} cannot become a plain array or number (np.asarray, float, math, "
            "assignment into an array): write the function in NumPy's functions, such as np.stack for a list, "
            "bs.functional and bs.primitive"
        )

    __array__ = __float__ = __int__ = __index__ = __complex__ = item = tolist = _refuse


def plain(x: Value) -> Value:
    """x below all tapes."""
    while isinstance(x, Traced):
        x = x.value
    return x


def is_traced(*args: Value) -> bool:
    """Whether an argument is on a tape."""
    return any(isinstance(x, Traced) for x in args)


def name_of(f: Callable[..., Any]) -> str:
    """A function as the user writes it."""
    name = getattr(f, "__name__", repr(f))
    module = getattr(f, "__module__", None) or "numpy"  # a ufunc has none
    return f"{module}.{name}".replace("numpy", "np", 1) if module.startswith("numpy") else name


def _dispatch(f: Callable[..., Any], args: Sequence[Value], kwargs: dict[str, Any]) -> Value:
    """A function that was given a traced value."""
    if f in COMPOSITES:
        return COMPOSITES[f](*args, **kwargs)
    if f in RULES:
        return _apply_rule(f, args, kwargs)
    if f in CONSTANT:
        return f(*map(plain, args), **{name: plain(x) for name, x in kwargs.items()})
    raise TypeError(f"{name_of(f)} has no derivative rule: write it in others, or as an operation with bs.primitive")


def apply(
    f: Callable[..., Any], args: Sequence[Value], evaluate: Callable[[list[Value], list[int]], tuple[Value, Pullback]]
) -> Traced:
    """Put f on the innermost tape among its arguments.

    `evaluate` is given the arguments as they are below that tape and the positions of those that are on it; it
    returns the value and the pullback to these.
    """
    tapes = [x.tape for x in args if isinstance(x, Traced)]
    if not tapes:
        raise TypeError(f"{name_of(f)} must be given its traced arguments by position, got them by name or in a list")
    tape = max(tapes, key=lambda tape: tape.level)
    traced = [i for i, x in enumerate(args) if isinstance(x, Traced) and x.tape is tape]
    below = [x.value if i in traced else x for i, x in enumerate(args)]
    Z, pullback = evaluate(below, traced)
    return tape.record(Z, Node([args[i].index for i in traced], [below[i] for i in traced], pullback))


def _apply_rule(f: Callable[..., Any], args: Sequence[Value], kwargs: dict[str, Any]) -> Traced:
    """A function of `RULES`: only the pulls of its traced arguments are ever called."""

    def evaluate(below: list[Value], traced: list[int]) -> tuple[Value, Pullback]:
        pulls = [RULES[f][i] if i < len(RULES[f]) else None for i in traced]
        if None in pulls:
            raise TypeError(f"{name_of(f)} has no derivative by {_argument_name(f, traced[pulls.index(None)])}")
        if kwargs:
            try:
                _signature(pulls[0]).bind(None, None, *below, **kwargs)
            except TypeError as error:
                raise TypeError(f"{name_of(f)} has no derivative rule for this call: {error}") from None
        Z = f(*below, **kwargs)
        if type(Z) is float:  # a loss: of the dtype of its arguments from here on
            Z = np.result_type(*(below[i] for i in traced)).type(Z)
        return Z, lambda G: [pull(G, Z, *below, **kwargs) for pull in pulls if pull]

    return apply(f, args, evaluate)


def traceable(f: F) -> F:
    """Let a compiled function take traced values as well, by its entry in `RULES` or `COMPOSITES`."""

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        for x in (*args, *kwargs.values()) if kwargs else args:
            if isinstance(x, Traced):
                break
        else:
            return f(*args, **kwargs)
        if kwargs:
            bound = _signature(f).bind(*args, **kwargs)
            bound.apply_defaults()  # else those after a gap would not be among the positional ones
            args = bound.args
        return _dispatch(call, args, {})

    return call  # type: ignore[return-value]


_signature = functools.cache(inspect.signature)


def _argument_name(f: Callable[..., Any], i: int) -> str:
    try:
        return list(_signature(f).parameters)[i]
    except (ValueError, IndexError):  # one that has no signature, or takes any number of arguments
        return f"argument {i}"


@traceable
def take(x: Value, index: Any) -> Value:
    """``x[index]``."""
    return np.asarray(x)[index]


@traceable
def scatter(G: Value, index: Any, shape: tuple[int, ...]) -> Value:
    """The gradient by x from that by ``x[index]``: G added to zeros, as often as the index names an entry."""
    Z = np.zeros(shape, dtype=G.dtype)
    parts = index if isinstance(index, tuple) else (index,)
    if all(part is None or part is ... or isinstance(part, (int, np.integer, slice)) for part in parts):
        Z[index] = G  # names no entry twice
    else:
        np.add.at(Z, index, G)
    return Z


@traceable
def cast(x: Value, dtype: Any) -> Value:
    """x in another dtype."""
    return np.asarray(x, dtype=dtype)
