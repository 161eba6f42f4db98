"""The charts of the documentation: training on the workloads, and growth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backsweep.bench.peers import OURS, PEERS
from backsweep.bench.race import Figure
from backsweep.bench.workloads import GROWTH, TRAINING, WORKLOADS, Training

COLOURS = dict(zip(PEERS, ("#c8102e", "#7f7f7f", "#f0a30a", "#ee6c2b", "#9c4f96", "#2f6fb7", "#3a9a5c"), strict=True))

# Of each series of `GROWTH`: what its name begins with, the title, what grows.
SERIES = (
    ("rows", "rows of an epoch", lambda w: w.all_rows),
    ("batch", "rows of a batch", lambda w: w.batch_size),
    ("width", "width of two hidden layers", lambda w: w.widths[1]),
    ("depth", "hidden layers", lambda w: len(w.widths) - 2),
)

Figures = dict[tuple[str, int], dict[str, Figure]]


def draw(figures: Figures, folder: Path) -> None:
    """Write performance.svg and growth.svg; the same figures give the same bytes."""
    import matplotlib as mpl

    mpl.use("svg")
    style = {"svg.hashsalt": "backsweep", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style):
        _write(_training(figures), folder / "performance.svg")
        _write(_growth(figures), folder / "growth.svg")


def _write(chart: Any, path: Path) -> None:
    chart.savefig(path, metadata={"Date": None}, bbox_inches="tight", facecolor="white")


def _training(figures: Figures) -> Any:
    """Times as multiples of ours, above; shares of the peak, below."""
    from matplotlib.figure import Figure as Chart

    names = [w.name for w in TRAINING if (w.name, 1) in figures]
    peers = [p for p in PEERS if any(p in figures[name, 1] for name in names)]
    chart = Chart(figsize=(9, 6))
    times, shares = chart.subplots(2, 1)
    breadth = 0.84 / max(1, len(peers))
    for j, peer in enumerate(peers):
        at, multiples, of_peak = [], [], []
        for i, name in enumerate(names):
            figure, ours = figures[name, 1].get(peer), figures[name, 1].get(OURS)
            if figure is None or figure.median is None or ours is None or ours.median is None:
                continue
            at.append(i + (j - (len(peers) - 1) / 2) * breadth)
            multiples.append(figure.median / ours.median)
            of_peak.append(100 * (figure.share_of_peak or 0.0))
        times.bar(at, multiples, breadth, color=COLOURS[peer], label=peer)
        shares.bar(at, of_peak, breadth, color=COLOURS[peer])
    labels = [f"{name}\n{'-'.join(map(str, WORKLOADS[name].widths))}\n{_rest(WORKLOADS[name])}" for name in names]
    times.set_yscale("log")
    times.axhline(1, color=COLOURS[OURS], linewidth=0.8)
    times.set_title("Time of a training step on one core, backsweep = 1 (lower is better)", loc="left")
    times.set_xticks(range(len(names)), names)
    times.legend(ncols=len(peers), loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False)
    shares.set_title("Share of the core's FMA peak, % (higher is better)", loc="left")
    shares.set_ylim(0, 100)
    shares.set_xticks(range(len(names)), labels, fontsize=7)
    chart.subplots_adjust(hspace=0.4)
    return chart


def _rest(w: Any) -> str:
    return str(w).partition(", ")[2]


def _growth(figures: Figures) -> Any:
    from matplotlib.figure import Figure as Chart

    chart = Chart(figsize=(9, 6.4))
    panels = chart.subplots(2, 2).ravel()
    for panel, (series, title, size) in zip(panels, SERIES, strict=True):
        workloads = [w for w in GROWTH if w.name.startswith(f"{series}-") and (w.name, 1) in figures]
        for peer in PEERS:
            points = [(size(w), _seconds(figures[w.name, 1].get(peer), w)) for w in workloads]
            points = [(x, seconds) for x, seconds in points if seconds is not None]
            if points:
                panel.plot(*zip(*points, strict=True), "o-", color=COLOURS[peer], label=peer, markersize=3)
        panel.set_xscale("log", base=10 if series == "rows" else 2)
        panel.set_yscale("log")
        panel.set_xlabel(title)
        panel.set_ylabel("seconds an epoch" if series == "rows" else "seconds a step")
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        chart.legend(handles, labels, ncols=len(labels), loc="upper center", frameon=False)
    chart.subplots_adjust(hspace=0.32, wspace=0.28)
    return chart


def _seconds(figure: Figure | None, w: Training) -> float | None:
    if figure is None or figure.median is None:
        return None
    return figure.median * (w.steps() if w.all_rows else 1)
