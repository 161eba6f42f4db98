"""The time of `fit` and of predicting one row, scikit-learn's against `backsweep.sklearn`'s, at the same settings.

    OMP_NUM_THREADS=1 python benchmarks/sklearn_fit.py
    python benchmarks/sklearn_fit.py --turns 9 --only digits tiny
    python benchmarks/sklearn_fit.py --mnist FOLDER

The two take turns; figures are medians. Before anything is timed their loss curves must agree.
"""

import argparse
import statistics
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import sklearn.neural_network as theirs
from backsweep import sklearn as ours
from backsweep.datasets import read
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
ROWS_AT_ONCE = 200  # of predicting one row, for the clock


def digits(_):
    return *load_digits(return_X_y=True), {}


def mnist(folder):
    data = read(folder)
    return data.X.reshape(len(data.X), -1) / np.float32(255), data.y, {"max_iter": 10}


def wide(_):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100_000, 50)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] > 0).astype(int), {"hidden_layer_sizes": (256, 256), "max_iter": 2}


def tiny(_):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 10))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int), {"hidden_layer_sizes": (16,)}


PROBLEMS = {"digits": digits, "mnist": mnist, "wide": wide, "tiny": tiny}
CURVE = {"float32": 1e-2, "float64": 1e-6}  # relative, of the first ten epochs


def seconds_of(f):
    began = time.perf_counter()
    f()
    return time.perf_counter() - began


def race(one, other, turns):
    """Seconds of each, in turns."""
    times = [(seconds_of(one), seconds_of(other)) for _ in range(turns)]
    return tuple(statistics.median(column) for column in zip(*times, strict=True))


def rows(model, row):
    for _ in range(ROWS_AT_ONCE):
        model.predict_proba(row)


def line(name, times, unit, scale):
    print(
        f"{name:28}{times[0] * scale:12.2f} {unit}{times[1] * scale:12.2f} {unit}{times[0] / times[1]:9.1f} x",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--mnist", type=Path, default=BESIDE_THE_CHECKOUT, help="the folder of its four files")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(f"{'':28}{'scikit-learn':>15}{'backsweep':>15}")
    for name in arguments.only:
        X, y, parameters = PROBLEMS[name](arguments.mnist)
        pair = [kind(random_state=0, **parameters) for kind in (theirs.MLPClassifier, ours.MLPClassifier)]
        one, other = (np.array(model.fit(X, y).loss_curve_)[:10] for model in pair)
        difference = np.abs(other / one - 1).max()
        if not difference < CURVE[X.dtype.name]:
            raise SystemExit(f"{name}: the loss curves differ by {difference:.2g}")
        times = race(*(partial(model.fit, X, y) for model in pair), arguments.turns)
        epochs = pair[1].n_iter_
        line(f"{name}, {X.dtype.name}, {epochs} epochs", times, "ms", 1e3)
        times = race(*(partial(rows, model, X[:1]) for model in pair), arguments.turns)
        line("  predict_proba of a row", times, "us", 1e6 / ROWS_AT_ONCE)


if __name__ == "__main__":
    main()
