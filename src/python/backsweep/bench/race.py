"""The race: every peer is checked against the reference, and those that agree take turns.

Peers run in processes of their own; the turns of all of them alternate, so that what the machine does meanwhile falls
on all alike.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backsweep.bench import agreement
from backsweep.bench.machine import on_cores
from backsweep.bench.peers import OURS, REFERENCE, Peer
from backsweep.bench.process import PeerError, PeerProcesses
from backsweep.bench.workloads import AnyWorkload

Say = Callable[[str], object]

TIMED, WRONG, FAILED = "timed", "wrong", "failed"
FEWEST_TURNS = 3


@dataclass
class Figure:
    """What came of one peer on one workload.

    `medians` holds one median for each process, in seconds of a step or a call; `memory` is the peak in MiB of a
    process that took the data and warmed up. `one_core` holds the medians of turns on one core that came between those
    on several: what a machine does meanwhile falls on both alike.
    """

    workload: str
    peer: str
    cores: int
    status: str = TIMED
    reason: str = ""
    difference: float | None = None  # from the reference, as a share of the way it has gone
    limit: float | None = None
    medians: list[float] = field(default_factory=list)
    one_core: list[float] = field(default_factory=list)
    best: float | None = None
    turns: int = 0
    memory: float | None = None
    flops: float = 0.0
    peak: float | None = None  # FLOP/s of the cores in this run, where it was measured

    @property
    def median(self) -> float | None:
        return statistics.median(self.medians) if self.status == TIMED else None

    @property
    def share_of_peak(self) -> float | None:
        return None if self.median is None or self.peak is None else self.flops / self.median / self.peak

    @property
    def gain(self) -> float | None:
        """How many times as fast as on one core: the median of the processes."""
        pairs = list(zip(self.one_core, self.medians, strict=True)) if self.one_core else []
        return statistics.median(one / several for one, several in pairs) if pairs else None

    def fail(self, status: str, reason: str) -> None:
        """Whatever has been timed of it counts no more."""
        self.status, self.reason, self.medians, self.one_core, self.best = status, reason, [], [], None


@dataclass(frozen=True)
class Settings:
    """How a race is run."""

    cores: int = 1
    beside_one: bool = False  # a turn on one core comes before each on several
    turns: int = 7  # of each peer, in each process
    processes: int = 1  # of each peer, one after another
    share: float = 1.0  # of the steps of a turn
    seconds: float = 30.0  # for the turns of a workload in a process; at least three are taken nevertheless
    patience: float = 120.0  # for a peer to start, to compile, to agree


def best_peer(figures: Sequence[Figure]) -> float | None:
    """The smallest median but ours."""
    others = [f.median for f in figures if f.peer != OURS and f.median is not None]
    return min(others) if others else None


class Race:
    """Races with the same peers and settings.

    Parameters
    ----------
    peers : sequence of Peer
    settings : Settings
    say : function
        Told what happens, a line of text at a time.
    measure_peak : function, optional
        FLOP/s that so many cores can do; measured before and after the turns of each workload.
    """

    def __init__(
        self,
        peers: Sequence[Peer],
        settings: Settings,
        say: Say = lambda line: None,
        measure_peak: Callable[[int], float] | None = None,
    ) -> None:
        self.peers, self.settings, self.say, self.measure_peak = peers, settings, say, measure_peak

    def run(self, w: AnyWorkload) -> list[Figure]:
        """The figures of a workload, one for each peer that can do it; each in a process of this workload's own.

        Raises
        ------
        ValueError
            If there are not so many cores.
        RuntimeError
            If the reference itself fails.
        """
        figures = self._figures(w)
        with on_cores(self.settings.cores):
            for _ in range(self.settings.processes):
                with self._teams() as teams:
                    self._heat(w, figures, teams)
        return figures

    def run_all(self, workloads: Sequence[AnyWorkload]) -> Iterator[list[Figure]]:
        """As `run` for one workload after another, with one process a peer for all: sooner done.

        The figures' `memory` is None, for what a process holds of one workload shows in the next.
        """
        with on_cores(self.settings.cores), self._teams() as teams:
            for w in workloads:
                figures = self._figures(w)
                self._heat(w, figures, teams)
                for figure in figures:
                    figure.memory = None
                yield figures

    def _figures(self, w: AnyWorkload) -> list[Figure]:
        return [Figure(w.name, p.name, self.settings.cores, flops=w.flops) for p in self.peers if w.kind in p.kinds]

    @contextlib.contextmanager
    def _teams(self) -> Iterator[list[PeerProcesses]]:
        """Those that take turns: on one core where that is asked for, then on all."""
        alone = [1] if self.settings.beside_one and self.settings.cores > 1 else []
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(PeerProcesses(n)) for n in (*alone, self.settings.cores)]

    def _heat(self, w: AnyWorkload, figures: list[Figure], teams: list[PeerProcesses]) -> None:
        """Check all peers, and let those that agree take turns."""
        peers = {peer.name: peer for peer in self.peers}
        with tempfile.TemporaryDirectory() as folder:
            for figure in _timed(figures):
                self.say(f"{w.name}: {figure.peer} starts and is checked")
                try:
                    for processes in dict.fromkeys(processes for processes, _ in _seats(peers[figure.peer], teams)):
                        if figure.status == TIMED:
                            self._prepare(w, peers[figure.peer], figure, processes, Path(folder))
                except PeerError as error:
                    _fail(figure, error, teams)
        peaks = [self.measure_peak(self.settings.cores)] if self.measure_peak else []
        self._take_turns(w, figures, teams)
        peaks += [self.measure_peak(self.settings.cores)] if self.measure_peak else []
        for figure in figures:
            figure.peak = max([*peaks, figure.peak or 0.0]) if peaks else None

    def _prepare(self, w: AnyWorkload, peer: Peer, figure: Figure, processes: PeerProcesses, folder: Path) -> None:
        """Warm the peer up, and see whether it agrees with the reference."""
        process, patience = processes.of(peer), self.settings.patience
        arguments = {"workload": dataclasses.asdict(w), "threads": processes.threads}
        process.ask("start", patience, module=peer.module, **arguments)
        figure.memory = process.ask("load", patience, share=self.settings.share)["memory"]
        for optimizer in agreement.checks(w):
            results = str(folder / f"{optimizer}.npz")
            _judge(processes, optimizer, results, arguments)
            answer = process.ask("check", patience, optimizer=optimizer, reference=results)
            if not answer["difference"] <= answer["limit"]:
                nudged = str(folder / f"{optimizer}-nudged.npz")
                elsewhere = dataclasses.asdict(dataclasses.replace(w, nudge=agreement.rounding(w)))
                _judge(processes, optimizer, nudged, {**arguments, "workload": elsewhere})
                answer = process.ask("check", patience, optimizer=optimizer, reference=results, nudged=nudged)
            difference, limit = answer["difference"], answer["limit"]
            # Of two checks the one is kept that comes nearer to its limit.
            if figure.limit is None or difference / limit >= (figure.difference or 0.0) / figure.limit:
                figure.difference, figure.limit = difference, limit
            if not difference <= limit:
                after = f"after {agreement.STEPS} steps of {optimizer}" if optimizer else "in its output"
                figure.fail(WRONG, f"differs from the reference by {difference:.2g} {after}, more than {limit:.2g}")
                self.say(f"{w.name}: {peer.name} is wrong: it {figure.reason}")
                return

    def _take_turns(self, w: AnyWorkload, figures: list[Figure], teams: list[PeerProcesses]) -> None:
        peers = {peer.name: peer for peer in self.peers}
        times: dict[str, list[list[float]]] = {figure.peer: [] for figure in figures}
        began = time.monotonic()
        turns = self.settings.turns * w.turns
        for turn in range(turns):
            if turn >= FEWEST_TURNS and (time.monotonic() - began) * (turn + 1) / turn > self.settings.seconds:
                break
            self.say(f"{w.name}: turn {turn + 1} of {turns}")
            for figure in _timed(figures):
                try:
                    peer = peers[figure.peer]
                    asked = [
                        processes.of(peer).ask("turn", self.settings.patience, number=turn + 1, cores=cores)
                        for processes, cores in _seats(peer, teams)
                    ]
                    times[figure.peer].append([answer["seconds"] for answer in asked])
                except PeerError as error:
                    _fail(figure, error, teams)
        for figure in _timed(figures):
            *alone, seconds = zip(*times[figure.peer], strict=True)
            figure.medians.append(statistics.median(seconds))
            figure.one_core += [statistics.median(of_one) for of_one in alone]
            figure.best = min([*seconds, figure.best or math.inf])
            figure.turns += len(seconds)


def _seats(peer: Peer, teams: list[PeerProcesses]) -> list[tuple[PeerProcesses, int]]:
    """The processes that a peer takes its turns in, and on how many cores: one process where it can.

    Where the memory of a process lies makes a small network some per cent faster or slower than in another: more than
    what is to be seen of a second core.
    """
    return [(teams[-1] if peer.follows_cores else processes, processes.threads) for processes in teams]


def _fail(figure: Figure, error: PeerError, teams: list[PeerProcesses]) -> None:
    figure.fail(FAILED, str(error))
    for processes in teams:
        processes.end(figure.peer)


def _judge(processes: PeerProcesses, optimizer: str | None, results: str, arguments: dict[str, Any]) -> None:
    """Have the reference write its results there, unless it has."""
    if os.path.exists(results):
        return
    process = processes.of(REFERENCE)
    try:
        process.ask("start", None, module=REFERENCE.module, **arguments)
        process.ask("check", None, optimizer=optimizer, reference=results)
    except PeerError as error:
        raise RuntimeError(f"the reference failed: {error}") from None


def _timed(figures: list[Figure]) -> list[Figure]:
    return [figure for figure in figures if figure.status == TIMED]
