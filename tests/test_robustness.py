"""Ctrl-C, fork, threads and memory: what a library does to the process that it lives in.

Every test runs in a process of its own, which is ended if it hangs. Times are limits against hanging, no measure
of speed. Longer than 300 lines because much of it is scripts for those processes.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals and fork")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

MEMORY = Path(__file__).parents[1] / "benchmarks" / "memory.py"

# What the scripts share. The network is large enough for a team of threads, and small enough for a slow machine.
PRELUDE = """
import hashlib, os, signal, sys, threading, time
import numpy as np
import backsweep as bs

signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent may have had it ignored

rng = np.random.default_rng(0)
X = rng.normal(size=(1500, 50)).astype(np.float32)
y = np.abs(X[:, :4]).argmax(axis=1)

def network(seed=0):
    return bs.Network([50, 160, 4], seed=seed)

def end(failure):
    sys.__excepthook__(failure.exc_type, failure.exc_value, failure.exc_traceback)
    os._exit(1)

threading.excepthook = end  # a thread that fails is a script that fails

def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()

def trained(seed=0, n_threads=2, epochs=2):
    net = network(seed)
    net.fit(X, y, epochs=epochs, batch_size=100, n_threads=n_threads)
    return digest(net.theta, net.forward(X, n_threads=n_threads))
"""


def run_apart(script, *arguments, timeout=60, **environment):
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    return done.stdout.split()


# Ctrl-C

INTERRUPTED = """
def pair():
    return network(), bs.Adam()

def announce(net, history):
    if history.epochs == 1:
        print("training", flush=True)

net, optimizer = pair()
try:
    net.fit(X, y, epochs=10**6, batch_size=100, optimizer=optimizer, callbacks=[announce], n_threads=int(sys.argv[1]))
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
assert np.isfinite(net.theta).all()
assert optimizer.steps >= 15

# The same training, with as many steps as were counted: whole epochs, then the beginning of one in its order.
twin, twin_optimizer = pair()
epochs, rest = divmod(optimizer.steps, 15)
twin.fit(X, y, epochs=epochs, batch_size=100, optimizer=twin_optimizer, n_threads=1)
if twin._rng.bit_generator.state != net._rng.bit_generator.state:  # else it came between two epochs
    begin = twin._permutation(len(X))[:rest * 100]
    if rest:
        twin.fit(X[begin], y[begin], epochs=1, batch_size=100, optimizer=twin_optimizer, shuffle=False, n_threads=1)

def same():
    states = zip(optimizer._state, twin_optimizer._state)
    return (digest(net.theta) == digest(twin.theta) and optimizer.steps == twin_optimizer.steps
            and all(digest(a) == digest(b) for a, b in states))

assert same(), "the steps that were counted are not those that were taken"
for n, o in ((net, optimizer), (twin, twin_optimizer)):
    n.fit(X, y, epochs=1, batch_size=100, optimizer=o)
assert same(), "training does not go on from there"
"""


@posix
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("delay", [0.0, 0.13, 0.4])
def test_ctrl_c_ends_training_between_two_steps_and_all_is_usable(n_threads, delay):
    arguments = [sys.executable, "-c", PRELUDE + INTERRUPTED, str(n_threads)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "training\n"
        time.sleep(delay)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        caught = float(process.stdout.readline())
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, errors
    assert caught - sent < 1


# Fork: a team of threads does not survive it, and a child that waited for one would hang for ever

FORKED = """
expected = trained(n_threads=1)

def check_child(when):
    child = os.fork()
    if child == 0:
        try:
            right = all(trained(n_threads=n) == expected for n in (1, 2, None))
        finally:
            os._exit(0 if right else 1)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert status == 0, f"child forked {when}: status {status}"
            return
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    raise SystemExit(f"a child forked {when} hangs")
"""


@posix
def test_a_forked_child_trains_after_the_parent_has():
    run_apart(
        FORKED
        + """
check_child("before a team has run")
assert trained(n_threads=2) == expected
for _ in range(3):
    check_child("after a team has run")
