"""The readers of data: what they take, in which type it arrives, and what they say of what they refuse.

Longer than 300 lines because it has a table of the refusals of each format.
"""

import gzip
import io
import os
import struct
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from backsweep import datasets
from backsweep.datasets import load_digits, read, read_idx

DATA = Path(__file__).parents[2] / "shared" / "data"
MNIST, LETTERS = DATA / "mnist", DATA / "letter" / "letter-recognition.csv.gz"

TABLE = "size,weight,kind\n1,2.5,apple\n3,4.5,pear\n5,-6e1,apple\n"
X = [[1, 2.5], [3, 4.5], [5, -60]]


@pytest.fixture
def csv(tmp_path):
    """Writes a table and gives its path."""

    def write(text, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def idx_bytes(array, kind=0x08):
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


# The digits


def test_digits_are_bytes_and_all_there():
    X, y = load_digits()
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((1797, 64), np.uint8, (1797,), np.uint8)
    assert (X.min(), X.max(), int(X.sum())) == (0, 16, 561718)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_are_scikit_learns():
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    X, y = load_digits()
    np.testing.assert_array_equal(X, theirs.data)
    np.testing.assert_array_equal(y, theirs.target)


def test_digits_come_with_their_attribution():
    text = (Path(datasets.__file__).parent / "data" / "README.md").read_text()
    for part in ("Alpaydin", "Kaynak", "Optical Recognition of Handwritten Digits", "CC BY 4.0", "scikit-learn"):
        assert part in text


# CSV


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        "\ufeff" + TABLE,
        TABLE.replace("\n", "\n\n") + "\n",
        TABLE.replace("apple", '"apple"').replace("1,2.5", '" 1 ","2.5"'),
        gzip.compress(TABLE.encode()),
    ],
    ids=["plain", "crlf", "semicolons", "tabs", "mark", "blank lines", "quotes", "gzip"],
)
def test_csv_in_its_dialects(csv, text):
    data = read(csv(text))
    np.testing.assert_array_equal(data.X, X)
    assert data.y.tolist() == ["apple", "pear", "apple"]
    assert (data.features, data.target, data.header) == (("size", "weight"), "kind", True)
    assert data.X_test is data.y_test is None


def test_csv_of_many_blocks_is_in_order(csv, monkeypatch):
    monkeypatch.setattr(datasets, "ROWS_AT_A_TIME", 3)
    data = read(csv("a,b\n" + "".join(f"{i},{-i}\n" for i in range(10))))
    assert data.X[:, 0].tolist() == list(range(10))
    assert data.y.tolist() == [-i for i in range(10)]


@pytest.mark.parametrize(("target", "name"), [(None, "1"), ("b", "b"), ("1", "1"), (0, "7"), ("-2", "b"), (-3, "7")])
def test_target_is_a_name_before_it_is_a_position(csv, target, name):
    data = read(csv("7,b,1\n10,11,12\n20,21,22\n"), target=target)
    column = ["7", "b", "1"].index(name)
    assert data.target == name
    assert data.y.tolist() == [10 + column, 20 + column]
    assert data.X.tolist() == np.delete([[10, 11, 12], [20, 21, 22]], column, axis=1).tolist()


@pytest.mark.parametrize(
    ("text", "header", "rows"),
    [("1,2\n3,4\n", None, 2), ("1,2\n3,4\n", True, 1), ("1,x\n3,4\n", None, 1), ("1,x\n3,y\n", False, 2)],
)
def test_header_is_there_unless_all_are_numbers_or_it_is_said(csv, text, header, rows):
    data = read(csv(text), header=header)
    assert len(data.X) == len(data.y) == rows
    assert data.header == (rows == 1)
    assert data.features == (("1",) if rows == 1 else ("0",))


def test_ignored_columns_may_hold_anything(csv):
    path = csv("name,a,b,y\nAnn,1,2,3\nBob,4,,6\n")
    for ignore in (["name", "2"], [" name", "b "]):
        data = read(path, ignore=ignore)
        assert data.features == ("a",)
        assert data.X.tolist() == [[1], [4]]


