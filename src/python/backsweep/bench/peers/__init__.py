"""The peers: each module has a `Trainer`, a `Predictor`, or both.

A peer runs in a process of its own (`backsweep.bench.worker`), so that its threads, its memory and its failures are
its own. A module is imported there only, and only where what it needs is installed.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from backsweep import _checks
from backsweep._checks import Array
from backsweep.bench.workloads import Forward, Training


class Trainer(Protocol):
    """One training of one workload, from its initial parameters."""

    def __init__(self, w: Training, X: Array, y: Array, optimizer: str, threads: int) -> None: ...

    def epoch(self, order: Array) -> None:
        """Train on the rows in this order, a batch at a time."""

    def parameters(self) -> list[Array]:
        """W and b of each layer, in turn."""


class Predictor(Protocol):
    """The network of a workload, with its initial parameters, for these rows."""

    def __init__(self, w: Forward, X: Array, threads: int) -> None: ...

    def forward(self) -> Array:
        """The output of the rows: Z[L], logits."""


@dataclass(frozen=True)
class Peer:
    """A program that is timed: the module that drives it, and the distribution that has to be installed."""

    name: str
    module: str
    distribution: str
    kinds: tuple[str, ...] = ("training", "forward")
    how: str = ""
    follows_cores: bool = False  # a turn on fewer cores needs no process of its own

    @property
    def version(self) -> str | None:
        """Of the distribution; None where it is not installed."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None


OURS = "backsweep"
REFERENCE = Peer("reference", "backsweep.bench.peers.reference", "numpy", how="float64, NumPy")

PEERS = {
    peer.name: peer
    for peer in (
        Peer(OURS, "backsweep.bench.peers.ours", "backsweep", how="Network.fit, Network.forward",
             follows_cores=hasattr(os, "sched_setaffinity")),
        Peer("NumPy", "backsweep.bench.peers.numpy_loop", "numpy", how="the textbook loop"),
        Peer("scikit-learn", "backsweep.bench.peers.scikit_learn", "scikit-learn", ("training",),
             "MLPClassifier.partial_fit, one call an epoch"),
        Peer("PyTorch", "backsweep.bench.peers.pytorch", "torch", how="eager, fused optimizer"),
        Peer("torch.compile", "backsweep.bench.peers.pytorch_compiled", "torch",
             how="compiled forward, loss and backward, fused optimizer"),
        Peer("JAX", "backsweep.bench.peers.jax_scan", "jax", how="jit, scan over the epoch"),
        Peer("ONNX Runtime", "backsweep.bench.peers.onnx_runtime", "onnxruntime", ("forward",), "IO binding"),
    )
}  # fmt: skip

SHORT_PEERS = (OURS, "NumPy", "scikit-learn", "PyTorch", "JAX")  # of `backsweep bench`: all that start within seconds


def chosen_peers(names: Sequence[str]) -> list[Peer]:
    """The peers of these names, all of which must be installed."""
    peers = [PEERS[_checks.known_name(name, PEERS, "peers")] for name in names]
    for peer in peers:
        if peer.version is None:
            raise ValueError(f"peers must be installed, got {peer.name!r}, which needs {peer.distribution}")
    return peers
