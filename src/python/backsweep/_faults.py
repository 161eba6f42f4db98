"""The slips that hand-written sweeps are known for, each as the gradients that it would give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from backsweep import _sweeps
from backsweep._checks import Array
from backsweep._fitting import fit, norm
from backsweep._sweeps import Backward, Forward, Problem, backward, named, output_gradient, slope
from backsweep.reference import losses

Arrays = dict[str, Array]

NEVER_FILLED = "it is zero everywhere: it was never filled in"
FITTED = 1e-5  # how near a fit must come


class Slip(NamedTuple):
    """What went wrong, and what comes out of it."""

    fault: str
    sentence: str
    gradients: Arrays
    close: float = 1e-7  # how near it must come, relative to the array's largest entry


def slips(p: Problem, f: Forward, right: Backward) -> Iterator[Slip]:
    """Those of the sweeps that need no fitting; where two give the same, the likelier stands first."""
    yield from _of_the_loss(p, f)
    yield from _of_slopes(p, f, right)
    yield from _of_values(p, f)
    yield from _of_order(p, f, right)
    yield from _of_samples(p, f, right)


def _of_the_loss(p: Problem, f: Forward) -> Iterator[Slip]:
    """G[L] is not ∂ℓ/∂Z[L]."""
    Z, L = f.Z[-1], p.depth
    formula = f"G[{L}] = {output_gradient(p.loss, L, p.sample_weight is not None)}"
    G = _sweeps.loss_backward(p, Z)

    def slip(fault: str, sentence: str, G_L: Array) -> Slip:
        return Slip(fault, f"{sentence}: {formula}", backward(p, f, G_L=G_L).gradients())

    if p.loss == "softmax_cross_entropy":
        shares = losses._shares(Z, p.sample_weight)
        S, I_y = losses.softmax(Z), losses._one_hot(Z, p.y)
        yield slip("target_missing", "the labels are not subtracted, S stands where S - I_y must", shares * S)
        yield slip("target_missing", "S is missing, -I_y stands where S - I_y must", -shares * I_y)
        yield slip("softmax_missing", "the logits stand where their softmax S must", shares * (Z - I_y))
        across = losses.softmax(np.ascontiguousarray(Z.T)).T
        yield slip("softmax_axis", "softmax runs down the columns, not along the rows", shares * (across - I_y))
        yield slip("softmax_slope_twice", "softmax's derivative is in S - I_y already, S∘(1 - S) is one too many",
                   G * S * (1 - S))  # fmt: skip
        return
    blind = p._replace(y=np.zeros_like(Z))
    yield slip("target_missing", "y is not subtracted", _sweeps.loss_backward(blind, Z))
    if p.loss in ("sigmoid_cross_entropy", "poisson"):
        squared = p._replace(loss="mean_squared_error")
        name = "the sigmoid" if p.loss == "sigmoid_cross_entropy" else "exp"
        yield slip("softmax_missing", f"Z[{L}] stands where {name} of it must", _sweeps.loss_backward(squared, Z) / 2)
    if p.loss == "sigmoid_cross_entropy":
        s = np.exp(-np.logaddexp(0.0, -Z))
        yield slip("softmax_slope_twice", "the sigmoid's derivative is in G already", G * s * (1 - s))


def _of_slopes(p: Problem, f: Forward, right: Backward) -> Iterator[Slip]:
    """σ' is missing, or is taken in the wrong place."""
    exact = right.gradients()
    slopes = [slope(p, i, A) for i, A in enumerate(f.A)]
    curved = [i for i in range(p.depth) if p.layers[i].activation != "identity"]

    def replaced(changes: dict[int, Array]) -> Arrays:
        return backward(p, f, slopes=[changes.get(i, s) for i, s in enumerate(slopes)]).gradients()

    everywhere = {i: np.ones_like(f.A[i]) for i in curved}
    if len(curved) > 1:
        yield Slip("mask_missing", "σ' is missing in every layer: D[i] = G[i+1] ∘ σ'(A[i]), not G[i+1]",
                   replaced(everywhere))  # fmt: skip
        yield Slip("mask_missing", "σ' is missing on the way down: G[i] = D[i] W[i]ᵀ with D[i] = G[i+1] ∘ σ'(A[i])",
                   backward(p, f, unmasked=curved).gradients())  # fmt: skip
    for j in curved:
        D = f"D[{j}] = G[{j + 1}] ∘ {p.layers[j].activation}'(A[{j}])"
        without = replaced({j: everywhere[j]})
        yield Slip("mask_missing", f"σ' of layer {j} is missing: {D}, not G[{j + 1}]", without)
        here = (f"W[{j}]", f"b[{j}]")
        G, dW = f"G[{j}] = {p.kind(j).says_down(j)}", f"dW[{j}] = {p.kind(j).says_weights(j)}"
        yield Slip("mask_missing", f"σ' of layer {j} is missing on the way down: {G} with {D}",
                   backward(p, f, unmasked=[j]).gradients())  # fmt: skip
        alone = {name: without[name] if name in here else gradient for name, gradient in exact.items()}
        yield Slip("mask_missing", f"σ' of layer {j} is missing here: {dW} with {D}", alone)
    for places in [*([j] for j in curved), *([curved] if len(curved) > 1 else [])]:
        layer = f"layer {places[0]}" if len(places) == 1 else "every layer"
        i = places[0] if len(places) == 1 else "i"
        should = f"D[{i}] = G[{i}+1] ∘ σ'(A[{i}])" if i == "i" else f"D[{i}] = G[{places[0] + 1}] ∘ σ'(A[{i}])"
        for where, taken in _wrong_slopes(p, f, places):
            yield Slip("wrong_slope", f"σ' of {layer} is taken {where}: {should}", replaced(taken))


