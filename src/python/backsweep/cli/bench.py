"""``backsweep bench``: a few workloads, against whichever peers are installed."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from backsweep import _checks, files
from backsweep.cli.options import check_output


def add(commands: Any) -> None:
    bench = commands.add_parser(
        "bench",
        help="compare this machine's speed with the peers that are installed",
        description="Time a few workloads with backsweep, NumPy by hand, and scikit-learn, PyTorch and JAX where they "
        "are installed. All start from the same weights and take the same batches; one that does not agree with the "
        "float64 reference after 20 steps is reported as wrong and not timed.",
    )
    bench.set_defaults(run=run)
    arg = bench.add_argument
    arg("--workloads", metavar="NAMES", help="separated by commas; default: a few that take some 20 seconds")
    arg("--peers", metavar="NAMES", help="separated by commas; default: those of the above that are installed")
    arg("--threads", type=int, default=1, metavar="N", help="for each program; default: %(default)s")
    arg("--turns", type=int, default=5, metavar="N", help="of each program; default: %(default)s")
    arg("--json", metavar="FILE", help="also write the figures there")
    arg("--quiet", action="store_true", help="show no progress")


def run(arguments: argparse.Namespace) -> int:
    # Here, for the other commands need none of it.
    from backsweep.bench import report, results
    from backsweep.bench.peers import PEERS, SHORT_PEERS, chosen_peers
    from backsweep.bench.race import Race, Settings
    from backsweep.bench.workloads import SHORT, chosen

    if arguments.json is not None:
        check_output("--json", arguments.json)
    workloads = chosen(_names(arguments.workloads) or list(SHORT))
    wanted = _names(arguments.peers)
    peers = chosen_peers(wanted) if wanted else [p for p in map(PEERS.get, SHORT_PEERS) if p and p.version]
    settings = Settings(
        cores=_checks.whole_number(arguments.threads, "--threads", 1),
        turns=_checks.whole_number(arguments.turns, "--turns", 1),
        share=0.2,
        seconds=2.0,
    )
    progress = _Progress(shown=not arguments.quiet and sys.stderr.isatty())
    figures = []
    for of_one in Race(peers, settings, progress.show).run_all(workloads):
        progress.clear()
        print(report.table(of_one), end="\n\n", flush=True)
        figures += of_one
    if arguments.json is not None:
        files.write_bytes(arguments.json, results.text_of([results.run_of(figures, "backsweep bench")]).encode())
    return 0 if all(figure.status == "timed" for figure in figures) else 1


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


class _Progress:
    """One line on standard error that is written over and over."""

    def __init__(self, *, shown: bool) -> None:
        self.shown = shown

    def show(self, line: str) -> None:
        if self.shown:
            print(f"\r\x1b[K{line[:100]}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        self.show("")