assert trained(n_threads=2) == expected  # and the parent's team is as it was
"""
    )


@posix
def test_a_forked_child_forks_again():
    run_apart(
        FORKED
        + """
assert trained(n_threads=2) == expected
child = os.fork()
if child == 0:
    check_child("in a child")
    os._exit(0 if trained(n_threads=2) == expected else 1)
_, status = os.waitpid(child, 0)
assert status == 0
"""
    )


@posix
def test_fork_while_another_thread_trains():
    run_apart(
        FORKED
        + """
ending = threading.Event()
def work():
    while not ending.is_set():
        assert trained(n_threads=2) == expected
thread = threading.Thread(target=work)
thread.start()
try:
    for _ in range(5):
        check_child("while a team runs")
finally:
    ending.set()
    thread.join()
"""
    )


@posix
def test_a_pool_of_forked_processes():
    run_apart(
        """
import multiprocessing
expected = [trained(seed, n_threads=2) for seed in range(4)]
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(trained, range(4)) == expected
"""
    )


# Python's threads


def test_networks_trained_in_threads_of_their_own_come_to_the_serial_result():
    run_apart(
        """
from concurrent.futures import ThreadPoolExecutor
expected = [trained(seed, n_threads=1) for seed in range(6)]
for n_threads in (1, 2):
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda seed: trained(seed, n_threads), range(6))) == expected
"""
    )


def test_one_network_read_by_many_threads_gives_each_the_serial_result():
    run_apart(
        """
from concurrent.futures import ThreadPoolExecutor
net = network()
net.standardise(X)

def read(i):
    rows = slice(i, i + 700)
    n_threads = 1 + i % 2
    loss, gradients = net.loss_and_gradients(X[rows], y[rows], dX=True, n_threads=n_threads)
    figures = net.evaluate(X[rows], y[rows], n_threads=n_threads)
    return digest(net.predict(X[rows], n_threads=n_threads), net.predict_proba(X[rows], n_threads=n_threads),
                  gradients.dtheta, gradients.dX, np.array([loss, *figures.values()]))

expected = [read(i) for i in range(40)]
with ThreadPoolExecutor(8) as pool:
    assert list(pool.map(read, range(40))) == expected
"""
    )


def test_a_network_may_be_read_while_it_is_trained():
    """What is read is of some moment; what is trained is the same as without a reader."""
    run_apart(
        """
import copy, tempfile
net = network()
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model")
    thread = threading.Thread(target=lambda: net.fit(X, y, epochs=60, batch_size=100, n_threads=2))
    thread.start()
    reads = 0
    while thread.is_alive() or not reads:
        assert np.isfinite(net.predict_proba(X[:300])).all()
        assert np.isfinite(net.evaluate(X[:300], y[:300], n_threads=2)["loss"])
        net.loss_and_gradients(X[:300], y[:300])
        copy.deepcopy(net)
        net.save(path)
        bs.Network.load(path)
        reads += 1
    thread.join()
assert digest(net.theta, net.forward(X)) == trained(epochs=60)
"""
    )


def test_two_trainings_of_one_network_at_once_do_no_harm():
    """They spoil each other's work, as two writers will; memory and the weights' being numbers are not at stake."""
    run_apart(
        """
net = network()
def work():
    net.fit(X, y, epochs=30, batch_size=100, n_threads=2, optimizer=bs.SGD(1e-3))
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert np.isfinite(net.theta).all()
net.fit(X, y, epochs=1)
"""
    )


def test_the_gil_is_released_where_work_is_done():
    """While a single call into the core lasts, a thread that wakes each millisecond gets its turns."""
    run_apart(
        """
from backsweep import _core
ticks, ending = 0, threading.Event()

def tick():
    global ticks
    while not ending.wait(0.001):
        ticks += 1

net = bs.Network([50, 700, 4], seed=0)

def data(n):
    return np.broadcast_to(X[:1], (n, 50)), np.broadcast_to(y[:1], n)

