"""Write the tables and charts of the documentation from the figures of `benchmarks/run.py`.

    python benchmarks/document.py            # README.md, docs/performance.md, docs/*.svg from docs/performance.json
    python benchmarks/document.py --check    # say whether the tables are those of the figures

A table stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; what is between them is replaced. The charts need
matplotlib, and are left out with --tables.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import charts
from backsweep.bench import report, results
from backsweep.bench.peers import OURS, PEERS
from backsweep.bench.race import Figure, best_peer
from backsweep.bench.workloads import FORWARD, GRID, GROWTH, TRAINING, WORKLOADS

ROOT = Path(__file__).parents[1]
# What makes the page of the other machine, and checks it.
OTHER_MACHINE = (
    "--json", str(ROOT / "docs" / "performance-zen4.json"), "--texts", str(ROOT / "docs" / "performance-zen4.md"),
    "--tables",
)  # fmt: skip
MISSING = "–"
SUMMARY = ("D", "C", "A", "B")  # of README, from small to large
SUMMARY_PEERS = (OURS, "JAX", "PyTorch", "scikit-learn")

Figures = dict[tuple[str, int], dict[str, Figure]]  # of a workload on so many cores, by peer


def gathered(runs: list[results.Run]) -> Figures:
    """The figures by workload and cores; of two of one kind the later counts."""
    found: Figures = {}
    for run in runs:
        for figure in run.figures:
            found.setdefault((figure.workload, figure.cores), {})[figure.peer] = figure
    return found


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def time_of(figure: Figure | None) -> str:
    if figure is None:
        return MISSING
    return report.seconds(figure.median) if figure.median is not None else figure.status


def peers_in(figures: Figures, names: list[str], cores: int) -> list[str]:
    """The peers that have a figure of one of these workloads, in the order of `PEERS`."""
    there = {peer for name in names for peer in figures.get((name, cores), {})}
    return [peer for peer in PEERS if peer in there]


def ratio_of(by_peer: dict[str, Figure]) -> str:
    """How many times as fast as the best peer we are."""
    ours, best = by_peer.get(OURS), best_peer(list(by_peer.values()))
    return MISSING if ours is None or ours.median is None or best is None else f"{best / ours.median:.2f}×"


def share_of(figure: Figure | None) -> str:
    return MISSING if figure is None or figure.share_of_peak is None else f"{100 * figure.share_of_peak:.0f} %"


def times(figures: Figures, names: list[str], cores: int = 1) -> str:
    """Workloads by peers: medians; then what ours is of the best peer's, and of the peak."""
    names = [name for name in names if (name, cores) in figures]
    peers = peers_in(figures, names, cores)
    header = ["", *peers, "to the best peer", "of the peak"]
    rows = []
    for name in names:
        by_peer = figures[name, cores]
        label = f"{name}: {WORKLOADS[name]}" if WORKLOADS[name] in TRAINING else str(WORKLOADS[name])
        rows.append([label, *(time_of(by_peer.get(peer)) for peer in peers), ratio_of(by_peer),
                     share_of(by_peer.get(OURS))])  # fmt: skip
    return markdown(header, rows) + faults(figures, names, cores)


def faults(figures: Figures, names: list[str], cores: int) -> str:
    lines = [
        f"- {name}, {figure.peer}: {figure.status}, {figure.reason}"
        for name in names
        for figure in figures[name, cores].values()
        if figure.reason
    ]
    return "\n\n" + "\n".join(lines) if lines else ""


def summary(figures: Figures, runs: list[results.Run]) -> str:
    """The table of README, and what it is of."""
    rows = [
        [str(WORKLOADS[name]), *(time_of(figures.get((name, 1), {}).get(peer)) for peer in SUMMARY_PEERS)]
        for name in SUMMARY
    ]
    text = markdown(["a training step on one core, float32", *SUMMARY_PEERS], rows)
    of = [run for run in runs if any(f.workload in SUMMARY and f.cores == 1 for f in run.figures)]
    if not of:
        return text
    last = of[-1]
    versions = ", ".join(f"{peer} {last.versions[peer]}" for peer in SUMMARY_PEERS if peer in last.versions)
    where = f"{last.machine['processor']} ({last.machine['instruction set']}), {last.date[:10]}"
    return f"{text}\n\nMedians on {where}; {versions}."


def best_turns(figures: Figures) -> str:
    names = [w.name for w in TRAINING if (w.name, 1) in figures]
    peers = peers_in(figures, names, 1)

    def best(figure: Figure | None) -> str:
        return MISSING if figure is None or figure.best is None else report.seconds(figure.best)

    rows = [[name, *(best(figures[name, 1].get(peer)) for peer in peers)] for name in names]
    return markdown(["", *peers], rows)


def gain_of(several: Figure | None, one: Figure | None) -> str:
    """One core's time over several's: of turns between each other, where there were such, else of another run."""
    if several is None or several.median is None:
        return time_of(several)
    gain = several.gain
    if gain is None and one is not None and one.median is not None:
        gain = one.median / several.median
    return time_of(several) + ("" if gain is None else f", {gain:.2f}×")


