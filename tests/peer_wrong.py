"""A peer that computes something else than it should: test_bench plants it, and must see it."""

from backsweep.bench.peers import numpy_loop


class Trainer(numpy_loop.Trainer):
    """Forgets that the output layer has a bias."""

    def gradients(self, X, y):
        gradients = super().gradients(X, y)
        gradients[-1][:] = 0
        return gradients


class Predictor(numpy_loop.Predictor):
    """Leaves out the bias of one output."""

    def __init__(self, w, X, threads):
        super().__init__(w, X, threads)
        self.bs[-1][0] = 0
