"""The package as it is met first: import, names, configuration, and a network as text."""

import contextlib
import io
import os
import re
import subprocess
import sys

import backsweep as bs
import numpy as np
import pytest
from backsweep.config import config

NETWORK = [784, bs.Dense(512, "gelu"), bs.Dense(64, bias=False), 10]


def test_all_is_what_there_is():
    assert len(set(bs.__all__)) == len(bs.__all__)
    for name in bs.__all__:
        assert hasattr(bs, name), name
    namespace = {}
    exec("from backsweep import *", namespace)
    assert set(bs.__all__) <= namespace.keys()
    # The names that the design fixes.
    assert {
        "Network", "Dense", "Gradients", "History", "DivergenceError", "Optimizer", "SGD", "Adam", "AdamW",
        "RMSprop", "functional", "reference", "num_threads", "set_num_threads", "show_config", "__version__",
    } <= set(bs.__all__)  # fmt: skip


def test_public_classes_and_functions_are_named_by_where_they_live():
    for name in bs.__all__:
        thing = getattr(bs, name)
        if isinstance(thing, type) or callable(thing):
            assert thing.__module__.startswith("backsweep."), name
            assert thing.__name__ == name


@pytest.mark.parametrize("options", [["-W", "error"], ["-W", "error", "-O"], ["-I"], ["-bb", "-X", "dev"]], ids=str)
def test_import_is_silent_however_python_is_run(options):
    script = "import backsweep as bs; net = bs.Network([3, 4, 2]); net.fit([[1, 2, 3]] * 4, [0, 1, 0, 1], epochs=1)"
    done = subprocess.run([sys.executable, *options, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_import_sets_no_seed_no_filter_and_no_environment():
    script = """
import os, warnings, numpy, random
def world():
    return (dict(os.environ), list(warnings.filters), numpy.geterr(), random.getstate(),
            [str(part) for part in numpy.random.get_state()])
before = world()
import backsweep
backsweep.Network([3, 2], seed=0).fit([[1, 2, 3]], [0], epochs=2)
assert world() == before
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_config_says_what_a_bug_report_needs():
    figures = config()
    assert list(figures) == ["backsweep", "BLAS", "processor", "bf16", "threads", "NumPy", "Python"]
    assert all(isinstance(value, str) and value for value in figures.values())
    assert figures["backsweep"] == bs.__version__
    assert figures["threads"] == str(bs.num_threads())
    assert figures["NumPy"] == np.__version__
    assert figures["Python"] == ".".join(map(str, sys.version_info[:3]))


def test_show_config_prints_a_line_each():
    with contextlib.redirect_stdout(io.StringIO()) as text:
        assert bs.show_config() is None
    expected = config()
    lines = text.getvalue().splitlines()
    assert len(lines) == len(expected)
    for line, (name, value) in zip(lines, expected.items(), strict=True):
        assert line.split(maxsplit=1) == [f"{name}:", value.strip()]


def test_num_threads_is_what_was_set_last():
    automatic = bs.num_threads()
    try:
        for n in (1, 3, np.int64(2)):
            assert bs.set_num_threads(n) is None
            assert bs.num_threads() == n
    finally:
        bs.set_num_threads(None)
    assert bs.num_threads() == automatic
    assert 1 <= automatic <= os.cpu_count()


def test_repr_of_a_network_that_could_not_be_built():
    class Kept(bs.Network):
        def __init__(self, layers):
            seen.append(self)
            super().__init__(layers)

    seen = []
    with pytest.raises(ValueError, match="at least one layer"):
        Kept([3])
    assert repr(seen[0]) == "<Kept without layers>"
    assert repr(bs.Network.__new__(bs.Network)) == "<Network without layers>"


def test_repr_is_the_network_in_a_line():
    net = bs.Network(NETWORK, seed=0)
    assert repr(net) == (
        "Network(784 -> 512 gelu -> 64 relu -> 10 identity; loss=softmax_cross_entropy, 435,338 parameters, float32)"
    )
    other = bs.Network([3, 1], loss="huber", dtype="float64", backend="reference")
    assert repr(other) == "Network(3 -> 1 identity; loss=huber, 4 parameters, float64, reference)"


def test_summary_is_the_network_as_a_table():
    net = bs.Network(NETWORK, seed=0)
    header, *rows, loss, last = net.summary().splitlines()
    assert header.split() == ["layer", "computes", "W", "b", "parameters"]
    assert [re.split(r"\s{2,}", row) for row in rows] == [
        ["0", "Z[1] = gelu(Z[0] W[0] + b[0])", "(784, 512)", "(512,)", "401,920"],
        ["1", "Z[2] = relu(Z[1] W[1])", "(512, 64)", "none", "32,768"],
        ["2", "Z[3] = Z[2] W[2] + b[2]", "(64, 10)", "(10,)", "650"],
    ]
    assert re.split(r"\s{2,}", loss) == ["loss", "softmax_cross_entropy(Z[3], y)", "435,338"]
    assert last == "float32, 1.74 MB, backend core"
    assert len({len(line) for line in [header, *rows, loss]}) == 1  # the columns stand under one another


def test_summary_tells_of_standardised_rows():
    net = bs.Network([3, 2], seed=0)
    assert "mean" not in net.summary()
    net.standardise(np.eye(3))
    assert net.summary().splitlines()[1].split() == ["Z[0]", "=", "(X", "-", "mean)", "/", "scale"]


@pytest.mark.parametrize("width", [10**6, 10**4])
def test_summary_of_wide_layers_keeps_its_columns_apart(width):
    row = bs.Network([width, 2], seed=0).summary().splitlines()[1]
    assert len(re.split(r"\s{2,}", row)) == 5


def test_networks_and_optimizers_have_the_attributes_that_the_docs_name():
    net = bs.Network(NETWORK, dtype=np.float64, seed=0)
    assert [W.shape for W in net.W] == [(784, 512), (512, 64), (64, 10)]
    assert [b is None for b in net.b] == [False, True, False]
    assert all(np.shares_memory(W, net.theta) and W.flags.writeable for W in net.W)
    assert (net.n_in, net.n_out, net.dtype, net.backend, net.classifies) == (784, 10, np.float64, "core", True)
    assert net.input_mean is net.input_scale is None
    assert net.theta.ctypes.data % 64 == 0
    assert net.theta.shape == (435_338,)
    for optimizer in (bs.SGD(), bs.Adam(), bs.AdamW(), bs.RMSprop()):
        assert isinstance(optimizer, bs.Optimizer)
        assert eval(repr(optimizer), vars(bs)).settings() == optimizer.settings()