def _wrong_slopes(p: Problem, f: Forward, places: list[int]) -> Iterator[tuple[str, dict[int, Array]]]:
    yield "at the layer's output, σ'(Z[i+1])", {i: slope(p, i, f.Z[i + 1]) for i in places}
    bare = {i: p.kind(i).preactivation(f.Z[i], p.W[i], None) for i in places}
    yield "without the bias", {i: slope(p, i, bare[i]) for i in places}
    names = {p.layers[i].activation for i in places}
    if names <= {"sigmoid", "tanh"}:
        of = {"sigmoid": lambda Z: Z * (1 - Z), "tanh": lambda Z: 1 - Z * Z}
        yield (
            "from A[i], though its formula is for the output Z[i+1]",
            {i: of[p.layers[i].activation](f.A[i]) for i in places},
        )
    for j in range(p.depth):
        if len(places) == 1 and j != places[0] and f.A[j].shape == f.A[places[0]].shape:
            yield f"at another layer's A[{j}]", {places[0]: slope(p, places[0], f.A[j])}


def bias_slips(p: Problem, right: Backward) -> Iterator[Slip]:
    """db is not the column sums of D."""
    rule = "db[i] = column sums of D[i]"

    def slip(fault: str, sentence: str, of: list[Array]) -> Slip:
        db = [v if p.b[i] is not None and v.shape == right.D[i].shape[1:] else right.db[i] for i, v in enumerate(of)]
        return Slip(fault, f"{sentence}: {rule}", named(right.dW, db))

    D, m = right.D, len(p.X)
    if m > 1:
        yield slip("bias_mean", f"the mean over the {m} rows of D instead of their sum", [d.mean(axis=0) for d in D])
        yield slip("bias_not_summed", "the first row of D instead of the sum of rows", [d[0] for d in D])
        yield slip("bias_not_summed", "the last row of D instead of the sum of rows", [d[-1] for d in D])
        yield slip("bias_wrong_axis", "D is summed along its rows, not down its columns", [d.sum(axis=1) for d in D])


