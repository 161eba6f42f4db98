"""What is probably wrong with a gradient: the slip whose result comes nearest to what was given."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from backsweep import _sweeps
from backsweep._checks import CLASSIFIERS, Array
from backsweep._faults import NEVER_FILLED, Arrays, bias_slips, fitted, other_activations, slips
from backsweep._judging import Judged, Subject
from backsweep._layer_faults import layer_slips
from backsweep._matching import Candidate, choose, roughly, scaled, weigh
from backsweep._ratios import Reading, ratio, ratio_slips, read
from backsweep._sweeps import Backward, Forward, Problem

FAULTS = {
    "mean_missing": "too large by the number of samples",
    "mean_twice": "divided by the number of samples twice",
    "sign": "the opposite sign",
    "factor": "another constant factor",
    "transposed": "transposed, in shape or in content",
    "shape": "another shape",
    "zero": "zero everywhere",
    "mask_missing": "σ' is missing",
    "wrong_slope": "σ' is taken in the wrong place",
    "bias_not_summed": "db holds rows of D, not their sum",
    "bias_mean": "db is the mean of D's rows",
    "bias_wrong_axis": "db is D summed along the wrong axis",
    "bias_ignored": "no biases in the forward pass",
    "stale_activation": "dW[i] holds another matrix than Z[i]",
    "stale_weights": "other weights than the forward pass's",
    "softmax_overflow": "softmax without the max",
    "not_finite": "NaN or infinite",
    "softmax_missing": "Z[L] without its softmax, sigmoid or exp",
    "softmax_axis": "softmax down the columns",
    "softmax_slope_twice": "the derivative of softmax or sigmoid twice",
    "target_missing": "S instead of S - I_y",
    "statistics_constant": "mean or deviation of a layer that normalises taken for constants",
    "scale_missing": "γ or r of a layer that normalises missing on the way down",
    "unbiased_variance": "a batch's variance over m - 1",
    "dropout": "M of a dropout layer missing on the way down, or without its 1/(1 - p)",
    "other_pass": "training's pass for prediction's, or the other way round",
    "weights_not_transposed": "G[i] = D[i] W[i]",
    "wrong_layer": "the gradient of another array",
    "weights_ignored": "sample_weight left out",
    "one_sample": "one sample instead of all",
    "penalty": "a weight penalty that the loss does not have",
    "not_reduced": "not summed over what was broadcast",
}
WHOLE = 1e-4  # how near to a whole number a constant must be to be taken for one


class Finding(NamedTuple):
    fault: str | None
    sentence: str


UNKNOWN = "no slip that is known gives this: look at the worst entry"


def of_network(p: Problem, given: Arrays, wrong: Sequence[str], slack: dict[str, float]) -> dict[str, Finding]:
    """A finding for each array that is wrong.

    Every known slip is a whole gradient. Of those that reproduce an array, the one that reproduces most of the
    others too, wrong or right, is the likeliest. Where one slip does not explain all that is wrong, less likely
    ones are brought in.
    """
    f = _sweeps.forward(p)
    right = _sweeps.backward(p, f)
    exact = right.gradients()
    findings: dict[str, Finding] = {}
    for name in wrong:
        finding = _not_finite(given, name, f, p) or _shape(name, given[name], exact, right.D)
        if finding is not None:
            findings[name] = finding
    rest = [name for name in wrong if name not in findings]

    errors = {name: float(np.abs(given[name] - exact[name]).max()) for name in rest}
    candidates: list[Candidate] = []
    chosen: dict[str, Candidate] = {}
    for more in _stages(p, f, right, given, rest, candidates, chosen):
        candidates += more
        chosen.clear()
        chosen.update(choose(rest, candidates, slack, errors))
        if set(chosen) == set(rest) and len({id(candidate) for candidate in chosen.values()}) <= 1:
            break
    findings |= {name: Finding(candidate.fault, candidate.sentence) for name, candidate in chosen.items()}
    return {name: findings.get(name, Finding(None, _unknown(p, name, wrong, exact))) for name in wrong}


def _unknown(p: Problem, name: str, wrong: Sequence[str], exact: Arrays) -> str:
    """What can be said all the same: a right db[i] speaks for D[i]."""
    i = int(name[2:-1])
    if name[0] == "W" and f"b[{i}]" in exact and f"b[{i}]" not in wrong:
        return f"{UNKNOWN}; db[{i}] is right, so look at Z[{i}] first: dW[{i}] = {p.kind(i).says_weights(i)}"
    return UNKNOWN


def _stages(
    p: Problem, f: Forward, right: Backward, given: Arrays, wrong: Sequence[str], candidates: list[Candidate],
    chosen: dict[str, Candidate],
) -> Iterator[list[Candidate]]:  # fmt: skip
    """Slips, from the plainest to the least likely; the last stages build on those before them."""
    plain = chain(bias_slips(p, right), ratio_slips(p, given, right.gradients(), wrong), slips(p, f, right),
                  layer_slips(p, f, right))  # fmt: skip
    yield [weigh(slip, given) for slip in plain]
    yield scaled(candidates, wrong)
    yield [weigh(slip, given) for slip in fitted(p, f, right, given, wrong)]
    if set(chosen) != set(wrong):
        yield [weigh(slip, given) for slip in other_activations(p, right, given, wrong)]
    yield roughly(candidates)


def _not_finite(given: Arrays, name: str, f: Forward | None = None, p: Problem | None = None) -> Finding | None:
    got = given[name]
    if np.isfinite(got).all():
        return None
    kind = "NaN" if np.isnan(got).any() else "infinite"
    if f is not None and p is not None and p.loss in CLASSIFIERS:
        # Of such a logit exp is infinite, or all exp of a row are 0, in the coarsest dtype that is in use.
        limit = min(float(np.log(np.finfo(a.dtype).max)) for a in given.values() if a.dtype.kind == "f")
        Z = f.Z[-1]
        if Z.max() > limit or Z.max(axis=1).min() < -limit:
            furthest = float(Z.flat[np.argmax(np.abs(Z))])
            return Finding(
                "softmax_overflow",
                f"{kind}: exp overflows at a logit of {furthest:.4g}, softmax without the max: S = exp(Z - max Z) / "
                "Σ exp(Z - max Z), the maximum of each row",
            )
    return Finding("not_finite", f"{kind}: look for a division by 0, log of 0 or exp of a large number")


def _shape(name: str, got: Array, exact: Arrays, D: Sequence[Array]) -> Finding | None:
    """What a gradient of the wrong shape is."""
    right = exact[name]

    def same(a: Array, b: Array) -> bool:
        return a.shape == b.shape and bool(np.abs(a - b).max(initial=0) <= 1e-3 * np.abs(b).max(initial=0))

    if got.shape == right.shape:
        return None
    needs = f"must have shape {right.shape}, got {got.shape}"
    wrong_axis = None
    if name[0] == "b" and len(D[0]) > 1:
        i = int(name[2:-1])
        rule = f"db[{i}] = column sums of D[{i}]"
        if got.shape == D[i].shape:
            return Finding("bias_not_summed", f"{needs}: it is not summed over the {len(D[i])} rows, {rule}")
        wrong_axis = Finding("bias_wrong_axis", f"{needs}: it is summed along the rows, {rule}")
        if same(got.ravel(), D[i].sum(axis=1)):
            return wrong_axis
    if got.ndim == 2 and got.shape == right.shape[::-1] and same(got.T, right):
        return Finding("transposed", f"{needs}: it is transposed; W is in × out, so dW[i] = Z[i]ᵀ D[i]")
    for other, candidate in exact.items():
        if other != name and same(got, candidate):
            return Finding("wrong_layer", f"{needs}: it is d{other}; is the order reversed?")
    if got.size == right.size and same(got.reshape(right.shape), right):
        return Finding("shape", f"{needs}: the values are right, reshape them")
    if wrong_axis is not None and got.ndim > 0 and got.size == len(D[0]):
        return wrong_axis
    if got.ndim == 2 and got.shape == right.shape[::-1]:
        return Finding("transposed", f"{needs}: it is transposed, and once turned it is not right either")
    same_shape = [other for other, candidate in exact.items() if candidate.shape == got.shape]
    if same_shape:
        return Finding("wrong_layer", f"{needs}: that is the shape of {same_shape[0]}; is the order reversed?")
    return Finding("shape", needs)


def of_function(parts: Sequence[Subject], judged: dict[str, Judged], primals: Sequence[Any]) -> dict[str, Finding]:
    """The same where nothing is known of the function: by what differences show of each array."""
    shapes = [part.point.shape for part in parts] + [p.shape for p in primals if isinstance(p, np.ndarray)]
    lengths = {size for shape in shapes for size in shape}
    return {
        part.name: _of_primal(part, judged[part.name], parts, lengths)
        for part in parts
        if judged[part.name].verdict == "wrong"
    }


def _readings(c: float, lengths: Collection[int]) -> list[Reading]:
    """What a constant means in a function: a whole number, or 1 over one, is probably that of samples or outputs.

    2 is more often an exponent, if no array has that length.
    """
    times = min(max(c, 1 / c), 1e15)
    size = round(times)
    found = [(-1.0, "sign", "its sign is flipped")]
    if (size > 2 or size in lengths) and abs(times - size) <= WHOLE * size:
        found += [
            (float(size), "mean_missing", f"{size} times too large: is a mean over {size} missing?"),
            (1 / size, "mean_twice", f"{size} times too small: is it divided by {size} once too often?"),
        ]
    return [*found, (2.0, "factor", "twice what it should be"), (0.5, "factor", "half of what it should be")]


def _of_primal(part: Subject, found: Judged, parts: Sequence[Subject], lengths: Collection[int]) -> Finding:
    got, n, at = part.given.astype(np.float64), found.numerical, found.checked
    shape = part.point.shape

    def same(candidate: Array) -> bool:
        values = candidate.flat[at]
        return bool(np.abs(values - n).max(initial=0) <= 1e-3 * np.abs(n).max(initial=0)) and bool(n.any())

    if not np.isfinite(got).all():
        return _not_finite({part.name: got}, part.name) or Finding(None, UNKNOWN)
    turned = got.ndim == 2 and got.shape == shape[::-1] and same(got.T)
    if got.shape != shape:
        needs = f"must have shape {shape}, got {got.shape}"
        if turned:
            return Finding("transposed", f"{needs}: it is transposed")
        if got.size == part.point.size and same(got.reshape(shape)):
            return Finding("shape", f"{needs}: the values are right, reshape them")
        if got.ndim > len(shape) or (got.ndim == len(shape) and got.size > part.point.size):
            summed = f"{needs}: it is not summed over the axes that were broadcast"
            return Finding("not_reduced", summed)
        return Finding("shape", needs)
    if not got.any():
        return Finding("zero", NEVER_FILLED)
    c = ratio(got.flat[at], n) if n.size else None
    if c is not None:
        fault, sentence = read(c, _readings(c, lengths))
        if n.size > 1 or fault != "factor":  # a single number always has a ratio: it must mean something
            return Finding(fault, sentence)
    if turned:
        return Finding("transposed", "it is transposed")
    for other in parts:
        if other is not part and other.given.shape == shape and same(other.given.astype(np.float64)):
            return Finding("wrong_layer", f"what was given for {other.name} fits here: is the order right?")
    return Finding(None, UNKNOWN)
