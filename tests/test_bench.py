"""The benchmarks: what they count, and that a peer which is wrong is said to be wrong.

Longer than 300 lines because it follows a figure from the weights that every peer starts from to the page.
"""

import dataclasses
import errno
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from backsweep.bench import agreement, report, results
from backsweep.bench.machine import available_cores, environment, on_cores, peak_memory, processor
from backsweep.bench.peers import OURS, PEERS, Peer, chosen_peers, numpy_loop, reference
from backsweep.bench.race import FAILED, TIMED, WRONG, Figure, Race, Settings, best_peer
from backsweep.bench.workloads import FORWARD, GRID, GROWTH, TRAINING, WORKLOADS, Forward, Training, chosen, restored
from backsweep.cli import main

HERE = Path(__file__).parent
TINY = Settings(turns=2, share=0.01)


@pytest.fixture
def planted(monkeypatch):
    """Lets the processes of peers import the modules beside this one."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))

    def planted(module, kinds=("training", "forward")):
        return Peer(module, module, "numpy", kinds)

    return planted


# Workloads


def test_workloads_are_those_that_speed_is_promised_for():
    described = [str(w) for w in TRAINING]
    assert described == [
        "784-100-10, batch 100, SGD", "784-512-512-10, batch 128, Adam", "64-100-10, batch 200, Adam",
        "20-64-64-2, batch 32, Adam", "8-16-16-2, batch 32, SGD", "1024-4096-4096-1000, batch 512, SGD",
        "100-256-256-256-2, batch 256, Adam",
    ]  # fmt: skip
    assert [w.name for w in TRAINING] == list("ABCDEFG")
    assert {(w.widths, w.batch_size) for w in FORWARD} == {
        (TRAINING[i].widths, rows) for i in (1, 3) for rows in (1, 1000)
    }
    assert {(w.batch_size, w.widths[0]) for w in GRID} == {
        (m, n) for m in (1, 32, 128, 1024) for n in (16, 64, 256, 1024)
    }
    grown = {name: [w for w in GROWTH if w.name.startswith(name)] for name in ("rows", "batch", "width", "depth")}
    assert [w.all_rows for w in grown["rows"]] == [10**3, 10**4, 10**5, 10**6]
    assert (grown["batch"][0].batch_size, grown["batch"][-1].batch_size) == (1, 4096)
    assert (grown["width"][0].widths[1:3], grown["width"][-1].widths[1:3]) == ((16, 16), (4096, 4096))
    assert (len(grown["depth"][0].widths), len(grown["depth"][-1].widths)) == (1 + 2, 16 + 2)
    assert sum(map(len, grown.values())) == len(GROWTH)
    assert len(WORKLOADS) == len(TRAINING) + len(FORWARD) + len(GROWTH) + len(GRID)  # no name stands twice


def test_flops_are_those_of_the_products():
    """Counted from the shapes of the products: Z[i] W[i]; Z[i]ᵀ D[i]; and D[i] W[i]ᵀ, but for the first layer."""
    for w in (*TRAINING, *FORWARD):
        parameters = w.parameters()
        shapes = []
        for i, (W, _) in enumerate(parameters):
            n_in, n_out = W.shape
            shapes.append((w.batch_size, n_in, n_out))
            if isinstance(w, Training):
                shapes.append((n_in, w.batch_size, n_out))
                shapes += [(w.batch_size, n_out, n_in)] if i else []
        assert w.flops == sum(2 * rows * inner * columns for rows, inner, columns in shapes)


def test_turns_have_the_steps_that_they_should():
    assert WORKLOADS["E"].steps() == 1000
    assert WORKLOADS["E"].steps(0.01) == 10
    assert WORKLOADS["F"].steps() == WORKLOADS["F"].steps(0.01) == 8
    rows = WORKLOADS["rows-1000"]
    assert rows.steps() == rows.steps(0.01) == 1000 // 128


@pytest.mark.parametrize("w", [WORKLOADS["D"], WORKLOADS["rows-1000"], WORKLOADS["B-forward-1"]], ids=lambda w: w.name)
def test_workloads_survive_json(w):
    assert restored(json.loads(json.dumps(dataclasses.asdict(w)))) == w


def test_data_are_the_same_each_time():
    w = WORKLOADS["D"]
    for one, other in zip(w.data(3), w.data(3), strict=True):
        np.testing.assert_array_equal(one, other)
        assert len(one) == 3 * w.batch_size
    for one, other in zip(w.parameters(), w.parameters(), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert np.all(one[1] != 0)


def test_workloads_are_chosen_by_name_and_group():
    assert [w.name for w in chosen(["D", "A"])] == ["A", "D"]
    assert chosen(["forward"]) == list(FORWARD)
    with pytest.raises(ValueError, match=r"workloads must be of training, forward, .*, got 'Z'"):
        chosen(["A", "Z"])


# Agreement


# All but torch.compile, which compiles for a minute. scikit-learn's networks differ between two classes and more.
CHECKED = [
    *((name, Training("two classes", "test", (6, 20, 9, 2), 8, "adam")) for name in PEERS if name != "torch.compile"),
    *((name, Forward("forward", "test", (6, 20, 5), 3)) for name in PEERS if name != "torch.compile"),
    ("scikit-learn", Training("five classes", "test", (6, 20, 5), 8, "adam")),
]


@pytest.mark.parametrize(
    ("name", "w"), [case for case in CHECKED if case[1].kind in PEERS[case[0]].kinds], ids=lambda value: str(value)
)
def test_peers_agree_with_the_reference(name, w):
    peer = PEERS[name]
    if peer.version is None:
        pytest.skip(f"needs {peer.distribution}")
    if name == "ONNX Runtime":
        pytest.importorskip("onnx")
    (figure,) = Race([peer], TINY).run(w)
    assert (figure.status, figure.reason) == (TIMED, "")
    assert 0 < figure.difference <= figure.limit < 0.2
    assert 0 < figure.best <= figure.median
    assert len(figure.medians) == 1
    assert figure.turns == TINY.turns * w.turns
    assert figure.memory > 10


@pytest.mark.parametrize("w", [WORKLOADS["E"], WORKLOADS["D-forward-1"]], ids=lambda w: w.name)
def test_a_wrong_peer_is_reported_as_wrong_and_not_timed(w, planted):
    said = []
    figures = Race([planted("peer_wrong"), PEERS["NumPy"]], TINY, said.append).run(w)
    wrong, right = figures
    assert (wrong.status, wrong.median, wrong.best, wrong.medians) == (WRONG, None, None, [])
    assert wrong.difference > 2 * wrong.limit
    assert wrong.reason.startswith("differs from the reference by ")
    assert any(line.startswith(f"{w.name}: peer_wrong is wrong") for line in said)
    assert right.status == TIMED
    assert best_peer(figures) == right.median
    lines = report.table(figures).splitlines()
    assert next(line.split()[1:] for line in lines if line.startswith("peer_wrong ")) == ["WRONG"]
    assert lines[-1] == f"peer_wrong {wrong.reason}"


@pytest.mark.parametrize("name", ["A", "C", "D", "E"])
def test_an_error_of_a_percent_in_the_learning_rate_is_seen(name):
    w = WORKLOADS[name]
    X, y = w.data(agreement.STEPS)
    start = [array for pair in w.parameters() for array in pair]
    shares = []
    for factor in (1.0, 1.01):
        trainer, judge = (module.Trainer(w, X, y, "sgd", 1) for module in (numpy_loop, reference))
        trainer.rate *= factor
        for each in (trainer, judge):
            each.epoch(np.arange(len(X)))
        want = judge.parameters()
        allowed = agreement.limit(w, want, start, "sgd")
        shares.append(agreement.distance(trainer.parameters(), want) / agreement.size(want, start) / allowed)
    assert shares[0] < 1 < shares[1]


def test_what_a_deep_network_makes_of_rounding_is_not_called_wrong():
    w = WORKLOADS["depth-16"]
    (figure,) = Race([PEERS["NumPy"]], TINY).run(w)
    assert (figure.status, figure.reason) == (TIMED, "")
    nudged = dataclasses.replace(w, nudge=1e-5).parameters()
    pairs = zip(sum(nudged, ()), sum(w.parameters(), ()), strict=True)
    shares = [np.abs(a / b - 1) for a, b in pairs]
    assert all(np.allclose(share, 1e-5, rtol=0.02, atol=0) for share in shares)


def test_another_shape_or_a_value_that_is_not_finite_is_infinitely_far():
    a, b = np.ones((2, 3)), np.ones(3)
    assert agreement.distance([a, b], [a, b]) == 0
    assert agreement.distance([2 * a, b], [a, b]) == math.sqrt(6)
    assert agreement.distance([a.T, b], [a, b]) == math.inf
    assert agreement.distance([a], [a, b]) == math.inf
    assert agreement.distance([a * np.nan, b], [a, b]) == math.inf


# Peers that fail


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raises", "RuntimeError: no such kernel"),
        ("dies", "ended with status 3"),
        ("sleeps", "took longer than 5 s to load"),
        ("dies later", "ended with status 4"),
    ],
)
def test_a_failure_is_a_peers_own(fault, reason, planted):
    w = Training(fault, "test", (6, 9, 2), 8, "sgd")
    settings = dataclasses.replace(TINY, patience=5.0 if fault == "sleeps" else 60.0)
    failing, right = Race([planted("peer_failing"), PEERS["NumPy"]], settings).run(w)
    assert (failing.status, failing.reason, failing.median) == (FAILED, reason, None)
    assert right.status == TIMED


def test_what_a_peer_cannot_do_is_left_out():
    peers = [*chosen_peers(["NumPy"]), Peer("server", "nothing", "numpy", ("forward",))]
    assert [f.peer for f in Race(peers, TINY).run(Training("t", "test", (4, 3), 4, "sgd"))] == ["NumPy"]


def test_peers_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match=r"peers must be one of backsweep, .*, got 'Numpy'; did you mean"):
        chosen_peers(["Numpy"])


def test_medians_are_one_a_process():
    settings = dataclasses.replace(TINY, processes=3)
    (figure,) = Race([PEERS["NumPy"]], settings).run(Training("t", "test", (4, 3), 4, "sgd"))
    assert len(figure.medians) == 3
    assert figure.median == sorted(figure.medians)[1]
    assert figure.best <= min(figure.medians)
    assert figure.turns == 6


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(available_cores()) < 2, reason="needs affinity and two cores"
)
def test_turns_on_several_cores_come_between_turns_on_one(planted):
    w, settings = Training("t", "test", (4, 3), 4, "sgd"), dataclasses.replace(TINY, beside_one=True, processes=3)
    (figure,) = Race([planted("peer_on_cores")], dataclasses.replace(settings, cores=2)).run(w)
    assert (figure.status, len(figure.one_core)) == (TIMED, 3), figure.reason
    gains = [one / several for one, several in zip(figure.one_core, figure.medians, strict=True)]
    assert figure.gain == sorted(gains)[1]
    (alone,) = Race([planted("peer_on_cores")], settings).run(w)
    assert (alone.status, alone.one_core, alone.gain) == (TIMED, [], None), alone.reason
    following = dataclasses.replace(planted("peer_on_cores"), follows_cores=True)  # in a process of two threads
    (figure,) = Race([following], dataclasses.replace(settings, cores=2)).run(w)
    assert (figure.status, figure.reason) == (FAILED, "RuntimeError: a turn on 1 cores of 2")
    (figure,) = Race([PEERS["backsweep"]], dataclasses.replace(settings, cores=2)).run(w)
    assert (figure.status, len(figure.one_core)) == (TIMED, 3), figure.reason


def test_the_peak_is_the_best_that_was_measured():
    speeds = iter([3e9, 5e9])
    (figure,) = Race([PEERS["NumPy"]], TINY, measure_peak=lambda cores: next(speeds)).run(
        Training("t", "test", (4, 3), 4, "sgd")
    )
    assert figure.peak == 5e9
    assert figure.share_of_peak == pytest.approx(figure.flops / figure.median / 5e9)


# The machine


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinity")
def test_cores_are_kept_to_and_given_back():
    before = available_cores()
    with on_cores(1):
        assert available_cores() == before[:1]
    assert available_cores() == before
    with pytest.raises(ValueError, match=r"cores must be between 1 and \d+, .*, got 0"), on_cores(0):
        pass
    assert available_cores() == before


def test_the_machine_is_described():
    assert processor()
    assert environment(2)["OMP_NUM_THREADS"] == "2"
    before = peak_memory()
    block = np.ones(64 * 2**20, dtype=np.uint8)
    assert peak_memory() >= before
    assert peak_memory() > block.nbytes / 2**20


# What is written


def figures():
    ours = Figure("E", OURS, 1, medians=[2e-6, 4e-6, 3e-6], best=2e-6, turns=21, flops=3e4, peak=1e11, memory=40.0)
    slow = Figure("E", "NumPy", 1, medians=[6e-6], best=5e-6, turns=7, flops=3e4, peak=1e11)
    wrong = Figure("E", "JAX", 1, flops=3e4, peak=1e11, difference=math.inf, limit=1e-3)
    wrong.fail(WRONG, "differs from the reference by inf")
    return [ours, slow, wrong]


def test_a_table_has_medians_ratios_and_shares():
    title, header, ours, slow, wrong, fault = report.table(figures()).splitlines()
    assert title == "8-16-16-2, batch 32, SGD: a step on 1 core"
    assert header.split("  ")[0] == "E"
    assert ours.split() == ["backsweep", "3.00", "µs", "2.00", "µs", "2.00x", "10.0", "10", "%", "40"]
    assert slow.split() == ["NumPy", "6.00", "µs", "5.00", "µs", "1.00x", "5.0", "5", "%"]
    assert wrong.split() == ["JAX", "WRONG"]
    assert fault == "JAX differs from the reference by inf"


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.345e-7, "0.23 µs"), (2.345e-6, "2.35 µs"), (1.234e-4, "123 µs"), (9.999e-4, "1.00 ms"), (0.0456, "45.6 ms"),
     (12.3, "12.3 s")],
)  # fmt: skip
def test_seconds_have_three_digits(value, text):
    assert report.seconds(value) == text


def test_runs_survive_json():
    run = results.run_of(figures(), "a command")
    text = results.text_of([run, run])
    content = json.loads(text, parse_constant=pytest.fail)  # no NaN, no Infinity
    assert content["schema"] == results.SCHEMA
    assert content["runs"][0].keys() == {"date", "command", "machine", "versions", "figures"}
    assert content["runs"][0]["versions"].keys() >= {"Python", "NumPy", OURS, "JAX"}
    entry = content["runs"][0]["figures"][0]
    assert entry.keys() == {
        "workload", "peer", "cores", "status", "reason", "difference", "limit", "medians", "one_core", "best", "turns",
        "memory", "flops", "peak", "median", "share_of_peak", "gain",
    }  # fmt: skip
    assert (entry["median"], entry["medians"], entry["share_of_peak"]) == (3e-6, [2e-6, 4e-6, 3e-6], pytest.approx(0.1))
    assert content["runs"][0]["figures"][2]["difference"] is None
    back = results.runs_in(text)
    assert len(back) == 2
    assert back[0].figures[:2] == run.figures[:2]
    assert results.text_of(back) == text


@pytest.mark.parametrize("text", ["{}", '{"schema": 99, "runs": []}', '{"schema": 1, "runs": [{"date": 1}]}', "[]"])
def test_other_files_are_refused(text):
    with pytest.raises(ValueError, match="a file of runs must"):
        results.runs_in(text)


# The command


@pytest.fixture
def few(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return ["bench", "--workloads", "E,D-forward-1", "--turns", "1", "--peers", "backsweep,NumPy"]


def test_bench_prints_tables_and_writes_json(few, capsys):
    assert main([*few, "--json", "figures.json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    tables = out.split("\n\n")
    assert tables[0].startswith("8-16-16-2, batch 32, SGD: a step on 1 core\nE ")
    assert tables[1].startswith("20-64-64-2, 1 row: a call on 1 core\nD-forward-1 ")
    (run,) = results.runs_in(Path("figures.json").read_text(encoding="utf-8"))
    assert [(f.workload, f.peer, f.status) for f in run.figures] == [
        (w, p, TIMED) for w in ("E", "D-forward-1") for p in ("backsweep", "NumPy")
    ]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--workloads", "Q", "workloads must be of"),
        ("--peers", "Theano", "peers must be one of"),
        ("--threads", "0", "--threads must be an integer of at least 1"),
        ("--threads", "100000", "cores must be between 1 and"),
        ("--turns", "0", "--turns must be an integer of at least 1"),
        ("--json", "nowhere/figures.json", "--json must be a file in a folder that can be written to"),
    ],
)
def test_bench_refuses(few, option, value, message, capsys):
    assert main([*few, option, value]) == 2
    assert message in capsys.readouterr().err


def test_figures_are_written_whole_or_not_at_all(few, capsys, monkeypatch):
    def fail(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    Path("figures.json").write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    assert main([*few, "--workloads", "E", "--json", "figures.json"]) == 2
    assert capsys.readouterr().err == "backsweep: error: figures.json: No space left on device\n"
    assert os.listdir() == ["figures.json"]
    assert Path("figures.json").read_text() == "old"


def test_bench_tells_of_a_wrong_peer_by_its_status(few, capsys, monkeypatch, planted):
    monkeypatch.setitem(PEERS, "NumPy", dataclasses.replace(planted("peer_wrong"), name="NumPy"))
    assert main(few) == 1
    assert "NumPy differs from the reference by" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal")
def test_bench_shows_progress_on_a_terminal(few, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main([*few, "--workloads", "E"]) == 0
    out, err = capsys.readouterr()
    assert "E: NumPy starts and is checked" in err
    assert err.endswith("\r\x1b[K")
    assert out.startswith("8-16-16-2")
