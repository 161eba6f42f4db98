"""`check_gradients`: a gradient, of a network or of any function, against differences in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from backsweep import _checks

if TYPE_CHECKING:
    from backsweep._gradient_report import GradientReport, GradientRow
    from backsweep._judging import Judged

# What does the work is imported by the calls: most programs check no gradients.


def check_gradients(
    target: Any,
    *arguments: Any,
    grads: Any = None,
    sample_weight: object = None,
    training: bool = False,
    entries: int = 24,
    seed: int = 0,
    tolerance: float | None = None,
) -> GradientReport:
    """Compare a gradient with central differences in float64, and say what is probably wrong with it.

    ``check_gradients(net, X, y)`` checks a network's own gradients, ``check_gradients(f, *primals)`` those that
    `backsweep.grad` finds for a function; ``grads=`` puts your own in their place.

    Parameters
    ----------
    target : Network or function
        A function takes arrays, or nested lists, tuples and dicts of them, and returns a number. One that returns
        an array is checked through ⟨V, f⟩ with a fixed V.
    *arguments
        ``X, y`` of a network, as in `Network.loss_and_gradients`: a few rows are enough. A function's primals;
        those that hold integers are not differentiated.
    grads : optional
        For a network ``(dW, db)``, each with an entry for each layer (None where it has no such parameters), or a
        function called as ``grads(net, X, y)`` (with ``sample_weight=`` where one is given) that returns them. For a
        function one gradient for each primal, None for one that is not to be checked; or a function called as
        ``grads(*primals)`` that returns them.
    sample_weight : (m,), optional
        For a network.
    training : bool
        For a network: check the pass of training, with the same masks (those of the next step of `fit`, which
        `Network.dropout_masks` shows) and the statistics of this batch in every evaluation. Left out, it is the pass
        of prediction, which `Network.loss_and_gradients` differentiates too unless told otherwise: a `Dropout` is the
        identity there, a `BatchNorm` an affine map with its running statistics.
    entries : int
        How many entries of an array are compared; all, where it has no more. They are drawn by `seed`; of a
        network's array the one that looks worst is always among them.
    seed : int
    tolerance : float, optional
        The relative error that is right: 1e-6, or for float32 1e-5 in a network and 1e-3 in a function.

    Returns
    -------
    GradientReport
        ``ok``, ``rows``, and the whole as text (`str`) or HTML.

    Notes
    -----
    The relative error of an entry, a given and n by differences, is ``|a - n| / max(|a|, |n|, s/100)``, s the
    largest magnitude in the array: it is relative to the entry, but an entry far below the array's scale is not
    asked for more digits than its neighbours have. It is 0 where a and n are both zero. Allowed is the tolerance
    and, added to it, the error of n itself (truncation and rounding, both estimated), and in a float32 network what
    that arithmetic loses: measured on this network, as the difference between its float32 and float64 gradients.

    An entry whose difference would straddle a kink, where a pre-activation of relu changes sign, is compared at a
    smaller step, then to one side, and if all fails left out and counted. A pre-activation on the kink itself, or
    within rounding of it, may have either slope. Nothing in the network changes.

    Raises
    ------
    ValueError, TypeError
        For arguments that do not fit. An array in `grads` of another shape than its parameter's is not among
        these: it is reported as wrong.
    """
    from backsweep.network import Network

    training = _checks.flag(training, "training")
    _checks.whole_number(entries, "entries", 1)
    _checks.whole_number(seed, "seed", 0)
    if tolerance is not None:
        tolerance = _checks.number(tolerance, "tolerance", above=0.0)
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):  # what overflows is reported, not warned of
        if isinstance(target, Network):
            return _check_network(target, arguments, grads, sample_weight, training, entries, rng, tolerance)
        if not callable(target):
            raise TypeError(f"target must be a Network or a function, got {type(target).__name__}")
        if sample_weight is not None:
            raise TypeError(f"sample_weight must be left out for a function, got {type(sample_weight).__name__}")
        if training:
            raise TypeError("training must be left out for a function, got True")
        return _check_function(target, arguments, grads, entries, rng, tolerance)


def _check_network(
    net: Any, arguments: Sequence[Any], grads: Any, sample_weight: object, training: bool,
    entries: int, rng: np.random.Generator, tolerance: float | None,
) -> GradientReport:  # fmt: skip
    from backsweep import diagnosis
    from backsweep._gradient_report import GradientReport
    from backsweep._judging import judge
    from backsweep._network_gradients import given_gradients, subjects
    from backsweep._sweeps import problem

    if len(arguments) != 2:
        raise TypeError(f"check_gradients must be given X and y after a network, got {len(arguments)} arguments")
    X, y = arguments
    p = problem(net, X, y, sample_weight, np.float64, training)
    given, notes = given_gradients(net, X, y, sample_weight, grads, training)
    parts = subjects(p, given, net.dtype, tolerance)
    judged = {part.name: judge(part, entries, rng) for part in parts}
    wrong = [name for name, found in judged.items() if found.verdict == "wrong"]
    slack = {part.name: float(np.max(part.slack)) for part in parts}
    findings = diagnosis.of_network(p, given, wrong, slack) if wrong else {}
    m = len(p.X)
    title = f"Gradients of {net!r} on {m} row{'s' if m != 1 else ''}{' in training' if training else ''}"
    return GradientReport(title, _rows(parts, judged, findings), tuple(notes))


def _check_function(
    f: Callable[..., Any], primals: Sequence[Any], grads: Any, entries: int, rng: np.random.Generator,
    tolerance: float | None,
) -> GradientReport:  # fmt: skip
    from backsweep import diagnosis
    from backsweep._function_gradients import subjects
    from backsweep._gradient_report import GradientReport
    from backsweep._judging import judge

    parts, notes = subjects(f, primals, grads, rng, tolerance)
    judged = {part.name: judge(part, entries, rng) for part in parts}
    findings = diagnosis.of_function(parts, judged, primals)
    title = f"Gradients of {getattr(f, '__name__', type(f).__name__)}"
    return GradientReport(title, _rows(parts, judged, findings), tuple(notes))


def _rows(parts: Sequence[Any], judged: dict[str, Judged], findings: dict[str, Any]) -> tuple[GradientRow, ...]:
    from backsweep._gradient_report import GradientRow

    rows = []
    for part in parts:
        found, finding = judged[part.name], findings.get(part.name)
        rows.append(
            GradientRow(
                part.name,
                part.point.shape,
                part.given.shape,
                len(found.checked),
                found.skipped,
                found.error,
                found.allowed,
                found.worst,
                found.analytic,
                found.value,
                found.verdict,
                finding.fault if finding else None,
                finding.sentence if finding else found.remark,
            )
        )
    return tuple(rows)
