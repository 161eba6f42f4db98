"""Model files: safetensors, with the architecture as JSON in the header. Reading one never runs code."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from backsweep._checks import Array

FORMAT = "backsweep"
VERSION = 1

Tensors = dict[str, Array]


def write(path: str | os.PathLike[str], tensors: Tensors, description: dict[str, Any]) -> None:
    """Write a model file: complete under its name, or not at all, as `write_bytes` does."""
    from safetensors.numpy import save

    try:
        text = json.dumps(description, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"notes must be what JSON can say, got something else: {error}") from None
    metadata = {"format": FORMAT, "version": str(VERSION), FORMAT: text}
    write_bytes(path, save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, metadata))


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file: complete under its name, or not at all.

    The bytes go to a temporary file in the same folder and onto the disk, and the name changes hands last, so
    a crash leaves the old file or the new one. A device, a pipe or a standard stream has no old contents to
    keep and is no file to replace: the bytes go into it as it is.
    """
    name = _name(path)
    with _naming(name):
        place = _unreplaceable(name)
        if place is None:
            _replace(Path(os.path.realpath(name)), data)
            return
        print(end="", flush=True)  # what was printed before comes before
        with open(place, "wb", closefd=not isinstance(place, int)) as file:
            file.write(data)


def try_out(path: str | os.PathLike[str]) -> None:
    """Raise the `OSError` that `write_bytes` would, as far as that is known before there is anything to write."""
    name = _name(path)
    with _naming(name):
        place = _unreplaceable(name)
        if place is None:
            handle, temporary = _temporary(Path(os.path.realpath(name)))
            os.close(handle)
            os.unlink(temporary)
        elif isinstance(place, str) and not os.access(place, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _name(path: object) -> str:
    """The name of a file that a user gave, as text."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"path must be a str or a path that names a file, got {type(path).__name__}")
    name = os.fsdecode(path)
    if not name:
        raise ValueError(f"path must name a file, got {path!r}")
    return name


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Errors of the system name the user's file, not the temporary one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None


def _unreplaceable(name: str) -> str | int | None:
    """What stands under a name and is to be written into: a device or a pipe, or the number of a standard stream."""
    try:
        status = os.stat(name)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    for stream in (1, 2):  # /dev/stdout may be a file, but what is printed later must reach that one too
        with suppress(OSError):  # a stream may be closed
            if os.path.samestat(status, os.fstat(stream)):
                return stream
    return None if stat.S_ISREG(status.st_mode) else name


def _replace(target: Path, data: bytes) -> None:
    handle, temporary = _temporary(target)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mode = target.stat().st_mode if target.exists() else 0o666 & ~_umask()
        os.chmod(temporary, mode & 0o777)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync_folder(target.parent)


def _temporary(target: Path) -> tuple[int, str]:
    """A new file beside the target. Of the target's name it takes a part, for that may be as long as a name can be."""
    import tempfile

    return tempfile.mkstemp(prefix=f".{target.name[:32]}.", suffix=".tmp", dir=target.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # the rename itself must reach the disk
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read(path: str | os.PathLike[str]) -> tuple[Tensors, dict[str, Any]]:
    """The tensors and the description of a model file; `ValueError` where it is not one."""
    from safetensors import SafetensorError, safe_open

    file_name = _name(path)
    with open(file_name, "rb"):
        pass  # a file that is missing or not to be read raises OSError, whose message names it
    try:
        with safe_open(file_name, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, TypeError, AttributeError, KeyError) as error:
        # OSError for what is no file to be mapped, such as a device; the last three for a dtype that NumPy lacks
        raise ValueError(f"path must be a safetensors file, got {file_name!r}: {error}") from None
    if metadata.get("format") != FORMAT or FORMAT not in metadata:
        raise ValueError(f"path must be a model that backsweep saved, got {file_name!r} without its header")
    if metadata.get("version") != str(VERSION):
        raise ValueError(
            f"path must be a model file of version {VERSION}, got version {metadata.get('version')!r} in {file_name!r}"
        )
    try:
        description = json.loads(metadata[FORMAT])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"path must hold a description in JSON, got {file_name!r}: {error}") from None
    if not isinstance(description, dict):
        raise ValueError(f"path must hold a description as a JSON object, got {file_name!r}")
    return tensors, description