def _of_values(p: Problem, f: Forward) -> Iterator[Slip]:
    """dW[i] = Z[i]ᵀ D[i] with another matrix in the place of Z[i], or a Z that another network would have had."""
    no_sigma = [f.Z[0]]  # each A[i-1], or through dropout the one before it
    for i in range(p.depth - 1):
        drops = p.layers[i].kind == "dropout"
        no_sigma.append(p.kind(i).preactivation(no_sigma[i], p.W[i], None) if drops else f.A[i])
    others = {"Z[i+1]": f.Z[1:], "A[i-1], not its σ": no_sigma, "Z[i-1]": [f.Z[0], *f.Z[:-2]],
              "X": [f.Z[0]] * p.depth}  # fmt: skip
    for name, candidates in others.items():
        fits = [
            i
            for i in range(p.depth)
            if p.W[i].size and candidates[i].shape == f.Z[i].shape and candidates[i] is not f.Z[i]
        ]
        for places in [*([i] for i in fits), *([fits] if len(fits) > 1 else [])]:
            values = [candidates[i] if i in places else Z for i, Z in enumerate(f.Z[:-1])]
            layer = f"in dW[{places[0]}]" if len(places) == 1 else "in every layer"
            rule = p.kind(places[0]).says_weights("i")
            yield Slip("stale_activation", f"{name} stands in the place of Z[i] {layer}: dW[i] = {rule}",
                       backward(p, f, values=values).gradients())  # fmt: skip
    if any(b is not None and b.any() for b in p.b):
        bare = p._replace(b=tuple(None if b is None else np.zeros_like(b) for b in p.b))
        yield Slip("bias_ignored", "the biases are left out of the forward pass: A[i] = Z[i] W[i] + b[i]",
                   backward(bare, _sweeps.forward(bare)).gradients())  # fmt: skip


def _of_order(p: Problem, f: Forward, right: Backward) -> Iterator[Slip]:
    """Arrays that were never filled, transposes, and gradients of another layer."""
    exact = right.gradients()
    for name, gradient in exact.items():
        yield Slip("zero", NEVER_FILLED, {**exact, name: np.zeros_like(gradient)})
    square = [i for i in range(p.depth) if p.W[i].ndim == 2 and p.W[i].shape[0] == p.W[i].shape[1] > 1]
    for i in square:
        yield Slip("transposed", f"it is transposed: dW[{i}] = Z[{i}]ᵀ D[{i}], not D[{i}]ᵀ Z[{i}]",
                   {**exact, f"W[{i}]": exact[f"W[{i}]"].T})  # fmt: skip
    for places in [*([i] for i in square if i > 0), *([[i for i in square if i > 0]] if len(square) > 1 else [])]:
        weights = [W.T if i in places else W for i, W in enumerate(p.W)]
        for i in places[-1:]:
            yield Slip("weights_not_transposed", f"W is not transposed on the way down: G[{i}] = D[{i}] W[{i}]ᵀ",
                       backward(p, f, weights=weights).gradients())  # fmt: skip
    for name, gradient in exact.items():
        for other, candidate in exact.items():
            if other != name and candidate.shape == gradient.shape:
                yield Slip("wrong_layer", f"it is d{other}, the gradient of another array: is the order reversed?",
                           {**exact, name: candidate})  # fmt: skip


def _of_samples(p: Problem, f: Forward, right: Backward) -> Iterator[Slip]:
    """Not all samples count, or not as much as they should."""
    if p.sample_weight is not None:
        unweighted = p._replace(sample_weight=None)
        yield Slip("weights_ignored", "sample_weight is left out: each row of G[L] counts w/Σw, not 1/m",
                   backward(unweighted, f).gradients())  # fmt: skip
    m = len(p.X)
    if m == 1:
        return
    sentence = "only the {} sample counts, the others are overwritten: dW[i] = Z[i]ᵀ D[i] sums over all rows"
    for which, row in (("first", slice(0, 1)), ("last", slice(m - 1, m))):
        for times in (1.0, float(m)):
            G_L = np.zeros_like(right.G[-1])
            G_L[row] = times * right.G[-1][row]
            yield Slip("one_sample", sentence.format(which), backward(p, f, G_L=G_L).gradients())


