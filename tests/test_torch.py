"""PyTorch as the judge: functions, the gradients of random networks, and trajectories of every optimizer."""

import numpy as np
import pytest
import tolerances
from problems import (
    ACTIVATIONS,
    BACKENDS,
    DTYPES,
    IMPLEMENTATIONS,
    LOSSES,
    OPTIMIZERS,
    Problem,
    entries,
    targets,
    weights,
)
from tolerances import FORMULA, assert_close, exact, gamma, relative_error

torch = pytest.importorskip("torch", exc_type=ImportError)
F = torch.nn.functional

# Relative errors of gradients, each array's in the Frobenius norm: ‖ours - PyTorch's‖ / ‖PyTorch's‖.
GRADIENT_TOLERANCE = {"float32": 3e-5, "float64": 1e-11}
TRAJECTORY_TOLERANCE = 1e-8  # of the parameters after 50 steps in float64, likewise
NETWORKS = 300
STEPS = 50

implementations = pytest.mark.parametrize("module", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
dtypes = pytest.mark.parametrize("dtype", DTYPES)

SIGMA = {
    "identity": lambda A: A,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "silu": F.silu,
}
# Each loss by sample and output; PyTorch's own mean is compared with as well.
LOSS = {
    "softmax_cross_entropy": F.cross_entropy,
    "sigmoid_cross_entropy": F.binary_cross_entropy_with_logits,
    "mean_squared_error": F.mse_loss,
    "mean_absolute_error": F.l1_loss,
    "huber": F.huber_loss,
    "poisson": lambda Z, y, reduction: F.poisson_nll_loss(Z, y, log_input=True, reduction=reduction),
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Small work, on a machine that others may use."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tensor(array, dtype):
    return torch.tensor(
        array, dtype=torch.int64 if array.dtype.kind in "iu" and array.ndim == 1 else getattr(torch, dtype)
    )


def mean_loss(loss, Z, y, w=None):
    """PyTorch's loss, as the mean over samples, weighted with `w`."""
    if w is None:
        return LOSS[loss](Z, y, reduction="mean")
    each = LOSS[loss](Z, y, reduction="none")
    each = each if each.ndim == 1 else each.mean(dim=1)
    return (w * each).sum() / w.sum()


def test_all_names_are_compared():
    assert set(ACTIVATIONS) == SIGMA.keys()
    assert set(LOSSES) == LOSS.keys()


@implementations
@dtypes
@pytest.mark.parametrize("sigma", ACTIVATIONS)
def test_activation(module, sigma, dtype):
    rng = np.random.default_rng(0)
    values = entries(rng, (40, 30), dtype)
    values = values[np.abs(values - 20) > 1e-6][:, np.newaxis]  # softplus gives way to the identity there
    G = rng.normal(size=values.shape).astype(dtype)
    A = tensor(values, dtype).requires_grad_()
    Z = SIGMA[sigma](A)
    Z.backward(tensor(G, dtype))
    one = gamma(FORMULA, dtype)
    assert_close(getattr(module, sigma)(values), Z.detach().numpy(), one * (1 + np.abs(values)), sigma)
    got = getattr(module, f"{sigma}_backward")(G, values)
    assert_close(got, A.grad.numpy(), 2 * one * np.abs(G) * (1 + np.abs(values)), f"{sigma}_backward")


@implementations
@dtypes
@pytest.mark.parametrize("labels", [True, False], ids=["labels", "values"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss(module, loss, weighted, labels, dtype):
    rng = np.random.default_rng(1)
    m, k = 37, 6
    values, y = (rng.normal(size=(m, k)) * 3).astype(dtype), targets(rng, loss, m, k, labels=labels)
    y = y if y.dtype.kind == "i" else y.astype(dtype)
    w = weights(rng, m).astype(dtype) if weighted else None
    Z = tensor(values, dtype).requires_grad_()
    value = mean_loss(loss, Z, tensor(y, dtype), None if w is None else tensor(w, dtype))
    value.backward()
    bounds = [f(loss, exact(values), y, w, dtype).error for f in (tolerances.loss_value, tolerances.loss_gradient)]
    assert_close(getattr(module, loss)(values, y, w), value.item(), bounds[0], loss)
    got = getattr(module, f"{loss}_backward")(values, y, w)
    assert_close(got, Z.grad.numpy(), bounds[1], f"{loss}_backward")


@implementations
@pytest.mark.parametrize("shape", [(33, 17), (1, 5), (513, 10), (4, 2), (0, 3)], ids=str)
def test_layer_norm(module, shape):
    rng = np.random.default_rng(4)
    Z, g, b, D = (
        3 + rng.normal(size=shape),
        rng.normal(size=shape[1]),
        rng.normal(size=shape[1]),
        rng.normal(size=shape),
    )
    tensors = [tensor(array, "float64").requires_grad_() for array in (Z, g, b)]
    A = F.layer_norm(tensors[0], shape[1:], *tensors[1:])
    A.backward(tensor(D, "float64"))
    bounds = [tolerances.layer_norm(Z, g, b, "float64")[0].error, *tolerances.layer_norm_backward(D, Z, g, "float64")]
    got = module.layer_norm(Z, g, b), *module.layer_norm_backward(D, Z, g)
    for mine, its, bound in zip(got, (A.detach(), *(t.grad for t in tensors)), bounds, strict=True):
        assert_close(mine, its.numpy(), bound, "layer_norm", may_vanish=shape[0] == 0)


class Twin:
    """A network of ours in PyTorch's terms: the same parameters, W as (in, out)."""

    def __init__(self, network):
        self.network = network
        self.W = [torch.tensor(W, requires_grad=True) for W in network.W]
        self.b = [None if b is None else torch.tensor(b, requires_grad=True) for b in network.b]
        self.parameters = [p for pair in zip(self.W, self.b, strict=True) for p in pair if p is not None]

    def forward(self, Z):
        for W, b, layer in zip(self.W, self.b, self.network.layers, strict=True):
            Z = SIGMA[layer.activation](Z @ W if b is None else Z @ W + b)
        return Z

    def theta(self):
        return np.concatenate([p.detach().numpy().ravel() for p in self.parameters])


def random_problem(seed, dtype):
    """A network of none to four hidden layers, with any activations, loss and kind of target, biases or none."""
    rng = np.random.default_rng([seed, 99])
    widths = [int(n) for n in rng.integers(1, 40, size=rng.integers(2, 7))]
    loss, activation, output = (str(rng.choice(names)) for names in (LOSSES, ACTIVATIONS, ACTIVATIONS))
    if loss == "softmax_cross_entropy":
        widths[-1] += 1
    return Problem(
        tuple(widths), int(rng.integers(1, 70)), activation, "identity" if rng.random() < 0.7 else output, loss,
        bias=bool(rng.random() < 0.75), labels=bool(rng.random() < 0.5), weighted=bool(rng.random() < 0.4),
        dtype=dtype, seed=seed,
    )  # fmt: skip


@dtypes
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_of_random_networks(backend, dtype):
    worst = 0.0
    vanished = 0
    for seed in range(NETWORKS):
        problem = random_problem(seed, dtype)
        X, y, w = problem.data()
        network = problem.network(backend)
        loss, gradients = network.loss_and_gradients(X, y, sample_weight=w, dX=True)
        twin = Twin(network)
        input_ = tensor(X, dtype).requires_grad_()
        value = mean_loss(problem.loss, twin.forward(input_), tensor(y, dtype), None if w is None else tensor(w, dtype))
        value.backward()
        pairs = [(gradients.dX, input_.grad), (np.asarray(loss), value.detach())]
        pairs += [(dW, W.grad) for dW, W in zip(gradients.dW, twin.W, strict=True)]
        pairs += [(db, b.grad) for db, b in zip(gradients.db, twin.b, strict=True) if b is not None]
        for got, want in pairs:
            error = relative_error(got, want.numpy())
            assert error < GRADIENT_TOLERANCE[dtype], f"{problem}: relative error {error:.2g} of shape {got.shape}"
            worst = max(worst, error)
            vanished += not want.any()
    print(f"{backend} {dtype}: worst relative error {worst:.2g}, {vanished} arrays of zeros")
    assert vanished < NETWORKS / 10  # dead units; all else was really compared


# Trajectories


def torch_optimizer(name, parameters):
    """PyTorch's optimizer of the same settings, its clipping norm, and its schedule."""
    kind, arguments = OPTIMIZERS[name]
    options = dict(arguments)
    rate, clip_norm = options.pop("learning_rate"), options.pop("clip_norm", None)
    schedule = rate if callable(rate) else lambda step: rate
    opt = getattr(torch.optim, kind.__name__)(parameters, lr=1.0, **options)
    return opt, clip_norm, torch.optim.lr_scheduler.LambdaLR(opt, schedule)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_trajectory(backend, name, weighted):
    """Fifty steps over the same batches, the last of each epoch a part."""
    problem = Problem((7, 12, 9, 4), 47, "tanh", weighted=weighted)
    X, y, w = problem.data()
    w = None if w is None else w + 0.1  # PyTorch's mean of a batch of zero weight is not a number
    network, batch = problem.network(backend), 10
    twin = Twin(network)
    opt, clip_norm, schedule = torch_optimizer(name, twin.parameters)
    losses = []
    for step in range(STEPS):
        rows = slice(step % 5 * batch, (step % 5 + 1) * batch)
        opt.zero_grad()
        part = None if w is None else tensor(w[rows], "float64")
        loss = mean_loss(problem.loss, twin.forward(tensor(X[rows], "float64")), tensor(y[rows], "float64"), part)
        loss.backward()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(twin.parameters, clip_norm)
        opt.step()
        schedule.step()
        losses.append(loss.item())
    start = network.theta.copy()
    kind, arguments = OPTIMIZERS[name]
    history = network.fit(
        X, y, sample_weight=w, epochs=STEPS // 5, batch_size=batch, optimizer=kind(**arguments), shuffle=False,
        progress=False,
    )  # fmt: skip
    error = relative_error(network.theta, twin.theta())
    print(f"{backend} {name}: relative error {error:.2g} after {STEPS} steps")
    assert error < TRAJECTORY_TOLERANCE
    assert relative_error(network.theta, start) > 1e-3  # it went somewhere
    sizes = np.array(
        [len(X[i * batch : (i + 1) * batch]) if w is None else w[i * batch : (i + 1) * batch].sum() for i in range(5)]
    )
    means = np.array(losses).reshape(-1, 5) @ sizes / sizes.sum()
    assert relative_error(history.loss, means) < TRAJECTORY_TOLERANCE


@pytest.mark.parametrize("loss", LOSSES)
def test_evaluation_and_outputs(loss):
    problem = Problem((7, 12, 4), 47, "gelu", loss=loss)
    X, y, _ = problem.data()
    network = problem.network("core")
    Z = Twin(network).forward(tensor(X, "float64")).detach()
    assert relative_error(network.forward(X), Z) < 1e-13
    assert relative_error(network.evaluate(X, y)["loss"], mean_loss(loss, Z, tensor(y, "float64"))) < 1e-13
    if loss == "softmax_cross_entropy":
        assert relative_error(network.predict_proba(X), torch.softmax(Z, dim=1)) < 1e-13
        assert np.array_equal(network.predict(X), Z.argmax(dim=1))
        assert network.evaluate(X, y)["accuracy"] == pytest.approx((Z.argmax(dim=1).numpy() == y).mean(), rel=1e-14)
