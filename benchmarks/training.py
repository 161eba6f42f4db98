"""Time training steps of backsweep and its peers, after checking that they all compute the same.

    taskset -c 0 python benchmarks/training.py --threads 1

Every peer starts from the same weights and takes the same batches. Before anything is timed it takes 20 steps of
SGD and must agree with the float64 reference; one that does not is reported as wrong, not fast. Then the peers take
turns, an epoch each, and the median and the best time of a step are printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import time


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default="ABCDEG", help="letters of benchmarks/workloads.py")
    parser.add_argument("--peers", default="backsweep,NumPy,PyTorch,JAX")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", help="write the figures there")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    # Read when the libraries are loaded, so set before any of them is.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    if options.threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

    import numpy as np
    from peers import PEERS, Backsweep
    from workloads import WORKLOADS

    modules = {"PyTorch": "torch", "JAX": "jax"}
    names = [p for p in options.peers.split(",") if importlib.util.find_spec(modules.get(p, "numpy"))]

    def agrees(name, workload) -> float:
        """The distance from the reference after 20 steps of SGD, relative to the way it has gone.

        A sum that comes out on the other side of a kink changes one sample's share of a few weights, in any
        float32 program: so the distance is that of all weights together, not of the worst one.
        """
        X, y = workload.data(20)
        order = np.random.default_rng(2).permutation(len(X))
        peer = PEERS[name](workload, X, y, "sgd", options.threads)
        reference = Backsweep(workload, X, y, "sgd", 1, dtype="float64")
        start = np.concatenate(reference.parameters())
        peer.epoch(order)
        reference.epoch(order)
        want = np.concatenate(reference.parameters())
        return float(np.linalg.norm(np.concatenate(peer.parameters()) - want) / np.linalg.norm(want - start))

    figures = []
    for letter in options.workloads:
        workload = WORKLOADS[letter]
        steps = max(2, min(400, int(2e10 / workload.flops)))
        X, y = workload.data(steps)
        rng = np.random.default_rng(3)
        running, wrong = {}, {}
        for name in names:
            difference = agrees(name, workload)
            if difference < 1e-3:
                running[name] = PEERS[name](workload, X, y, workload.optimizer, options.threads)
                running[name].epoch(rng.permutation(len(X)))  # compiled, allocated, warm
            else:
                wrong[name] = difference
        times: dict[str, list[float]] = {name: [] for name in running}
        for _ in range(options.rounds):
            order = rng.permutation(len(X))
            for name, peer in running.items():
                started = time.perf_counter()
                peer.epoch(order)
                times[name].append((time.perf_counter() - started) / steps)
        medians = {name: statistics.median(t) for name, t in times.items()}
        others = [median for name, median in medians.items() if name != "backsweep"]
        for name, median in medians.items():
            ratio = f"  {min(others) / median:5.2f}x the best peer" if name == "backsweep" and others else ""
            print(
                f"{letter}  {name:<10}{1e6 * median:>11.1f} us median {1e6 * min(times[name]):>11.1f} best"
                f"{workload.flops / median / 1e9:>8.1f} GFLOP/s{ratio}",
                flush=True,
            )
            figures.append({"workload": letter, "peer": name, "threads": options.threads, "median": median,
                            "best": min(times[name]), "flops": workload.flops})  # fmt: skip
        for name, difference in wrong.items():
            print(f"{letter}  {name:<10}is wrong: differs by {difference:.2g} after 20 steps")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    sys.exit(main())