@pytest.mark.parametrize(
    ("cells", "target_type", "dtype", "values"),
    [
        ("3 -4 5.0", "auto", np.int64, [3, -4, 5]),
        ("3 4.5", "auto", np.float64, [3, 4.5]),
        ("3 4.5", "text", "U", ["3", "4.5"]),
        ("3 x", "auto", "U", ["3", "x"]),
        ("007 010", "auto", "U", ["007", "010"]),
        ("007 010", "number", np.int64, [7, 10]),
        ("0 0.5", "auto", np.float64, [0, 0.5]),
        ("1e30 2", "auto", np.float64, [1e30, 2]),
        ("nan 2", "auto", "U", ["nan", "2"]),
        ("9007199254740992 9007199254740993 5.0", "auto", np.int64, [2**53, 2**53 + 1, 5]),
        ("9223372036854775807 -9223372036854775808", "number", np.int64, [2**63 - 1, -(2**63)]),
        ("9223372036854775808 5", "auto", "U", ["9223372036854775808", "5"]),
        ("9223372036854775808 5", "number", np.float64, [2.0**63, 5]),
        ("9007199254740993 0.5", "auto", np.float64, [2.0**53, 0.5]),
        ("1_0 10", "auto", "U", ["1_0", "10"]),
    ],
)
def test_target_has_the_type_that_its_cells_allow(csv, cells, target_type, dtype, values):
    y = read(csv("a,y\n" + "".join(f"1,{cell}\n" for cell in cells.split())), target_type=target_type).y
    assert y.dtype.kind == np.dtype(dtype).kind
    assert y.tolist() == values


def test_features_are_found_by_name_and_the_target_may_be_missing(csv):
    path = csv("id,weight,size\nx,2.5,1\ny,4.5,3\nz,-60,5\n")
    data = read(path, features=["size", "weight"], target="kind")
    np.testing.assert_array_equal(data.X, X)
    assert data.y is None
    assert read(csv(TABLE), features=["size", "weight"], target="kind").y.tolist() == ["apple", "pear", "apple"]
    assert read(csv(TABLE.replace("pear", "")), features=["size"], target="kind").y is None


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b,y\n1,2,3\n4,x,6\n", {}, "line 3, column 'b': expected a finite number, got 'x'"),
        ("a,b,y\n1,2,3\n\n,5,6\n", {}, "line 4, column 'a': expected a finite number, got an empty cell"),
        ("a,b,y\n1,nan,3\n", {}, "line 2, column 'b': expected a finite number, got 'nan'"),
        ("a,b,y\n1,1e999,3\n", {}, "line 2, column 'b': expected a finite number, got '1e999'"),
        ("1,2,3\n4,,6\n", {}, "line 2, column '1': expected a finite number, got an empty cell"),
        ("a,y\n1,2\n1, \n", {}, "line 3, column 'y': expected a finite number, got an empty cell"),
        ("a,y\n1,2\n1,?\n", {"target_type": "number"}, "line 3, column 'y': expected a finite number, got '?'"),
        ("a,y\n1,?\n", {"target_type": "number", "features": ["a"], "target": "y"}, "line 2, column 'y'"),
        ("a,b,y\n1,2\n", {}, "line 2: expected 3 cells, got 2"),
        ('a,b,y\n"1\n",2\n', {}, "line 3: expected 3 cells, got 2"),
        ('a,y\n1,2\n"3,4\n5,6\n', {}, "line 3: expected a row whose quotes are closed"),
        ('a,y\n1,"p\nq"\n2,"r\n3,s\n', {}, "line 4: expected a row whose quotes are closed"),
        ('a,y\n1,"p\n2,"q"\n', {}, "line 2: expected a row whose quotes are closed"),
        ('"a,y\n1,2\n', {}, "line 1: expected a row whose quotes are closed"),
        ('a,y\n1,2\n3,"4' + "\n5,6" * 50_000, {}, "line 3: expected a row whose quotes are closed"),
        ("a,b,a\n1,2,3\n", {}, "line 1: expected names that differ, got 'a' twice"),
        ("a,b\n", {}, "expected rows, got none"),
        ("", {}, "line 1: expected the names of columns, or a row, got nothing"),
        ("a\n1\n", {}, "expected columns beside the target, got a"),
        ("a,b\n1,2\n", {"target": "c"}, "expected a column 'c', got a, b"),
        ("a,b\n1,2\n", {"target": "2"}, "expected a column '2', got a, b"),
        ("a,b\n1,2\n", {"target": "0_1"}, "expected a column '0_1', got a, b"),
        ("a,y\n1,2\n1_2,3\n", {}, "line 3, column 'a': expected a finite number, got '1_2'"),
        ("a,y\n1,2\n1,1_0\n", {"target_type": "number"}, "line 3, column 'y': expected a finite number, got '1_0'"),
        ("a,b\n1,2\n", {"ignore": ["c"]}, "expected a column 'c', got a, b"),
        ("a,b\n1,2\n", {"features": ["a", "1"]}, "expected a column '1', got a, b"),
        ("a,b\n1,2\n", {"target_type": "numbers"}, "target_type must be one of auto, number, text"),
        (b"\xff\xfe\x00a", {}, "expected an NPZ, an IDX file or text in UTF-8"),
        (b"\x1f\x8b\x08", {}, "table.csv: "),
        (gzip.compress(TABLE.encode(), mtime=0)[:-12], {}, "table.csv: "),
        (b"PK\x03\x04 and no more", {}, "table.csv: "),
    ],
)
def test_csv_is_refused_with_line_and_column(csv, text, options, message):
    path = csv(text)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        read(path, **options)
    assert message in str(caught.value)
    assert str(path) in str(caught.value) or "target_type" in options


