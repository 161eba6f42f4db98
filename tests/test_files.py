"""Model files: what is saved is what is loaded, whole or not at all, and no file does harm.

Longer than 300 lines because every way to spoil a file is tried.
"""

import copy
import errno
import json
import os
import pickle
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import backsweep as bs
import numpy as np
import pytest
from backsweep import description, files
from backsweep.network import OWN
from safetensors.numpy import load_file, save

X = np.random.default_rng(0).normal(size=(20, 3)) * [1, 10, 100] + 5
LABELS = np.arange(20) % 2

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX files")


def network(**settings):
    layers = [3, bs.Dense(4, "tanh"), bs.Dense(2, bias=False)]
    return bs.Network(layers, **{"seed": 5, **settings})


def trained(**settings):
    net = network(**settings)
    net.standardise(X)
    net.fit(X, LABELS, epochs=2)
    return net


def assert_same(a, b):
    assert a.theta.tobytes() == b.theta.tobytes()
    assert a.theta.dtype == b.theta.dtype
    assert (a.layers, a.loss, a.backend) == (b.layers, b.loss, b.backend)
    for mine, yours in ((a.input_mean, b.input_mean), (a.input_scale, b.input_scale)):
        assert (mine is None) == (yours is None)
        assert mine is None or mine.tobytes() == yours.tobytes()
    assert a.forward(X).tobytes() == b.forward(X).tobytes()


def leftovers(folder):
    return [path.name for path in Path(folder).iterdir() if path.name.endswith(".tmp")]


# There and back


@pytest.mark.parametrize("backend", ["core", "reference"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "huber"])
def test_a_loaded_network_is_the_saved_one(tmp_path, backend, dtype, loss):
    net = network(backend=backend, dtype=dtype, loss=loss)
    path = tmp_path / "model.safetensors"
    net.save(path)
    assert_same(net, bs.Network.load(path, backend=backend))
    net.standardise(X)
    net.save(str(path))
    assert_same(net, bs.Network.load(str(path), backend=backend))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("layers", [[3, 2], [3, 1], [3, 5, 5, 2], [3, bs.Dense(2, "gelu", bias=False)]])
def test_networks_of_all_shapes_come_back(tmp_path, layers):
    net = bs.Network(layers, loss="mean_squared_error", seed=1)
    net.theta[0] = np.finfo(np.float32).tiny / 8  # a subnormal
    net.theta[-1] = -0.0
    net.save(tmp_path / "model")
    assert_same(net, bs.Network.load(tmp_path / "model"))


def test_a_network_is_loaded_onto_either_backend(tmp_path):
    net = trained()
    net.save(tmp_path / "model")
    loaded = bs.Network.load(tmp_path / "model", backend="reference")
    assert loaded.backend == "reference"
    assert loaded.theta.tobytes() == net.theta.tobytes()
    with pytest.raises(ValueError, match="did you mean 'core'"):
        bs.Network.load(tmp_path / "model", backend="cor")


def test_a_loaded_network_is_its_own(tmp_path):
    net = trained()
    net.save(tmp_path / "model")
    loaded = bs.Network.load(tmp_path / "model")
    loaded.fit(X, LABELS, epochs=1)
    loaded.W[0][0, 0] += 1
    assert loaded.theta[0] == loaded.W[0][0, 0]  # views, as in any network
    assert_same(net, bs.Network.load(tmp_path / "model"))


def test_the_file_is_plain_safetensors_with_notes(tmp_path):
    net = trained()
    net.save(tmp_path / "model", notes={"epochs": 2, "text": "ħ"})
    tensors = load_file(tmp_path / "model")
    assert tensors.keys() == {"W.0", "b.0", "W.1", "input.mean", "input.scale"}
    assert (tensors["W.1"] == net.W[1]).all()
    _, description = files.read(tmp_path / "model")
    assert description["notes"] == {"epochs": 2, "text": "ħ"}


