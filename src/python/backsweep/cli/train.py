"""``backsweep train``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

import backsweep as bs
from backsweep import _checks, _core
from backsweep._checks import Array
from backsweep.cli.meaning import MOST_INTEGER_CLASSES, Classes, Quantity, measured, task_of
from backsweep.cli.options import DATA, HEADER, add_threads, check_output, header, widths

if TYPE_CHECKING:
    from backsweep.datasets import Dataset
    from backsweep.layers import Layer

INTERRUPTED = 130  # as shells report a process that SIGINT ended

# Makers of optimizers and their learning rates where none is given: all but SGD's are good for most networks.
OPTIMIZERS: dict[str, tuple[Callable[..., bs.Optimizer], float]] = {
    "adam": (bs.Adam, 1e-3),
    "adamw": (bs.AdamW, 1e-3),
    "sgd": (lambda rate, **options: bs.SGD(rate, momentum=0.9, **options), 1e-2),
    "rmsprop": (bs.RMSprop, 1e-3),
}

NORMS: dict[str, type[bs.BatchNorm] | type[bs.LayerNorm] | None] = {
    "none": None,
    "batch": bs.BatchNorm,
    "layer": bs.LayerNorm,
}


def add(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train a network and write it to a file",
        description="Train a network on a part of the rows, test it on the others, and write it to a file.",
        epilog="Ctrl-C ends the training: the network is tested and written as it is then, with exit status 130.",
    )
    train.set_defaults(run=run)
    arg = train.add_argument
    arg("data", nargs="?", metavar="DATA", help=DATA)
    arg("--target", metavar="COLUMN", help="of a CSV: a name, or a position from 0, or from the end; default: the last")
    arg("--ignore", metavar="COLUMNS", default="", help="of a CSV: names or positions, separated by commas")
    arg("--header", choices=("auto", "yes", "no"), default="auto", help=HEADER.format(auto="unless all are numbers"))
    arg(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help="auto: classification for texts, and for integers with at most "
        f"{MOST_INTEGER_CLASSES} values that occur twice or more on average; else regression",
    )
    arg("--test-fraction", type=float, metavar="SHARE", help="of the rows, of each class alike; default: 0.2, or "
        "the test rows that DATA has")  # fmt: skip
    arg("--layers", type=widths, default="256,128", metavar="WIDTHS", help="of the hidden layers; default: %(default)s"
        "; '' for none")  # fmt: skip
    arg("--activation", choices=_core.activations, default="relu", metavar="NAME", help="of the hidden layers: "
        f"{', '.join(_core.activations)}; default: %(default)s")  # fmt: skip
    arg("--norm", choices=tuple(NORMS), default="none", help="normalise each hidden layer before its activation, by "
        "the batch or row by row; default: %(default)s")  # fmt: skip
    arg("--dropout", type=float, default=0.0, metavar="P", help="the share of each hidden layer's units that a step "
        "leaves out; default: 0")  # fmt: skip
    arg("--epochs", type=int, default=20, metavar="N", help="default: %(default)s")
    arg("--batch-size", type=int, metavar="N", help="default: a 500th of the rows, at least 32 and at most 128")
    arg("--optimizer", choices=tuple(OPTIMIZERS), default="adam", help="default: %(default)s; sgd has momentum 0.9")
    rates = ", ".join(f"{rate:g} for {name}" for name, (_, rate) in OPTIMIZERS.items())
    arg("--learning-rate", type=float, metavar="RATE", help=f"default: {rates}")
    arg("--weight-decay", type=float, metavar="DECAY", help="default: 0.01 for adamw, else 0")
    arg("--seed", type=int, default=0, metavar="N", help="of split, weights and order of rows; default: %(default)s")
    arg("--dtype", choices=("float32", "float64"), default="float32", help="default: %(default)s")
    arg("--precision", choices=_core.precisions, default="full", help="of products: bf16 takes less time for "
        "wide layers where the processor has instructions for it; default: %(default)s")  # fmt: skip
    add_threads(train)
    arg("--output", default="model.safetensors", metavar="FILE", help="default: %(default)s")
    arg("--quiet", action="store_true", help="print the test result alone")


def run(arguments: argparse.Namespace) -> int:
    say: Callable[[str], object] = (lambda line: None) if arguments.quiet else print
    check_output("--output", arguments.output, DATA=arguments.data)
    hidden = _hidden(arguments)
    data, values, name = _training_data(arguments)
    task = task_of(arguments.task, values)
    (X, y), (X_test, y_test) = _parts(data, values, task, arguments)
    meaning = measured(task, y)
    say(f"{name}: {len(X):,} training rows, {len(X_test):,} test rows, {X.shape[1]:,} columns")
    say(f"target {data.target!r}: {meaning}")

    network = bs.Network(
        [X.shape[1], *hidden, meaning.n_out],
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


def _hidden(arguments: argparse.Namespace) -> list[int | Layer]:
    """The hidden layers, with what stands between map and σ and what comes behind."""
    p, norm = _checks.number(arguments.dropout, "--dropout", below=1.0), NORMS[arguments.norm]
    if not arguments.layers:
        for option, given in (("--norm", norm is not None), ("--dropout", p > 0)):
            if given:
                raise ValueError(f"{option} must be left out where --layers names no hidden layer")
    layers: list[int | Layer] = []
    for width in arguments.layers:
        layers += [width] if norm is None else [bs.Dense(width, "identity"), norm(arguments.activation)]
        layers += [bs.Dropout(p)] if p > 0 else []
    return layers


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
        header=header(arguments.header),
        ignore=[column for column in arguments.ignore.split(",") if column.strip()],
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
    train, test = split(groups, share, _checks.whole_number(arguments.seed, "--seed", 0))
    return (data.X[train], y[train]), (data.X[test], y[test])


def split(groups: Array, share: float, seed: int) -> Part:
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
    rows = arguments.batch_size
    if rows is None:
        rows = min(max(32, len(X) // 500), 128)
        if arguments.norm == "batch":  # which needs two rows in the last batch too
            rows = next((size for size in range(rows, rows + 9) if len(X) % size != 1), rows)

    def show(network: bs.Network, history: bs.History) -> None:
        nonlocal done
        done = history.epochs
        if not arguments.quiet:
            _show_epoch(history)

    try:
        network.fit(
            X, y, epochs=arguments.epochs, batch_size=rows, optimizer=_optimizer(arguments),
            callbacks=[show], progress=False if arguments.quiet else "auto", n_threads=arguments.threads,
            precision=arguments.precision,
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
