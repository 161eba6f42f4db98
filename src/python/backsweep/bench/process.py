"""A worker's process, seen from the side that asks."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import tempfile
import time
from typing import Any

from backsweep.bench.machine import environment, on_cores
from backsweep.bench.peers import Peer


class PeerError(Exception):
    """The peer could not do what it was asked: it raised, died, or took too long."""


class PeerProcess:
    """A peer's process: asked one thing at a time."""

    def __init__(self, threads: int) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "backsweep.bench.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, bufsize=0, env=environment(threads),
        )  # fmt: skip
        assert self._process.stdout is not None
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    def close(self) -> None:
        """End it, whatever it does."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._selector.close()
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._log.close()

    def ask(self, what: str, seconds: float | None, **arguments: Any) -> dict[str, Any]:
        """The worker's answer, if it comes within so many seconds; None is any number.

        Raises
        ------
        PeerError
            If none comes, or one that says what went wrong.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
        except BrokenPipeError:
            raise PeerError(self._death()) from None
        answer: dict[str, Any] = json.loads(self._line(what, seconds))
        if "error" in answer:
            raise PeerError(" ".join(answer["error"].split())[:300])
        return answer

    def _line(self, what: str, seconds: float | None) -> bytes:
        assert self._process.stdout is not None
        line, began = b"", time.monotonic()
        while not line.endswith(b"\n"):
            left = None if seconds is None else max(0.0, seconds - (time.monotonic() - began))
            if not self._selector.select(left):
                raise PeerError(f"took longer than {seconds:g} s to {what}")
            piece = self._process.stdout.read(65536)
            if not piece:
                raise PeerError(self._death())
            line += piece
        return line

    def _death(self) -> str:
        status = self._process.wait()
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip().splitlines()
        return f"ended with status {status}" + (f": {said[-1][:200]}" if said else "")


class PeerProcesses:
    """A process for each peer, with so many threads on as many cores, started when it is first asked for.

    All end with the `with` block.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._running: dict[str, PeerProcess] = {}

    def __enter__(self) -> PeerProcesses:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._running.values():
            process.close()

    def of(self, peer: Peer) -> PeerProcess:
        if peer.name not in self._running:
            with on_cores(self.threads):  # which it inherits
                self._running[peer.name] = PeerProcess(self.threads)
        return self._running[peer.name]

    def end(self, name: str) -> None:
        """End the process of a peer that has failed, if it was started."""
        if name in self._running:
            self._running.pop(name).close()
