"""What `explain` returns: the quantities of both sweeps, in the order in which they are computed, and the checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from backsweep import _sweeps, _tables
from backsweep._checks import Array
from backsweep._kinds import Dropout
from backsweep._norm_kinds import Normalising
from backsweep._sanity import Check, checks
from backsweep._sweeps import Backward, Forward, Problem
from backsweep.reference import losses

if TYPE_CHECKING:
    from backsweep.network import Network

SMALL = 6  # a matrix of at most so many rows and columns is written out
LEDGER = ("symbol", "formula", "shape", "here", "norm")
CHECKS = ("", "check", "what it says")


class LedgerRow(NamedTuple):
    """A quantity of the two sweeps.

    Attributes
    ----------
    symbol, formula : str
        As in the notes, counted from 0: ``D[0]`` and ``G[1] ∘ relu'(A[0])``.
    letters : tuple of str
        Its shape in letters: m rows, n_i the width of layer i, k outputs.
    shape : tuple of int
    norm : float
        The square root of the sum of squares.
    """

    symbol: str
    formula: str
    letters: tuple[str, ...]
    shape: tuple[int, ...]
    norm: float

    def cells(self) -> tuple[str, ...]:
        letters, shape = _tables.shape(self.letters), _tables.shape(self.shape)
        return self.symbol, self.formula, letters, shape, _tables.number(self.norm)


@dataclass(frozen=True)
class Explanation:
    """What `explain` returns; `print` it, or leave it as the last line of a notebook's cell.

    Attributes
    ----------
    title : str
    loss : float
    ledger : tuple of LedgerRow
        The quantities in the order in which they are computed.
    trace : mapping
        Their values by symbol: ``trace["dW[0]"]``, read-only.
    checks : tuple of Check
        What is to be seen in them.
    """

    title: str
    loss: float
    ledger: tuple[LedgerRow, ...]
    trace: Mapping[str, Array]
    checks: tuple[Check, ...]

    def _is_small(self, row: LedgerRow) -> bool:
        return all(size <= SMALL for size in row.shape)

    def _traced(self) -> tuple[LedgerRow, ...]:
        """The steps to write out: none of a network that is large nearly everywhere."""
        small = sum(self._is_small(row) for row in self.ledger)
        return self.ledger if 2 * small >= len(self.ledger) else ()

    def __str__(self) -> str:
        parts = [self.title, _tables.text(LEDGER, [row.cells() for row in self.ledger], (4,))]
        steps = []
        for row in self._traced():
            step = f"{row.symbol} = {row.formula}  {_tables.shape(row.shape)}"
            small = self._is_small(row)
            steps.append(f"{step}\n{_tables.matrix_text(self.trace[row.symbol])}" if small else f"{step} ...")
        if steps:
            parts.append("Step by step\n" + "\n".join(steps))
        parts.append(_tables.text(CHECKS, [check.cells() for check in self.checks]))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        steps = []
        for row in self._traced():
            name = f"<code>{escape(f'{row.symbol} = {row.formula}')}</code> {escape(_tables.shape(row.shape))}"
            M = _tables.matrix_html(self.trace[row.symbol]) if self._is_small(row) else "…"
            steps.append(f'<div style="margin:0.6em 0">{name}{M}</div>')
        trace = (
            f"<details open='open'><summary><b>Step by step</b></summary>{''.join(steps)}</details>" if steps else ""
        )
        return (
            f"<div><p><b>{escape(self.title)}</b></p>{_tables.html(LEDGER, [row.cells() for row in self.ledger], (4,))}"
            f"{trace}{_tables.html(CHECKS, [check.cells() for check in self.checks])}</div>"
        )


def explanation(net: Network, X: object, y: object, sample_weight: object, rate: float, training: bool) -> Explanation:
    """`explain`, its arguments checked."""
    p = _sweeps.problem(net, X, y, sample_weight, net.dtype, training)
    with np.errstate(all="ignore"):  # what overflows is shown, not warned of
        f = _sweeps.forward(p)
        g = _sweeps.backward(p, f)
        rows, trace = [], {}
        for symbol, formula, letters, value in _quantities(p, f, g, net.input_mean is not None):
            value = value.view()
            value.flags.writeable = False
            trace[symbol] = value
            rows.append(LedgerRow(symbol, formula, letters, value.shape, float(np.linalg.norm(value))))
        own_loss, own = net.loss_and_gradients(X, y, sample_weight=sample_weight, training=training)
        found = checks(p, f, g, rate, own_loss, _sweeps.named(own.dW, own.db))
    m = len(p.X)
    title = (
        f"{net!r} on {m} row{'s' if m != 1 else ''}{' in training' if training else ''}: loss {_tables.number(f.loss)}"
    )
    return Explanation(title, f.loss, tuple(rows), MappingProxyType(trace), found)


def _quantities(
    p: Problem, f: Forward, g: Backward, standardised: bool
) -> Iterator[tuple[str, str, tuple[str, ...], Array]]:
    """Symbol, formula, shape in letters and value, in the order of the sweeps."""
    L = p.depth
    n = [f"n_{i}" for i in range(L)] + ["k"]
    yield "Z[0]", "(X - mean)/scale" if standardised else "X", ("m", n[0]), f.Z[0]
    for i, layer in enumerate(p.layers):
        b, kind = p.b[i], p.kind(i)
        if isinstance(kind, Normalising):
            Zhat, r = kind.normalised(f.Z[i])
            yield f"r[{i}]", kind.says_r(i), ("m", "1") if r.ndim == 2 else (n[i],), r
            yield f"Ẑ[{i}]", kind.says_normalised(i), ("m", n[i]), Zhat
            yield f"W[{i}]", "γ, a scale for each feature", (n[i],), p.W[i]
        elif isinstance(kind, Dropout):
            if kind.M is not None:
                yield f"M[{i}]", f"0 with probability {layer.p:g}, else 1/(1 - {layer.p:g})", ("m", n[i]), kind.M
        else:
            yield f"W[{i}]", "weights, in × out", (n[i], n[i + 1]), p.W[i]
        if b is not None:
            yield f"b[{i}]", "biases, added to each row", (n[i + 1],), b
        A = kind.says_preactivation(i) + (f" + b[{i}]" if b is not None else "")
        yield f"A[{i}]", A, ("m", n[i + 1]), f.A[i]
        sigma = f"A[{i}]" if layer.activation == "identity" else f"{layer.activation}(A[{i}])"
        yield f"Z[{i + 1}]", sigma, ("m", n[i + 1]), f.Z[i + 1]
    if p.loss == "softmax_cross_entropy":
        yield "S", f"softmax(Z[{L}]), along each row", ("m", "k"), losses.softmax(f.Z[L])
        labels = "labels as rows of the identity" if p.y.ndim == 1 else "y, probabilities"
        yield "I_y", labels, ("m", "k"), losses._one_hot(f.Z[L], p.y)
    else:
        yield "y", "targets", ("m", "k"), p.y.reshape(f.Z[L].shape)
    if p.sample_weight is not None:
        yield "w", "sample weights", ("m",), p.sample_weight
    given = "y, w" if p.sample_weight is not None else "y"
    yield "loss", f"{p.loss}(Z[{L}], {given})", (), np.array(f.loss)

    yield f"G[{L}]", _sweeps.output_gradient(p.loss, L, p.sample_weight is not None), ("m", "k"), g.G[L]
    for i in reversed(range(L)):
        sigma = p.layers[i].activation
        D = f"G[{i + 1}]" if sigma == "identity" else f"G[{i + 1}] ∘ {sigma}'(A[{i}])"
        yield f"D[{i}]", D, ("m", n[i + 1]), g.D[i]
        letters = (n[i], n[i + 1]) if p.layers[i].kind == "dense" else (n[i],)
        if g.dW[i].size:
            yield f"dW[{i}]", p.kind(i).says_weights(i), letters, g.dW[i]
        db = g.db[i]
        if db is not None:
            yield f"db[{i}]", f"column sums of D[{i}]", (n[i + 1],), db
        yield f"G[{i}]", p.kind(i).says_down(i), ("m", n[i]), g.G[i]
