"""The figures that the course's homework publishes for MNIST: both implementations must give them.

The data are the four files of MNIST in shared/data/mnist, beside the checkout; where they are absent, so is the test.
"""

import gzip
from pathlib import Path

import backsweep as bs
import numpy as np
import pytest
from problems import BACKENDS, DTYPES
from tolerances import norm

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"

# Published to so many digits, so float64 must agree to 1e-4. In float32 a training of 600 steps loses more.
TWO_LAYERS = {"norm of W1": 28.437788, "norm of W2": 10.455095, "loss": 0.19770025, "error": 0.06006667}
TOLERANCE = {
    "float64": dict.fromkeys(TWO_LAYERS, 1e-4),
    "float32": {"norm of W1": 2e-3, "norm of W2": 2e-3, "loss": 5e-4, "error": 5e-4},
}
SOFTMAX_REGRESSION = 1.0947356
SOFTMAX_REGRESSION_TOLERANCE = 2e-5


def read_idx(name):
    """An array in the format of MNIST: its number of dimensions, their sizes, then bytes."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"needs {name} of MNIST in {DATA}")
    content = gzip.decompress(path.read_bytes())
    sizes = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(sizes)).reshape(sizes)


@pytest.fixture(scope="module")
def mnist():
    """The training images as rows of pixels between 0 and 1, and their labels, in the order of the files."""
    images, labels = read_idx("train-images-idx3-ubyte.gz"), read_idx("train-labels-idx1-ubyte.gz")
    return images.reshape(-1, 784).astype(np.float32) / np.float32(255), labels


@pytest.mark.parametrize(("backend", "dtype"), [("core", "float32"), ("core", "float64"), ("reference", "float32")])
def test_two_layers(mnist, backend, dtype):
    """784-100-10 with ReLU and no biases, after one epoch in order: batches of 100, rate 0.2."""
    X, y = mnist
    draw = np.random.RandomState(0)  # the legacy generator of np.random.seed(0)
    network = bs.Network([784, bs.Dense(100, bias=False), bs.Dense(10, bias=False)], dtype=dtype, backend=backend)
    network.W[0][:] = draw.randn(784, 100).astype(np.float32) / np.sqrt(np.float32(100))
    network.W[1][:] = draw.randn(100, 10).astype(np.float32) / np.sqrt(np.float32(10))
    network.fit(X, y, epochs=1, batch_size=100, optimizer=bs.SGD(0.2), shuffle=False, progress=False)
    scores = network.evaluate(X, y)
    figures = {
        "norm of W1": norm(network.W[0]),
        "norm of W2": norm(network.W[1]),
        "loss": scores["loss"],
        "error": 1 - scores["accuracy"],
    }
    differences = {name: abs(figures[name] - TWO_LAYERS[name]) for name in TWO_LAYERS}
    print(backend, dtype, differences)
    assert all(differences[name] < TOLERANCE[dtype][name] for name in TWO_LAYERS), differences


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_softmax_regression(mnist, backend, dtype):
    """784-10 from W = 0 on the first 100 rows: batches of 10, rate 0.1."""
    X, y = (values[:100] for values in mnist)
    network = bs.Network([784, bs.Dense(10, bias=False)], dtype=dtype, backend=backend)
    network.theta[:] = 0
    network.fit(X, y, epochs=1, batch_size=10, optimizer=bs.SGD(0.1), shuffle=False, progress=False)
    print(backend, dtype, norm(network.W[0]) - SOFTMAX_REGRESSION)
    assert norm(network.W[0]) == pytest.approx(SOFTMAX_REGRESSION, abs=SOFTMAX_REGRESSION_TOLERANCE)
