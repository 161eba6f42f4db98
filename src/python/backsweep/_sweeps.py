"""The two sweeps of the notes with everything kept: what `check_gradients` and `explain` look at."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from backsweep._checks import Array
from backsweep._kinds import Dense, Dropout, Kind
from backsweep._norm_kinds import BatchNorm, LayerNorm, RunningNorm
from backsweep.layers import LayerShape
from backsweep.reference import activations, losses
from backsweep.reference.network import Network as ReferenceNetwork

if TYPE_CHECKING:
    from backsweep.network import Network

# G[L] of each loss; a mean over samples stands here and nowhere else.
OUTPUT_GRADIENT = {
    "softmax_cross_entropy": "(S - I_y)/m",
    "sigmoid_cross_entropy": "(sigmoid(Z[L]) - y)/(m k)",
    "mean_squared_error": "2 (Z[L] - y)/(m k)",
    "mean_absolute_error": "sign(Z[L] - y)/(m k)",
    "huber": "clip(Z[L] - y, -1, 1)/(m k)",
    "poisson": "(exp(Z[L]) - y)/(m k)",
}

# Where σ is not smooth: a kink, but elu bends more gently there and softplus, become the identity, steps by 2e-9.
KINKS = {"relu": 0.0, "leaky_relu": 0.0, "elu": 0.0, "softplus": 20.0}


def output_gradient(loss: str, depth: int, weighted: bool = False) -> str:
    """The formula of G[L] with L filled in."""
    formula = OUTPUT_GRADIENT[loss].replace("[L]", f"[{depth}]")
    # With weights w a sample counts w/Σw in place of 1/m.
    return formula.replace("/m", " w/Σw").replace("/(m k)", " w/(k Σw)") if weighted else formula


class Problem(NamedTuple):
    """A network's numbers and a batch in one of its passes, all of one dtype, without the network."""

    layers: tuple[LayerShape, ...]
    kinds: tuple[Kind, ...]
    other_pass: tuple[Kind, ...] | None  # where it is another: training's of prediction's and the reverse
    training: bool
    loss: str
    W: tuple[Array, ...]
    b: tuple[Array | None, ...]
    X: Array  # Z[0]: standardised where the network does that
    y: Array
    sample_weight: Array | None

    @property
    def depth(self) -> int:
        return len(self.layers)

    def kind(self, i: int) -> Kind:
        return self.kinds[i]

    def parameters(self) -> dict[str, Array]:
        return named(self.W, self.b)

    def in_dtype(self, dtype: Any) -> Problem:
        """A copy; labels stay integers."""
        W, b, w, other = self.W, self.b, self.sample_weight, self.other_pass
        return self._replace(
            kinds=tuple(kind.in_dtype(dtype) for kind in self.kinds),
            other_pass=None if other is None else tuple(kind.in_dtype(dtype) for kind in other),
            W=tuple(W_i.astype(dtype) for W_i in W),
            b=tuple(None if b_i is None else b_i.astype(dtype) for b_i in b),
            X=self.X.astype(dtype),
            y=self.y.copy() if self.y.dtype == np.int64 else self.y.astype(dtype),
            sample_weight=None if w is None else w.astype(dtype),
        )


class Forward(NamedTuple):
    Z: list[Array]
    A: list[Array]
    loss: float


class Backward(NamedTuple):
    G: list[Array]
    D: list[Array]
    dW: list[Array]
    db: list[Array | None]

    def gradients(self) -> dict[str, Array]:
        return named(self.dW, self.db)


def named(W: Sequence[Array], b: Sequence[Array | None]) -> dict[str, Array]:
    """W[0], b[0], W[1], ... by name; what a layer does not have is left out."""
    arrays = {}
    for i, (weight, bias) in enumerate(zip(W, b, strict=True)):
        if weight.size:
            arrays[f"W[{i}]"] = weight
        if bias is not None:
            arrays[f"b[{i}]"] = bias
    return arrays


def kinds_of(net: Network, training: bool, m: int) -> tuple[Kind, ...]:
    """The layers in a pass over m rows."""
    masks = net.dropout_masks(m) if training else (None,) * len(net.layers)
    kinds: list[Kind] = []
    for layer, M, mean, variance in zip(net.layers, masks, net.running_mean, net.running_var, strict=True):
        if mean is not None and variance is not None:
            kinds.append(BatchNorm() if training else RunningNorm(mean, variance))
        elif layer.kind == "dropout":
            kinds.append(Dropout(M))
        else:
            kinds.append(LayerNorm() if layer.kind == "layer_norm" else Dense())
    return tuple(kinds)