def test_missing_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv"):
        read(tmp_path / "nothing.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("content", [TABLE.encode(), gzip.compress(TABLE.encode())], ids=["plain", "gzip"])
def test_csv_comes_through_a_pipe(tmp_path, content):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[content])
    writer.start()
    data = read(pipe)
    writer.join()
    np.testing.assert_array_equal(data.X, X)


# NPZ


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("y", "values"),
    [
        (np.array([3, 1], dtype=np.int8), [3, 1]),
        (np.array([[3.5], [1]]), [3.5, 1]),
        (np.array(["b", "a"]), ["b", "a"]),
        (np.array([b"b", b"a"]), ["b", "a"]),
        (np.array([True, False]), [True, False]),
    ],
    ids=["integers", "a column", "texts", "bytes", "booleans"],
)
def test_npz_keeps_types_and_flattens_images(tmp_path, y, values):
    images = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
    data = read(npz(tmp_path / "a.npz", X=images, y=y, X_test=images[:1], y_test=y[:1]))
    assert data.X.dtype == data.X_test.dtype == np.int16
    assert data.X.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert data.X_test.tolist() == [[0, 1, 2, 3]]
    assert (data.y.tolist(), data.y_test.tolist()) == (values, values[:1])
    assert data.features is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": [1]}, "expected arrays X and y, got y"),
        ({"X": [[1.0]]}, "expected arrays X and y, got X"),
        ({"X": [[1.0]], "y": [1], "X_test": [[1.0]]}, "expected X_test and y_test together"),
        ({"X": [[1.0]], "y": [1, 2]}, "y must have one value for each of the 1 rows, got shape (2,)"),
        ({"X": [[1.0]], "y": [1], "X_test": [[1.0, 2.0]], "y_test": [1]}, "X_test must have the 1 columns of X, got 2"),
        ({"X": [1.0], "y": [1]}, "X must be rows of real numbers, got float64 of shape (1,)"),
        ({"X": [["a"]], "y": [1]}, "X must be rows of real numbers, got <U1"),
        ({"X": [[1j]], "y": [1]}, "X must be rows of real numbers, got complex128"),
        ({"X": np.zeros((0, 3)), "y": []}, "X must have at least one row and one column, got shape (0, 3)"),
        ({"X": [[1.0, np.nan]], "y": [1]}, "X must be finite, got X[0, 1] = nan"),
        ({"X": [[1.0]], "y": [np.inf]}, "y must be finite, got y[0] = inf"),
        ({"X": [[1.0]], "y": [1j]}, "y must hold real numbers or texts, got complex128"),
        ({"X": [[1.0]], "y": np.array([{}], dtype=object)}, "allow_pickle=False"),
    ],
)
def test_npz_is_refused(tmp_path, arrays, message):
    path = npz(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=r"a\.npz: ") as caught:
        read(path)
    assert message in str(caught.value)


