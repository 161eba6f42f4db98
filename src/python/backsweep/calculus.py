"""The notes' table of matrix derivatives, each row a function that returns ``(value, pullback)``.

``pullback(G)`` is the vector-Jacobian product: for G = ∂ℓ/∂value, a number where the value is one, it returns a
tuple of the gradients ∂ℓ/∂argument in the arguments' order, each in its argument's shape (denominator layout).
Names of activations and targets y have none. `table` prints all rows.

Every derivation is the same three steps: write an entry of the value, differentiate it by an entry of the argument,
and read the sum over all entries as a matrix product. Rows with a compiled kernel use it; the formulas in NumPy are
`backsweep.reference.calculus`, under the same names.

Longer than 300 lines because it holds the derivations.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from backsweep import _checks, _core, _tables
from backsweep import functional as F
from backsweep._tape import Value, is_traced, plain
from backsweep.reference import calculus as formulas

__all__ = [
    "Table", "add_bias", "cross_entropy", "elementwise", "hadamard", "linear_form", "matmul", "mean", "quadratic_form",
    "scale", "softmax", "softmax_cross_entropy", "sum", "table",
]  # fmt: skip

Array = _checks.Array
Pullback = Callable[[Any], tuple[Any, ...]]


class Row(NamedTuple):
    """A row of the table; `shapes` is also what arguments are checked by."""

    value: str
    gradients: str
    shapes: str


ROWS = {
    "linear_form(a, X, b)": Row("aᵀ X b", "∇a = G X b, ∇X = G a bᵀ, ∇b = G Xᵀ a", "a (m,), X (m, n), b (n,)"),
    "quadratic_form(X, A)": Row(
        "tr(Xᵀ A X)", "∇X = G (A + Aᵀ) X (2 G A X if A = Aᵀ), ∇A = G X Xᵀ", "X (n, p) or (n,), A (n, n)"
    ),
    "matmul(X, W)": Row("X W", "∇X = G Wᵀ, ∇W = Xᵀ G", "X (m, n), W (n, k)"),
    "elementwise(sigma, X)": Row("σ(X)", "∇X = G ∘ σ'(X)", "X (...)"),
    "hadamard(X, Y)": Row("X ∘ Y", "∇X = G ∘ Y, ∇Y = G ∘ X", "X (...), Y (...)"),
    "add_bias(A, b)": Row("A + 1 bᵀ", "∇A = G, ∇b = Gᵀ 1 (column sums)", "A (m, n), b (n,)"),
    "scale(c, X)": Row("c X", "∇c = tr(Gᵀ X), ∇X = c G", "c (), X (...)"),
    "softmax(Z)": Row("S = exp(Z) / (exp(Z) 1 1ᵀ)", "∇Z = S ∘ (G - (G ∘ S) 1 1ᵀ)", "Z (m, k)"),
    "cross_entropy(S, y)": Row("-1/m Σ I_y ∘ log S", "∇S = -G/m I_y / S", "S (m, k), y (m,) or (m, k)"),
    "softmax_cross_entropy(Z, y)": Row(
        "-1/m Σ I_y ∘ log softmax(Z)", "∇Z = G (S - I_y)/m", "Z (m, k), y (m,) or (m, k)"
    ),
    "mean(X)": Row("1/N Σ X, N entries", "∇X = G/N 1 1ᵀ", "X (...)"),
    "sum(X)": Row("Σ X", "∇X = G 1 1ᵀ", "X (...)"),
}


def linear_form(a: Array, X: Array, b: Array) -> tuple[Any, Pullback]:
    """``aᵀ X b``: ∇X = G a bᵀ, ∇a = G X b, ∇b = G Xᵀ a.

    The value is Σ_ij a_i X_ij b_j. By X_ij its derivative is a_i b_j, entry (i, j) of a bᵀ; by a_i it is
    Σ_j X_ij b_j, entry i of X b; by b_j it is Σ_i a_i X_ij, entry j of Xᵀ a.

    Parameters
    ----------
    a : (m,)
    X : (m, n)
    b : (n,)

    Returns
    -------
    value : number
    pullback : G ↦ (∇a, ∇X, ∇b)
    """
    a, X, b = _arguments("linear_form(a, X, b)", a=a, X=X, b=b)
    return _checked(*formulas.linear_form(a, X, b))


def quadratic_form(X: Array, A: Array) -> tuple[Any, Pullback]:
    """``tr(Xᵀ A X)``, for a vector ``xᵀ A x``: ∇X = G (A + Aᵀ) X, which is 2 G A X where A is symmetric; ∇A = G X Xᵀ.

    The value is Σ_kij X_ik A_ij X_jk. X_pq stands in it twice, as the left and as the right factor: its derivative
    is Σ_j A_pj X_jq + Σ_i X_iq A_ip, entry (p, q) of A X + Aᵀ X. By A_ij it is Σ_k X_ik X_jk, entry (i, j) of X Xᵀ.

    Parameters
    ----------
    X : (n, p) or (n,)
    A : (n, n)

    Returns
    -------
    value : number
    pullback : G ↦ (∇X, ∇A)
    """
    X, A = _arguments("quadratic_form(X, A)", X=X, A=A)
    return _checked(*formulas.quadratic_form(X, A))


def matmul(X: Array, W: Array) -> tuple[Array, Pullback]:
    """``X W``: ∇X = G Wᵀ, ∇W = Xᵀ G.

    Entry (i, k) of the value is Σ_j X_ij W_jk, so ∂ℓ/∂X_ij = Σ_k G_ik W_jk, entry (i, j) of G Wᵀ, and
    ∂ℓ/∂W_jk = Σ_i X_ij G_ik, entry (j, k) of Xᵀ G. These two products are the notes' backward sweep.

    Parameters
    ----------
    X : (m, n)
    W : (n, k)

    Returns
    -------
    value : (m, k)
    pullback : G ↦ (∇X, ∇W)
    """
    X, W = _arguments("matmul(X, W)", X=X, W=W)
    return _checked(F.dense(X, W), lambda G: F.dense_backward(G, X, W)[:2])


def elementwise(sigma: str, X: Array) -> tuple[Array, Pullback]:
    """``σ(X)`` entry by entry: ∇X = G ∘ σ'(X).

    An entry of the value depends on the same entry of X alone, with derivative σ'(X_ij): the Jacobian is diagonal,
    and its product with G is Hadamard's.

    Parameters
    ----------
    sigma : str
        The name of an activation, as `Dense` takes it.
    X : array

    Returns
    -------
    value : as X
    pullback : G ↦ (∇X,)
    """
    _checks.known_name(sigma, _core.activations, "sigma")
    (X,) = _arguments("elementwise(sigma, X)", X=X)
    return _checked(getattr(F, sigma)(X), lambda G: (getattr(F, f"{sigma}_backward")(G, X),))


def hadamard(X: Array, Y: Array) -> tuple[Array, Pullback]:
    """``X ∘ Y``: ∇X = G ∘ Y, ∇Y = G ∘ X.

    Entry (i, j) of the value is X_ij Y_ij: its derivative by X_ij is Y_ij, by Y_ij X_ij, and by others 0.

    Parameters
    ----------
    X, Y : arrays of one shape

    Returns
    -------
    value : as X and Y
    pullback : G ↦ (∇X, ∇Y)
    """
    X, Y = _arguments("hadamard(X, Y)", X=X, Y=Y)
    return _checked(*formulas.hadamard(X, Y))


def add_bias(A: Array, b: Array) -> tuple[Array, Pullback]:
    """``A + 1 bᵀ``, b added to every row: ∇A = G, ∇b = Gᵀ 1, the column sums of G.

    Entry (i, j) of the value is A_ij + b_j. Each row has the same b_j, so ∂ℓ/∂b_j = Σ_i G_ij.

    Parameters
    ----------
    A : (m, n)
    b : (n,)

    Returns
    -------
    value : (m, n)
    pullback : G ↦ (∇A, ∇b)
    """
    A, b = _arguments("add_bias(A, b)", A=A, b=b)
    return _checked(*formulas.add_bias(A, b))


def scale(c: float, X: Array) -> tuple[Array, Pullback]:
    """``c X``: ∇c = Σ_ij G_ij X_ij = tr(Gᵀ X), a number; ∇X = c G.

    Parameters
    ----------
    c : number
    X : array

    Returns
    -------
    value : as X
    pullback : G ↦ (∇c, ∇X)
    """
    factor: Value = c
    if not is_traced(c, X):
        X = F._matrices(X=X)[0]
        factor = _checks.real_array(c, "c").astype(X.dtype)  # a number does not decide the dtype
    factor, X = _arguments("scale(c, X)", c=factor, X=X)
    return _checked(*formulas.scale(factor, X))


def softmax(Z: Array) -> tuple[Array, Pullback]:
    """Each row of Z to ``s = exp(z) / Σ exp(z)``: ∇Z = S ∘ (G - the row sums of G ∘ S).

    By the quotient rule ∂s_i/∂z_j = s_i [i = j] - s_i s_j, so a row's Jacobian is diag(s) - s sᵀ, which is symmetric;
    its product with the row g of G is s ∘ g - s (sᵀ g).

    Parameters
    ----------
    Z : (m, k)

    Returns
    -------
    value : (m, k)
    pullback : G ↦ (∇Z,)
    """
    (Z,) = _arguments("softmax(Z)", Z=Z)
    S = F.softmax(Z)
    return _checked(S, lambda G: (S * (G - np.sum(G * S, axis=1, keepdims=True)),))


def cross_entropy(S: Array, y: Array) -> tuple[Any, Pullback]:
    """``-1/m Σ_ij (I_y)_ij log S_ij``: ∇S = -G/m I_y / S, entry by entry.

    The derivative of -log s is -1/s. Composed with `softmax` it gives `softmax_cross_entropy`, where s cancels:
    that row never divides by a small probability, this one may.

    Parameters
    ----------
    S : (m, k)
        Probabilities, not 0 where y has weight.
    y : (m,) or (m, k)
        Labels 0..k-1, or probabilities.

    Returns
    -------
    value : number
    pullback : G ↦ (∇S,)
    """
    S, y = _arguments("cross_entropy(S, y)", S=S, y=y)
    m, k = S.shape
    targets, labels = _checks.targets(plain(y), m, k, "softmax_cross_entropy", S.dtype)
    if labels:
        _checks.labels(targets, k)
    picked = plain(S)[np.arange(m), targets.astype(np.int64)] if labels else plain(S)[targets > 0]
    if not np.all(picked > 0):
        raise ValueError(f"S must be greater than 0 where y has weight, got {np.min(picked):g}")
    return _checked(*formulas.cross_entropy(S, y))


def softmax_cross_entropy(Z: Array, y: Array) -> tuple[Any, Pullback]:
    """``-1/m Σ_ij (I_y)_ij log softmax(Z)_ij``: ∇Z = G (S - I_y)/m.

    A row's loss is log Σ_j exp(z_j) - z_y. The first term's derivative by z_j is s_j, the second's [j = y], and the
    mean over rows divides by m: the G_{L+1} from which the notes' sweep starts.

    Parameters
    ----------
    Z : (m, k)
        Logits.
    y : (m,) or (m, k)
        Labels 0..k-1, or probabilities.

    Returns
    -------
    value : number
    pullback : G ↦ (∇Z,)
    """
    Z, y = _arguments("softmax_cross_entropy(Z, y)", Z=Z, y=y)
    loss = Z.dtype.type(1) * F.softmax_cross_entropy(Z, y)
    return _checked(loss, lambda G: (G * F.softmax_cross_entropy_backward(Z, y),))


def mean(X: Array) -> tuple[Any, Pullback]:
    """``1/N Σ X`` over all N entries: ∇X = G/N in every entry.

    Parameters
    ----------
    X : array of at least one entry

    Returns
    -------
    value : number
    pullback : G ↦ (∇X,)
    """
    (X,) = _arguments("mean(X)", X=X)
    if X.size == 0:
        raise ValueError(f"X must have at least one entry, got shape {X.shape}")
    return _checked(*formulas.mean(X))


def sum(X: Array) -> tuple[Any, Pullback]:
    """``Σ X`` over all entries: ∇X = G in every entry.

    Parameters
    ----------
    X : array

    Returns
    -------
    value : number
    pullback : G ↦ (∇X,)
    """
    (X,) = _arguments("sum(X)", X=X)
    return _checked(*formulas.sum(X))


class Table:
    """The rows as text, and as HTML in a notebook."""

    header = ("function", "value", "gradients for G = ∂ℓ/∂value", "shapes")

    def __str__(self) -> str:
        return _tables.text(self.header, [(call, *row) for call, row in ROWS.items()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return _tables.html(self.header, [(call, *row) for call, row in ROWS.items()])


def table() -> Table:
    """All rows: function, value, gradients and shapes. Printed as text, shown as HTML in a notebook."""
    return Table()


@functools.cache
def _patterns(call: str) -> dict[str, list[list[str]]]:
    """The letters of each argument's shapes: "X (n, p) or (n,)" is [["n", "p"], ["n"]] for X."""
    named = re.findall(r"(\w+) (\([^)]*\)(?: or \([^)]*\))*)", ROWS[call].shapes)
    return {
        name: [[letter for letter in re.split(r", ?", shape) if letter] for shape in re.findall(r"\(([^)]*)\)", shapes)]
        for name, shapes in named
    }


