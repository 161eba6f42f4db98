"""Memory beside the data: training, evaluating and standardising on arrays that lie on disk.

    python benchmarks/memory.py                          # 64 MiB against 4 GiB
    python benchmarks/memory.py --mebibytes 64 512 --columns 32 --tasks evaluate --json

Each figure is the peak of a process's anonymous memory (RssAnon of /proc/self/status: pages of the file do not
count) less what it was after the same work on a few rows. X is a sparse file of uint8, so it takes no disk.
Linux only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

# What each task does with a network, rows X and labels y.
TASKS = {
    "train": "network.fit(X, y, epochs=2, shuffle=False)",
    "train shuffled": "network.fit(X, y, epochs=2)",
    "train weighted": "network.fit(X, y, epochs=2, shuffle=False, sample_weight=w)",
    "validate": "network.fit(X[:1000], y[:1000], epochs=1, validation_data=(X, y))",
    "evaluate": "network.evaluate(X, y)",
    "standardise": "network.standardise(X)",
}

WORK = """
import sys
import numpy as np
import backsweep as bs

path, rows, columns, task = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

def work(m):
    X = np.memmap(path, dtype=np.uint8, mode="r", shape=(m, columns))
    y = np.memmap(path, dtype=np.uint8, mode="r", shape=(m,))
    w = np.broadcast_to(np.float32(1), (m,))
    network = bs.Network([columns, 16, 2], seed=0)
    exec(task)

work(2000)  # what is allocated once, whatever the rows
with open("/proc/self/status") as status:
    print(next(line for line in status if line.startswith("RssAnon")).split()[1], flush=True)
sys.stdin.readline()
work(rows)
"""


def anonymous_kib(pid: int) -> int:
    """RssAnon of a process now; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)


def peak_growth_mib(task: str, mebibytes: int, columns: int) -> float:
    """How far a process's anonymous memory rises while it does a task on so much data."""
    rows = mebibytes * 2**20 // columns
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        with path.open("wb") as file:
            file.truncate(rows * columns)
        arguments = [sys.executable, "-c", WORK, str(path), str(rows), str(columns), TASKS[task]]
        process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        with process, process.stdin, process.stdout:
            before = int(process.stdout.readline())
            # Sampled from outside: the process may be busy in compiled code for as long as it likes.
            peak = before
            process.stdin.write("\n")
            process.stdin.flush()
            pause = threading.Event()
            while process.poll() is None:
                peak = max(peak, anonymous_kib(process.pid))
                pause.wait(0.001)
        if process.returncode != 0:
            raise RuntimeError(f"{task} on {mebibytes} MiB ended with exit status {process.returncode}")
    return (peak - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mebibytes", type=int, nargs="+", default=[64, 4096])
    parser.add_argument("--columns", type=int, default=784)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--json", action="store_true", help="print {task: [MiB for each size]}")
    arguments = parser.parse_args()

    if arguments.json:
        sizes = arguments.mebibytes
        print(json.dumps({t: [peak_growth_mib(t, size, arguments.columns) for size in sizes] for t in arguments.tasks}))
        return
    print("Growth of anonymous memory in MiB, rows of uint8 on disk")
    print(f"{'':<18}" + "".join(f"{size:>8} MiB" for size in arguments.mebibytes) + f"{'bytes a row':>14}")
    for task in arguments.tasks:
        growth = [peak_growth_mib(task, size, arguments.columns) for size in arguments.mebibytes]
        more_rows = (arguments.mebibytes[-1] - arguments.mebibytes[0]) * 2**20 / arguments.columns
        per_row = f"{(growth[-1] - growth[0]) * 2**20 / more_rows:>14.2f}" if more_rows else ""
        print(f"{task:<18}" + "".join(f"{mib:>12.1f}" for mib in growth) + per_row)


if __name__ == "__main__":
    main()
