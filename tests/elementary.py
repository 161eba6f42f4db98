"""How exact the compiled elementary functions are: the distance from the true value in units in the last place."""

import math

import numpy as np

ULPS = 4  # that float32 may be off

# Each function, as float64 knows it, and the arguments that it is made for.
FUNCTIONS = {
    "exp": (np.exp, -np.inf, np.inf),
    "expm1": (np.expm1, -np.inf, 88.0),
    "log": (np.log, np.finfo(np.float32).tiny, np.inf),
    "log1p": (np.log1p, 0.0, 1.0),
    "tanh": (np.tanh, -np.inf, np.inf),
    "logistic": (lambda x: 1 / (1 + np.exp(-x)), -np.inf, np.inf),
    "erfc": (np.vectorize(math.erfc, otypes=[np.float64]), -np.inf, np.inf),
}


def distance(got, true):
    """Of float32 results from the true values, in units in the last place of the latter."""
    _, exponent = np.frexp(true)
    unit = np.ldexp(1.0, np.maximum(exponent - 24, -149))
    with np.errstate(over="ignore", invalid="ignore"):
        beyond = np.isinf(true.astype(np.float32))
        error = np.abs(got.astype(np.float64) - true) / unit
    # Where the true value is out of range, so must be the result.
    return np.where(beyond, np.where(got == true.astype(np.float32), 0.0, np.inf), error)
