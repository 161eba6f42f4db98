"""What the commands have in common on the command line."""

from __future__ import annotations

import argparse
import os

from backsweep import files

DATA = (
    "a CSV, gzipped or not; an NPZ with X, y and possibly X_test, y_test; or a folder of IDX files named like MNIST's. "
    "Left out: the UCI digits, which come with the package"
)
HEADER = "whether a CSV's first line names its columns; auto: {auto}"


def add_threads(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", type=int, metavar="N", help="default: what the work is worth")


def widths(text: str) -> list[int]:
    try:
        return [int(width) for width in text.split(",")] if text.strip() else []
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected widths such as 128,64, got {text!r}") from None


def header(choice: str) -> bool | None:
    return None if choice == "auto" else choice == "yes"


def check_output(option: str, path: str, **sources: str | None) -> None:
    """Refuse a file that could not be written before the work is done, not after it, and one that the work reads."""
    try:
        files.try_out(path)
    except (OSError, ValueError) as error:
        reason = f" ({error.strerror})" if isinstance(error, OSError) else ""
        raise ValueError(f"{option} must be a file in a folder that can be written to, got {path!r}{reason}") from None
    for name, source in sources.items():
        if source and os.path.isfile(source) and os.path.isfile(path) and os.path.samefile(source, path):
            raise ValueError(f"{option} must be another file than {name}, got {path!r}")
