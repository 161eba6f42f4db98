"""``backsweep info``."""

from __future__ import annotations

import argparse
from typing import Any

import backsweep as bs
from backsweep.cli.meaning import notes_of


def add(commands: Any) -> None:
    what = "describe a model file; or else version, BLAS and threads"
    info = commands.add_parser("info", help=what, description=what.capitalize() + ".")
    info.add_argument("model", nargs="?", metavar="MODEL", help="a file that train wrote")
    info.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if arguments.model is None:
        bs.show_config()
        return 0
    from backsweep.datasets import listed

    print(bs.Network.load(arguments.model).summary())
    for name, value in notes_of(arguments.model).items():
        if name != "header" and value is not None:
            print(f"{name:<10}{f'{len(value):,}: {listed(value)}' if isinstance(value, list) else value}")
    return 0