def train(n):
    rows, labels = data(n)
    trainer = _core.Trainer_float32(net._network, net.theta, net.buffers, [], {"kind": "sgd"}, rows, labels, True, None,
                                    None, None, 100, 1, 1.0, 0.0, np.inf, net._draws)
    trainer.run(None, 0, np.zeros(n), np.zeros(1, dtype=np.int64), np.zeros(5), 1e9)

calls = {
    "fit": train,
    "forward": lambda n: net._network.forward(net.theta, net.buffers, data(n)[0], None, None, 1),
    "evaluate": lambda n: net._network.evaluate(net.theta, net.buffers, *data(n), True, None, None, None, 1),
    "gradients": lambda n: net._network.loss_and_gradients(net.theta, net.buffers, *data(n), True, None, None, None,
                                                           True, net._draws, False, 1),
    "first_nonfinite": lambda n: _core.first_nonfinite_float32(data(n)[0], 1),
}
thread = threading.Thread(target=tick)
thread.start()
try:
    for name, call in calls.items():
        n, seconds = 1000, 0.0
        while seconds < 0.1:
            n *= 2
            before, started = ticks, time.monotonic()
            call(n)
            seconds = time.monotonic() - started
        assert ticks > before + 5, f"{name}: {ticks - before} turns in {seconds} s"
finally:
    ending.set()
    thread.join()
"""
    )


def test_arrays_that_change_while_they_are_read_do_no_harm():
    """Values may be torn, and a label that has become no label is an error; memory is safe either way."""
    results = run_apart(
        """
ending = threading.Event()
rows, labels, weights = X.copy(), y.astype(np.int64), np.ones(len(X))
values = [0, 3, 4, -1, 2**62, -2**63, 10**6]

def spoil():
    generator = np.random.default_rng(1)
    while not ending.is_set():
        i = generator.integers(len(rows))
        labels[i] = values[generator.integers(7)]
        rows[i] = [np.nan, np.inf, 1e38, 0.0][generator.integers(4)]
        weights[i] = [np.nan, -1.0, 1e300, 1.0][generator.integers(4)]
        time.sleep(1e-4)
        labels[i], rows[i], weights[i] = 0, 0, 1

net = network()
outcomes = {}
thread = threading.Thread(target=spoil)
thread.start()
deadline = time.monotonic() + 2
try:
    while time.monotonic() < deadline:
        for call in (lambda: net.fit(rows, labels, epochs=5, batch_size=100, n_threads=2, sample_weight=weights),
                     lambda: net.fit(rows, labels.astype(float), epochs=5, n_threads=2),
                     lambda: net.evaluate(rows, labels, n_threads=2),
                     lambda: net.loss_and_gradients(rows, labels, n_threads=2),
                     lambda: net.predict(rows, n_threads=2)):
            try:
                call()
                outcome = "result"
            except ValueError as error:  # a DivergenceError is one
                outcome = type(error).__name__
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
finally:
    ending.set()
    thread.join()
assert np.isfinite(net.theta).all()
net.fit(X, y, epochs=1, optimizer=bs.SGD(1e-3))
print(*outcomes)
"""
    )
    assert "result" in results
    assert "ValueError" in results


# How many threads

COUNT = "print(bs.num_threads())"


def test_omp_num_threads_is_obeyed():
    cores = int(run_apart(COUNT, OMP_NUM_THREADS="")[0])
    assert run_apart(COUNT, OMP_NUM_THREADS="1") == ["1"]
    assert run_apart(COUNT, OMP_NUM_THREADS="1,4") == ["1"]  # a list is for nested teams
    for value in ("100000", "0", "many", "-1"):  # no reason to use more cores than there are
        assert run_apart(COUNT, OMP_NUM_THREADS=value) == [str(cores)]


@linux
def test_affinity_is_obeyed_even_when_it_changes():
    run_apart(
        """
os.environ.pop("OMP_NUM_THREADS", None)
cores = sorted(os.sched_getaffinity(0))
for n in range(1, len(cores) + 1):
    os.sched_setaffinity(0, cores[:n])
    assert bs.num_threads() <= n