def _arguments(call: str, **named: Value) -> list[Value]:
    """The arguments of a row, of one dtype and with shapes that fit one another."""
    values: list[Any]
    if is_traced(*named.values()):
        values = list(named.values())
    else:
        matrices = {name: value for name, value in named.items() if name != "y"}
        values = F._matrices(**matrices) + [np.asarray(y) for name, y in named.items() if name == "y"]
    sizes: dict[str, Any] = {}
    for (name, patterns), value in zip(_patterns(call).items(), values, strict=True):
        shape = np.shape(value)
        if not any(_fits(shape, letters, sizes) for letters in patterns):
            expected = " or ".join(_expected(letters, sizes) for letters in patterns)
            raise ValueError(f"{name} must have shape {expected}, got {shape}")
    return values


def _fits(shape: tuple[int, ...], letters: list[str], sizes: dict[str, Any]) -> bool:
    """Whether a shape is the letters', which have the sizes that they were first seen with."""
    if letters == ["..."]:
        return bool(sizes.setdefault("...", shape) == shape)
    if len(shape) != len(letters) or any(sizes.get(letter, n) != n for letter, n in zip(letters, shape, strict=True)):
        return False
    sizes.update(zip(letters, shape, strict=True))
    return len({*zip(letters, shape, strict=True)}) == len({*letters})  # (n, n) is square


def _expected(letters: list[str], sizes: dict[str, Any]) -> str:
    return str(sizes["..."]) if letters == ["..."] else _tables.shape([sizes.get(letter, letter) for letter in letters])


def _checked(value: Any, pullback: Pullback) -> tuple[Any, Pullback]:
    """A row whose G is checked."""

    def checked(G: Any) -> tuple[Any, ...]:
        G = G if is_traced(G) else _checks.real_array(G, "G").astype(value.dtype, copy=False)[()]
        if np.shape(G) != np.shape(value):
            raise ValueError(f"G must have the shape of the value, {np.shape(value)}, got {np.shape(G)}")
        return pullback(G)

    return value, checked