def npz_bytes(compression=zipfile.ZIP_STORED, header=lambda text: text):
    """An NPZ of X (4, 3) and y, the text of X's header changed."""
    members = {"X": io.BytesIO(), "y": io.BytesIO()}
    np.save(members["X"], np.arange(12.0).reshape(4, 3))
    np.save(members["y"], np.array([0, 1, 0, 1]))
    array = members["X"].getvalue()
    text = header(array[10:128].decode()).encode()
    members["X"] = io.BytesIO(array[:8] + struct.pack("<H", len(text)) + text + array[128:])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(f"{name}.npy", member.getvalue())
    return packed.getvalue()


def with_byte(content, place, value):
    """`content` with another byte at a place of X's record in the ZIP's directory."""
    place += content.index(b"PK\x01\x02")
    return content[:place] + bytes([value]) + content[place + 1 :]


def with_body(content):
    """`content` with other bytes where those of X are packed."""
    place = content.index(b"X.npy") + 14  # behind the settings of LZMA
    return content[:place] + b"\xff" * 30 + content[place + 30 :]


def shape(text):
    return lambda header: header.replace("(4, 3)", text)


@pytest.mark.parametrize(
    "content",
    [
        with_byte(npz_bytes(), 6, 99),
        with_byte(npz_bytes(), 8, 1),
        with_byte(npz_bytes(), 10, 99),
        with_body(npz_bytes(zipfile.ZIP_DEFLATED)),
        with_body(npz_bytes(zipfile.ZIP_BZIP2)),
        with_body(npz_bytes(zipfile.ZIP_LZMA)),
        npz_bytes(header=lambda text: text[:30]),
        npz_bytes(header=shape(f"({2**63}, 3)")),
        npz_bytes(header=shape("(True, 2)")),
        npz_bytes(header=shape("('4', 3)")),
        npz_bytes(header=shape("(4L, 3")),
    ],
    ids=["ZIP's version", "encrypted", "unknown packing", "deflate", "bzip2", "lzma", "cut header", "beyond int64",
         "a truth", "a text", "an open bracket"],
)  # fmt: skip
def test_damaged_npz_is_refused_by_name(csv, content):
    path = csv(content, "a.npz")
    with pytest.raises(ValueError, match=r"a\.npz: "):
        read(path)


def test_npz_with_other_bytes_in_place_of_an_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("X", b"1 2 3")
        archive.writestr("y", b"1")
    with pytest.raises(ValueError, match=r"a\.npz: X must be an array in NumPy's format"):
        read(tmp_path / "a.npz")


def test_npz_of_python_2_comes_without_warnings(csv):
    assert read(csv(npz_bytes(header=shape("(4L, 3L)")), "a.npz")).X.shape == (4, 3)


def test_npz_for_prediction_needs_no_target(tmp_path):
    data = read(npz(tmp_path / "a.npz", X=np.eye(2)), features=["0", "1"])
    assert data.y is None
    assert data.X.tolist() == [[1, 0], [0, 1]]


# IDX

