"""Time backsweep and its peers on all workloads, after checking that they all compute the same.

    python benchmarks/run.py                                       # everything, on one core
    python benchmarks/run.py --cores 2 --processes 5 training
    python benchmarks/run.py A B D-forward-1 --peers backsweep,NumPy,JAX --turns 3

Every peer runs in a process of its own, starts from the same weights and takes the same batches. Before anything is
timed it takes 20 steps of SGD, and of the workload's own optimizer, and must agree with the float64 reference; one
that does not is reported as wrong, not fast. Then the peers take turns, an epoch each. The tables go to the terminal,
all figures to `--json`; `benchmarks/document.py` makes the charts and tables of the documentation from that file.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import peak
from backsweep.bench import report, results
from backsweep.bench.peers import PEERS, chosen_peers
from backsweep.bench.race import Figure, Race, Settings
from backsweep.bench.workloads import GROUPS, AnyWorkload, Training, chosen

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "performance.json"

# Where many workloads are compared, those peers that cannot be the best and take long to start are left out.
SLOW = {"growth": {"scikit-learn", "torch.compile"}, "grid": {"scikit-learn", "torch.compile"}}


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("workloads", nargs="*", default=list(GROUPS), help=f"names or groups: {', '.join(GROUPS)}; default: all")
    add("--peers", help="separated by commas; default: all that are installed and, of many workloads, can be best")
    add("--cores", type=int, default=1, help="of each peer; between its turns on several are turns on one; default: 1")
    add("--processes", type=int, default=1, help="of each peer, one after another; default: 1")
    add("--turns", type=int, default=7, help="of each peer in each process; default: 7")
    add("--seconds", type=float, default=5.0, help="for a workload's turns, of which three are taken in any case")
    add("--patience", type=float, default=180.0, help="seconds for a peer to compile or to agree; default: 180")
    add("--share", type=float, default=1.0, help="of the steps of a turn; default: 1")
    add("--no-peak", action="store_true", help="leave out the FMA peak, which needs a C++ compiler")
    add("--json", type=Path, default=RESULTS, metavar="FILE", help="default: docs/performance.json")
    add("--anew", action="store_true", help="drop the figures of FILE that this run does not make; default: keep them")
    return parser.parse_args(argv)


def peers_of(w: AnyWorkload, wanted: str | None) -> list[Any]:
    if wanted:
        return chosen_peers(wanted.split(","))
    return [p for p in PEERS.values() if p.version is not None and p.name not in SLOW.get(w.group, ())]


def keeps_processes(w: AnyWorkload) -> bool:
    """Whether a peer's process may go on from one workload to the next: where memory is no figure of interest."""
    return w.group == "grid" or (isinstance(w, Training) and w.group == "growth" and w.all_rows is None)


def raced(
    workloads: list[AnyWorkload], wanted: str | None, settings: Settings, say: Any, measure: Any
) -> Iterator[list[Figure]]:
    """The figures of each workload in turn."""
    for (_, keeps), some in groupby(workloads, lambda w: (w.group, keeps_processes(w))):
        together = list(some)
        race = Race(peers_of(together[0], wanted), settings, say, measure)
        yield from race.run_all(together) if keeps and settings.processes == 1 else map(race.run, together)


def kept(path: Path, figures: list[Figure]) -> list[results.Run]:
    """The runs of a file, without the figures of workloads and numbers of cores that there are new ones of."""
    anew = {(figure.workload, figure.cores) for figure in figures}
    runs = results.runs_in(path.read_text(encoding="utf-8"))
    for run in runs:
        run.figures = [figure for figure in run.figures if (figure.workload, figure.cores) not in anew]
    return [run for run in runs if run.figures]


def main(argv: list[str] | None = None) -> int:
    arguments = options(argv)
    settings = Settings(
        cores=arguments.cores, beside_one=True, turns=arguments.turns, processes=arguments.processes,
        share=arguments.share, seconds=arguments.seconds, patience=arguments.patience,
    )  # fmt: skip
    measure = None if arguments.no_peak else peak.measure
    say = partial(print, "  ", file=sys.stderr, flush=True)
    command = shlex.join(["python", "benchmarks/run.py", *(sys.argv[1:] if argv is None else argv)])
    figures: list[Figure] = []
    for of_one in raced(chosen(arguments.workloads), arguments.peers, settings, say, measure):
        print(report.table(of_one), end="\n\n", flush=True)
        figures += of_one
        # After each workload, so that a run which is stopped has not been for nothing.
        earlier = kept(arguments.json, figures) if arguments.json.exists() and not arguments.anew else []
        text = results.text_of([*earlier, results.run_of(figures, command)])
        arguments.json.write_text(text, encoding="utf-8")
    return 0 if all(figure.status == "timed" for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