def fitted(p: Problem, f: Forward, right: Backward, given: Arrays, wrong: Sequence[str]) -> Iterator[Slip]:
    """Slips with a learning rate in them that is not known: it is found by least squares."""
    exact = right.gradients()
    names = [name for name in wrong if given[name].shape == exact[name].shape]
    if sum(given[name].size for name in names) < 4:
        return  # one number explains a few others too easily
    before = "the weights have been updated before they were used: G[i] = D[i] W[i]ᵀ needs those of the forward pass"
    other = "it belongs to other weights, a step of gradient descent {}: forward and backward must use the same"

    def moved(direction: Arrays, rate: float) -> Problem:
        W = tuple(W - rate * direction[f"W[{i}]"] if W.size else W for i, W in enumerate(p.W))
        b = tuple(None if b is None else b - rate * direction[f"b[{i}]"] for i, b in enumerate(p.b))
        return p._replace(W=W, b=b)

    def updated_before_use(rate: float) -> Arrays:
        weights = list(p.W)
        for i in reversed(range(1, p.depth)):  # from above: each step needs the gradient that the last one left
            weights[i] = p.W[i] - rate * backward(p, f, weights=weights).dW[i]
        return backward(p, f, weights=weights).gradients()

    def after(rate: float) -> Arrays:
        q = moved(exact, rate)
        return backward(q, _sweeps.forward(q)).gradients()

    families = [(before, updated_before_use), (other.format("further"), after)]
    if all(given[name].shape == exact[name].shape and np.isfinite(given[name]).all() for name in exact):

        def earlier(rate: float) -> Arrays:
            q = moved({name: -given[name] for name in given}, rate)
            return backward(q, _sweeps.forward(q)).gradients()

        families.append((other.format("back"), earlier))
    unit = norm(p.parameters(), list(exact)) / (norm(exact, list(exact)) or 1.0)
    for sentence, family in families:
        yield Slip("stale_weights", sentence, family(fit(family, given, names, unit)), FITTED)
    for name in names:
        if name[0] == "W":
            W, difference = p.parameters()[name], given[name] - exact[name]
            share = float((difference * W).sum() / ((W * W).sum() or 1.0))
            yield Slip("penalty", f"it contains {share:.4g} {name}, a weight penalty that the loss does not have",
                       {**exact, name: exact[name] + share * W}, FITTED)  # fmt: skip


def other_activations(p: Problem, right: Backward, given: Arrays, wrong: Sequence[str]) -> Iterator[Slip]:
    """dW[i] = Mᵀ D[i] with an M that is not known, such as the Z[i] of another batch, left in a cache.

    Its rows are then combinations of those of D[i], which is a fact worth something where these do not span all.
    D[i] must be right, which db[i] tells.
    """
    exact = right.gradients()
    spanned: Arrays = {}
    evidence = False
    for i, D in enumerate(right.D):
        name = f"W[{i}]"
        if name not in wrong or f"b[{i}]" in wrong or p.layers[i].kind != "dense":
            continue
        got = given[name]
        if got.shape != exact[name].shape:
            continue
        _, sizes, rows = np.linalg.svd(D, full_matrices=False)
        rows = rows[sizes > np.finfo(np.float32).eps * max(D.shape) * sizes[0]]
        spanned[name] = got @ rows.T @ rows
        if len(rows) < D.shape[1] and p.b[i] is not None:
            if not np.abs(got - spanned[name]).max() <= FITTED * np.abs(got).max():
                return
            evidence = True
    if evidence:
        sentence = "D[i] is right, so another matrix stands in for Z[i], as of another batch: dW[i] = Z[i]ᵀ D[i]"
        yield Slip("stale_activation", sentence, {**exact, **spanned}, FITTED)
