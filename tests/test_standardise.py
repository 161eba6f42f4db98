"""Columns are measured as they are: what varies has its deviation, what does not has scale 1, however many rows."""

import backsweep as bs
import numpy as np
import pytest

ROWS = [1, 2, 1000, 300_000]  # the last are several pieces
MEANS = [0.0, 0.1, -1 / 3 * 1e-5, 1.7e9 + 0.3, -7.7e15, 1e300 / 3]


def measured(X):
    net = bs.Network([X.shape[1], 2])
    net.standardise(X)
    assert net.input_mean.dtype == net.input_scale.dtype == np.float64
    return net.input_mean, net.input_scale


@pytest.mark.parametrize("m", ROWS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble", ">f8", "int64", "uint64", "bool"])
def test_a_constant_column_has_scale_1_and_its_mean_to_the_bit(m, dtype):
    means = np.array([mean for mean in MEANS if abs(mean) < 1e30 or dtype in ("float64", ">f8", "longdouble")])
    if dtype == "float16":
        means /= 1e12
    values = (np.abs(means) if dtype == "uint64" else means).astype(dtype)
    for order in "CF":
        mean, scale = measured(np.array(np.broadcast_to(values, (m, len(values))), order=order))
        assert np.array_equal(mean, values.astype(np.float64))
        assert (scale == 1).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_times_in_seconds_vary(dtype):
    """A million rows of one afternoon, in the unit of 1970: small beside their mean, large beside its rounding."""
    X = 1.7e9 + np.random.default_rng(0).normal(size=(10**6, 2)) * (0.2 if dtype == "float64" else 1e4)
    X = X.astype(dtype)
    mean, scale = measured(X)
    about = X.astype(np.float64) - 1.7e9
    np.testing.assert_allclose(mean, 1.7e9 + about.mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(scale, about.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize("m", [2, 1000, 300_000])
@pytest.mark.parametrize("mean", [0.1, -1 / 3 * 1e-5, 1.7e9])
@pytest.mark.parametrize("share", [1e-12, 1e-3, 10.0])
def test_what_varies_has_its_deviation(m, mean, share):
    deviations = np.where(np.arange(m) % 2, 1.0, -1.0) * abs(mean) * share
    found, scale = measured((mean + deviations)[:, np.newaxis])
    rounding = np.finfo(np.float64).eps * (1 + share) / share  # of the entries, beside their deviation
    np.testing.assert_allclose(scale, abs(mean) * share, rtol=m * 1e-15 + 2 * rounding)
    assert abs(found[0] - mean) <= scale[0] * (m * 1e-15 + 2 * rounding)


def test_one_number_rounded_in_two_ways_is_a_constant():
    column = np.where(np.arange(1000) % 2, 0.1 + 0.2, 0.3)
    assert len(set(column)) == 2
    assert measured(column[:, np.newaxis])[1] == 1


def test_a_first_row_far_from_the_others_spoils_nothing():
    X = np.ones((1000, 1))
    X[0] = 1e12
    mean, scale = measured(X)
    np.testing.assert_allclose(mean, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale, X.std(axis=0), rtol=1e-12)
