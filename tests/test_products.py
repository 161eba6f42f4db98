"""The ways that products take where shapes ask for them, against the reference."""

import pytest
from checks import check_sweeps
from problems import DTYPES, Problem

TEAMS = [1, 2, None]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(300, 521, 3), (60, 1030, 3)], ids=str)
def test_shapes_of_rows_far_apart(shape, dtype):
    """Rows of W that lie so far apart that products copy their entries, and as many samples as make it worth while."""
    check_sweeps(Problem(shape, 140, "identity", loss="mean_squared_error", labels=False, dtype=dtype), TEAMS)
