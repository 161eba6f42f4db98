"""The time of a training step with products in bfloat16, and what is learnt with them.

    python benchmarks/precision.py                  # B, F and G, on one core
    python benchmarks/precision.py F --cores 2 --turns 5
    python benchmarks/precision.py --mnist FOLDER   # and accuracies on MNIST, of several seeds

backsweep in full and in bfloat16, and PyTorch under `torch.autocast` to bfloat16 if it is installed, take turns, an
epoch each. Before anything is timed they take 20 steps of SGD from the same weights with the same batches, and must
have gone the same way as backsweep in full but for a share that rounding to 8 bits explains.
"""

import argparse
import importlib.util
import statistics
import time
from pathlib import Path

import backsweep as bs
import numpy as np
import peak
from backsweep import _core
from backsweep.bench import agreement
from backsweep.bench.machine import on_cores, processor
from backsweep.bench.peers import ours
from backsweep.bench.workloads import TRAINING, chosen
from backsweep.datasets import read

BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
FULL, BF16, TORCH = "full", "bf16", "PyTorch bf16"
MOST_APART = 0.1  # of the way: masks of ReLU change where a sum is near 0


class InBf16(ours.Trainer):
    precision = "bf16"


def trainers():
    found = {FULL: ours.Trainer, BF16: InBf16}
    if importlib.util.find_spec("torch"):
        import torch
        from backsweep.bench.peers import pytorch

        class Autocast(pytorch.Trainer):
            def loss(self, X, y):
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    Z = self.model(X)
                return self.entropy(Z.float(), y)

        found[TORCH] = Autocast
    return found


def vector(arrays):
    return np.concatenate([np.ravel(array) for array in arrays])


def distances(w, kinds, threads):
    """How far from backsweep in full the parameters of each are after some steps of SGD, as a share of the way."""
    X, y = w.data(agreement.STEPS)
    order = np.random.default_rng(3).permutation(len(X))
    ends = {}
    for name, kind in kinds.items():
        run = kind(w, X, y, "sgd", threads)
        run.epoch(order)
        ends[name] = vector(run.parameters())
    way = np.linalg.norm(ends[FULL] - vector(array for pair in w.parameters() for array in pair))
    return {name: float(np.linalg.norm(end - ends[FULL]) / way) for name, end in ends.items()}


def race(w, threads, turns):
    """Medians of the seconds of a step, and distances."""
    kinds = trainers()
    apart = distances(w, kinds, threads)
    for name, share in apart.items():
        assert share < MOST_APART, f"{w.name}: {name} went another way: {share:.2g} of it apart"
    steps = w.steps()
    X, y = w.data(steps)
    runs = {name: kind(w, X, y, w.optimizer, threads) for name, kind in kinds.items()}
    seconds = {name: [] for name in runs}
    for turn in range(turns + 1):
        order = np.random.default_rng(turn).permutation(len(X))
        for name, run in runs.items():
            began = time.perf_counter()
            run.epoch(order)
            seconds[name].append((time.perf_counter() - began) / steps)
    return {name: statistics.median(of_turns[1:]) for name, of_turns in seconds.items()}, apart


def accuracies(folder, epochs, seeds):
    """On the test images of MNIST, for each seed."""
    data = read(folder)
    found = {FULL: [], BF16: []}
    X, X_test = (rows.reshape(len(rows), -1) for rows in (data.X, data.X_test))
    for seed in range(seeds):
        for precision, of_seeds in found.items():
            net = bs.Network([784, 512, 512, 10], seed=seed)
            net.standardise(X)
            net.fit(X, data.y, epochs=epochs, batch_size=128, optimizer=bs.Adam(1e-3), precision=precision)
            of_seeds.append(net.evaluate(X_test, data.y_test)["accuracy"])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", default=["B", "F", "G"], help=", ".join(w.name for w in TRAINING))
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--mnist", type=Path, nargs="?", const=BESIDE_THE_CHECKOUT, metavar="FOLDER")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    how = "by instructions" if _core.has_bf16_instructions() else "without instructions for it"
    print(f"{processor()}, {arguments.cores} of its cores, bfloat16 {how}")
    with on_cores(arguments.cores):
        for w in chosen(arguments.workloads):
            seconds, apart = race(w, arguments.cores, arguments.turns)
            flops = w.flops / peak.measure(arguments.cores)
            for name, of_step in seconds.items():
                print(
                    f"{w.name} {name:14}{of_step * 1e3:10.3f} ms, full takes {seconds[FULL] / of_step:5.2f} times as "
                    f"long; {flops / of_step:4.0%} of the FMA peak; {apart[name]:.1%} apart",
                    flush=True,
                )
        if arguments.mnist:
            for precision, of_seeds in accuracies(arguments.mnist, arguments.epochs, arguments.seeds).items():
                values = ", ".join(f"{accuracy:.2%}" for accuracy in of_seeds)
                print(f"MNIST, 784-512-512-10, {arguments.epochs} epochs, {precision}: {values}")


if __name__ == "__main__":
    main()
