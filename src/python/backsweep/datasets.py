"""Readers of data: CSV, NPZ, IDX, and the digits that come with the package.

Arrays keep the type in which they were stored; `Network` reads any, so images remain bytes.

Longer than 300 lines because all that knows a format of data stands here.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import numpy as np

from backsweep import _checks
from backsweep._checks import Array

TARGETS = ("auto", "number", "text")

ROWS_AT_A_TIME = 4096  # of a CSV: as many rows exist as Python strings at once

NPZ_ARRAYS = ("X", "y", "X_test", "y_test")

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class Dataset(NamedTuple):
    """What `read` found.

    Attributes
    ----------
    X : (m, n)
        Rows of finite numbers.
    y : (m,), or None
        Integers, floats, booleans or texts, as they stand in the data.
    X_test, y_test : likewise, or None
        Rows that the data keep apart for testing.
    features : tuple of str, or None
        Names of the columns of X, where the data have any.
    target : str
        Name of y.
    header : bool
        Whether the names come from the first line of a CSV.
    """

    X: Array
    y: Array | None
    X_test: Array | None = None
    y_test: Array | None = None
    features: tuple[str, ...] | None = None
    target: str = "y"
    header: bool = False


def load_digits() -> tuple[Array, Array]:
    """X (1797, 64), uint8 in 0..16, and y (1797,), uint8 in 0..9: handwritten digits of 8 × 8 pixels.

    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
    1998, CC BY 4.0. ``data/README.md`` in the package tells more.
    """
    with np.load(Path(__file__).with_name("data") / "digits.npz", allow_pickle=False) as arrays:
        return arrays["X"], arrays["y"]


def read(
    path: str | os.PathLike[str],
    *,
    target: str | int | None = None,
    target_type: str = "auto",
    header: bool | None = None,
    ignore: Iterable[str | int] = (),
    features: Sequence[str] | None = None,
) -> Dataset:
    """Read data from a CSV, an NPZ, a folder of IDX files or one IDX file; what it is, its first bytes tell.

    Parameters
    ----------
    path : path
        A CSV in UTF-8, gzipped or not, its cells separated by commas, semicolons or tabs; an NPZ with X, y
        and possibly X_test, y_test; a folder with IDX files named like MNIST's; or one IDX file of rows.
    target : str or int, optional
        The column of a CSV that is y: its name, or else its position, from 0 or, negative, from the end.
        Left out, the last column.
    target_type : str
        "number" refuses a cell of the target that is none, "text" takes all as they stand. "auto" makes
        integers where all cells are whole numbers, floats where all are numbers, and else texts; integers that
        64 bits do not hold are texts as well.
    header : bool, optional
        Whether a CSV's first line names the columns. Left out, it does unless all its cells are numbers.
        Without names a column goes by its position.
    ignore : list of str or int
        Columns of a CSV to leave out.
    features : list of str, optional
        The columns to take for X, in this order. Then the target need not be there nor be complete, and y is
        None where it is not.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it does not hold what it should; a cell is named by its line and column.
    """
    _checks.known_name(target_type, TARGETS, "target_type")
    with _named(path):
        if os.path.isdir(path):
            return _read_folder(Path(path))
        with open(path, "rb") as file, _unzipped(file) as stream:
            start = stream.peek(4)
            if start[:4] == b"PK\x03\x04":
                return _read_npz(stream, needs_y=features is None)
            if start[:2] == b"\0\0":
                return _dataset(_idx(stream), None)
            with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as lines:
                return _Csv(lines, header).read(target, target_type, ignore, features)


def read_idx(path: str | os.PathLike[str]) -> Array:
    """The array in an IDX file, gzipped or not: MNIST's format. Bytes stay bytes.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a whole IDX file.
    """
    with _named(path), open(path, "rb") as file, _unzipped(file) as stream:
        return _idx(stream)


@contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors in the contents name the file that they are in."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(f"{os.fspath(path)}: expected an NPZ, an IDX file or text in UTF-8 ({error})") from None
    except OSError as error:
        if error.filename is not None:
            raise
        if error.errno is None:  # gzip and bz2 say so that they found something else
            raise ValueError(f"{os.fspath(path)}: {error}") from None
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    except (ValueError, EOFError, zlib.error) as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def _unzipped(file: io.BufferedReader) -> io.BufferedReader:
    if file.peek(2)[:2] != b"\x1f\x8b":
        return file
    return io.BufferedReader(gzip.GzipFile(fileobj=file))


# NPZ and IDX: arrays


def _dataset(X: Array, y: Array | None, X_test: Array | None = None, y_test: Array | None = None) -> Dataset:
    """Arrays as they come from a file, refused where they are not rows and their targets."""
    rows, values = _rows(X, "X"), _values(y, len(X), "y")
    if X_test is None:
        return Dataset(rows, values)
    test = _rows(X_test, "X_test"), _values(y_test, len(X_test), "y_test")
    if test[0].shape[1] != rows.shape[1]:
        raise ValueError(f"X_test must have the {rows.shape[1]} columns of X, got {test[0].shape[1]}")
    return Dataset(rows, values, *test)


def _rows(X: Array, name: str) -> Array:
    if X.dtype.kind not in "biuf" or X.ndim < 2:
        raise ValueError(f"{name} must be rows of real numbers, got {X.dtype} of shape {X.shape}")
    if X.size == 0:
        raise ValueError(f"{name} must have at least one row and one column, got shape {X.shape}")
    X = X.reshape(len(X), -1)
    _checks.finite(X, name, np.dtype(np.float64))
    return X


def _values(y: Array | None, m: int, name: str) -> Array | None:
    if y is None:
        return None
    if y.shape not in ((m,), (m, 1)):
        raise ValueError(f"{name} must have one value for each of the {m} rows, got shape {y.shape}")
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8")
    if y.dtype.kind not in "biufU":
        raise ValueError(f"{name} must hold real numbers or texts, got {y.dtype}")
    if y.dtype.kind == "f":
        _checks.finite(y, name, np.dtype(np.float64))
    return y.reshape(m)


def _read_npz(stream: IO[bytes], needs_y: bool) -> Dataset:
    arrays, found = _npz(stream)
    if "X" not in arrays or (needs_y and "y" not in arrays):
        raise ValueError(f"expected arrays X and y, got {', '.join(found) or 'none'}")
    if ("X_test" in arrays) != ("y_test" in arrays):
        raise ValueError(f"expected X_test and y_test together, got {', '.join(found)}")
    return _dataset(arrays["X"], *(arrays.get(name) for name in ("y", "X_test", "y_test")))


def _npz(stream: IO[bytes]) -> tuple[dict[str, Array], list[str]]:
    """The arrays of an NPZ that make a data set, and the names of all that it holds."""
    arrays: dict[str, Array] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as that names occur twice
            # A ZIP is read from its end, which a pipe or a gzipped stream does not offer at once.
            with np.load(stream if stream.seekable() else io.BytesIO(stream.read()), allow_pickle=False) as members:
                for name in NPZ_ARRAYS:
                    if name in members:
                        arrays[name] = members[name]
                        if not isinstance(arrays[name], np.ndarray):
                            raise ValueError(f"{name} must be an array in NumPy's format, got other bytes")
                return arrays, list(members.files)
    except (ValueError, OSError, MemoryError):
        raise
    except Exception as error:
        # Damaged bytes make almost any error: of the ZIP's version, of a decompressor, of Python's tokenizer.
        raise ValueError(f"expected a whole NPZ, got {type(error).__name__}: {error}") from None


def _read_folder(folder: Path) -> Dataset:
    X, y = _pair(folder, ("train",))
    if X is None:
        raise ValueError("expected IDX files named like train-images-idx3-ubyte and train-labels-idx1-ubyte")
    return _dataset(X, y, *_pair(folder, ("t10k", "test")))


def _pair(folder: Path, parts: tuple[str, ...]) -> tuple[Array, Array] | tuple[None, None]:
    """The images and the labels of one part of the data; None where neither is there."""
    images, labels = (_only(folder, parts, content) for content in ("images", "labels"))
    if images is None and labels is None:
        return None, None
    if images is None or labels is None:
        raise ValueError(f"expected images and labels for {' or '.join(parts)}, got {(images or labels).name} alone")  # type: ignore[union-attr]
    return read_idx(images), read_idx(labels)


def _only(folder: Path, parts: tuple[str, ...], content: str) -> Path | None:
    """The file whose name holds one of `parts`, followed by `content`."""
    found = {
        path.name.removesuffix(".gz"): path  # an unpacked file stands for its .gz
        for path in sorted(folder.iterdir(), reverse=True)
        if any(content in path.name.partition(part)[2] for part in parts) and "idx" in path.name
    }
    if len(found) > 1:
        raise ValueError(f"expected one file of {content} for {' or '.join(parts)}, got {', '.join(sorted(found))}")
    return next(iter(found.values()), None)


def _idx(stream: IO[bytes]) -> Array:
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in IDX_TYPES:
        raise ValueError("expected an IDX file, got another beginning")
    sizes = stream.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise ValueError(f"expected an IDX array of {start[3]} dimensions, got {len(sizes)} bytes")
    shape, dtype = tuple(np.frombuffer(sizes, dtype=">u4").tolist()), np.dtype(IDX_TYPES[start[2]])
    data = stream.read()
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"expected an IDX array of shape {shape} and type {dtype.name}, got {len(data)} bytes")
    return np.frombuffer(data, dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


# CSV: cells


Record = tuple[int, list[str]]  # a row's cells, and the number of its last line


class _Csv:
    """A table of cells: named columns, then rows, of which few exist as strings at a time."""

    def __init__(self, lines: IO[str], header: bool | None) -> None:
        first = lines.readline()
        delimiter = max(",;\t", key=first.count)
        self.parsed = self._parsed(csv.reader(chain([first], lines), delimiter=delimiter, strict=True))
        cells = [cell.strip() for cell in next(self.parsed, (0, []))[1]]
        if not any(cells):
            raise ValueError("line 1: expected the names of columns, or a row, got nothing")
        self.header = not all(map(_is_number, cells)) if header is None else header
        self.names = cells if self.header else [str(i) for i in range(len(cells))]
        for i, name in enumerate(self.names):
            if name in self.names[:i]:
                raise ValueError(f"line 1: expected names that differ, got {name!r} twice")
        self.rest = [] if self.header else [(1, cells)]

    def read(
        self, target: str | int | None, target_type: str, ignore: Iterable[str | int], features: Sequence[str] | None
    ) -> Dataset:
        left_out = [self._position(column) for column in ignore]
        if features is None:
            goal = self._position(-1 if target is None else target)
            columns = [i for i in range(len(self.names)) if i != goal and i not in left_out]
            if not columns:
                raise ValueError(f"expected columns beside the target, got {listed(self.names)}")
        else:
            columns = [self._position(name, by_name_alone=True) for name in features]
            goal = self.names.index(target) if target in self.names else -1
        blocks: list[Array] = []
        cells: list[str] = []
        while block := list(islice(self._records(), ROWS_AT_A_TIME)):
            blocks.append(self._numbers(block, columns))
            if goal >= 0:
                cells += self._cells(block, goal, target_type, may_be_empty=features is not None)
        if not blocks:
            raise ValueError("expected rows, got none")
        y = _typed(cells, target_type) if cells and all(cells) else None
        names = tuple(self.names[i] for i in columns)
        name = self.names[goal] if goal >= 0 else str(target)
        return Dataset(np.concatenate(blocks), y, features=names, target=name, header=self.header)

    def _position(self, column: str | int, by_name_alone: bool = False) -> int:
        """Of a column that is named, or else numbered; names have no blanks around them."""
        column = column.strip() if isinstance(column, str) else column
        if isinstance(column, str) and column in self.names:
            return self.names.index(column)
        try:
            if not by_name_alone and "_" not in str(column):
                return range(len(self.names))[int(column)]
        except (ValueError, IndexError):
            pass
        raise ValueError(f"expected a column {column!r}, got {listed(self.names)}")

    def _parsed(self, reader: Any) -> Iterator[Record]:
        """What the reader finds. A quote that nobody closes would otherwise take in the rows that follow."""
        begin = 1
        try:
            for record in reader:
                begin = reader.line_num + 1
                yield reader.line_num, record
        except csv.Error as error:
            raise ValueError(
                f"line {begin}: expected a row whose quotes are closed before a separator or the line's end ({error})"
            ) from None

    def _records(self) -> Iterator[Record]:
        """The rows; blank lines are none."""
        rest, self.rest = self.rest, []
        for line, record in chain(rest, self.parsed):
            if record:
                if len(record) != len(self.names):
                    raise ValueError(f"line {line}: expected {len(self.names)} cells, got {len(record)}")
                yield line, record

    def _numbers(self, block: list[Record], columns: list[int]) -> Array:
        rows = [[record[i] for i in columns] for _, record in block]
        numbers = None
        if not any("_" in "".join(row) for row in rows):  # NumPy, too, would make 10 of 1_0
            with suppress(ValueError):
                numbers = np.array(rows, dtype=np.float64)
        if numbers is None:
            numbers = np.array([list(map(_number, row)) for row in rows])
        wrong = np.argwhere(~np.isfinite(numbers))
        if len(wrong):
            row, column = wrong[0]
            self._refuse(block[row], columns[column])
        return numbers

    def _cells(self, block: list[Record], goal: int, target_type: str, may_be_empty: bool) -> list[str]:
        for record in block:
            cell = record[1][goal].strip()
            if not (cell or may_be_empty) or (cell and target_type == "number" and not _is_number(cell)):
                self._refuse(record, goal)
        return [cells[goal].strip() for _, cells in block]

    def _refuse(self, record: Record, column: int) -> NoReturn:
        line, cells = record
        got = repr(cells[column]) if cells[column].strip() else "an empty cell"
        raise ValueError(f"line {line}, column {self.names[column]!r}: expected a finite number, got {got}")


def _number(cell: str) -> float:
    """NaN where it is none; 1_0 is a name in data, though Python would make 10 of it."""
    try:
        return math.nan if "_" in cell else float(cell)
    except ValueError:
        return math.nan


def _is_number(cell: str) -> bool:
    return math.isfinite(_number(cell))


def listed(items: Sequence[Any]) -> str:
    """`items`, separated by commas, the middle left out where they are many."""
    shown = list(map(str, items))
    return ", ".join(shown if len(shown) <= 12 else [*shown[:8], "...", *shown[-2:]])


def _typed(cells: list[str], target_type: str) -> Array:
    # A code such as 007 is a text: as a number it would lose its zeros.
    is_code = any(len(cell) > 1 and cell[0] == "0" and cell.isdigit() for cell in cells)
    if target_type == "text" or (target_type == "auto" and (is_code or not all(map(_is_number, cells)))):
        return np.array(cells)
    numbers = np.array([float(cell) for cell in cells])
    if (np.floor(numbers) != numbers).any():
        return numbers
    if (np.abs(numbers) < 2**53).all():
        return numbers.astype(np.int64)
    try:  # integers that differ may be one float from there on
        wholes = [int(number if abs(number) < 2**53 else cell) for number, cell in zip(numbers, cells, strict=True)]
    except ValueError:  # 1e30
        return numbers
    if min(wholes) >= -(2**63) and max(wholes) < 2**63:
        return np.array(wholes, dtype=np.int64)
    return numbers if target_type == "number" else np.array(cells)
