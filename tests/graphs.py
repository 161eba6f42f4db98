"""Random graphs, as programs that run on traced values and on PyTorch's tensors alike."""

import backsweep as bs
import numpy as np

F = bs.functional

# What a graph is made of: name -> (in NumPy and backsweep.functional, in PyTorch), by the number of values it takes.
# All keep values of moderate size, so that no graph amplifies rounding.
ENTRYWISE = {
    "negative": (lambda x: -x, lambda torch, x: -x),
    "tanh": (np.tanh, lambda torch, x: torch.tanh(x)),
    "exp": (lambda x: np.exp(-(x**2)), lambda torch, x: torch.exp(-(x**2))),
    "log": (lambda x: np.log(1 + x * x), lambda torch, x: torch.log(1 + x * x)),
    "sqrt": (lambda x: np.sqrt(1 + np.square(x)), lambda torch, x: torch.sqrt(1 + torch.square(x))),
    "sin": (np.sin, lambda torch, x: torch.sin(x)),
    "absolute": (abs, lambda torch, x: torch.abs(x)),
    "power": (lambda x: (x / 2) ** 3 / 8, lambda torch, x: (x / 2) ** 3 / 8),
    "affine": (lambda x: (2 - x) * 0.5 + 1, lambda torch, x: (2 - x) * 0.5 + 1),
    "reciprocal": (lambda x: 1 / (1 + x * x), lambda torch, x: 1 / (1 + x * x)),
    "where": (lambda x: np.where(x > 0.5, x * x, 0.25), lambda torch, x: torch.where(x > 0.5, x * x, 0.25)),
    "clip": (lambda x: np.clip(x, -1, 1), lambda torch, x: torch.clip(x, -1, 1)),
}
OF_MATRICES = {
    "relu": (F.relu, lambda torch, x: torch.relu(x)),
    "leaky_relu": (F.leaky_relu, lambda torch, x: torch.nn.functional.leaky_relu(x)),
    "elu": (F.elu, lambda torch, x: torch.nn.functional.elu(x)),
    "sigmoid": (F.sigmoid, lambda torch, x: torch.sigmoid(x)),
    "softplus": (F.softplus, lambda torch, x: torch.nn.functional.softplus(x)),
    "gelu": (F.gelu, lambda torch, x: torch.nn.functional.gelu(x)),
    "silu": (F.silu, lambda torch, x: torch.nn.functional.silu(x)),
    "softmax": (F.softmax, lambda torch, x: torch.softmax(x, dim=1)),
    "mse": (lambda x: F.mean_squared_error(x, 0.5 * np.ones(x.shape)), lambda torch, x: ((x - 0.5) ** 2).mean()),
    "cross_entropy": (
        lambda x: F.softmax_cross_entropy(x, np.arange(len(x)) % x.shape[1]),
        lambda torch, x: torch.nn.functional.cross_entropy(x, torch.arange(len(x)) % x.shape[1]),
    ),
    "transpose": (lambda x: x.T, lambda torch, x: x.T),
    "flip": (lambda x: x[::-1], lambda torch, x: x.flip(0)),
    "gather": (
        lambda x: x[np.array([0, 0, len(x) - 1])],
        lambda torch, x: x[torch.tensor([0, 0, len(x) - 1])],
    ),
    "column": (lambda x: x[:, -1], lambda torch, x: x[:, -1]),
    "rows": (lambda x: x.sum(axis=1, keepdims=True), lambda torch, x: x.sum(1, keepdim=True)),
    "columns": (lambda x: x.mean(axis=0), lambda torch, x: x.mean(0)),
    "largest": (lambda x: np.max(x, axis=1), lambda torch, x: torch.amax(x, 1)),
    "total": (lambda x: x.mean(), lambda torch, x: x.mean()),
    "reshape": (lambda x: x.reshape(1, -1), lambda torch, x: x.reshape(1, -1)),
    "stack": (lambda x: np.concatenate([x, -x], axis=1), lambda torch, x: torch.cat([x, -x], 1)),
    "gram": (lambda x: x @ x.T / 4, lambda torch, x: x @ x.T / 4),
}
OF_TWO = {
    "add": (lambda x, y: (x + y) / 2, lambda torch, x, y: (x + y) / 2),
    "subtract": (lambda x, y: x - y, lambda torch, x, y: x - y),
    "multiply": (lambda x, y: x * y, lambda torch, x, y: x * y),
    "divide": (lambda x, y: x / (1 + y * y), lambda torch, x, y: x / (1 + y * y)),
    "maximum": (np.maximum, lambda torch, x, y: torch.maximum(x, y)),
    "minimum": (np.minimum, lambda torch, x, y: torch.minimum(x, y)),
}
PRODUCT = {"matmul": (lambda x, y: x @ y / 3, lambda torch, x, y: x @ y / 3)}
OPERATIONS = ENTRYWISE | OF_MATRICES | OF_TWO | PRODUCT


class Graph:
    """A program: each step an operation's name and the indices of the values it takes; the leaves come first.

    Its value is the sum of the means of all values that no step takes.
    """

    def __init__(self, rng, nodes):
        self.leaves = [rng.normal(size=shape) for shape in self._shapes(rng)]
        self.steps = []
        values = list(self.leaves)
        while len(self.steps) < nodes:
            # Recent values give depth, early ones fan-out.
            i, j = (int(len(values) * max(rng.random(), rng.random())) for _ in range(2))
            name, taken = self._operation(rng, values, i, j)
            value = np.asarray(OPERATIONS[name][0](*(values[k] for k in taken)))
            if value.size <= 64 and np.abs(value).max() < 20:
                self.steps.append((name, taken))
                values.append(value)
        used = {k for _, taken in self.steps for k in taken}
        self.ends = [k for k in range(len(values)) if k not in used]

    @staticmethod
    def _shapes(rng):
        m, n, k = rng.integers(1, 5, size=3)
        return [(m, n), (n, k), (n,), ()][: rng.integers(2, 5)]

    @staticmethod
    def _operation(rng, values, i, j):
        x, y = values[i], values[j]
        if rng.random() < 0.5:
            inner = np.shape(x)[-1:], np.shape(y)[-2:][:1]
            if inner[0] == inner[1] != () and rng.random() < 0.6:
                return "matmul", (i, j)
            try:
                np.broadcast_shapes(np.shape(x), np.shape(y))
                return str(rng.choice([*OF_TWO])), (i, j)
            except ValueError:
                pass
        names = [*ENTRYWISE, *OF_MATRICES] if np.ndim(x) == 2 else [*ENTRYWISE]
        return str(rng.choice(names)), (i,)

    def __call__(self, *leaves, torch=None):
        values = list(leaves)
        for name, taken in self.steps:
            numpy, peer = OPERATIONS[name]
            arguments = [values[k] for k in taken]
            values.append(numpy(*arguments) if torch is None else peer(torch, *arguments))
        return sum(np.mean(values[k]) if torch is None else values[k].mean() for k in self.ends)