@pytest.mark.parametrize("notes", [{"a": {1, 2}}, {"a": np.float32(1)}, {"a": object()}])
def test_notes_that_json_cannot_say_are_refused(tmp_path, notes):
    net = trained()
    net.save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    with pytest.raises(TypeError, match="notes"):
        net.save(tmp_path / "model", notes=notes)
    assert (tmp_path / "model").read_bytes() == before
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_could_not_be_loaded_is_not_saved(tmp_path, value):
    """A file that `load` refuses would replace one that it takes."""
    net = trained()
    net.save(tmp_path / "model")
    net.W[1][0, 0] = value
    with pytest.raises(ValueError, match=r"W\[1\] must be finite"):
        net.save(tmp_path / "model")
    assert np.isfinite(bs.Network.load(tmp_path / "model").theta).all()


COPIES = [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))]
UNFIT = {
    "weight": (lambda net: net.W[1].fill(np.nan), r"W\[1\] must be finite"),
    "variance": (lambda net: net.running_var[1].__setitem__(2, -0.5), r"running_var\[1\] must be at least 0, got "
                                                                     r"running_var\[1\]\[2\] = -0.5"),
    "mean alone": (lambda net: setattr(net, "input_scale", None), "input_scale must be 3 finite numbers in float64"),
    "scale alone": (lambda net: setattr(net, "input_mean", None), "input_mean must be 3 finite numbers in float64"),
    "scale": (lambda net: net.input_scale.__setitem__(0, -1), "input_scale must be greater than 0"),
    "float32": (lambda net: setattr(net, "input_scale", np.ones(3, "f")), "input_scale must be 3 finite numbers in"),
    "loss": (lambda net: setattr(net, "loss", "least_squares"), "the network must describe .* loss must be one of"),
}  # fmt: skip


