"""The command line: ``backsweep train``, ``backsweep predict`` and ``backsweep info``.

Longer than 300 lines because its parts serve nothing else: what there is to type, what a network's output means, and
the commands.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import backsweep as bs
from backsweep import _checks, _core, files
from backsweep._checks import Array

if TYPE_CHECKING:
    from backsweep.datasets import Dataset

INTERRUPTED = 130  # as shells report a process that SIGINT ended,
BROKEN_PIPE = 141  # and one that SIGPIPE ended

MOST_INTEGER_CLASSES = 20  # more distinct integers than that are taken for a quantity

DATA = (
    "a CSV, gzipped or not; an NPZ with X, y and possibly X_test, y_test; or a folder of IDX files named like MNIST's. "
    "Left out: the UCI digits, which come with the package"
)
HEADER = "whether a CSV's first line names its columns; auto: {auto}"

# Makers of optimizers and their learning rates where none is given: all but SGD's are good for most networks.
OPTIMIZERS: dict[str, tuple[Callable[..., bs.Optimizer], float]] = {
    "adam": (bs.Adam, 1e-3),
    "adamw": (bs.AdamW, 1e-3),
    "sgd": (lambda rate, **options: bs.SGD(rate, momentum=0.9, **options), 1e-2),
    "rmsprop": (bs.RMSprop, 1e-3),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; what the user got wrong is one line on standard error."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone. What the buffer still holds must not fail again when Python flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        print("backsweep: stopped by Ctrl-C", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        return _error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ValueError as error:
        return _error(str(error))
    except MemoryError as error:
        return _error(f"not enough memory. {error}")
    return status


def _error(message: str) -> int:
    print(f"backsweep: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


# What there is to type


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="backsweep", description="Fully connected networks on CPUs.")
    parser.add_argument("--version", action="version", version=f"backsweep {bs.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_predict(commands)
    what = "describe a model file; or else version, BLAS and threads"
    info = commands.add_parser("info", help=what, description=what.capitalize() + ".")
    info.add_argument("model", nargs="?", metavar="MODEL", help="a file that train wrote")
    info.set_defaults(run=_info)
    return parser


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train a network and write it to a file",
        description="Train a network on a part of the rows, test it on the others, and write it to a file.",
        epilog="Ctrl-C ends the training: the network is tested and written as it is then, with exit status 130.",
    )
    train.set_defaults(run=_train)
    add = train.add_argument
    add("data", nargs="?", metavar="DATA", help=DATA)
    add("--target", metavar="COLUMN", help="of a CSV: a name, or a position from 0, or from the end; default: the last")
    add("--ignore", metavar="COLUMNS", default="", help="of a CSV: names or positions, separated by commas")
    add("--header", choices=("auto", "yes", "no"), default="auto", help=HEADER.format(auto="unless all are numbers"))
    add(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help="auto: classification for texts, and for integers with at most "
        f"{MOST_INTEGER_CLASSES} values that occur twice or more on average; else regression",
    )
    add("--test-fraction", type=float, metavar="SHARE", help="of the rows, of each class alike; default: 0.2, or "
        "the test rows that DATA has")  # fmt: skip
    add("--layers", type=_widths, default="256,128", metavar="WIDTHS", help="of the hidden layers; default: %(default)s"
        "; '' for none")  # fmt: skip
    add("--activation", choices=_core.activations, default="relu", metavar="NAME", help="of the hidden layers: "
        f"{', '.join(_core.activations)}; default: %(default)s")  # fmt: skip
    add("--epochs", type=int, default=20, metavar="N", help="default: %(default)s")
    add("--batch-size", type=int, metavar="N", help="default: a 500th of the rows, at least 32 and at most 128")
    add("--optimizer", choices=tuple(OPTIMIZERS), default="adam", help="default: %(default)s; sgd has momentum 0.9")
    rates = ", ".join(f"{rate:g} for {name}" for name, (_, rate) in OPTIMIZERS.items())
    add("--learning-rate", type=float, metavar="RATE", help=f"default: {rates}")
    add("--weight-decay", type=float, metavar="DECAY", help="default: 0.01 for adamw, else 0")
    add("--seed", type=int, default=0, metavar="N", help="of split, weights and order of rows; default: %(default)s")
    add("--dtype", choices=("float32", "float64"), default="float32", help="default: %(default)s")
    _add_threads(train)
    add("--output", default="model.safetensors", metavar="FILE", help="default: %(default)s")
    add("--quiet", action="store_true", help="print the test result alone")


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser(
        "predict",
        help="predict the rows of a file",
        description="Print a prediction a line. Where DATA holds the target of all rows, too, a last line on standard "
        "error tells how good they are.",
    )
    predict.set_defaults(run=_predict)
    add = predict.add_argument
    add("model", metavar="MODEL", help="a file that train wrote")
    add("data", nargs="?", metavar="DATA", help=DATA + ". A CSV's columns are found by name and may be more than the "
        "model needs. Where DATA has test rows, those are predicted")  # fmt: skip
    add("--header", choices=("auto", "yes", "no"), default="auto", help=HEADER.format(auto="as in training"))
    add("--proba", action="store_true", help="print a CSV with the probability of each class")
    add("--output", metavar="FILE", help="write a CSV there instead of printing")
    _add_threads(predict)


def _add_threads(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", type=int, metavar="N", help="default: what the work is worth")


def _widths(text: str) -> list[int]:
    try:
        return [int(width) for width in text.split(",")] if text.strip() else []
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected widths such as 128,64, got {text!r}") from None


def _header(choice: str) -> bool | None:
    return None if choice == "auto" else choice == "yes"


# What a network's output means


@dataclass(frozen=True)
class Classes:
    """Output i is the class that stands at i."""

    classes: list[Any]

    task: ClassVar[str] = "classification"
    loss: ClassVar[str] = "softmax_cross_entropy"

    @property
    def n_out(self) -> int:
        return len(self.classes)

    @property
    def target_type(self) -> str:
        return "text" if isinstance(self.classes[0], str) else "number"

    def encode(self, y: Array) -> Array:
        return np.searchsorted(np.array(self.classes), y)

    def predict(self, network: bs.Network, X: Array, threads: int | None) -> Array:
        return np.array(self.classes)[network.predict(X, n_threads=threads)]

    def probabilities(self, network: bs.Network, X: Array, threads: int | None) -> Array:
        S = network.predict_proba(X, n_threads=threads)
        return S if S.shape[1] > 1 else np.column_stack([1 - S, S])

    def score(self, predicted: Array, y: Array) -> str:
        if (predicted.dtype.kind == "U") != (y.dtype.kind == "U"):
            predicted, y = predicted.astype(str), y.astype(str)
        right = int((predicted == y).sum())
        return f"accuracy {100 * right / len(y):.2f} % ({right:,} of {len(y):,} rows)"

    def __str__(self) -> str:
        from backsweep.datasets import listed

        return f"classification, {len(self.classes)} classes: {listed(self.classes)}"


@dataclass(frozen=True)
class Quantity:
    """The output is a number, standardised as the training rows were."""

    mean: float
    scale: float

    task: ClassVar[str] = "regression"
    loss: ClassVar[str] = "mean_squared_error"
    n_out: ClassVar[int] = 1
    target_type: ClassVar[str] = "number"

    def encode(self, y: Array) -> Array:
        standardised: Array = (y.astype(np.float64) - self.mean) / self.scale
        return standardised

    def predict(self, network: bs.Network, X: Array, threads: int | None) -> Array:
        Z = network.predict(X, n_threads=threads).astype(np.float64)
        return Z * self.scale + self.mean

    def score(self, predicted: Array, y: Array) -> str:
        values = y.astype(np.float64)
        square, variance = float(((predicted - values) ** 2).mean()), float(values.var())
        explained = f"{1 - square / variance:.4f}" if variance > 0 else "undefined"
        return f"R² {explained}, RMSE {square**0.5:.6g} ({len(y):,} rows)"

    def __str__(self) -> str:
        return f"regression, mean {self.mean:.6g}, standard deviation {self.scale:.6g}"


def _task(asked: str, y: Array) -> str:
    """What is asked for, or else what the help of --task says of such a target."""
    distinct = len(np.unique(y))
    repeated = 2 * distinct <= len(y)
    is_text = y.dtype.kind == "U"
    if asked == "regression" and is_text:
        raise ValueError(f"target must hold numbers for regression, got {str(y[0])!r}")
    if asked != "auto":
        return asked
    if is_text and not repeated:
        raise ValueError(
            f"target must hold numbers, or classes that occur twice or more on average, got {distinct:,} texts such as "
            f"{str(y[0])!r} in {len(y):,} rows; --task says which it is"
        )
    is_class = y.dtype.kind in "Ub" or (y.dtype.kind in "iu" and repeated and distinct <= MOST_INTEGER_CLASSES)
    return Classes.task if is_class else Quantity.task


def _measured(task: str, y: Array) -> Classes | Quantity:
    """What there is to learn from the target of the training rows."""
    if task == Classes.task:
        classes = np.unique(y).tolist()
        if len(classes) < 2:
            raise ValueError(f"target must hold at least 2 classes, got {classes[0]!r} alone")
        return Classes(classes)
    numbers = y.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(numbers.mean()), float(numbers.std())
    if not math.isfinite(scale):
        raise ValueError(f"target must have a finite variance, got values up to {np.abs(numbers).max():g}")
    return Quantity(mean, scale or 1.0)


def _recalled(network: bs.Network, notes: dict[str, Any]) -> Classes | Quantity:
    """What `train` wrote beside a network; without it, what the network alone says."""
    task, classes, mean, scale = (notes.get(name) for name in ("task", "classes", "mean", "scale"))
    single = network.n_out == 1
    if task is None and network.classifies and (single or network.loss == Classes.loss):
        return Classes(list(range(2 if single else network.n_out)))
    if task is None and not network.classifies and single:
        return Quantity(0.0, 1.0)
    if task == Classes.task and isinstance(classes, list) and len(classes) == network.n_out:
        return Classes(classes)
    if task == Quantity.task and single and isinstance(mean, float) and isinstance(scale, float):
        return Quantity(mean, scale)
    raise ValueError(f"MODEL must have one output or one for each class, and notes that fit it, got {network}")


# The commands


def _train(arguments: argparse.Namespace) -> int:
    say: Callable[[str], object] = (lambda line: None) if arguments.quiet else print
    _check_folder(arguments.output)
    data, values, name = _training_data(arguments)
    task = _task(arguments.task, values)
    (X, y), (X_test, y_test) = _parts(data, values, task, arguments)
    meaning = _measured(task, y)
    say(f"{name}: {len(X):,} training rows, {len(X_test):,} test rows, {X.shape[1]:,} columns")
    say(f"target {data.target!r}: {meaning}")

    network = bs.Network(
        [X.shape[1], *arguments.layers, meaning.n_out],
        activation=arguments.activation, loss=meaning.loss, dtype=arguments.dtype, seed=arguments.seed,
    )  # fmt: skip
    network.standardise(X)
    say(repr(network))
    stopped = not _fit(network, X, meaning.encode(y), arguments)

    notes = {"task": task, **asdict(meaning), "features": data.features, "target": data.target, "header": data.header}
    network.save(arguments.output, notes=notes)
    if len(X_test):
        print("test " + meaning.score(meaning.predict(network, X_test, arguments.threads), y_test))
    say(f"written to {arguments.output}")
    return INTERRUPTED if stopped else 0


def _check_folder(output: str) -> None:
    """Refuse a file that could not be written before the work is done, not after it."""
    folder = Path(output).absolute().parent
    if Path(output).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"--output must be a file in a folder that can be written to, got {output!r}")


def _training_data(arguments: argparse.Namespace) -> tuple[Dataset, Array, str]:
    """The data, their y and their name."""
    from backsweep import datasets

    if arguments.data is None:
        X, y = datasets.load_digits()
        return datasets.Dataset(X, y, target="digit"), y, "UCI digits"
    data = datasets.read(
        arguments.data,
        target=arguments.target,
        target_type="number" if arguments.task == Quantity.task else "auto",
        header=_header(arguments.header),
        ignore=[column for column in arguments.ignore.split(",") if column],
    )
    if data.y is None:
        raise ValueError(f"{arguments.data}: expected rows and their targets, got rows alone")
    return data, data.y, arguments.data


Part = tuple[Array, Array]


def _parts(data: Dataset, y: Array, task: str, arguments: argparse.Namespace) -> tuple[Part, Part]:
    """The rows to learn from, and those to test on: a share of each class, or those that the data keep apart."""
    fraction = arguments.test_fraction
    if data.X_test is not None and data.y_test is not None:
        if fraction is not None:
            raise ValueError("--test-fraction must be left out where DATA has test rows")
        return (data.X, y), (data.X_test, data.y_test)
    share = _checks.number(0.2 if fraction is None else fraction, "--test-fraction", below=1.0)
    groups = np.unique(y, return_inverse=True)[1] if task == Classes.task else np.zeros(len(y), dtype=np.int64)
    train, test = _split(groups, share, _checks.whole_number(arguments.seed, "--seed", 0))
    return (data.X[train], y[train]), (data.X[test], y[test])


def _split(groups: Array, share: float, seed: int) -> Part:
    """The positions of the rows to learn from and of those to test on, in random order group by group.

    Of r rows of a group, floor(share r) are for testing: so each has one to learn from.
    """
    order = np.random.default_rng(seed).permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    sizes = np.bincount(groups)
    rank = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    is_test = np.floor((rank + 1) * share) > np.floor(rank * share)
    return order[~is_test], order[is_test]


def _optimizer(arguments: argparse.Namespace) -> bs.Optimizer:
    make, rate = OPTIMIZERS[arguments.optimizer]
    decay = {} if arguments.weight_decay is None else {"weight_decay": arguments.weight_decay}
    return make(rate if arguments.learning_rate is None else arguments.learning_rate, **decay)


def _fit(network: bs.Network, X: Array, y: Array, arguments: argparse.Namespace) -> bool:
    """Train, with a line for each epoch, and tell whether it came to its end."""
    done = 0
    rows = min(max(32, len(X) // 500), 128) if arguments.batch_size is None else arguments.batch_size

    def show(network: bs.Network, history: bs.History) -> None:
        nonlocal done
        done = history.epochs
        if not arguments.quiet:
            _show_epoch(history)

    try:
        network.fit(
            X, y, epochs=arguments.epochs, batch_size=rows, optimizer=_optimizer(arguments),
            callbacks=[show], progress=False if arguments.quiet else "auto", n_threads=arguments.threads,
        )  # fmt: skip
    except KeyboardInterrupt:
        print(
            f"backsweep: stopped by Ctrl-C after {done} of {arguments.epochs} epochs; the network is kept as it is",
            file=sys.stderr,
        )
        return False
    return True


def _show_epoch(history: bs.History) -> None:
    lines = [history.header()] if history.epochs == 1 else []
    text = "\n".join([*lines, history.row(history.epochs - 1)])
    if sys.stderr.isatty():
        from tqdm import tqdm  # whose bar makes way for the line

        tqdm.write(text)
    else:
        print(text)
    sys.stdout.flush()


def _predict(arguments: argparse.Namespace) -> int:
    network = bs.Network.load(arguments.model)
    notes = _notes(arguments.model)
    meaning = _recalled(network, notes)
    if arguments.proba and not isinstance(meaning, Classes):
        raise ValueError("--proba must be left out for a model that does not classify")
    X, y = _prediction_data(arguments, network, meaning, notes)
    predicted = meaning.predict(network, X, arguments.threads)
    titles, columns = ["prediction"], [_texts(predicted)]
    if arguments.proba and isinstance(meaning, Classes):
        titles += map(str, meaning.classes)
        columns += map(_texts, meaning.probabilities(network, X, arguments.threads).T)
    _write(arguments.output, titles if arguments.proba or arguments.output else None, columns)
    if y is not None:
        sys.stdout.flush()  # so that the score comes last
        print(meaning.score(predicted, y), file=sys.stderr)
    return 0


def _notes(path: str) -> dict[str, Any]:
    notes = files.read(path)[1].get("notes")
    return notes if isinstance(notes, dict) else {}


def _prediction_data(
    arguments: argparse.Namespace, network: bs.Network, meaning: Classes | Quantity, notes: dict[str, Any]
) -> tuple[Array, Array | None]:
    from backsweep import datasets

    if arguments.data is None:
        return datasets.load_digits()
    names, header = notes.get("features"), _header(arguments.header)
    if isinstance(names, list) and header is None:
        header = bool(notes.get("header"))
    data = datasets.read(
        arguments.data,
        target=str(notes.get("target")),
        target_type=meaning.target_type,
        header=header,
        features=list(map(str, names if isinstance(names, list) else range(network.n_in))),
    )
    return (data.X, data.y) if data.X_test is None else (data.X_test, data.y_test)


def _texts(values: Array) -> list[str]:
    """Labels as they are; numbers with nine digits, which is all that a float32 has."""
    if values.dtype.kind != "f":
        return list(map(str, values.tolist()))
    return [f"{value:.9g}" for value in values.tolist()]


def _write(path: str | None, titles: list[str] | None, columns: list[list[str]]) -> None:
    import csv

    with open(path, "w", newline="", encoding="utf-8") if path else nullcontext(sys.stdout) as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([titles] if titles else [])
        writer.writerows(zip(*columns, strict=True))


def _info(arguments: argparse.Namespace) -> int:
    if arguments.model is None:
        bs.show_config()
        return 0
    from backsweep.datasets import listed

    print(bs.Network.load(arguments.model).summary())
    for name, value in _notes(arguments.model).items():
        if name != "header" and value is not None:
            print(f"{name:<10}{f'{len(value):,}: {listed(value)}' if isinstance(value, list) else value}")
    return 0