def problem(net: Network, X: object, y: object, sample_weight: object, dtype: Any, training: bool = False) -> Problem:
    """What `net` computes with, as copies: rounded to the network's dtype first, whatever `dtype` then holds it."""
    data = rows, values, labels, weights = net._data(X, y, sample_weight)
    net._check_data(data)
    net._check_pass(training, len(rows))
    net._check_parameters()
    specs = [astuple(layer) for layer in net.layers]
    Z = ReferenceNetwork(specs, net.loss).rows(rows, net.theta, *net._standardisation)
    m = len(rows)
    differ = m >= net._fewest_rows and any(layer.kind in ("batch_norm", "dropout") for layer in net.layers)
    held = Problem(
        net.layers, kinds_of(net, training, m), kinds_of(net, not training, m) if differ else None, training,
        net.loss, net.W, net.b, Z,
        values.astype(np.int64) if labels else values.astype(net.dtype),
        None if weights is None else weights.astype(net.dtype),
    )  # fmt: skip
    return held.in_dtype(dtype)


def layer_forward(p: Problem, i: int, Z: Array) -> tuple[Array, Array]:
    """A[i] and Z[i+1] from Z[i]."""
    A = p.kind(i).preactivation(Z, p.W[i], p.b[i])
    return A, getattr(activations, p.layers[i].activation)(A)


def loss_value(p: Problem, Z: Array) -> float:
    value: float = getattr(losses, p.loss)(Z, p.y, p.sample_weight)
    return value


def loss_backward(p: Problem, Z: Array) -> Array:
    """G[L]."""
    G: Array = getattr(losses, f"{p.loss}_backward")(Z, p.y, p.sample_weight)
    return G


def slope(p: Problem, i: int, A: Array) -> Array:
    """σ'(A) of layer i."""
    return through(p, i, np.ones_like(A), A)


def through(p: Problem, i: int, G: Array, A: Array) -> Array:
    """D = G ∘ σ'(A) of layer i."""
    D: Array = getattr(activations, f"{p.layers[i].activation}_backward")(G, A)
    return D


def forward(p: Problem) -> Forward:
    Z, A = [p.X], []
    for i in range(p.depth):
        A_i, Z_next = layer_forward(p, i, Z[-1])
        A.append(A_i)
        Z.append(Z_next)
    return Forward(Z, A, loss_value(p, Z[-1]))


def backward(
    p: Problem,
    f: Forward,
    *,
    G_L: Array | None = None,
    slopes: Sequence[Array] | None = None,
    values: Sequence[Array] | None = None,
    weights: Sequence[Array] | None = None,
    unmasked: Collection[int] = (),
    replaced: Mapping[int, Array] = MappingProxyType({}),
) -> Backward:
    """``D[i] = G[i+1] ∘ σ'(A[i])``, ``dW[i] = Z[i]ᵀ D[i]``, ``db[i]`` = column sums, ``G[i] = D[i] W[i]ᵀ``.

    A layer of another kind has its own dW[i] and G[i] (`_kinds`, `_norm_kinds`).

    A diagnosis asks what a slip would have given, so each ingredient can be replaced: G[L], the σ'(A[i]), the
    Z[i] that stand in dW[i], the W[i] that stand in G[i]; the layers `unmasked` pass down G[i+1] for D[i]; and
    G[i] itself can be `replaced`.
    """
    G = [loss_backward(p, f.Z[-1]) if G_L is None else G_L]
    D: list[Array] = []
    for i in reversed(range(p.depth)):
        D.append(through(p, i, G[-1], f.A[i]) if slopes is None else G[-1] * slopes[i])
        passed = G[-1] if i in unmasked else D[-1]
        if i in replaced:
            G.append(replaced[i])
            continue
        G.append(p.kind(i).down(passed, f.Z[i], (p.W if weights is None else weights)[i]))
    G.reverse()
    D.reverse()
    Z = f.Z if values is None else values
    dW = [p.kind(i).weights(D[i], Z[i]) for i in range(p.depth)]
    db = [D[i].sum(axis=0) if p.b[i] is not None else None for i in range(p.depth)]
    return Backward(G, D, dW, db)