os.sched_setaffinity(0, cores[:1])
assert bs.num_threads() == 1
"""
    )


@linux
def test_teams_are_as_large_as_they_were_told():
    """Counted as the process's threads; OpenBLAS must add none of its own."""
    run_apart(
        """
def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
bs.set_num_threads(1)
trained(n_threads=None)
trained(n_threads=1)
assert threads() == before
assert bs.num_threads() == 1
trained(n_threads=2)
assert threads() == before + 1
bs.set_num_threads(3)
assert bs.num_threads() == 3
net = bs.Network([200, 500, 4], seed=0)
net.fit(np.resize(X, (2000, 200)), np.resize(y, 2000), epochs=1, batch_size=500)
assert threads() == before + 2
bs.set_num_threads(None)
assert bs.num_threads() <= len(os.sched_getaffinity(0))
""",
        OPENBLAS_NUM_THREADS="1",  # NumPy's own
    )


@linux
def test_import_starts_no_threads():
    """OpenBLAS would, one for each core: stacks and buffers for threads that never work."""
    script = """
import os, numpy
before = len(os.listdir("/proc/self/task"))
import backsweep
print(len(os.listdir("/proc/self/task")) - before)
"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout == "0\n", done.stdout + done.stderr


@pytest.mark.parametrize(
    "work",
    [
        "network().fit(X, y, epochs=10**6)",
        "while True: network().forward(X)",
        "while True: bs.functional.dense(X, W, b)",
    ],
)
def test_the_interpreter_ends_while_a_daemon_computes(work):
    """Up to Python 3.13 it unwinds the daemon's stack when that comes back for the GIL: through the core's."""
    script = f"""
W, b = network().W[0].copy(), network().b[0].copy()
def work():
    {work}
threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
"""
    run_apart(script)


# Memory

SMALL, LARGE, COLUMNS = 64, 256, 64  # MiB of rows, in bytes each


def growth(task, sizes, columns):
    """The peak of anonymous memory in MiB, for each size."""
    arguments = ["--mebibytes", *map(str, sizes), "--columns", str(columns), "--tasks", task, "--json"]
    done = subprocess.run([sys.executable, str(MEMORY), *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[task]


@linux
@pytest.mark.parametrize("task", ["train", "train shuffled", "train weighted", "validate", "evaluate", "standardise"])
def test_memory_does_not_grow_with_the_rows(task):
    small, large = growth(task, (SMALL, LARGE), COLUMNS)
    assert large - small < 1


@linux
def test_standardising_wide_rows_takes_no_more_memory_than_narrow_ones():
    assert max(growth("standardise", (16, 64), 4096)) < 64


@linux
def test_a_team_is_smaller_where_the_system_has_no_more_threads():
    """Each would take a stack of 64 TiB."""
    script = """
alone = trained(n_threads=1)
assert trained(n_threads=5) == alone and len(os.listdir("/proc/self/task")) == 1
"""
    done = subprocess.run(
        ["sh", "-c", f'ulimit -S -s {2**36} && exec "$0" "$@"', sys.executable, "-c", PRELUDE + script],
        capture_output=True, text=True, timeout=60, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@linux
def test_helpers_leave_signals_to_others_and_may_run_wherever_the_program_may():
    """One that is woken after a pause is told where, but for that moment only."""
    run_apart(
        """
tasks = "/proc/self/task"
def said_of(task, what):
    with open(f"{tasks}/{task}/status") as file:
        return next(line.split()[1] for line in file if line.startswith(what))

others = set(os.listdir(tasks))
trained(n_threads=3)
for _ in range(3):
    time.sleep(0.05)
    trained(n_threads=3)
time.sleep(0.2)
helpers = set(os.listdir(tasks)) - others
assert len(helpers) == 2
for task in helpers:
    assert int(said_of(task, "SigBlk"), 16) >> signal.SIGINT - 1 & 1
    assert not int(said_of(task, "SigBlk"), 16) >> signal.SIGSEGV - 1 & 1
    assert said_of(task, "Cpus_allowed_list") == said_of(os.getpid(), "Cpus_allowed_list")
"""
    )
