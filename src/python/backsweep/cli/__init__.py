"""The command line: ``backsweep train``, ``predict``, ``info`` and ``bench``, a module each."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

import backsweep as bs
from backsweep.cli import bench, info, predict, train

BROKEN_PIPE = 141  # as shells report a process that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; what the user got wrong is one line on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a console may lack R², and so does an encoding that a pipe is given
        sys.stdout.reconfigure(errors="backslashreplace")
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
        return train.INTERRUPTED
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="backsweep", description="Fully connected networks on CPUs.")
    parser.add_argument("--version", action="version", version=f"backsweep {bs.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (train, predict, info, bench):
        command.add(commands)
    return parser
