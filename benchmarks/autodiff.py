"""A step of 784-512-512-10, batch 128, float32, as a plain function under `bs.value_and_grad` and as a `Network`.

    python benchmarks/autodiff.py
    python benchmarks/autodiff.py --rounds 200

Loss and gradients must agree to rounding before anything is timed. The two are timed in turn; the ratio is that of the
medians, and that of the fastest. Both more than 3 is a failure. It takes a quiet machine: the plain function's
products are NumPy's, whose threads wait for one another by spinning (OPENBLAS_NUM_THREADS=1 is then the better choice).
"""

import argparse
import statistics
import sys
import time

import backsweep as bs
import numpy as np

LAYERS = [784, 512, 512, 10]
BATCH = 128
LIMIT = 3.0


def loss(parameters, X, y):
    Z = X
    for W, b in parameters[:-1]:
        Z = bs.functional.relu(Z @ W + b)
    W, b = parameters[-1]
    return bs.functional.softmax_cross_entropy(Z @ W + b, y)


def check(got, want, what):
    """Agreement to rounding: sums of up to 784 products in float32."""
    error = np.abs(got - want).max() / np.abs(want).max()
    if not error < 784 * np.finfo(np.float32).eps:
        raise SystemExit(f"{what} differs by {error:.2g}")


def milliseconds(f):
    begin = time.perf_counter()
    f()
    return 1e3 * (time.perf_counter() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds

    rng = np.random.default_rng(0)
    net = bs.Network(LAYERS, seed=0)
    X, y = rng.normal(size=(BATCH, LAYERS[0])).astype(np.float32), rng.integers(0, LAYERS[-1], size=BATCH)
    parameters = list(zip(net.W, net.b, strict=True))
    step = bs.value_and_grad(loss)

    value, gradients = step(parameters, X, y)
    wanted_value, wanted = net.loss_and_gradients(X, y)
    check(value, np.float32(wanted_value), "the loss")
    for i, (dW, db) in enumerate(gradients):
        check(dW, wanted.dW[i], f"dW[{i}]")
        check(db, wanted.db[i], f"db[{i}]")

    contenders = {
        "bs.value_and_grad": lambda: step(parameters, X, y),
        "Network.loss_and_gradients": lambda: net.loss_and_gradients(X, y),
    }
    times = {name: [] for name in contenders}
    for f in contenders.values():
        for _ in range(10):
            f()
    for _ in range(rounds):
        for name, f in contenders.items():
            times[name].append(milliseconds(f))

    bs.show_config()
    for name, taken in times.items():
        print(f"{name:<28}median {statistics.median(taken):7.2f} ms   fastest {min(taken):7.2f} ms")
    ours, network = times.values()
    medians, fastest = statistics.median(ours) / statistics.median(network), min(ours) / min(network)
    print(f"{'ratio':<28}median {medians:7.2f}      fastest {fastest:7.2f}")
    return min(medians, fastest) > LIMIT


if __name__ == "__main__":
    sys.exit(main())
