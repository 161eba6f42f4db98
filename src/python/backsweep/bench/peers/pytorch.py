"""PyTorch, eager, with the fused optimizer."""

from __future__ import annotations

from typing import Any

import torch

from backsweep._checks import Array
from backsweep.bench.workloads import LEARNING_RATES, AnyWorkload, Forward, Training


def model(w: AnyWorkload) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for W, b in w.parameters():
        linear = torch.nn.Linear(*W.shape)
        linear.weight.data[:] = torch.from_numpy(W.T)
        linear.bias.data[:] = torch.from_numpy(b)
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


class Trainer:
    def __init__(self, w: Training, X: Array, y: Array, optimizer: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.X, self.y, self.batch = torch.from_numpy(X), torch.from_numpy(y), w.batch_size
        self.model = model(w)
        kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
        self.optimizer = kind(self.model.parameters(), lr=LEARNING_RATES[optimizer], fused=True)
        self.entropy = torch.nn.CrossEntropyLoss()

    def loss(self, X: Any, y: Any) -> Any:
        return self.entropy(self.model(X), y)

    def epoch(self, order: Array) -> None:
        rows = torch.from_numpy(order)
        for i in range(0, len(order), self.batch):
            batch = rows[i : i + self.batch]
            self.optimizer.zero_grad()
            self.loss(self.X[batch], self.y[batch]).backward()
            self.optimizer.step()

    def parameters(self) -> list[Array]:
        arrays = [p.detach().numpy() for p in self.model.parameters()]
        return [array.T if array.ndim == 2 else array for array in arrays]


class Predictor:
    def __init__(self, w: Forward, X: Array, threads: int) -> None:
        torch.set_num_threads(threads)
        self.model, self.X = model(w).eval(), X

    def forward(self) -> Array:
        with torch.inference_mode():
            Z: Array = self.model(torch.from_numpy(self.X)).numpy()
        return Z
