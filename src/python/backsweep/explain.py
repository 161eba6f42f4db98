"""`explain`: both sweeps of a network on a batch, quantity by quantity, and what is to be seen in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backsweep import _checks

if TYPE_CHECKING:
    from backsweep._explanation import Explanation
    from backsweep.network import Network


def explain(
    net: Network, X: object, y: object, *, sample_weight: object = None, training: bool = False,
    learning_rate: float = 1e-3,
) -> Explanation:  # fmt: skip
    """Show both sweeps of a network on a batch: shapes, formulas, values, and what they say of its health.

    Parameters
    ----------
    net : Network
        It is only read.
    X : (m, n_0)
        The rows count as one batch, as in `Network.loss_and_gradients`; of some hundred all quantities are kept.
    y : (m,) or (m, k)
    sample_weight : (m,), optional
    training : bool
        Show the pass of training, with the masks of the next step of `fit` and the statistics of this batch. Left
        out, it is that of prediction, as in `Network.loss_and_gradients`: a `Dropout` leaves ``Z[i]`` as it is, and
        `BatchNorm` takes its running statistics.
    learning_rate : float
        Of the step of plain gradient descent that is held against the weights.

    Returns
    -------
    Explanation
        Text (`str`), HTML, and ``ledger``, ``trace`` and ``checks``. Values are those of the reference sweep in
        the network's dtype; the last check holds them against the network's own.

    Raises
    ------
    ValueError, TypeError
        As `Network.loss_and_gradients` does.
    """
    from backsweep._explanation import explanation  # imported by the call: most programs explain nothing
    from backsweep.network import Network

    if not isinstance(net, Network):
        raise TypeError(f"net must be a Network, got {type(net).__name__}")
    rate = _checks.number(learning_rate, "learning_rate", above=0.0)
    return explanation(net, X, y, sample_weight, rate, _checks.flag(training, "training"))
