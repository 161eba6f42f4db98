"""Refusals: every message names the argument, what was expected and what was got."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from numbers import Real
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backsweep import _core

Array = NDArray[Any]

CLASSIFIERS = ("softmax_cross_entropy", "sigmoid_cross_entropy")  # losses of rows that can be right or wrong
ENTRIES_AT_A_TIME = 1 << 18  # checks read arrays in pieces, so that their memory does not grow with the rows


def known_name(name: object, names: Iterable[str], what: str) -> str:
    """`name` if it is one of `names`."""
    names = list(names)
    if not isinstance(name, str):
        raise TypeError(f"{what} must be one of {', '.join(names)}, got {name!r}")
    if name not in names:
        import difflib

        near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{what} must be one of {', '.join(names)}, got {name!r}{hint}")
    return name


def whole_number(value: object, name: str, at_least: int) -> int:
    try:
        number = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if not at_least <= number < 2**31:
        raise ValueError(f"{name} must be an integer of at least {at_least} and below 2**31, got {value!r}")
    return number


def flag(value: object, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def number(
    value: object, name: str, *, at_least: float = 0.0, below: float = math.inf, above: float = -math.inf
) -> float:
    """A finite number in [at_least, below), and beyond `above`."""
    # Of a float nothing is to be asked; to ask takes a microsecond, and every `fit` comes here.
    if type(value) is not float and (isinstance(value, (bool, np.bool_)) or not isinstance(value, Real)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        x = float(value)
    except OverflowError:  # of hundreds of digits, or more than Python shows
        raise ValueError(f"{name} must be a finite number, got one beyond float64") from None
    if not (math.isfinite(x) and at_least <= x < below and x > above):
        low = f"greater than {above:g}" if above > -math.inf else f"at least {at_least:g}"
        high = f" and below {below:g}" if below < math.inf else ""
        raise ValueError(f"{name} must be a finite number {low}{high}, got {value!r}")
    return x


def threads(n_threads: object) -> int:
    """The number for the core: 0 leaves the choice to it."""
    return 0 if n_threads is None else whole_number(n_threads, "n_threads", 1)


def real_array(value: object, name: str, instead: str = "") -> Array:
    """`value` as an array of real numbers: not copied if it is an array, whatever its layout.

    `instead` says what to do with an array of something else.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an ordinary array, got a masked array")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of numbers, got {type(value).__name__}: {error}") from None
    if array.dtype.kind == "O":
        array = _of_objects(value, array, name)
    if array.dtype.kind not in "biuf":
        named = instead if array.ndim and array.dtype.kind in "OSTU" else ""
        raise TypeError(f"{name} must be an array of real numbers, got dtype {array.dtype}{named}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8 and not array.dtype.isnative:
        raise TypeError(f"{name} must be in the machine's byte order for dtype {array.dtype.name}")
    return array


def _of_objects(value: Any, array: Array, name: str) -> Array:
    """What NumPy takes for objects and is numbers: a frame of pandas' own dtypes, as Int64 beside Float32."""
    if hasattr(value, "toarray"):
        sklearn = ", and the estimators of backsweep.sklearn take it as it is" if name == "X" else ""
        raise TypeError(f"{name} must be dense, got {type(value).__name__}; {name}.toarray() is{sklearn}")
    dtypes = getattr(value, "dtypes", ())
    kinds = [getattr(dtype, "kind", "O") for dtype in (dtypes if hasattr(dtypes, "__iter__") else [dtypes])]
    if not kinds or set(kinds) - set("biuf"):
        return array
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:  # of older versions, which do not make NaN of what is missing
        raise TypeError(f"{name} must be an array of real numbers, got missing values: {error}") from None


def first_nonfinite(array: Array, dtype: np.dtype[Any], n_threads: int) -> tuple[int, int] | None:
    """Row and column of an entry that is NaN or infinite once it is of type `dtype`."""
    find = _core.first_nonfinite_float32 if dtype == np.float32 else _core.first_nonfinite_float64
    return find(array, n_threads)


def finite(array: Array, name: str, dtype: np.dtype[Any], n_threads: int = 1) -> None:
    """Refuse an entry that is NaN or infinite once it is of type `dtype`; n_threads as `threads` gives it."""
    position = first_nonfinite(array, dtype, n_threads)
    if position is not None:
        where = position if array.ndim == 2 else position[:1]
        value = array[where]
        reason = "" if not np.isfinite(value) else f", too large for {dtype.name}"
        raise ValueError(f"{name} must be finite, got {name}{list(where)} = {value}{reason}")


def finite_standardised(X: Array, mean: Array, scale: Array, dtype: np.dtype[Any]) -> None:
    """Refuse a finite entry of X that is too large for `dtype` once it is standardised."""
    for begin, piece in in_pieces(X):
        with np.errstate(over="ignore"):
            Z = ((piece - mean) / scale).astype(dtype)
        _refuse_where(~np.isfinite(Z), piece, begin, "X", f"be finite in {dtype.name} once it is standardised")


def inputs(X: object, n_in: int, *, at_least: int = 0) -> Array:
    """Rows of `n_in` real numbers; their values are not looked at."""
    array = real_array(X, "X")
    if array.ndim != 2 or array.shape[1] != n_in:
        raise ValueError(f"X must have shape (m, {n_in}), got {array.shape}")
    if len(array) < at_least:
        raise ValueError(f"X must have at least {at_least} row, got shape {array.shape}")
    return array


def in_pieces(array: Array) -> Iterator[tuple[int, Array]]:
    rows = max(1, ENTRIES_AT_A_TIME // max(1, math.prod(array.shape[1:])))
    for begin in range(0, len(array), rows):
        yield begin, array[begin : begin + rows]


def differences(rows: Array, origin: Array) -> Iterator[Array]:
    """Of rows from one of float64, as float64, in pieces."""
    for _, piece in in_pieces(rows):
        yield np.subtract(piece, origin, dtype=np.float64)


def _refuse_where(wrong: Array, piece: Array, begin: int, name: str, expected: str) -> None:
    if wrong.any():
        first = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        position = [begin + int(first[0]), *map(int, first[1:])]
        raise ValueError(f"{name} must {expected}, got {name}{position} = {piece[first]}")


def not_negative(array: Array, name: str) -> None:
    _refuse_where(array < 0, array, 0, name, "be at least 0")


def targets(y: object, m: int, k: int, loss: str, dtype: np.dtype[Any]) -> tuple[Array, bool]:
    """`y` for a loss, and whether it holds labels, which are not looked at.

    Labels are (m,); values are (m, k), and are returned so where k is 1 and y is (m,).
    """
    is_softmax = loss == "softmax_cross_entropy"
    hint = f"; labels are whole numbers 0 to {k - 1} for {loss}" if is_softmax else f"; a class is 0 or 1 for {loss}"
    array = real_array(y, "y", hint + ", and backsweep.sklearn.MLPClassifier takes any" if loss in CLASSIFIERS else "")
    given = array.shape
    if is_softmax and array.ndim == 1:
        if array.shape != (m,):
            raise ValueError(f"y must have one label for each of the {m} rows of X, got shape {array.shape}")
        return array, True
    if array.ndim == 1 and k == 1 and not is_softmax:
        array = array[:, np.newaxis]
    if array.shape != (m, k):
        other = f"({m},) of labels, or " if is_softmax else f"({m},) or " if k == 1 else ""
        raise ValueError(f"y must have shape {other}({m}, {k}) for {loss}, got {given}")
    finite(array, "y", dtype)
    _check_values(array, loss)
    return array, False


def labels(y: Array, k: int) -> None:
    row = _core.first_no_label(y, k)
    if row is not None:
        raise ValueError(f"y must hold labels 0, 1, ..., {k - 1}, got y[{row}] = {y[row]}")


def _check_values(y: Array, loss: str) -> None:
    for begin, piece in in_pieces(y):
        if loss in CLASSIFIERS:
            _refuse_where((piece < 0) | (piece > 1), piece, begin, "y", f"lie between 0 and 1 for {loss}")
        elif loss == "poisson":
            _refuse_where(piece < 0, piece, begin, "y", "be counts, at least 0, for poisson")
        if loss == "softmax_cross_entropy":
            sums = piece.sum(axis=1, dtype=np.float64)
            wrong = np.abs(sums - 1) > 1e-2  # loose enough for float16
            if wrong.any():
                row = int(np.argmax(wrong))
                raise ValueError(
                    f"y must hold probabilities that sum to 1 in each row, got {sums[row]:g} in row {begin + row}"
                )


def weights(sample_weight: object, m: int, dtype: np.dtype[Any], name: str = "sample_weight") -> Array | None:
    if sample_weight is None:
        return None
    array = real_array(sample_weight, name)
    if array.shape != (m,):
        raise ValueError(f"{name} must have shape ({m},), got {array.shape}")
    finite(array, name, dtype)
    # A float32 that is subnormal is zero to the core even where it becomes a float64.
    tiny = np.finfo(np.float32 if "float32" in (dtype.name, array.dtype.name) else np.float64).tiny
    total = lost = 0.0
    for begin, piece in in_pieces(array):
        _refuse_where(piece < 0, piece, begin, name, "be at least 0")
        with np.errstate(over="ignore"):  # an infinite sum is refused below
            total += float(piece.sum(dtype=np.float64))
        lost += float(piece[piece < tiny].sum(dtype=np.float64))
    info = np.finfo(dtype)
    if lost > float(info.eps) * total:
        raise ValueError(
            f"{name} must be at least {tiny:g} where it counts, for smaller numbers are taken as 0, got some "
            f"that sum to {lost:g} of {total:g} in all; scale all of it up, for only proportions matter"
        )
    if not 0 < total <= float(info.max):
        raise ValueError(f"{name} must have a positive sum that is finite in {dtype.name}, got {total:g}")
    return array
