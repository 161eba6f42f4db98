"""Labels are looked through where they are, of any type and layout."""

import numpy as np
import pytest
from backsweep import _core

TYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "g", ">i2", ">i8", ">f8"]
CLASSES = 7


def by_numpy(y, classes):
    right = (y >= 0) & (y < classes) & (np.floor(y.astype(np.longdouble)) == y)  # NaN compares as false
    return None if right.all() else int(np.argmin(right))


def labels(m, dtype, classes=CLASSES):
    return np.random.default_rng(m).integers(0, min(classes, 2 if dtype == "?" else classes), m).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("m", [0, 1, 1023, 1024, 1025, 5000])
def test_right_labels_pass(m, dtype):
    y = labels(m, dtype)
    assert _core.first_no_label(y, CLASSES) is None
    assert _core.first_no_label(y[::-1], CLASSES) is None
    assert _core.first_no_label(np.stack([y, y], axis=1)[:, 1], CLASSES) is None


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("places", [[0], [1023], [1024], [2999], [17, 1500], [2047, 2048]])
def test_the_first_wrong_label_is_found(places, dtype):
    classes = 1 if dtype == "?" else CLASSES
    kind = np.dtype(dtype).kind
    wrongs = {"b": [True], "u": [7, 200], "i": [7, -1, 100, -128], "f": [7, -1, 0.5, np.nan, np.inf, -np.inf]}[kind]
    for wrong in wrongs:
        y = labels(3000, dtype, classes)
        y[places] = wrong
        assert _core.first_no_label(y, classes) == min(places) == by_numpy(y, classes)
        assert _core.first_no_label(y[::-1], classes) == by_numpy(y[::-1], classes) == 2999 - max(places)


def test_the_largest_numbers_are_no_labels():
    for y in (np.array([0, 2**64 - 1], dtype="u8"), np.array([0, 2**63 - 1]), np.array([0, -(2**63)])):
        assert _core.first_no_label(y, 2**31 - 1) == 1


def test_other_than_one_column_is_refused():
    with pytest.raises(ValueError, match="y must have one dimension"):
        _core.first_no_label(np.zeros((3, 1)), 2)
