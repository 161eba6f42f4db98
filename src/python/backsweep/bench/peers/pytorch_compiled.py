"""PyTorch with the network and its loss under `torch.compile`, and the fused optimizer.

It needs a C++ compiler at run time; where its compilation fails, this peer fails.
"""

from __future__ import annotations

from typing import Any

import torch

from backsweep._checks import Array
from backsweep.bench.peers import pytorch
from backsweep.bench.workloads import Forward, Training


class Trainer(pytorch.Trainer):
    def __init__(self, w: Training, X: Array, y: Array, optimizer: str, threads: int) -> None:
        super().__init__(w, X, y, optimizer, threads)
        self.compiled: Any = torch.compile(super().loss, fullgraph=True, dynamic=False)

    def loss(self, X: Any, y: Any) -> Any:
        return self.compiled(X, y)


class Predictor(pytorch.Predictor):
    def __init__(self, w: Forward, X: Array, threads: int) -> None:
        super().__init__(w, X, threads)
        self.model = torch.compile(self.model, fullgraph=True, dynamic=False)
