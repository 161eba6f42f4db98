"""The command line: what it prints and writes, what it refuses, and how it ends.

Longer than 300 lines because each kind of data goes the whole way from training to prediction.
"""

import errno
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import backsweep as bs
import numpy as np
import pytest
from backsweep import files
from backsweep.cli import main
from backsweep.cli.train import split
from backsweep.datasets import load_digits

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
MNIST, LETTERS = DATA / "mnist", DATA / "letter" / "letter-recognition.csv.gz"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Runs a command line in this process; gives its status and what it wrote."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def works(run):
    """As `run`, for a command that must succeed."""

    def works(*arguments):
        status, out, err = run(*arguments)
        assert status == 0, err
        return out, err

    return works


def figure(text, name):
    return float(re.search(rf"{name} (-?[\d.]+)", text)[1])


def notes(path="model.safetensors"):
    return files.read(path)[1]["notes"]


def process(*arguments, **options):
    command = [sys.executable, "-m", "backsweep", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def flowers(rows=150, seed=0, labels=("setosa", "versicolor", "virginica")):
    """Rows of four numbers around a place for each class, and their labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % len(labels)
    X = rng.normal(size=(rows, 4)) + 4 * np.eye(4)[y]
    return X, np.array(labels)[y]


def write_csv(path, names, *columns):
    lines = [",".join(names)] if names else []
    lines += [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    Path(path).write_text("\n".join(lines) + "\n")


def write_flowers(path="flowers.csv", **options):
    X, y = flowers(**options)
    write_csv(path, ["a", "b", "kind", "c", "d"], *X.T[:2], y, *X.T[2:])
    return X, y


def write_line(path="line.csv", rows=400, seed=0):
    X = np.random.default_rng(seed).normal(size=(rows, 2))
    y = 1000 + 50 * X[:, 0] - 20 * X[:, 1]
    write_csv(path, ["u", "v", "price"], *X.T, y)
    return X, y


# Training


@pytest.mark.parametrize("seed", range(10))
def test_defaults_learn_the_digits(works, seed):
    out, err = works("train", "--quiet", "--seed", seed)
    assert figure(out, "test accuracy") >= 96
    assert out.count("\n") == 1
    assert err == ""


def test_training_tells_its_story(works):
    out, err = works("train", "--epochs", "3", "--layers", "24", "--activation", "tanh", "--output", "a.safetensors")
    lines = out.splitlines()
    assert lines[0] == "UCI digits: 1,442 training rows, 355 test rows, 64 columns"
    assert lines[1] == "target 'digit': classification, 10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert lines[2].startswith("Network(64 -> 24 tanh -> 10 identity; loss=softmax_cross_entropy")
    assert lines[3].split() == ["epoch", "loss", "accuracy", "seconds"]
    assert [line.split()[0] for line in lines[4:7]] == ["1", "2", "3"]
    assert lines[7].startswith("test accuracy ")
    assert lines[8:] == ["written to a.safetensors"]
    assert err == ""
    assert bs.Network.load("a.safetensors").n_in == 64


@pytest.mark.parametrize(
    ("options", "hidden"),
    [
        ("--dropout 0.25", "24 tanh -> dropout 0.25 -> 16 tanh -> dropout 0.25"),
        ("--norm layer", "24 identity -> layer_norm tanh -> 16 identity -> layer_norm tanh"),
        ("--norm batch --dropout 0.1",
         "24 identity -> batch_norm tanh -> dropout 0.1 -> 16 identity -> batch_norm tanh -> dropout 0.1"),
        ("--norm none --dropout 0", "24 tanh -> 16 tanh"),
    ],
)  # fmt: skip
def test_layers_that_normalise_and_drop_learn_and_are_kept(works, options, hidden):
    out, _ = works("train", "--layers", "24,16", "--activation", "tanh", *options.split())
    assert f"Network(64 -> {hidden} -> 10 identity;" in out
    assert figure(out, "test accuracy") > 90
    _, err = works("predict", "model.safetensors")
    assert figure(err, "accuracy") > 93
    assert hidden.count("norm") == works("info", "model.safetensors")[0].count("Ẑ")


def test_batches_that_are_chosen_leave_no_row_alone(works, run):
    X = np.random.default_rng(0).normal(size=(33, 2))
    np.savez("few.npz", X=X, y=np.arange(33) % 2, X_test=X, y_test=np.arange(33) % 2)
    works("train", "few.npz", "--norm", "batch", "--layers", "4", "--epochs", "1")
    status, _, err = run("train", "few.npz", "--norm", "batch", "--layers", "4", "--batch-size", "32")
    assert status == 2
    assert "batch_size must leave no batch of 1 row, which has no variance for BatchNorm, got 32 for 33 rows" in err


def test_same_seed_is_the_same_network_for_any_number_of_threads(works):
    for name, options in {"a": [], "b": ["--threads", 2], "c": ["--seed", 1]}.items():
        works("train", "--quiet", "--epochs", 2, "--output", name, *options)
    a, b, c = (bs.Network.load(name).theta for name in "abc")
    assert a.tobytes() == b.tobytes()
    assert a.tobytes() != c.tobytes()


def test_no_epochs_write_the_initial_weights_of_the_seed(works):
    works("train", "--epochs", 0, "--seed", 7, "--layers", 5)
    initial = bs.Network([64, 5, 10], seed=7).theta
    assert bs.Network.load("model.safetensors").theta.tobytes() == initial.tobytes()


@pytest.mark.parametrize(
    ("options", "kind", "rate", "decay"),
    [
        ([], "Adam", 1e-3, 0),
        (["--optimizer", "adamw"], "AdamW", 1e-3, 1e-2),
        (["--optimizer", "sgd", "--weight-decay", "0.5"], "SGD", 1e-2, 0.5),
        (["--optimizer", "rmsprop", "--learning-rate", "0.25"], "RMSprop", 0.25, 0),
    ],
)
def test_options_reach_the_training(works, monkeypatch, options, kind, rate, decay):
    seen = {}
    fit = bs.Network.fit

    def spy(self, X, y, **arguments):
        seen.update(arguments, network=self, rows=len(X))
        return fit(self, X, y, **arguments)

    monkeypatch.setattr(bs.Network, "fit", spy)
    more = ["--epochs", 2, "--batch-size", 100, "--threads", 2, "--dtype", "float64", "--test-fraction", 0.5]
    works("train", "--layers", "", *more, *options)
    optimizer = seen["optimizer"]
    assert (type(optimizer).__name__, optimizer.learning_rate, optimizer.weight_decay) == (kind, rate, decay)
    assert (seen["epochs"], seen["batch_size"], seen["n_threads"], seen["progress"]) == (2, 100, 2, "auto")
    assert seen["network"].dtype == np.float64
    assert len(seen["network"].layers) == 1
    assert abs(seen["rows"] - 1797 / 2) <= 5


@pytest.mark.parametrize("share", [0.01, 0.1, 0.2, 0.29, 0.5, 0.99])
def test_split_takes_a_share_of_each_class_and_leaves_one(share):
    groups = np.repeat([0, 1, 2, 3], [1, 2, 100, 250])
    np.random.default_rng(0).shuffle(groups)
    train, test = split(groups, share, seed=0)
    assert sorted([*train, *test]) == list(range(len(groups)))
    for group, size in enumerate([1, 2, 100, 250]):
        assert abs((groups[test] == group).sum() - share * size) <= 1
        assert (groups[train] == group).any()
    assert not np.array_equal(np.sort(test), np.sort(split(groups, share, seed=1)[1])) or share == 0.01


def test_rows_are_standardised_by_the_training_rows_alone(works):
    X, y = flowers()
    np.savez("a.npz", X=X, y=y, X_test=X + 100, y_test=y)
    works("train", "a.npz", "--quiet")
    np.testing.assert_allclose(bs.Network.load("model.safetensors").input_mean, X.mean(axis=0))


def test_test_rows_change_nothing_that_is_learnt(works):
    X, y = flowers()
    for name, rows in {"a": X, "b": X[::-1] + 1}.items():
        np.savez("a.npz", X=X, y=y, X_test=rows, y_test=y)
        works("train", "a.npz", "--quiet", "--output", name)
    assert bs.Network.load("a").theta.tobytes() == bs.Network.load("b").theta.tobytes()


def test_all_rows_may_be_learnt_from(works):
    out, _ = works("train", "--test-fraction", 0, "--epochs", 1)
    assert "1,797 training rows, 0 test rows" in out
    assert "test accuracy" not in out


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (["x", "y"] * 30, "classification"),
        ([True, False] * 30, "classification"),
        ([3, 7, 9] * 20, "classification"),
        (list(range(20)) * 3, "classification"),
        (list(range(21)) * 3, "regression"),
        (list(range(15)), "regression"),
        ([1.5, 2.5] * 30, "regression"),
    ],
)
def test_task_follows_from_the_target(works, y, task):
    np.savez("a.npz", X=np.random.default_rng(0).normal(size=(len(y), 3)), y=y)
    out, _ = works("train", "a.npz", "--epochs", 1)
    assert f"target 'y': {task}" in out
    assert notes()["task"] == task
    assert ("accuracy" in out) == (task == "classification")


def test_task_can_be_said(works):
    write_csv("a.csv", ["x", "y"], range(60), [1.5, 2.5] * 30)
    works("train", "a.csv", "--task", "classification", "--epochs", 1)
    assert notes()["classes"] == [1.5, 2.5]
    works("train", "--task", "regression", "--epochs", 1)
    assert notes()["task"] == "regression"


# From training to prediction


def test_labels_of_a_csv_come_back(works):
    X, y = write_flowers()
    out, _ = works("train", "flowers.csv", "--target", "kind")
    assert "target 'kind': classification, 3 classes: setosa, versicolor, virginica" in out
    assert figure(out, "test accuracy") > 90
    assert notes() == {
        "task": "classification", "classes": ["setosa", "versicolor", "virginica"],
        "features": ["a", "b", "c", "d"], "target": "kind", "header": True,
    }  # fmt: skip

    network = bs.Network.load("model.safetensors")  # takes the rows as they are in the file
    expected = np.array(notes()["classes"])[network.predict(X)]
    out, err = works("predict", "model.safetensors", "flowers.csv")
    assert out.split() == expected.tolist()
    right = int((expected == y).sum())
    assert err == f"accuracy {100 * right / 150:.2f} % ({right} of 150 rows)\n"


def test_columns_are_found_by_name_and_the_target_may_be_missing(works):
    X, _ = write_flowers()
    works("train", "flowers.csv", "--target", "kind", "--quiet")
    expected, _ = works("predict", "model.safetensors", "flowers.csv")
    write_csv("other.csv", ["d", "remark", "a", "c", "b"], X[:, 3], ["?"] * 150, X[:, 0], X[:, 2], X[:, 1])
    assert works("predict", "model.safetensors", "other.csv") == (expected, "")
    np.savez("other.npz", X=X)
    assert works("predict", "model.safetensors", "other.npz") == (expected, "")


def test_probabilities_and_output_files(works):
    X, _ = write_flowers()
    works("train", "flowers.csv", "--target", "kind", "--quiet")
    labels, _ = works("predict", "model.safetensors", "flowers.csv")
    printed, _ = works("predict", "model.safetensors", "flowers.csv", "--proba")
    header, *lines = [line.split(",") for line in printed.splitlines()]
    assert header == ["prediction", "setosa", "versicolor", "virginica"]
    assert [line[0] for line in lines] == labels.split()
    S = bs.Network.load("model.safetensors").predict_proba(X)
    np.testing.assert_array_equal(np.array([line[1:] for line in lines], dtype=np.float32), S)
    assert works("predict", "model.safetensors", "flowers.csv", "--proba", "--output", "p.csv")[0] == ""
    assert Path("p.csv").read_text() == printed
    works("predict", "model.safetensors", "flowers.csv", "--output", "p.csv")
    assert Path("p.csv").read_text() == "prediction\n" + labels


@pytest.mark.parametrize("exists", [True, False])
def test_predictions_are_written_whole_or_not_at_all(run, monkeypatch, exists):
    def fail(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    bs.Network([64, 10], seed=0).save("model.safetensors")
    if exists:
        Path("p.csv").write_text("old")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    monkeypatch.setattr(os, "fsync", fail)
    status, _, err = run("predict", "model.safetensors", "--output", "p.csv")
    assert (status, err) == (2, "backsweep: error: p.csv: No space left on device\n")
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_place_of_predictions_is_looked_at_before_predicting(run, monkeypatch):
    bs.Network([64, 10], seed=0).save("model.safetensors")
    monkeypatch.delattr(bs.Network, "predict")
    assert "--output must be" in run("predict", "model.safetensors", "--output", "nowhere/p.csv")[2]


@pytest.mark.parametrize("labels", [(10, 20, 35), (-1.5, 0.5, 2), ("1.0", "2", "x"), ("07", "1", "3"),
                                    (2**60, 2**60 + 1, 5), (2**64, 2**64 + 1, 5), ("1_0", 10, 3)])  # fmt: skip
def test_labels_of_every_kind_are_scored(works, labels):
    write_flowers(labels=labels)
    out, _ = works("train", "flowers.csv", "--target", 2, "--task", "classification", "--quiet")
    assert figure(out, "test accuracy") > 90
    # Two of the three, so that the target of the file by itself might have another type.
    write_flowers("two.csv", labels=labels[:2])
    out, err = works("predict", "model.safetensors", "two.csv")
    assert figure(err, "accuracy") > 90
    assert set(out.split()) <= {str(label) for label in labels}


def test_regression_is_in_the_units_of_the_target(works):
    X, y = write_line()
    out, _ = works("train", "line.csv", "--epochs", 60)
    assert "target 'price': regression, mean " in out
    assert figure(out, "test R²") > 0.98
    assert figure(out, "RMSE") < 8
    out, err = works("predict", "model.safetensors", "line.csv")
    predicted = np.array(out.split(), dtype=float)
    error = predicted - y
    assert figure(err, "RMSE") == pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)
    assert figure(err, "R²") == pytest.approx(1 - (error**2).mean() / y.var(), abs=1e-4)
    assert np.abs(error).mean() < 8
    write_csv("rows.csv", ["v", "u"], X[:, 1], X[:, 0])
    assert works("predict", "model.safetensors", "rows.csv") == (out, "")


def test_columns_to_ignore_are_set_apart_by_commas_and_blanks(works):
    write_flowers()
    works("train", "flowers.csv", "--target", "kind", "--ignore", "a, b, ", "--quiet", "--epochs", 1)
    assert notes()["features"] == ["c", "d"]


def test_csv_without_header(works):
    X, y = flowers()
    write_csv("flowers.data", None, *X.T, y)
    works("train", "flowers.data", "--header", "no", "--quiet")
    assert (notes()["features"], notes()["target"]) == (["0", "1", "2", "3"], "4")
    out, err = works("predict", "model.safetensors", "flowers.data")
    assert len(out.split()) == 150
    assert figure(err, "accuracy") > 90


def test_digits_from_python_and_from_the_shell_agree(works):
    X, y = load_digits()
    works("train", "--quiet", "--epochs", 5)
    out, err = works("predict", "model.safetensors")
    network = bs.Network.load("model.safetensors")
    assert [int(label) for label in out.split()] == network.predict(X).tolist()
    assert figure(err, "accuracy") == pytest.approx(100 * network.evaluate(X, y)["accuracy"], abs=0.01)


def test_folder_of_images_is_tested_and_predicted_on_its_test_rows(works):
    X, y = load_digits()
    for part, rows in (("train", slice(0, 1400)), ("t10k", slice(1400, None))):
        for content, array in (("images-idx3", X[rows].reshape(-1, 8, 8)), ("labels-idx1", y[rows])):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
            Path(f"{part}-{content}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    out, _ = works("train", ".", "--epochs", 5)
    assert "1,400 training rows, 397 test rows" in out
    accuracy = re.search(r"test (accuracy .*)", out)[1]
    out, err = works("predict", "model.safetensors", ".")
    assert len(out.split()) == 397
    assert err == accuracy + "\n"


@pytest.mark.parametrize(
    ("loss", "widths", "lines"),
    [
        ("softmax_cross_entropy", [2, 3], {"0", "1", "2"}),
        ("sigmoid_cross_entropy", [2, 1], {"0", "1"}),
    ],
)
def test_classifiers_that_python_saved_are_predicted_from(works, loss, widths, lines):
    network = bs.Network(widths, loss=loss, seed=0)
    network.save("a.safetensors")
    X = np.random.default_rng(0).normal(size=(50, 2))
    np.savez("a.npz", X=X)
    out, _ = works("predict", "a.safetensors", "a.npz")
    assert set(out.split()) == lines
    assert [int(line) for line in out.split()] == network.predict(X).tolist()
    out, _ = works("predict", "a.safetensors", "a.npz", "--proba")
    S = np.array([line.split(",")[1:] for line in out.splitlines()[1:]], dtype=float)
    assert S.shape == (50, len(lines))
    np.testing.assert_allclose(S.sum(axis=1), 1, rtol=1e-6)
    assert S.argmax(axis=1).tolist() == network.predict(X).tolist()


def test_quantities_that_python_saved_are_predicted_from(works):
    network = bs.Network([2, 1], loss="mean_squared_error", seed=0)
    network.save("a.safetensors", notes={"author": "somebody"})
    np.savez("a.npz", X=np.eye(2), y=[1.0, 2.0])
    out, err = works("predict", "a.safetensors", "a.npz")
    np.testing.assert_array_equal(np.array(out.split(), dtype=np.float32), network.predict(np.eye(2)))
    assert "RMSE" in err


def test_info_shows_a_model_or_the_build(works):
    write_flowers()
    works("train", "flowers.csv", "--target", "kind", "--quiet", "--layers", 7)
    out, _ = works("info", "model.safetensors")
    assert bs.Network.load("model.safetensors").summary() in out
    lines = [line.split(maxsplit=1) for line in out.splitlines()[-4:]]
    assert lines == [
        ["task", "classification"],
        ["classes", "3: setosa, versicolor, virginica"],
        ["features", "4: a, b, c, d"],
        ["target", "kind"],
    ]
    out, _ = works("info")
    assert f"backsweep: {bs.__version__}" in out
    assert "BLAS:" in out


@pytest.mark.skipif(not LETTERS.is_file(), reason="needs the letters beside the checkout")
def test_letters(works):
    out, _ = works("train", LETTERS, "--target", "Letter", "--epochs", 4)
    assert "16,012 training rows, 3,988 test rows, 16 columns" in out
    assert "26 classes: A, B, C" in out
    assert figure(out, "test accuracy") > 90
    out, err = works("predict", "model.safetensors", LETTERS)
    assert out.split()[:4] == ["T", "I", "D", "N"]
    assert figure(err, "accuracy") > 90


@pytest.mark.skipif(not MNIST.is_dir(), reason="needs MNIST beside the checkout")
def test_mnist(works):
    out, _ = works("train", MNIST, "--epochs", 1, "--layers", 64)
    assert "60,000 training rows, 10,000 test rows, 784 columns" in out
    assert figure(out, "test accuracy") > 94


# What is refused


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train nothing.csv", "nothing.csv: No such file or directory"),
        ("train flowers.csv --target colour", "flowers.csv: expected a column 'colour', got a, b, kind, c, d"),
        ("train flowers.csv", "flowers.csv: line 2, column 'kind': expected a finite number, got 'setosa'"),
        ("train flowers.csv --target kind --task regression", "line 2, column 'kind': expected a finite number"),
        ("train gap.csv", "gap.csv: line 3, column 'b': expected a finite number, got an empty cell"),
        ("train names.csv", "target must hold numbers, or classes that occur twice or more on average, got 3 texts"),
        ("train same.csv --task classification", "target must hold at least 2 classes, got 1 alone"),
        ("train huge.npz", "target must have a finite variance"),
        ("train texts.npz --task regression", "target must hold numbers for regression, got 'p'"),
        ("train tested.npz --test-fraction 0.5", "--test-fraction must be left out where DATA has test rows"),
        ("train rows.idx", "expected rows and their targets, got rows alone"),
        ("train --test-fraction 1", "--test-fraction must be a finite number at least 0 and below 1"),
        ("train --test-fraction nan", "--test-fraction must be"),
        ("train --seed -1", "seed must be an integer of at least 0"),
        ("train --layers 0", "layers[1] must be an integer of at least 1"),
        ("train --layers 99999999,99999999", "not enough memory"),
        ("train --epochs -1", "epochs must be"),
        ("train --batch-size 0", "batch_size must be"),
        ("train --learning-rate -1", "learning_rate must be"),
        ("train --learning-rate 1e30 --optimizer sgd", "training diverged in epoch 1"),
        ("train --dropout 1", "--dropout must be a finite number at least 0 and below 1, got 1.0"),
        ("train --dropout nan", "--dropout must be"),
        ("train --dropout -0.1", "--dropout must be"),
        ("train --dropout 0.5 --layers=", "--dropout must be left out where --layers names no hidden layer"),
        ("train --norm layer --layers=", "--norm must be left out where --layers names no hidden layer"),
        ("train --threads 0", "n_threads must be"),
        ("train --output nowhere/a.safetensors", "--output must be a file in a folder that can be written to"),
        ("train --output .", "--output must be a file in a folder that can be written to"),
        ("train --output=", "--output must be a file in a folder that can be written to, got ''"),
        (f"train --output {'m' * 300}", "--output must be a file in a folder that can be written to, got 'mmm"),
        ("predict nothing.safetensors", "nothing.safetensors: No such file or directory"),
        ("predict flowers.csv model.safetensors", "path must be a safetensors file, got 'flowers.csv'"),
        ("predict model.safetensors gap.csv", "gap.csv: expected a column '0', got a, b, y"),
        ("predict model.safetensors tested.npz", "X must have shape (m, 64), got (2, 1)"),
        ("predict price.safetensors texts.npz", "could not convert string to float"),
        ("predict price.safetensors texts.npz --proba", "--proba must be left out for a model that does not classify"),
        ("predict strange.safetensors", "MODEL must have one output or one for each class, and notes that fit it"),
        ("train flowers.csv --output flowers.csv", "--output must be another file than DATA, got 'flowers.csv'"),
        ("predict model.safetensors --output nowhere/p.csv", "--output must be a file in a folder that can be written"),
        ("predict model.safetensors --output=", "--output must be a file in a folder that can be written to, got ''"),
        ("predict model.safetensors --output ./model.safetensors", "--output must be another file than MODEL, got"),
        ("predict model.safetensors gap.csv --output gap.csv", "--output must be another file than DATA, got"),
        ("info nothing.safetensors", "nothing.safetensors: No such file or directory"),
    ],
)
def test_faults_are_one_line_and_change_no_file(run, command, message):
    write_flowers()
    write_csv("gap.csv", ["a", "b", "y"], [1, 2, 3], [4, "", 6], [1, 2, 3])
    write_csv("names.csv", ["a", "y"], [1, 2, 3], ["Ann", "Bob", "Cid"])
    write_csv("same.csv", ["a", "y"], [1, 2, 3], [1, 1, 1])
    np.savez("huge.npz", X=np.eye(3), y=[1e300, -1e300, 0.5])
    np.savez("texts.npz", X=np.eye(2)[:, :1], y=["p", "q"])
    np.savez("tested.npz", X=np.eye(2)[:, :1], y=[0, 1], X_test=np.eye(2)[:, :1], y_test=[0, 1])
    Path("rows.idx").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 1, 5]))
    bs.Network([64, 10], seed=0).save("model.safetensors")
    bs.Network([1, 1], loss="mean_squared_error", seed=0).save("price.safetensors")
    bs.Network([64, 10], seed=0).save("strange.safetensors", notes={"task": "classification", "classes": [1, 2]})
    before = {path: path.read_bytes() for path in Path().iterdir()}

    status, _, err = run(*command.split())
    assert status == 2
    assert err.startswith("backsweep: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_fault_with_a_line_break_is_one_line(run):
    assert run("train", "no\nthing.csv")[2] == "backsweep: error: no thing.csv: No such file or directory\n"


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="needs a folder in which nobody can write")
def test_folder_in_which_nobody_can_write_is_found_before_the_training(run, monkeypatch):
    monkeypatch.delattr(bs.Network, "fit")
    status, _, err = run("train", "--output", "/proc/model")
    assert status == 2
    assert "--output must be a file in a folder that can be written to, got '/proc/model' (" in err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_model_goes_into_a_pipe(works):
    os.mkfifo("pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append(Path("pipe").read_bytes()), daemon=True)
    reader.start()
    assert "written to pipe" in works("train", "--epochs", 1, "--output", "pipe")[0]
    reader.join(timeout=10)
    Path("model.safetensors").write_bytes(received[0])
    assert bs.Network.load("model.safetensors").n_in == 64


@pytest.mark.skipif(os.name != "posix", reason="needs a device")
def test_device_that_is_no_model_is_named(run):
    status, _, err = run("info", "/dev/null")
    assert status == 2
    assert err.startswith("backsweep: error: path must be a safetensors file, got '/dev/null': ")


@pytest.mark.parametrize(
    "command",
    ["", "prune", "train --epochs many", "train --layers 12,x", "train --optimizer adagrad", "train --activation step",
     "train --task guess", "train --norm group", "train --dropout much", "predict"],
)  # fmt: skip
def test_what_cannot_be_read_is_argparses_to_refuse(capsys, command):
    with pytest.raises(SystemExit) as exit:
        main(command.split())
    assert exit.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["", "train", "predict", "info"])
def test_help(capsys, command):
    with pytest.raises(SystemExit) as exit:
        main([*command.split(), "--help"])
    assert exit.value.code == 0
    assert "usage: backsweep" in capsys.readouterr().out


# How it ends


def test_as_a_process():
    done = process("train", "--epochs", 3)
    assert (done.returncode, done.stderr) == (0, "")
    assert figure(done.stdout, "test accuracy") > 90
    done = process("predict", "model.safetensors")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1797
    assert done.stderr.startswith("accuracy ")
    done = process("train", "nothing.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "backsweep: error: nothing.csv: No such file or directory\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_may_lack_characters(encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    write_line("Maß.csv")
    done = process("train", "Maß.csv", "--epochs", 1, "--norm", "batch", env=environment, encoding=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("R²" if encoding == "cp1252" else "R\\xb2") in done.stdout
    done = process("info", "model.safetensors", env=environment, encoding=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u1e90" in done.stdout  # Ẑ


ENDLESS = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent may have had it ignored
from backsweep.cli import main
from backsweep.cli.train import split
sys.exit(main(["train", "--epochs", "1000000"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ctrl_c_keeps_what_was_learnt():
    command = [sys.executable, "-c", ENDLESS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if line.startswith("    5 "):
                child.send_signal(signal.SIGINT)
                break
        out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert re.fullmatch(r"backsweep: stopped by Ctrl-C after \d+ of 1000000 epochs; .* is kept as it is\n", err)
    assert "written to model.safetensors" in out
    assert figure(out, "test accuracy") > 90
    assert process("predict", "model.safetensors").returncode == 0


def test_ctrl_c_outside_of_training_writes_nothing(run, monkeypatch):
    def interrupt(self, X):
        raise KeyboardInterrupt

    monkeypatch.setattr(bs.Network, "standardise", interrupt)
    status, _, err = run("train")
    assert (status, err) == (130, "backsweep: stopped by Ctrl-C\n")
    assert list(Path().iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="needs a shell's pipes")
def test_reader_that_leaves_is_no_fault():
    bs.Network([64, 10], seed=0).save("model.safetensors")
    command = [sys.executable, "-m", "backsweep", "predict", "model.safetensors", "--proba"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(timeout=60) == 141
        assert child.stderr.read() == ""


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal")
def test_table_and_progress_bar_share_a_terminal():
    import fcntl
    import pty
    import struct
    import termios

    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, "-m", "backsweep", "train", "--epochs", "3"]
    done = subprocess.run(command, stdout=terminal, stderr=terminal, timeout=120)
    text = os.read(screen, 1 << 16).decode()
    os.close(terminal)
    os.close(screen)
    assert done.returncode == 0
    assert "step/s" in text
    # What stands last on each line, once the carriage returns have had their way.
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    assert [line.split()[:1] for line in lines[3:7]] == [["epoch"], ["1"], ["2"], ["3"]]
    assert lines[7].startswith("test accuracy")


def test_import_of_the_package_reads_none_of_this():
    script = "import sys, backsweep; print(*[m for m in sys.modules if m.startswith('backsweep')])"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "backsweep.network" in out
    assert not {"backsweep.cli", "backsweep.datasets"} & set(out)


def test_notes_are_plain_json(works):
    works("train", "--quiet", "--epochs", 1)
    assert json.loads(json.dumps(notes())) == notes()
    assert notes()["classes"] == list(range(10))


@pytest.mark.skipif(not (ROOT / "examples").is_dir(), reason="needs the examples beside the tests")
@pytest.mark.parametrize(("name", "figures"), [("quickstart", {"accuracy": 0.96}), ("regression", {"R²": 0.94})])
def test_examples_run(name, figures):
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / f"{name}.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    for what, least in figures.items():
        assert figure(done.stdout, what) > least
