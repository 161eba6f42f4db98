"""The loop over epochs: what is left to Python once the core has the steps."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from backsweep import _checks, _core
from backsweep._checks import Array
from backsweep._orders import Order
from backsweep.history import History
from backsweep.optimizers import Optimizer

if TYPE_CHECKING:
    from backsweep._backends import BackendTrainer
    from backsweep.network import Network

Callback = Callable[["Network", History], object]

SECONDS_BETWEEN_LOOKS = 0.1  # how often a run comes back for Ctrl-C and the progress bar
STEPS_IN_A_RUN = 4096  # at most: a schedule is evaluated for so many steps at once,
ROWS_IN_A_RUN = 1 << 17  # and an order for so many rows, or a step's


NOT_FINITE = "a weight is not finite"  # nor a running statistic


class DivergenceError(FloatingPointError, ValueError):
    """The loss or a weight was about to become infinite or NaN; the weights are the last finite ones."""


class Epochs:
    """Epochs of one trainer: rows in order or shuffled, each step at its learning rate.

    Rows and labels are looked at as they are read. A step that finds one that is none is not taken, the epoch is
    undone, and `check_data` says which it was: no pass over the data comes before the first step. An epoch is undone,
    too, in which the schedule of learning rates fails: it is asked for some steps' rates at a time.

    A step that would not stay finite is found and undone: the loss is looked at in each step, the weights
    after each epoch; where the weights went first, the epoch is run again from a copy, step by step. Runs
    repeat to the bit, so that costs nothing until it is needed.
    """

    def __init__(
        self,
        trainer: BackendTrainer,
        network: Network,
        optimizer: Optimizer,
        state: list[Array],
        batch_size: int,
        threads: int,
        check_data: Callable[[], None],
        put_back: Callable[[], None],
        advanced: Callable[[int], object],
    ) -> None:
        self.trainer = trainer
        self.network, self.threads = network, threads
        self.batch_size = batch_size
        self.at_most = max(1, min(STEPS_IN_A_RUN, ROWS_IN_A_RUN // batch_size))
        self.optimizer = optimizer
        self.counted = optimizer._steps
        # All that steps change, and how it was before the epoch.
        vectors = network.theta, network.buffers, network._draws, *state, self.counted
        self.vectors = [vector for vector in vectors if vector.size]
        self.saved = [np.empty_like(vector) for vector in self.vectors]
        self.check_data = check_data
        self.put_back = put_back  # undoes what an epoch begins with, before its first step
        self.advanced = advanced  # told of every run's steps

    def run(self, epoch: int, order: Order | None) -> tuple[float, float]:
        """One epoch: its mean loss, and the share of rows classified rightly."""
        self._copy(self.vectors, self.saved)
        step, sums = 0, np.zeros(5)  # Σwℓ, Σw, Σw·[right], and two that count batches by rows
        while step < self.trainer.steps_in_epoch:
            try:
                steps, stop = self._run(order, step, self.at_most, sums)
            except Exception:  # Ctrl-C is none: the steps that are taken stay
                self._undo()
                raise
            step += steps
            self.advanced(steps)
            if stop == "diverged":
                self._refuse(epoch, step, order, "the loss is not finite")
        if not self.network._is_finite(self.threads):
            self._refuse(epoch, step, order, NOT_FINITE)
        loss, weight, correct = sums[:3].tolist()
        return (loss / weight, correct / weight) if weight > 0 else (0.0, 0.0)

    def _run(self, order: Order | None, first: int, at_most: int, sums: Array) -> tuple[int, str]:
        count = min(at_most, self.trainer.steps_in_epoch - first)
        begin = first * self.batch_size
        rows = None if order is None else order[begin : begin + count * self.batch_size]
        done = self.optimizer.steps
        if callable(self.optimizer.learning_rate):
            rates = np.array([self.optimizer.rate(done + j) for j in range(count)], dtype=np.float64)
        else:
            rates = np.empty(count, dtype=np.float64)
            rates.fill(self.optimizer.rate(done))
        try:
            return self.trainer.run(rows, first, rates, self.counted, sums, SECONDS_BETWEEN_LOOKS)
        except ValueError:
            self.check_data()
            raise

    def _undo(self) -> None:
        self._copy(self.saved, self.vectors)
        self.put_back()

    def _copy(self, source: list[Array], target: list[Array]) -> None:
        for vector, copy in zip(source, target, strict=True):
            self.network._backend.copy(vector, copy, self.threads)

    def _refuse(self, epoch: int, step: int, order: Order | None, what: str) -> None:
        try:
            self.check_data()
        except ValueError:
            self._undo()
            raise
        if not self.network._is_finite(self.threads):
            # Weights went before the loss showed it: find the step that made them so.
            self._copy(self.saved, self.vectors)
            for step in range(self.trainer.steps_in_epoch):
                self._copy(self.vectors, self.saved)
                _, stop = self._run(order, step, 1, np.zeros(5))
                if stop == "diverged":
                    break
                if not self.network._is_finite(self.threads):
                    what = NOT_FINITE
                    self._copy(self.saved, self.vectors)
                    break
        rate = self.optimizer.rate(self.optimizer.steps)
        raise DivergenceError(
            f"training diverged in epoch {epoch + 1}, step {step + 1}: {what}; the weights are those before that "
            f"step. A smaller learning_rate (got {rate:g}), clip_norm or standardised inputs may help"
        )


def progress_bar(progress: object, total: int, unit: str = "step") -> AbstractContextManager[Any]:
    """A bar over steps, or other units, on standard error where there is one; with "auto" where somebody watches."""
    stream: Any = sys.stderr  # None in a program without a console
    if stream is None or getattr(stream, "closed", False) or not progress:
        return nullcontext()
    if progress == "auto" and not (hasattr(stream, "isatty") and stream.isatty()):
        return nullcontext()
    from tqdm import tqdm

    bar: AbstractContextManager[Any] = tqdm(total=total, unit=unit, dynamic_ncols=True, leave=False)
    return bar


def fit(
    network: Network,
    X: object,
    y: object,
    *,
    epochs: int,
    batch_size: int,
    optimizer: Optimizer,
    shuffle: bool,
    sample_weight: object,
    validation_data: object,
    callbacks: Iterable[Callback],
    progress: object,
    n_threads: int | None,
    precision: str,
) -> History:
    """`Network.fit`, whose docstring it shares."""
    n_epochs = _checks.whole_number(epochs, "epochs", 0)
    rows = _checks.whole_number(batch_size, "batch_size", 1)
    threads = _checks.threads(n_threads)
    if not isinstance(optimizer, Optimizer) or not hasattr(optimizer, "kind"):
        raise TypeError(f"optimizer must be one such as Adam(1e-3), got {optimizer!r}")
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list of functions of the network and the history, got {callbacks!r}")
    told = list(callbacks)
    for callback in told:
        if not callable(callback):
            raise TypeError(f"callbacks must be a list of functions of the network and the history, got {callback!r}")
    if not (isinstance(progress, bool) or (isinstance(progress, str) and progress == "auto")):
        raise ValueError(f'progress must be True, False or "auto", got {progress!r}')
    shuffles = _checks.flag(shuffle, "shuffle")
    _checks.known_name(precision, _core.precisions, "precision")
    if precision == "bf16" and network.dtype != np.float32:
        raise ValueError(f"precision must be 'full' for a network in {network.dtype}, got 'bf16'")
    data = network._data(X, y, sample_weight)
    validation = None
    if validation_data is not None:
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            raise ValueError(
                f"validation_data must be (X, y) or (X, y, sample_weight), got {type(validation_data).__name__}"
            )
        try:
            validation = network._data(*validation_data)
            network._check_data(validation, threads)
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation_data: {error}") from None
    m = len(data.X)
    whole = min(rows, m)
    last = m % whole or whole
    if last < network._fewest_rows:
        raise ValueError(
            f"batch_size must leave no batch of 1 row, which has no variance for BatchNorm, got {rows} for {m} rows"
        )
    network._check_parameters(threads)
    optimizer.rate(optimizer.steps)
    mean, scale = network._standardisation
    if n_epochs == 0:
        network._check_data(data, threads)

    history = History()
    before = optimizer._state, optimizer._network
    state = optimizer.bind(network)

    def put_back() -> None:
        """All that an epoch changes beside what its steps do; the first has bound the optimizer."""
        network._rng.bit_generator.state = orders
        if not history:
            optimizer._state, optimizer._network = before

    swept = network._network
    if precision != "full":
        swept = network._backend.network(network.layers, network.loss, precision)
    trainer = network._backend.trainer(
        swept, theta=network.theta, buffers=network.buffers, state=state, settings=optimizer.settings(),
        X=data.X, y=data.y, labels=data.labels, sample_weight=data.weights, mean=mean, scale=scale, batch_size=rows,
        n_threads=threads, loss_factor=1.0, penalty=0.0, loss_cap=math.inf, draws=network._draws,
    )  # fmt: skip
    with progress_bar(progress, n_epochs * trainer.steps_in_epoch) as bar:
        advanced = bar.update if bar is not None else lambda steps: None
        loop = Epochs(
            trainer, network, optimizer, state, rows, threads, lambda: network._check_data(data, threads), put_back,
            advanced,
        )  # fmt: skip
        for epoch in range(n_epochs):
            started = time.perf_counter()
            orders = network._rng.bit_generator.state
            # Held by nothing but the run: the next is drawn when this one is gone.
            loss, accuracy = loop.run(epoch, network._permutation(m) if shuffles else None)
            figures = {"loss": loss}
            if network.classifies:
                figures["accuracy"] = accuracy
            if validation is not None:
                figures |= {f"val_{name}": value for name, value in network._evaluate(validation, threads).items()}
            history.append(**figures, seconds=time.perf_counter() - started)
            if bar is not None:
                bar.set_postfix({name: f"{value:.4f}" for name, value in figures.items()}, refresh=False)
            # Every callback is told of every epoch; one that returns True ends the training.
            if any([callback(network, history) is True for callback in told]):  # noqa: C419 - no short cut
                break
    return history
