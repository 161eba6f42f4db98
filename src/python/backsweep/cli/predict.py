"""``backsweep predict``."""

from __future__ import annotations

import argparse
import io
import sys
from typing import Any

import backsweep as bs
from backsweep import files
from backsweep._checks import Array
from backsweep.cli.meaning import Classes, Quantity, notes_of, recalled
from backsweep.cli.options import DATA, HEADER, add_threads, check_output, header


def add(commands: Any) -> None:
    predict = commands.add_parser(
        "predict",
        help="predict the rows of a file",
        description="Print a prediction a line. Where DATA holds the target of all rows, too, a last line on standard "
        "error tells how good they are.",
    )
    predict.set_defaults(run=run)
    arg = predict.add_argument
    arg("model", metavar="MODEL", help="a file that train wrote")
    arg("data", nargs="?", metavar="DATA", help=DATA + ". A CSV's columns are found by name and may be more than the "
        "model needs. Where DATA has test rows, those are predicted")  # fmt: skip
    arg("--header", choices=("auto", "yes", "no"), default="auto", help=HEADER.format(auto="as in training"))
    arg("--proba", action="store_true", help="print a CSV with the probability of each class")
    arg("--output", metavar="FILE", help="write a CSV there instead of printing")
    add_threads(predict)


def run(arguments: argparse.Namespace) -> int:
    if arguments.output is not None:
        check_output("--output", arguments.output, MODEL=arguments.model, DATA=arguments.data)
    network = bs.Network.load(arguments.model)
    notes = notes_of(arguments.model)
    meaning = recalled(network, notes)
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


def _prediction_data(
    arguments: argparse.Namespace, network: bs.Network, meaning: Classes | Quantity, notes: dict[str, Any]
) -> tuple[Array, Array | None]:
    from backsweep import datasets

    if arguments.data is None:
        return datasets.load_digits()
    names, has_header = notes.get("features"), header(arguments.header)
    if isinstance(names, list) and has_header is None:
        has_header = bool(notes.get("header"))
    data = datasets.read(
        arguments.data,
        target=str(notes.get("target")),
        target_type=meaning.target_type,
        header=has_header,
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

    text = io.StringIO()
    writer = csv.writer(text if path else sys.stdout, lineterminator="\n")
    writer.writerows([titles] if titles else [])
    writer.writerows(zip(*columns, strict=True))
    if path:
        files.write_bytes(path, text.getvalue().encode())