IDX = [(0x08, ">u1"), (0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]


@pytest.mark.parametrize(("kind", "dtype"), IDX, ids=lambda value: str(value))
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_of_every_type(csv, kind, dtype, pack):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    found = read_idx(csv(pack(idx_bytes(array, kind)), "file"))
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:3],
        lambda data: data[:6],
        lambda data: b"",
        lambda data: b"\1" + data[1:],
        lambda data: data[:2] + b"\x07" + data[3:],
        lambda data: data[:4] + b"\xff\xff\xff\xff" * 2 + data[12:],
    ],
)
def test_damaged_idx_is_refused(csv, damage):
    path = csv(damage(idx_bytes(np.zeros((2, 3), dtype=np.uint8))), "file")
    with pytest.raises(ValueError, match="file: expected an IDX"):
        read_idx(path)


def write_pair(folder, part, m=3, pack=bytes, ending=""):
    folder.mkdir(exist_ok=True)
    images = np.arange(4 * m, dtype=np.uint8).reshape(m, 2, 2)
    (folder / f"{part}-images-idx3-ubyte{ending}").write_bytes(pack(idx_bytes(images)))
    (folder / f"{part}-labels-idx1-ubyte{ending}").write_bytes(pack(idx_bytes(np.arange(m, dtype=np.uint8))))


@pytest.mark.parametrize("test", ["t10k", "test"])
@pytest.mark.parametrize(("pack", "ending"), [(bytes, ""), (gzip.compress, ".gz")])
def test_folder_of_idx_files(tmp_path, test, pack, ending):
    folder = tmp_path / "images"
    write_pair(folder, "train", 3, pack, ending)
    assert read(folder).X_test is None
    write_pair(folder, test, 2, pack, ending)
    data = read(folder)
    assert data.X.dtype == data.y.dtype == data.X_test.dtype == np.uint8
    assert data.X.tolist() == np.arange(12).reshape(3, 4).tolist()
    assert (data.y.tolist(), data.X_test.shape, data.y_test.tolist()) == ([0, 1, 2], (2, 4), [0, 1])


def test_unpacked_file_stands_for_its_gzip(tmp_path):
    write_pair(tmp_path, "train", 3)
    write_pair(tmp_path, "train", 2, gzip.compress, ".gz")
    assert len(read(tmp_path).X) == 3


def test_one_idx_file_is_rows_to_predict(tmp_path):
    write_pair(tmp_path, "train")
    data = read(tmp_path / "train-images-idx3-ubyte", features=["0"])
    assert data.X.shape == (3, 4)
    assert data.y is None


def test_folder_without_a_pair_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected IDX files named like train-images-idx3-ubyte"):
        read(tmp_path)
    write_pair(tmp_path, "train")
    write_pair(tmp_path, "other-train")
    with pytest.raises(ValueError, match=r"expected one file of images for train, got other-train\S+, train-"):
        read(tmp_path)
    for path in tmp_path.glob("other-*"):
        path.unlink()
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match="got train-images-idx3-ubyte alone"):
        read(tmp_path)


# Real data


@pytest.mark.skipif(not MNIST.is_dir(), reason="needs MNIST beside the checkout")
def test_mnist_stays_bytes():
    data = read(MNIST)
    assert (data.X.shape, data.X.dtype, data.X_test.shape) == ((60000, 784), np.uint8, (10000, 784))
    assert data.y[:6].tolist() == [5, 0, 4, 1, 9, 2]
    assert data.y_test[:3].tolist() == [7, 2, 1]


@pytest.mark.skipif(not LETTERS.is_file(), reason="needs the letters beside the checkout")
def test_letters_have_names_that_are_numbers():
    data = read(LETTERS, target=0)
    assert (data.X.shape, data.target, data.features) == ((20000, 16), "Letter", tuple(map(str, range(1, 17))))
    assert data.X[0].tolist() == [2, 8, 3, 5, 1, 8, 13, 0, 6, 6, 10, 8, 0, 8, 0, 8]
    assert "".join(sorted(set(data.y.tolist()))) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
