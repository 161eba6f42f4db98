"""Loads the compiled core so that no thread starts: to be imported before anything that imports `_core`.

OpenBLAS makes a thread for each core when it is loaded, with a stack and buffers, unless the environment says
otherwise. Here BLAS is only ever called on one thread; the team that trains is the core's own.
"""

import os
from importlib import import_module

import numpy  # noqa: F401 - first, so that NumPy's own OpenBLAS keeps its threads

_VARIABLE = "OPENBLAS_NUM_THREADS"

_given = os.environ.get(_VARIABLE)
os.environ[_VARIABLE] = "1"
try:
    import_module("backsweep._core")
finally:
    if _given is None:
        del os.environ[_VARIABLE]
    else:
        os.environ[_VARIABLE] = _given
