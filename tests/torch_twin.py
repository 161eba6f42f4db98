"""Networks in PyTorch, layer for layer those of backsweep: what their passes and their training are compared with."""

import backsweep as bs
import numpy as np
import pytest

OPTIMIZERS = {
    "SGD with momentum": (lambda: bs.SGD(0.05, momentum=0.9), lambda torch, p: torch.optim.SGD(p, 0.05, momentum=0.9)),
    "Adam": (lambda: bs.Adam(1e-2), lambda torch, p: torch.optim.Adam(p, 1e-2)),
}


class Twin:
    """The same network in PyTorch, in float64, given the masks of its dropout."""

    def __init__(self, net):
        torch = self.torch = pytest.importorskip("torch", exc_type=ImportError)
        self.layers = net.layers
        self.pairs = [
            [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (W, b)] if layer.parameters else []
            for W, b, layer in zip(net.W, net.b, net.layers, strict=True)
        ]
        self.parameters = [parameter for pair in self.pairs for parameter in pair]
        self.running = [
            None if mean is None else [torch.tensor(mean, dtype=torch.float64), torch.tensor(var, dtype=torch.float64)]
            for mean, var in zip(net.running_mean, net.running_var, strict=True)
        ]

    def outputs(self, Z, training=True, masks=None):
        """Every Z; the running statistics move where it trains."""
        F = self.torch.nn.functional
        Zs = [Z if self.torch.is_tensor(Z) else self.torch.tensor(Z)]
        for layer, pair, running, mask in zip(
            self.layers, self.pairs, self.running, masks or [None] * len(self.layers), strict=True
        ):
            Z = Zs[-1]
            if layer.kind == "dense":
                A = Z @ pair[0] + pair[1]
            elif layer.kind == "layer_norm":
                A = F.layer_norm(Z, (layer.n_out,), *pair)
            elif layer.kind == "batch_norm":
                A = F.batch_norm(Z, *running, *pair, training=training, momentum=0.1, eps=1e-5)
            else:
                A = Z * self.torch.tensor(mask) if training else Z
            Zs.append(A if layer.activation == "identity" else getattr(F, layer.activation)(A))
        return Zs

    def loss(self, Z, y, training=True, masks=None):
        return self.torch.nn.functional.cross_entropy(self.outputs(Z, training, masks)[-1], self.torch.tensor(y))

    def flat(self, of=lambda p: p.detach()):
        return np.concatenate([of(p).numpy().ravel() for p in self.parameters])

    def buffers(self):
        return np.concatenate([v.numpy() for running in self.running if running is not None for v in running])


def train_for_50_steps(net, X, y, kind):
    """Both, on the same batches, five to an epoch; the network's twin."""
    twin, batch = Twin(net), -(-len(X) // 5)
    mine, its = OPTIMIZERS[kind]
    optimizer = its(twin.torch, twin.parameters)
    for step in range(50):
        rows = slice(step % 5 * batch, (step % 5 + 1) * batch)
        optimizer.zero_grad()
        twin.loss(X[rows], y[rows], masks=net.dropout_masks(len(X[rows]), step=step)).backward()
        optimizer.step()
    net.fit(X, y, epochs=10, batch_size=batch, optimizer=mine(), shuffle=False, progress=False)
    return twin
