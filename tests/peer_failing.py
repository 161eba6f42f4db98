"""A peer that cannot do what it is asked: each workload fails in another way."""

import os
import time

from backsweep.bench.peers import numpy_loop


class Trainer(numpy_loop.Trainer):
    def __init__(self, w, X, y, optimizer, threads):
        if w.name == "raises":
            raise RuntimeError("no such kernel")
        super().__init__(w, X, y, optimizer, threads)
        self.fault, self.epochs = w.name, 0

    def epoch(self, order):
        self.epochs += 1
        if self.fault == "dies":
            os._exit(3)
        if self.fault == "sleeps":
            time.sleep(600)
        if self.fault == "dies later" and self.epochs == 3:
            os._exit(4)
        super().epoch(order)
