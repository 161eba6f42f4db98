"""A peer of the benchmarks that insists on as many cores as it has threads."""

import os

from backsweep.bench.peers import numpy_loop


class Trainer(numpy_loop.Trainer):
    def __init__(self, w, X, y, optimizer, threads):
        cores = len(os.sched_getaffinity(0))
        if cores != threads:
            raise RuntimeError(f"{threads} threads on {cores} cores")
        super().__init__(w, X, y, optimizer, threads)
