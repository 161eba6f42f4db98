"""A peer of the benchmarks that insists on as many cores as it has threads, and tells of turns on fewer."""

import os

from backsweep.bench.peers import numpy_loop


class Trainer(numpy_loop.Trainer):
    def __init__(self, w, X, y, optimizer, threads):
        cores = len(os.sched_getaffinity(0))
        if cores != threads:
            raise RuntimeError(f"{threads} threads on {cores} cores")
        super().__init__(w, X, y, optimizer, threads)
        self.threads = threads

    def epoch(self, order):
        cores = len(os.sched_getaffinity(0))
        if cores != self.threads:
            raise RuntimeError(f"a turn on {cores} cores of {self.threads}")
        super().epoch(order)
