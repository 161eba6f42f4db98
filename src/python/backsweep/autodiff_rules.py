"""The derivatives of NumPy's functions: for ``Z = f(x, y)``, how G = ∂ℓ/∂Z becomes ∂ℓ/∂x and ∂ℓ/∂y.

A pull computes with functions that have rules themselves, so every entry has derivatives of any order. The sweep
sums what broadcasting repeated, so that ``x + y`` gives G to both.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from backsweep._tape import COMPOSITES, CONSTANT, RULES, Value, cast, scatter, take
from backsweep.primitives import primitive


def _power_slope(x: Value, y: Value) -> Value:
    """∂(x^y)/∂x, 0 where y is 0: a square keeps its dtype, and x = 0 is nothing special."""
    if np.ndim(y) == 0:
        return y * x ** (y - 1) if y != 0 else np.zeros_like(x)
    return y * x ** np.where(y == 0, 1, y - 1)


# Entry by entry
RULES.update({
    np.positive: (lambda G, Z, x: G,),
    np.negative: (lambda G, Z, x: -G,),
    np.add: (lambda G, Z, x, y: G, lambda G, Z, x, y: G),
    np.subtract: (lambda G, Z, x, y: G, lambda G, Z, x, y: -G),
    np.multiply: (lambda G, Z, x, y: G * y, lambda G, Z, x, y: G * x),
    np.divide: (lambda G, Z, x, y: G / y, lambda G, Z, x, y: -G * Z / y),
    operator.pow: (lambda G, Z, x, y: G * _power_slope(x, y),
               lambda G, Z, x, y: G * Z * np.log(np.where(x > 0, x, 1))),
    np.square: (lambda G, Z, x: 2 * G * x,),
    np.sqrt: (lambda G, Z, x: G / (2 * Z),),
    np.reciprocal: (lambda G, Z, x: -G * Z * Z,),
    np.absolute: (lambda G, Z, x: G * np.sign(x),),
    np.exp: (lambda G, Z, x: G * Z,),
    np.expm1: (lambda G, Z, x: G * (Z + 1),),
    np.exp2: (lambda G, Z, x: G * Z * math.log(2),),
    np.log: (lambda G, Z, x: G / x,),
    np.log1p: (lambda G, Z, x: G / (1 + x),),
    np.log2: (lambda G, Z, x: G / (x * math.log(2)),),
    np.log10: (lambda G, Z, x: G / (x * math.log(10)),),
    np.logaddexp: (lambda G, Z, x, y: G * np.exp(x - Z), lambda G, Z, x, y: G * np.exp(y - Z)),
    np.sin: (lambda G, Z, x: G * np.cos(x),),
    np.cos: (lambda G, Z, x: -G * np.sin(x),),
    np.tan: (lambda G, Z, x: G * (1 + Z * Z),),
    np.arctan: (lambda G, Z, x: G / (1 + x * x),),
    np.sinh: (lambda G, Z, x: G * np.cosh(x),),
    np.cosh: (lambda G, Z, x: G * np.sinh(x),),
    np.tanh: (lambda G, Z, x: G * (1 - Z * Z),),
    # Where two are equal each has half, as in PyTorch and JAX.
    np.maximum: (lambda G, Z, x, y: G * (x > y) + G / 2 * (x == y), lambda G, Z, x, y: G * (y > x) + G / 2 * (x == y)),
    np.minimum: (lambda G, Z, x, y: G * (x < y) + G / 2 * (x == y), lambda G, Z, x, y: G * (y < x) + G / 2 * (x == y)),
    np.where: (None, lambda G, Z, where, x, y: np.where(where, G, 0), lambda G, Z, where, x, y: np.where(where, 0, G)),
    np.clip: (lambda G, Z, x, *bounds, **named_bounds: G * (x == Z),),
})  # fmt: skip


# Products
def _matrices(G: Value, x: Value, y: Value) -> tuple[Value, Value, Value]:
    """``Z = x @ y`` with a vector x as a row, a vector y as a column, and G as their product."""
    if np.ndim(y) == 1:
        G, y = np.expand_dims(G, -1), np.expand_dims(y, -1)
    if np.ndim(x) == 1:
        G, x = np.expand_dims(G, -2), np.expand_dims(x, -2)
    return G, x, y


def _matmul_x(G: Value, Z: Value, x: Value, y: Value) -> Value:
    G, _, Y = _matrices(G, x, y)
    return G @ np.swapaxes(Y, -1, -2)


def _matmul_y(G: Value, Z: Value, x: Value, y: Value) -> Value:
    G, X, _ = _matrices(G, x, y)
    product = np.swapaxes(X, -1, -2) @ G
    return product[..., 0] if np.ndim(y) == 1 else product


def _dot(x: Value, y: Value) -> Value:
    if np.ndim(x) == 0 or np.ndim(y) == 0:
        return x * y
    if np.ndim(y) > 2:
        raise TypeError("np.dot has no derivative rule for stacks of matrices: use np.matmul")
    return x @ y


RULES[np.matmul] = (_matmul_x, _matmul_y)
COMPOSITES[np.power] = operator.pow
COMPOSITES[np.dot] = _dot
COMPOSITES[np.outer] = lambda x, y: np.reshape(x, (-1, 1)) * np.reshape(y, (1, -1))


# Sums. The signatures are NumPy's, so that arguments given by position land where they should.
def _kept(Z: Value, x: Value, axis: Any, keepdims: bool) -> Value:
    """A result of reducing x, with the axes that it lost."""
    return Z if keepdims or axis is None else np.expand_dims(Z, axis)


def _sum(G: Value, Z: Value, x: Value, axis: Any = None, dtype: Any = None, out: None = None,
         keepdims: bool = False) -> Value:  # fmt: skip
    return np.broadcast_to(_kept(G, x, axis, keepdims), np.shape(x))


def _mean(G: Value, Z: Value, x: Value, axis: Any = None, dtype: Any = None, out: None = None,
          keepdims: bool = False) -> Value:  # fmt: skip
    return _sum(G, Z, x, axis, dtype, out, keepdims) * (np.size(Z) / np.size(x))


def _extreme(G: Value, Z: Value, x: Value, axis: Any = None, out: None = None, keepdims: bool = False) -> Value:
    """Of a maximum or minimum: the entries that attain it share alike."""
    attained = np.equal(x, _kept(Z, x, axis, keepdims)).astype(x.dtype)
    return _kept(G, x, axis, keepdims) * (attained / attained.sum(axis=axis, keepdims=True))


def _var(x: Value, axis: Any = None, dtype: Any = None, out: None = None, ddof: float = 0, *,
         keepdims: bool = False) -> Value:  # fmt: skip
    x = x if dtype is None else x.astype(dtype)
    deviation = x - np.mean(x, axis, keepdims=True)
    total = np.sum(np.square(deviation), axis, keepdims=keepdims)
    return total / (x.size // total.size - ddof)


def _norm(G: Value, Z: Value, x: Value, ord: None = None, axis: Any = None, keepdims: bool = False) -> Value:
    if ord is not None:
        raise TypeError(f"np.linalg.norm has a derivative rule for ord=None alone, got {ord!r}")
    return _kept(G / Z, x, axis, keepdims) * x


RULES.update({np.sum: (_sum,), np.mean: (_mean,), np.linalg.norm: (_norm,)})
RULES.update(dict.fromkeys((np.max, np.amax, np.min, np.amin), (_extreme,)))
COMPOSITES[np.var] = _var
COMPOSITES[np.std] = lambda x, *args, **kwargs: np.sqrt(_var(x, *args, **kwargs))


# Moving entries
def _reshaped(G: Value, x: Value, order: Any) -> Value:
    if order not in ("C", "F"):
        raise TypeError(f"order must be 'C' or 'F' for traced values, got {order!r}")
    return np.reshape(G, np.shape(x), order=order)


def _transposed_back(G: Value, Z: Value, x: Value, axes: Any = None) -> Value:
    return np.transpose(G, None if axes is None else np.argsort([axis % np.ndim(x) for axis in axes]))


def _concatenate(arrays: Sequence[Value], axis: int | None = 0) -> Value:
    if axis is None:
        return _concatenate([np.ravel(x) for x in arrays])

    def join(*arrays: Value) -> tuple[Value, Any]:
        ends = np.cumsum([np.shape(x)[axis] for x in arrays])

        def pullback(G: Value) -> list[Value]:
            G = np.swapaxes(G, axis, 0)
            return [np.swapaxes(G[end - np.shape(x)[axis] : end], 0, axis) for x, end in zip(arrays, ends, strict=True)]

        return np.concatenate(arrays, axis), pullback

    return primitive(join)(*arrays)


def _stack(arrays: Sequence[Value], axis: int = 0) -> Value:
    return np.concatenate([np.expand_dims(x, axis) for x in arrays], axis)


RULES.update({
    np.reshape: (lambda G, Z, x, shape=None, order="C", **copy: _reshaped(G, x, order),),
    np.ravel: (lambda G, Z, x, order="C": _reshaped(G, x, order),),
    np.expand_dims: (lambda G, Z, x, axis: np.reshape(G, np.shape(x)),),
    np.squeeze: (lambda G, Z, x, axis=None: np.reshape(G, np.shape(x)),),
    np.transpose: (_transposed_back,),
    np.swapaxes: (lambda G, Z, x, axis1, axis2: np.swapaxes(G, axis1, axis2),),
    np.moveaxis: (lambda G, Z, x, source, destination: np.moveaxis(G, destination, source),),
    np.broadcast_to: (lambda G, Z, x, shape: G,),
    np.copy: (lambda G, Z, x: G,),
    np.flip: (lambda G, Z, x, axis=None: np.flip(G, axis),),
    cast: (lambda G, Z, x, dtype: G,),
    take: (lambda G, Z, x, index: scatter(G, index, np.shape(x)),),
    scatter: (lambda H, Z, G, index, shape: H[index],),
})  # fmt: skip
COMPOSITES.update({
    np.concatenate: _concatenate,
    np.stack: _stack,
    np.hstack: lambda arrays: np.concatenate(arrays, 0 if np.ndim(arrays[0]) == 1 else 1),
    np.vstack: lambda arrays: np.concatenate([x[np.newaxis] if np.ndim(x) == 1 else x for x in arrays]),
})  # fmt: skip

CONSTANT.update((
    np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal, np.logical_and, np.logical_or,
    np.logical_not, np.logical_xor, np.isfinite, np.isinf, np.isnan, np.signbit, np.sign, np.floor, np.ceil, np.trunc,
    np.rint, np.round, np.any, np.all, np.argmax, np.argmin, np.argsort, np.count_nonzero, np.nonzero, np.isclose,
    np.allclose, np.array_equal, np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like,
    np.full_like, np.result_type,
))  # fmt: skip
