"""The figures that the course's homework publishes for MNIST: both implementations must give them.

The data are the four files of MNIST in shared/data/mnist, beside the checkout; where they are absent, so is the test.
"""

import gzip
import runpy
from pathlib import Path

import backsweep as bs
import figures
import numpy as np
import pytest
from problems import BACKENDS, DTYPES
from tolerances import norm

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "mnist"
PUBLISHED = runpy.run_path(str(ROOT / "examples" / "homework.py"))["PUBLISHED"]

# Published to so many digits, so float64 must agree to 1e-4. In float32 a training of 600 steps loses more.
IN_FLOAT32 = {"norm of W1": 2e-3, "norm of W2": 2e-3, "training loss": 5e-4, "training error": 5e-4}


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
    found = {
        "norm of W1": norm(network.W[0]),
        "norm of W2": norm(network.W[1]),
        "training loss": scores["loss"],
        "training error": 1 - scores["accuracy"],
    }
    for name, value in found.items():
        published, within = PUBLISHED[f"two layers, {name}"]
        difference = abs(value - published)
        figures.measured(f"difference from the published {name}", f"{backend}, {dtype}", difference)
        assert difference < (within if dtype == "float64" else IN_FLOAT32[name]), (name, value)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_softmax_regression(mnist, backend, dtype):
    """784-10 from W = 0 on the first 100 rows: batches of 10, rate 0.1."""
    X, y = (values[:100] for values in mnist)
    network = bs.Network([784, bs.Dense(10, bias=False)], dtype=dtype, backend=backend)
    network.theta[:] = 0
    network.fit(X, y, epochs=1, batch_size=10, optimizer=bs.SGD(0.1), shuffle=False, progress=False)
    published, within = PUBLISHED["softmax regression, norm of W"]
    assert norm(network.W[0]) == pytest.approx(published, abs=within)