def scaling(figures: Figures) -> str:
    """What further cores give."""
    cores = sorted({n for _, n in figures if n > 1})
    names = [w.name for w in TRAINING if any((w.name, n) in figures for n in cores)]
    if not names:
        return "There are no figures of several cores yet."
    rows = []
    for n in cores:
        peers = peers_in(figures, names, n)
        for name in [name for name in names if (name, n) in figures]:
            row = [gain_of(*(figures.get((name, k), {}).get(peer) for k in (n, 1))) for peer in peers]
            rows.append([f"{name}, {n} cores", *row, ratio_of(figures[name, n])])
    return markdown(["", *peers, "to the best peer"], rows)


def grid(figures: Figures) -> str:
    """Batches by widths: our share of the peak, and what ours is of the best peer's."""
    widths = sorted({w.widths[0] for w in GRID})
    rows = []
    for batch in sorted({w.batch_size for w in GRID}):
        cells = [figures.get((f"grid-{batch}-{n}", 1), {}) for n in widths]
        rows.append([f"batch {batch}", *(f"{share_of(cell.get(OURS))}, {ratio_of(cell)}" for cell in cells)])
    return markdown(["", *(f"width {n}" for n in widths)], rows)


def memory(figures: Figures) -> str:
    names = [w.name for w in (*TRAINING, *GROWTH) if (w.name, 1) in figures and (w in TRAINING or w.all_rows)]
    peers = peers_in(figures, names, 1)
    rows = []
    for name in names:
        found = [figures[name, 1].get(peer) for peer in peers]
        rows.append([name, *(MISSING if f is None or f.memory is None else f"{f.memory:,.0f}" for f in found)])
    return markdown(["MiB", *peers], rows)


def machines(runs: list[results.Run]) -> str:
    """Where the figures come from, a line for each run."""
    lines = []
    for run in runs:
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        where = f"{run.machine['processor']} ({run.machine['instruction set']}), {run.machine['system']}"
        peaks = {f.cores: f.peak for f in run.figures if f.peak is not None}
        peak = "".join(f"; FMA peak {flops / 1e9:.0f} GFLOP/s on {n} core{'s' * (n > 1)}" for n, flops in peaks.items())
        lines.append(f"- {run.date[:10]}, `{run.command}`: {where}{peak}; {versions}")
    return "\n".join(lines)


def tables(figures: Figures, runs: list[results.Run]) -> dict[str, str]:
    """The text for every name of a table."""
    return {
        "summary": summary(figures, runs),
        "training": times(figures, [w.name for w in TRAINING]),
        "best": best_turns(figures),
        "scaling": scaling(figures),
        "forward": times(figures, [w.name for w in FORWARD]),
        "growth": times(figures, [w.name for w in GROWTH]),
        "grid": grid(figures),
        "memory": memory(figures),
        "machines": machines(runs),
    }


def filled(text: str, content: dict[str, str]) -> str:
    """The text with everything between two markers replaced.

    Raises
    ------
    ValueError
        If a marker has no table, or no end.
    """

    def replace(found: re.Match[str]) -> str:
        if found[1] not in content:
            raise ValueError(f"markers must be one of {', '.join(content)}, got {found[1]!r}")
        return f"<!-- begin {found[1]} -->\n{content[found[1]]}\n<!-- end {found[1]} -->"

    result = re.sub(r"<!-- begin (\w+) -->\n.*?<!-- end \1 -->", replace, text, flags=re.DOTALL)
    begun, ended = (re.findall(rf"<!-- {word} (\w+) -->", result) for word in ("begin", "end"))
    if begun != ended:
        raise ValueError(f"markers must begin and end in turn, got {begun} and {ended}")
    return result


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "performance.json", metavar="FILE")
    parser.add_argument("--texts", type=Path, nargs="*", metavar="FILE",
                        default=[ROOT / "README.md", ROOT / "docs" / "performance.md"])  # fmt: skip
    parser.add_argument("--charts", type=Path, default=ROOT / "docs", metavar="FOLDER", help="default: docs")
    parser.add_argument("--tables", action="store_true", help="make no charts")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a table is not of the figures")
    arguments = parser.parse_args(argv)

    runs = results.runs_in(arguments.json.read_text(encoding="utf-8"))
    figures = gathered(runs)
    content = tables(figures, runs)
    stale = []
    for path in arguments.texts:
        text = path.read_text(encoding="utf-8")
        new = filled(text, content)
        if new != text:
            stale.append(path)
            if not arguments.check:
                path.write_text(new, encoding="utf-8")
    if arguments.check:
        for path in stale:
            print(f"{path} does not show the figures of {arguments.json}", file=sys.stderr)
        return 1 if stale else 0
    if not arguments.tables:
        charts.draw(figures, arguments.charts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
