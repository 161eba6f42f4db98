"""The scripts beside the benchmarks: tables and charts from figures, and the peak."""

import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest
from backsweep.bench import results
from backsweep.bench.peers import OURS
from backsweep.bench.race import Figure
from backsweep.bench.workloads import WORKLOADS

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "benchmarks"

if not SCRIPTS.is_dir():
    pytest.skip("needs the benchmarks beside the tests", allow_module_level=True)


@pytest.fixture
def script(monkeypatch):
    """Imports a script of benchmarks/ by its name."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:  # their names are theirs alone while the test runs
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == SCRIPTS:
            del sys.modules[name]


@pytest.fixture
def figures(tmp_path):
    """A file of made-up figures: backsweep 10 µs everywhere, NumPy 25; on two cores 6 and 20."""
    found = [
        Figure(name, peer, cores, medians=[seconds], best=0.9 * seconds, turns=3, flops=5e5, peak=1e11, memory=50.0)
        for name in ("A", "D", "E", "D-forward-1", "rows-1000", "rows-10000", "width-16", "grid-32-64")
        for cores, times in ((1, (1e-5, 2.5e-5)), (2, (6e-6, 2e-5)))
        for peer, seconds in zip((OURS, "NumPy"), times, strict=True)
        if cores == 1 or WORKLOADS[name].group == "training"
    ]
    path = tmp_path / "figures.json"
    path.write_text(results.text_of([results.run_of(found, "made up")]), encoding="utf-8")
    return path


def test_tables_are_filled_between_markers(script, figures, tmp_path):
    text = tmp_path / "text.md"
    names = ("summary", "training", "best", "scaling", "forward", "growth", "grid", "memory", "machines")
    before = "# Title\n" + "".join(f"<!-- begin {n} -->\nold\n<!-- end {n} -->\nkept\n" for n in names)
    text.write_text(before, encoding="utf-8")
    arguments = ["--json", str(figures), "--texts", str(text), "--tables"]
    assert script("document").main([*arguments, "--check"]) == 1
    assert text.read_text(encoding="utf-8") == before
    assert script("document").main(arguments) == 0
    after = text.read_text(encoding="utf-8")
    assert "old" not in after
    assert after.count("\nkept\n") == len(names)
    for line in (
        "| 20-64-64-2, batch 32, Adam | 10.0 µs | – | – | – |",
        "| A: 784-100-10, batch 100, SGD | 10.0 µs | 25.0 µs | 2.50× | 50 % |",
        "| A, 2 cores | 6.00 µs, 1.67× | 20.0 µs, 1.25× | 3.33× |",
        "| 20-64-64-2, 1 row | 10.0 µs | 25.0 µs | 2.50× | 50 % |",
        "| batch 32 | –, – | 50 %, 2.50× | –, – | –, – |",
        "| E | 9.00 µs | 22.5 µs |",
        "| rows-1000 | 50 | 50 |",
    ):
        assert line in after, line
    assert "`made up`" in after
    assert script("document").main([*arguments, "--check"]) == 0


@pytest.mark.parametrize("text", ["<!-- begin nothing -->\n<!-- end nothing -->\n", "<!-- begin training -->\n"])
def test_markers_that_do_not_fit_are_refused(script, figures, tmp_path, text):
    path = tmp_path / "text.md"
    path.write_text(text)
    with pytest.raises(ValueError, match="markers must"):
        script("document").main(["--json", str(figures), "--texts", str(path), "--tables"])
    assert path.read_text() == text


def test_the_documentation_shows_the_figures_of_its_files(script):
    assert script("document").main(["--check"]) == 0
    assert script("document").main(["--check", *script("document").OTHER_MACHINE]) == 0


def test_charts_are_drawn_and_the_same_each_time(script, figures, tmp_path):
    pytest.importorskip("matplotlib")
    charts = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        assert script("document").main(["--json", str(figures), "--texts", "--charts", str(folder)]) == 0
        charts.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert charts[0].keys() == {"performance.svg", "growth.svg"}
    assert charts[0] == charts[1]
    assert all(text.startswith(b"<?xml") and b"</svg>" in text for text in charts[0].values())


def test_runs_are_appended_in_place_of_those_they_repeat(script, figures, capfd):
    arguments = ["--json", str(figures), "--peers", "NumPy", "--turns", "1", "--share", "0.01", "--no-peak"]
    assert script("run").main(["E", "D-forward-1", *arguments]) == 0
    old, new = results.runs_in(figures.read_text(encoding="utf-8"))
    assert {(f.workload, f.cores) for f in new.figures} == {("E", 1), ("D-forward-1", 1)}
    assert {(f.workload, f.cores) for f in old.figures} >= {("E", 2), ("A", 1), ("A", 2)}
    assert not {(f.workload, f.cores) for f in old.figures} & {("E", 1), ("D-forward-1", 1)}
    assert new.command.startswith("python benchmarks/run.py E D-forward-1")
    out, err = capfd.readouterr()
    assert "NumPy" in out
    assert "E: NumPy starts and is checked" in err
    assert script("run").main(["E", *arguments, "--anew"]) == 0
    (run,) = json.loads(figures.read_text(encoding="utf-8"))["runs"]
    assert [f["workload"] for f in run["figures"]] == ["E"]


def test_the_peak_is_measured_and_its_program_kept(script, tmp_path, monkeypatch):
    peak = script("peak")
    if peak.compiler() is None:
        pytest.skip("needs a C++ compiler")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    speed = peak.measure(1)
    assert speed > 1e8  # of any processor of this century
    (program,) = next(tmp_path.iterdir()).iterdir()
    made = program.stat().st_mtime_ns
    assert peak.measure(1) > 1e8
    assert program.stat().st_mtime_ns == made


def test_the_peak_needs_a_compiler(script, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match=r"needs a C\+\+ compiler"):
        script("peak").program()
