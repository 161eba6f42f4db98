"""One peer in a process of its own: ``python -m backsweep.bench.worker``.

It reads a request a line from standard input and answers a line on the file that was its standard output, both JSON;
what libraries print goes to standard error. It ends with its input.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from backsweep._checks import Array
from backsweep.bench import agreement
from backsweep.bench.machine import on_cores, peak_memory
from backsweep.bench.workloads import Training, restored

# A turn takes so long at least: in a shorter one what other processes left in the caches would be what is timed.
SECONDS_OF_TURN = 0.02


class Worker:
    """A peer and a workload: checked, warmed up, and then timed a turn at a time."""

    def __init__(self, module: str, workload: dict[str, Any], threads: int) -> None:
        self.peer = importlib.import_module(module)
        self.w = restored(workload)
        self.threads = threads
        self.repeats = 1  # epochs or calls in a turn

    def check(self, optimizer: str | None, reference: str | None, nudged: str | None = None) -> dict[str, float]:
        """Write the peer's results to `reference` if it is not there, else compare them with what is.

        `nudged` has what the reference makes of another start, to tell what rounding explains.
        """
        results = self._results(optimizer)
        assert reference is not None
        if not os.path.exists(reference):
            np.savez(reference, *results)
            return {}
        start = [] if optimizer is None else [array for pair in self.w.parameters() for array in pair]
        want = _arrays(reference)
        return {
            "difference": agreement.distance(results, want) / agreement.size(want, start),
            "limit": agreement.limit(self.w, want, start, optimizer, _arrays(nudged) if nudged else None),
        }

    def _results(self, optimizer: str | None) -> list[Array]:
        w = self.w
        if isinstance(w, Training):
            assert optimizer is not None
            X, y = w.data(agreement.STEPS)
            trainer = self.peer.Trainer(w, X, y, optimizer, self.threads)
            trainer.epoch(np.random.default_rng(3).permutation(len(X)))
            return list(trainer.parameters())
        return [self.peer.Predictor(w, w.rows(w.batch_size), self.threads).forward()]

    def load(self, share: float) -> dict[str, float]:
        """Take the data for turns of so large a share, compile, allocate, warm up; the peak of memory until then."""
        w = self.w
        if isinstance(w, Training):
            self.steps = w.steps(share)
            X, y = w.data(self.steps)
            self.trainer = self.peer.Trainer(w, X, y, w.optimizer, self.threads)
            self.rows = len(X)
        else:
            self.predictor = self.peer.Predictor(w, w.rows(w.batch_size), self.threads)
            self.steps = 1
        self._timed(0)  # the first compiles, or finds its pages: it says nothing of the others
        while (seconds := self._timed(0)) < SECONDS_OF_TURN / 2:
            self.repeats *= 2
        self.repeats = max(1, round(self.repeats * SECONDS_OF_TURN / seconds))
        return {"memory": peak_memory()}

    def turn(self, number: int, cores: int) -> dict[str, float]:
        """Seconds of a step, or of a call, in one turn on so many cores; its rows are in one order for every peer."""
        if self.threads > 1:  # those of the turn before wait for more, and this one's may be on fewer cores
            time.sleep(SECONDS_OF_TURN)
        with on_cores(cores):
            return {"seconds": self._timed(number) / (self.repeats * self.steps)}

    def _timed(self, number: int) -> float:
        if isinstance(self.w, Training):
            rng = np.random.default_rng(number)
            orders = [rng.permutation(self.rows) for _ in range(self.repeats)]
            started = time.perf_counter()
            for order in orders:
                self.trainer.epoch(order)
            return time.perf_counter() - started
        forward = self.predictor.forward
        started = time.perf_counter()
        for _ in range(self.repeats):
            forward()
        return time.perf_counter() - started


def _arrays(file: str) -> list[Array]:
    with np.load(file) as arrays:
        return [arrays[name] for name in arrays.files]


def requests() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker: Worker | None = None
    for request in requests():
        what = request.pop("do")
        try:
            if what == "start":
                worker, answer = Worker(**request), {}
            else:
                assert worker is not None
                answer = getattr(worker, what)(**request)
        except Exception as error:  # of whatever library: it is the answer, and the end of this peer
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
        if "error" in answer:
            return


if __name__ == "__main__":
    main()
