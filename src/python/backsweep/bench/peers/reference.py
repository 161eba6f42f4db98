"""The NumPy reference in float64, which every peer must agree with."""

from __future__ import annotations

from functools import partial

from backsweep.bench.peers import ours

Trainer = partial(ours.Trainer, dtype="float64", backend="reference")
Predictor = partial(ours.Predictor, dtype="float64", backend="reference")
