"""The course's exercise on MNIST: softmax regression, and a network of two layers, with a gradient made by hand.

    python examples/homework.py           # finds shared/data/mnist beside the checkout
    python examples/homework.py FOLDER    # with the four files of MNIST, gzipped or not

Everything is first written in NumPy, as the exercise asks, and then done by `bs.Network`; both must give the figures
that the course publishes. Derivations: docs/notes/3.0-ingredients.md and docs/notes/3.1-two-layers.md.
"""

import sys
import time
from pathlib import Path

import backsweep as bs
import numpy as np
from backsweep.datasets import read

BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"

# What the course publishes, and how near one must come, in float64.
PUBLISHED = {
    "softmax regression, norm of W": (1.0947356, 2e-5),
    "two layers, norm of W1": (28.437788, 1e-4),
    "two layers, norm of W2": (10.455095, 1e-4),
    "two layers, training loss": (0.19770025, 1e-4),
    "two layers, training error": (0.06006667, 1e-4),
}

# The exercise in NumPy


def softmax(Z):
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


def softmax_loss(Z, y):
    """The mean of log Σ exp(z) - z_y."""
    largest = Z.max(axis=1)
    return np.mean(np.log(np.exp(Z - largest[:, np.newaxis]).sum(axis=1)) + largest - Z[np.arange(len(Z)), y])


def softmax_minus_labels(Z, y):
    """S - I_y."""
    G = softmax(Z)
    G[np.arange(len(Z)), y] -= 1
    return G


def softmax_regression_epoch(X, y, W, learning_rate, batch_size):
    """∇W = Xᵀ (S - I_y)/m; W changes in place."""
    for begin in range(0, len(X), batch_size):
        rows, labels = X[begin : begin + batch_size], y[begin : begin + batch_size]
        W -= learning_rate * (rows.T @ softmax_minus_labels(rows @ W, labels) / len(rows))


def two_layer_gradients(X, y, W1, W2):
    """∇W2 = σ(X W1)ᵀ (S - I_y)/m and ∇W1 = Xᵀ [(S - I_y) W2ᵀ ∘ σ'(X W1)]/m, with σ = relu."""
    Z = np.maximum(X @ W1, 0)
    G = softmax_minus_labels(Z @ W2, y) / len(X)
    return X.T @ ((G @ W2.T) * (Z > 0)), Z.T @ G


def two_layer_epoch(X, y, W1, W2, learning_rate, batch_size):
    """W1 and W2 change in place."""
    for begin in range(0, len(X), batch_size):
        dW1, dW2 = two_layer_gradients(X[begin : begin + batch_size], y[begin : begin + batch_size], W1, W2)
        W1 -= learning_rate * dW1
        W2 -= learning_rate * dW2


# The exercise's two trainings, by NumPy and by Network


def first_weights():
    """Those of the exercise: W1 (784, 100) and W2 (100, 10) from the seed 0."""
    draw = np.random.RandomState(0)  # the legacy generator, which the published figures are drawn from
    W1 = draw.randn(784, 100).astype(np.float32) / np.sqrt(np.float32(100))
    W2 = draw.randn(100, 10).astype(np.float32) / np.sqrt(np.float32(10))
    return W1.astype(np.float64), W2.astype(np.float64)


def by_numpy(X, y):
    W = np.zeros((784, 10))
    softmax_regression_epoch(X[:100], y[:100], W, learning_rate=0.1, batch_size=10)
    W1, W2 = first_weights()
    two_layer_epoch(X, y, W1, W2, learning_rate=0.2, batch_size=100)
    logits = np.maximum(X @ W1, 0) @ W2
    return [*map(np.linalg.norm, (W, W1, W2)), softmax_loss(logits, y), np.mean(logits.argmax(axis=1) != y)]


def by_network(X, y):
    options = {"epochs": 1, "shuffle": False, "progress": False}
    regression = bs.Network([784, bs.Dense(10, bias=False)], dtype="float64")
    regression.theta[:] = 0
    regression.fit(X[:100], y[:100], batch_size=10, optimizer=bs.SGD(0.1), **options)
    net = bs.Network([784, bs.Dense(100, "relu", bias=False), bs.Dense(10, bias=False)], dtype="float64")
    net.W[0][:], net.W[1][:] = first_weights()
    net.fit(X, y, batch_size=100, optimizer=bs.SGD(0.2), **options)
    scores = net.evaluate(X, y)
    return [*map(np.linalg.norm, (*regression.W, *net.W)), scores["loss"], 1 - scores["accuracy"]]


def main(folder):
    try:
        images, y, images_test, y_test, *_ = read(folder)
    except (OSError, ValueError) as problem:
        return (
            f"{problem}\nThis example needs the four files of MNIST: train-images-idx3-ubyte.gz, train-labels-idx1-"
            f"ubyte.gz, t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz.\nPut them into a folder and run: python "
            f"{sys.argv[0]} FOLDER"
        )
    X = images.astype(np.float64) / 255

    print("1. The gradient made by hand, against central differences")
    net = bs.Network([784, bs.Dense(100, "relu", bias=False), bs.Dense(10, bias=False)], dtype="float64", seed=0)
    dW1, dW2 = two_layer_gradients(X[:20], y[:20], *net.W)
    print(bs.check_gradients(net, X[:20], y[:20], grads=([dW1, dW2], None)))

    print("\n2. The published figures")
    found, seconds = [], []
    for run in (by_numpy, by_network):
        begin = time.perf_counter()
        found.append(run(X, y))
        seconds.append(time.perf_counter() - begin)
    print(f"{'':32}{'published':>12}{'NumPy':>12}{'Network':>12}")
    missed = 0
    for (name, (figure, within)), *values in zip(PUBLISHED.items(), *found, strict=True):
        right = all(abs(value - figure) <= within for value in values)
        missed += not right
        print(f"{name:32}{figure:12.7f}{values[0]:12.7f}{values[1]:12.7f}  {'' if right else 'missed'}")
    print(f"{'seconds':32}{'':12}{seconds[0]:12.2f}{seconds[1]:12.2f}")

    print("\n3. The same network in float32, five epochs of Adam, rows as they are in the file")
    net = bs.Network([784, 100, 10], seed=0)
    net.standardise(images)
    history = net.fit(images, y, epochs=5, batch_size=100, optimizer=bs.Adam(1e-3), progress=False)
    test = "" if images_test is None else f", test error {1 - net.evaluate(images_test, y_test)['accuracy']:.2%}"
    print(f"training loss {history.loss[-1]:.4f}{test}")
    return missed and f"{missed} figures missed"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else BESIDE_THE_CHECKOUT))