@pytest.mark.parametrize("unfit", UNFIT)
def test_a_network_that_could_not_be_loaded_leaves_the_file_as_it_is(tmp_path, unfit):
    spoil, message = UNFIT[unfit]
    net = bs.Network([3, 4, bs.BatchNorm("relu"), 2], seed=0)
    net.standardise(X)
    net.fit(X, LABELS, epochs=1)
    net.save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    spoil(net)
    with pytest.raises(ValueError, match=message):
        net.save(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == before
    assert leftovers(tmp_path) == []
    if unfit != "loss":
        with pytest.raises(ValueError, match=message):
            net.fit(X, LABELS, epochs=1)


@pytest.mark.parametrize("backend", ["core", "reference"])
@pytest.mark.parametrize("copied", COPIES)
def test_copies_go_on_to_the_same_bits(backend, copied):
    net = network(backend=backend)
    net.standardise(X)
    twin = copied(net)
    assert_same(net, twin)
    assert net._rng.bit_generator.state == twin._rng.bit_generator.state
    before = net.theta.copy()
    twin.fit(X, LABELS, epochs=2, optimizer=bs.Adam())
    assert (net.theta == before).all()
    if copied is not copy.copy:
        net.fit(X, LABELS, epochs=2, optimizer=bs.Adam())
        assert_same(net, twin)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_protocols(protocol):
    net = trained()
    assert_same(net, pickle.loads(pickle.dumps(net, protocol)))


def test_a_pickle_of_another_network_than_it_says_is_refused():
    net = trained()
    state = net.__getstate__()
    state["tensors"]["W.1"] = np.zeros((4, 3), dtype=np.float32)
    with pytest.raises(ValueError, match=r"the pickle must hold W.1 as float32 \(4, 2\), got float32 \(4, 3\)"):
        bs.Network.__new__(bs.Network).__setstate__(state)


class Narrow(bs.Network):
    """A subclass with arguments of its own, and an attribute beside."""

    def __init__(self, width):
        self.width = [width]
        super().__init__([3, width, bs.BatchNorm("relu"), bs.Dropout(0.5), 2], seed=1)


@pytest.mark.parametrize("copied", COPIES)
def test_copies_keep_what_is_beside_and_call_no_constructor(copied):
    net = Narrow(4)
    net.owner = net  # what a network holds may hold the network
    net.fit(X, LABELS, epochs=1)
    twin = copied(net)
    assert type(twin) is Narrow
    assert twin.width == [4]
    assert twin.owner is (net if copied is copy.copy else twin)
    assert (twin.width is net.width) == (copied is copy.copy)
    assert vars(twin).keys() == vars(net).keys()
    assert_same(net, twin)
    twin.fit(X, LABELS, epochs=2)
    net.fit(X, LABELS, epochs=2)
    assert_same(net, twin)  # the moments, the masks and the orders too
    assert not np.shares_memory(net.theta, twin.theta)
    assert not np.shares_memory(net.buffers, twin.buffers)


def test_a_subclass_is_loaded_without_its_constructor(tmp_path):
    net = Narrow(4)
    net.save(tmp_path / "model")
    loaded = Narrow.load(tmp_path / "model")
    assert type(loaded) is Narrow
    assert_same(net, loaded)
    loaded.fit(X, LABELS, epochs=1)


@pytest.mark.parametrize("spoil", [lambda net: net.W[0].fill(np.nan), lambda net: net.running_var[1].fill(-1),
                                   lambda net: setattr(net, "input_mean", np.zeros(3))])  # fmt: skip
def test_copies_take_a_network_as_it_is_and_pickles_do_not(spoil):
    """Of one that went wrong a copy is wanted above all; a pickle may come from anywhere."""
    net = Narrow(4)
    spoil(net)
    for twin in (copy.copy(net), copy.deepcopy(net)):
        assert twin.theta.tobytes() == net.theta.tobytes()
        assert twin.buffers.tobytes() == net.buffers.tobytes()
        assert np.array_equal(twin.input_mean, net.input_mean)
    with pytest.raises(ValueError, match=r"the pickle must hold|input_scale must be"):
        pickle.loads(pickle.dumps(net))


def test_what_a_network_holds_is_known():
    assert vars(network()).keys() == OWN


def test_a_pickle_from_before_there_was_anything_beside():
    net = trained()
    state = net.__getstate__()
    del state["beside"]
    twin = bs.Network.__new__(bs.Network)
    twin.__setstate__(state)
    assert_same(net, twin)


# Whole or not at all


@pytest.mark.parametrize("function", ["os.replace", "os.fsync", "os.chmod", "tempfile.mkstemp", "os.fdopen"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("exists", [True, False])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, function, error, exists):
    def fail(*args, **kwargs):
        raise error

    net, path = trained(), tmp_path / "model"
    if exists:
        net.save(path)
    before = path.read_bytes() if exists else None
    net.W[0][:] += 1
    module, name = function.split(".")
    monkeypatch.setattr(sys.modules[module], name, fail)
    with pytest.raises(type(error)):
        net.save(path)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == (["model"] if exists else [])
    assert not exists or path.read_bytes() == before


@posix
def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_else(tmp_path):
    """A limit on the size of files stands for the disk: the write itself fails, midway."""
    script = f"""
import os, resource, signal
import backsweep as bs
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
net = bs.Network([30, 2], seed=0)
net.save({str(tmp_path / "model")!r})
before = open({str(tmp_path / "model")!r}, "rb").read()
large = bs.Network([3000, 2], seed=0)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    large.save({str(tmp_path / "model")!r})
except OSError as error:
    print(error.errno)
assert open({str(tmp_path / "model")!r}, "rb").read() == before
assert os.listdir({str(tmp_path)!r}) == ["model"]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == errno.EFBIG


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_leaves_the_old_file(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    net = trained()
    net.save(folder / "model")
    before = (folder / "model").read_bytes()
    folder.chmod(0o555)
    try:
        with pytest.raises(PermissionError):
            net.save(folder / "model")
        assert [p.name for p in folder.iterdir()] == ["model"]
        assert (folder / "model").read_bytes() == before
    finally:
        folder.chmod(0o755)


@posix
def test_a_killed_save_leaves_one_of_the_two_models_whole(tmp_path):
    script = f"""
import backsweep as bs
nets = [bs.Network([300, 100, 2], seed=seed) for seed in (0, 1)]
nets[0].save({str(tmp_path / "model")!r})
print("saving", flush=True)
while True:
    for net in nets:
        net.save({str(tmp_path / "model")!r})
"""
    wholes = [bs.Network([300, 100, 2], seed=seed).theta.tobytes() for seed in (0, 1)]
    for delay in np.random.default_rng(0).uniform(0, 0.03, size=5):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline() == "saving\n"
            time.sleep(delay)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=60)
            process.stdout.close()
        assert bs.Network.load(tmp_path / "model").theta.tobytes() in wholes


@posix
def test_saving_through_a_symlink_writes_its_target(tmp_path):
    (tmp_path / "real").mkdir()
    link, target = tmp_path / "link", tmp_path / "real" / "model"
    link.symlink_to(target)
    for net in (trained(), network()):  # first the target is missing, then it is there
        net.save(link)
        assert link.is_symlink()
        assert_same(net, bs.Network.load(target))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "real"]
    assert [p.name for p in target.parent.iterdir()] == ["model"]


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_honours_the_umask_and_an_old_one_keeps_its_mode(tmp_path, mask):
    path = tmp_path / "model"
    before = os.umask(mask)
    try:
        trained().save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
        assert os.umask(mask) == mask  # and the umask itself is what it was
        path.chmod(0o640)
        trained().save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        trained().save(tmp_path / "nowhere" / "model")


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("", ValueError, "path must name a file, got ''"),
        (b"", ValueError, "path must name a file, got b''"),
        (None, TypeError, "path must be a str or a path that names a file, got NoneType"),
        (3, TypeError, "path must be a str or a path that names a file, got int"),
    ],
)
def test_what_names_no_file_is_refused(path, error, message):
    for use in (trained().save, bs.Network.load):
        with pytest.raises(error, match=re.escape(message)):
            use(path)


def test_a_path_may_be_bytes(tmp_path):
    net, path = trained(), os.fsencode(tmp_path / "model")
    net.save(path)
    assert_same(net, bs.Network.load(path))


@posix
@pytest.mark.parametrize("name", ["m" * 255, "Ẑ" * 85], ids=["ASCII", "three bytes each"])
def test_a_name_may_be_as_long_as_the_system_allows(tmp_path, name):
    trained().save(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


@posix
@pytest.mark.parametrize("use", [lambda path: trained().save(path), files.try_out], ids=["save", "try_out"])
@pytest.mark.parametrize("place", ["m" * 300, "nowhere/model", "folder", "file/model"])
def test_errors_of_writing_name_the_users_file(tmp_path, use, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=rf": '{re.escape(str(tmp_path / place))}'$") as caught:
        use(tmp_path / place)
    assert caught.value.filename == str(tmp_path / place)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_trying_out_a_place_changes_nothing(tmp_path):
    files.try_out(tmp_path / "model")
    assert os.listdir(tmp_path) == []
    (tmp_path / "model").write_bytes(b"old")
    files.try_out(tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]
    assert (tmp_path / "model").read_bytes() == b"old"


@posix
def test_a_device_that_is_no_model_is_refused_by_name():
    with pytest.raises(ValueError, match="path must be a safetensors file, got '/dev/null'"):
        bs.Network.load("/dev/null")


@posix
def test_a_pipe_is_written_into_and_remains(tmp_path):
    net, pipe, received = trained(), tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()), daemon=True)
    reader.start()
    net.save(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    reader.join(timeout=10)
    (tmp_path / "model").write_bytes(received[0])
    assert_same(net, bs.Network.load(tmp_path / "model"))


@posix
def test_a_device_is_written_into_and_remains(tmp_path):
    device, link = tmp_path / "device", tmp_path / "link"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.stat("/dev/null").st_rdev)
        device.write_bytes(b"")
    except OSError:
        pytest.skip("only root makes devices, and not everywhere")
    link.symlink_to(device)
    for path in (device, link):
        trained().save(path)
        assert stat.S_ISCHR(device.stat().st_mode)
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["device", "link"]


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="needs a name for the standard output")
@pytest.mark.parametrize("into", ["a pipe", "a file"])
def test_standard_output_takes_a_model_between_what_is_printed(tmp_path, into):
    script = "import backsweep as bs; print(1); bs.Network([30, 2], seed=0).save('/dev/stdout'); print(2)"
    command = [sys.executable, "-c", script]
    if into == "a pipe":
        content = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    else:
        with open(tmp_path / "out", "wb") as out:
            subprocess.run(command, stdout=out, check=True, timeout=60)
        content = (tmp_path / "out").read_bytes()
    assert (content[:2], content[-2:]) == (b"1\n", b"2\n")
    (tmp_path / "model").write_bytes(content[2:-2])
    assert bs.Network.load(tmp_path / "model").theta.tobytes() == bs.Network([30, 2], seed=0).theta.tobytes()


# Files that are not models


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.safetensors"):
        bs.Network.load(tmp_path / "missing.safetensors")
    with pytest.raises(OSError, match=re.escape(tmp_path.name)):
        bs.Network.load(tmp_path)


NOT_MODELS = {
    "empty": b"",
    "a byte": b"\0",
    "text": b"not a model at all, but a text that is longer than eight bytes",
    "a pickle": pickle.dumps({"weights": [1.0, 2.0]}),
    "a .npy": b"\x93NUMPY\x01\x00" + b"v\x00{'descr': '<f8'}" + bytes(200),
    "a header that is all": (2**63).to_bytes(8, "little") + bytes(100),
    "a header of -1": b"\xff" * 200,
    "zeros": bytes(1000),
    "no JSON": (10).to_bytes(8, "little") + b"{{{{{{{{{{" + bytes(100),
    "no tensors": save({}, {"format": "backsweep"}),
    "plain tensors": save({"W.0": np.zeros((3, 2), dtype=np.float32)}),
    "another format": save({"W.0": np.zeros((3, 2), dtype=np.float32)}, {"format": "pt"}),
}


@pytest.mark.parametrize("content", NOT_MODELS.values(), ids=NOT_MODELS.keys())
def test_what_is_not_a_model_is_refused_by_name(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        bs.Network.load(path)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_loading_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="file"):
        bs.Network.load("file")
    assert not (tmp_path / "exploded").exists()
    pickle.loads((tmp_path / "file").read_bytes())  # it would have
    assert (tmp_path / "exploded").exists()


SPOILING = """
import sys
import numpy as np
import backsweep as bs

source, target = sys.argv[1:]
whole = open(source, "rb").read()
X = np.ones((2, 3))
loaded = 0

def check(content, what):
    global loaded
    with open(target, "wb") as file:
        file.write(content)
    try:
        net = bs.Network.load(target)
    except ValueError as error:
        assert target in str(error), (what, error)
    else:
        loaded += 1
        assert np.isfinite(net.theta).all(), what
        try:
            assert net.forward(X).shape == (2, net.n_out), what
        except ValueError as error:  # a scale that has become tiny
            assert "X must be finite in float32 once it is standardised" in str(error), (what, error)
    return

"""


def spoil(tmp_path, body):
    """Runs apart, so that a crash is a failure of one test; returns how many files loaded."""
    trained().save(tmp_path / "model")
    script = SPOILING + body + "\nprint(loaded)\n"
    arguments = [sys.executable, "-c", script, str(tmp_path / "model"), str(tmp_path / "spoilt")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


def test_every_prefix_and_every_addition_is_refused(tmp_path):
    body = """
for length in range(len(whole)):
    check(whole[:length], length)
for tail in (b"\\0", b"x" * 8, whole):
    check(whole + tail, tail)
"""
    assert spoil(tmp_path, body) == 0


def test_every_byte_may_be_any_other(tmp_path):
    """A changed weight is another network; a changed header is refused, or says the same in other words."""
    body = """
for position in range(len(whole)):
    for bits in (0x01, 0x20, 0x80, 0xFF):
        content = bytearray(whole)
        content[position] ^= bits
        check(bytes(content), (position, bits))
"""
    assert spoil(tmp_path, body) > 0


# Models that are not what they say


def written(tmp_path, tensors=None, metadata=None, **changes):
    """A model file with changes: of the network's description, of tensors (None removes one), of the metadata."""
    net = network()
    described = description.describe(net) | changes
    contents = {name: np.array(tensor) for name, tensor in description.tensors(net).items()} | (tensors or {})
    headers = {"format": "backsweep", "version": "1", "backsweep": json.dumps({"network": described, "notes": {}})}
    headers |= metadata or {}
    path = tmp_path / "model.safetensors"
    data = save(
        {name: tensor for name, tensor in contents.items() if tensor is not None},
        {name: text for name, text in headers.items() if text is not None},
    )
    path.write_bytes(data)
    return path


def layer(n_in=3, n_out=4, activation="tanh", bias=True, **more):
    return {"n_in": n_in, "n_out": n_out, "activation": activation, "bias": bias, **more}


LAST = layer(4, 2, "identity", False)
F32 = np.float32

SPOILT = {
    # the metadata
    "no format": {"metadata": {"format": None}},
    "another format": {"metadata": {"format": "pt"}},
    "no version": {"metadata": {"version": None}},
    "version 2": {"metadata": {"version": "2"}},
    "version 1.0": {"metadata": {"version": "1.0"}},
    "no description": {"metadata": {"backsweep": None}},
    "empty description": {"metadata": {"backsweep": ""}},
    "broken JSON": {"metadata": {"backsweep": '{"network": '}},
    "a JSON list": {"metadata": {"backsweep": "[1, 2]"}},
    "a JSON number": {"metadata": {"backsweep": "1e999"}},
    "JSON null": {"metadata": {"backsweep": "null"}},
    "no network": {"metadata": {"backsweep": "{}"}},
    "a network of null": {"metadata": {"backsweep": '{"network": null}'}},
    "a network of text": {"metadata": {"backsweep": '{"network": "layers"}'}},
    "deep JSON": {"metadata": {"backsweep": "[" * 100_000}},
    "deep JSON in place": {"metadata": {"backsweep": '{"network": ' + '{"a":' * 100_000 + "1" + "}" * 100_001}},
    "a number of many digits": {"metadata": {"backsweep": '{"network": {"layers": ' + "9" * 10_000 + "}}"}},
    # the description
    "no layers": {"layers": []},
    "layers of null": {"layers": None},
    "layers as a number": {"layers": 2},
    "layers as numbers": {"layers": [3, 4, 2]},
    "layers as text": {"layers": "layers"},
    "a layer of nothing": {"layers": [{}, LAST]},
    "a layer of more": {"layers": [layer(more=1), LAST]},
    "a width of 0": {"layers": [layer(n_out=0), LAST]},
    "a negative width": {"layers": [layer(n_in=-3), LAST]},
    "a fractional width": {"layers": [layer(n_out=4.0), LAST]},
    "a width as text": {"layers": [layer(n_out="4"), LAST]},
    "a width of truth": {"layers": [layer(n_in=True), LAST]},
    "a width of null": {"layers": [layer(n_in=None), LAST]},
    "a width of 2**31": {"layers": [layer(n_out=2**31), layer(2**31, 2)]},
    "a width of 10**400": {"layers": [layer(n_out=10**400), LAST]},
    "layers that do not follow": {"layers": [layer(), layer(5, 2, "identity", False)]},
    "another width": {"layers": [layer(n_out=5), layer(5, 2, "identity", False)]},
    "one layer fewer": {"layers": [layer()]},
    "one layer more": {"layers": [layer(), LAST, layer(2, 2)]},
    "an unknown activation": {"layers": [layer(activation="step"), LAST]},
    "no activation": {"layers": [layer(activation=None), LAST]},
    "an activation of code": {"layers": [layer(activation="__import__('os')"), LAST]},
    "a bias that is not there": {"layers": [layer(), layer(4, 2, "identity", True)]},
    "a bias of 1": {"layers": [layer(bias=1), LAST]},
    "an unknown loss": {"loss": "least_squares"},
    "a loss of null": {"loss": None},
    "another dtype": {"dtype": "float64"},
    "an unknown dtype": {"dtype": "float16"},
    "a dtype of null": {"dtype": None},
    "standardised without tensors": {"standardised": True},
    # the tensors
    "a tensor is missing": {"tensors": {"b.0": None}},
    "all tensors are missing": {"tensors": {"W.0": None, "b.0": None, "W.1": None}},
    "a tensor too many": {"tensors": {"W.2": np.zeros((2, 2), F32)}},
    "standardisation by surprise": {"tensors": {"input.mean": np.zeros(3), "input.scale": np.ones(3)}},
    "a transposed tensor": {"tensors": {"W.0": np.zeros((4, 3), F32)}},
    "a flat tensor": {"tensors": {"W.0": np.zeros(12, F32)}},
    "a tensor of a dimension more": {"tensors": {"b.0": np.zeros((1, 4), F32)}},
    "an empty tensor": {"tensors": {"b.0": np.zeros(0, F32)}},
    "a tensor of doubles": {"tensors": {"W.0": np.zeros((3, 4))}},
    "a tensor of integers": {"tensors": {"W.0": np.zeros((3, 4), np.int32)}},
    "a tensor of halves": {"tensors": {"W.0": np.zeros((3, 4), np.float16)}},
    "a weight that is NaN": {"tensors": {"W.1": np.full((4, 2), np.nan, F32)}},
    "a bias that is infinite": {"tensors": {"b.0": np.array([0, 0, np.inf, 0], F32)}},
    "a scale of 0": {"tensors": {"input.mean": np.zeros(3), "input.scale": np.zeros(3)}, "standardised": True},
    "a negative scale": {"tensors": {"input.mean": np.zeros(3), "input.scale": -np.ones(3)}, "standardised": True},
    "a scale that is NaN": {"tensors": {"input.mean": np.zeros(3), "input.scale": np.full(3, np.nan)},
                            "standardised": True},
    "a mean of float32": {"tensors": {"input.mean": np.zeros(3, F32), "input.scale": np.ones(3)},
                          "standardised": True},
}  # fmt: skip


def test_the_file_that_is_spoilt_below_is_whole_before(tmp_path):
    assert_same(bs.Network.load(written(tmp_path)), network())


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT.keys())
def test_a_model_that_is_not_what_it_says_is_refused_by_name(tmp_path, spoilt):
    path = written(tmp_path, **spoilt)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        bs.Network.load(path)


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2", "F4", "U8", "BOOL", "C64", "X9"])
def test_tensors_of_a_dtype_that_numpy_may_lack_are_refused_by_name(tmp_path, dtype):
    path = written(tmp_path)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    bits = {"BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F4": 4, "U8": 8, "BOOL": 8, "C64": 64, "X9": 32}[dtype]
    header = json.loads(content[8 : 8 + size])
    header["W.0"]["dtype"] = dtype
    header["W.0"]["shape"] = [12 * 32 // bits]  # the same bytes
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        bs.Network.load(path)


@posix
@pytest.mark.parametrize(
    "layers",
    [
        [layer(n_out=20_000), layer(20_000, 20_000), layer(20_000, 2)],
        [layer(3, 2**31 - 1), layer(2**31 - 1, 2)],
        [layer(2**31 - 1, 2**20), layer(2**20, 2)],
    ],
)
def test_gigantic_widths_are_refused_before_memory_is_taken(tmp_path, layers):
    """Under a limit, so that the machine is safe where the promise is broken."""
    path = written(tmp_path, layers=layers)
    script = f"""
import resource
import backsweep as bs
import safetensors.numpy
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    bs.Network.load({str(path)!r})
except Exception as error:
    print(type(error).__name__, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    name, mebibytes = done.stdout.split()
    assert name == "ValueError"
    assert int(mebibytes) < 64
