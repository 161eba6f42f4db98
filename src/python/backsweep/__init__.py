"""Fully connected networks on CPUs: fast, exact, and readable as the textbook.

>>> import backsweep as bs
>>> net = bs.Network([784, 512, 10], activation="relu", loss="softmax_cross_entropy", seed=0)
>>> net.fit(X, y, epochs=5, optimizer=bs.Adam(1e-3))  # doctest: +SKIP

`functional` holds the compiled formulas, value beside gradient; `reference` the same in pure NumPy; `calculus` the
notes' matrix derivatives. `grad` and `vjp` differentiate any function that is written in these and in NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from backsweep import _loading  # noqa: F401 - before all that imports the core

# isort: split
from backsweep import functional
from backsweep._core import __version__
from backsweep.config import num_threads, set_num_threads, show_config
from backsweep.explain import explain
from backsweep.history import History
from backsweep.layers import BatchNorm, Dense, Dropout, LayerNorm
from backsweep.network import Gradients, Network
from backsweep.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from backsweep.training import DivergenceError

if TYPE_CHECKING:
    from backsweep import calculus, reference
    from backsweep._explanation import Explanation
    from backsweep._gradient_report import GradientReport
    from backsweep.autodiff import grad, jacobian, value_and_grad, vjp
    from backsweep.gradcheck import check_gradients
    from backsweep.primitives import primitive
    from backsweep.reference.calculus import TwoLayerGradients
    from backsweep.two_layer import two_layer_gradients

__all__ = [
    "SGD", "Adam", "AdamW", "BatchNorm", "Dense", "DivergenceError", "Dropout", "Explanation", "GradientReport",
    "Gradients", "History", "LayerNorm", "Network", "Optimizer", "RMSprop", "TwoLayerGradients", "__version__",
    "calculus", "check_gradients", "explain", "functional", "grad", "jacobian", "num_threads", "primitive", "reference",
    "set_num_threads", "show_config", "two_layer_gradients", "value_and_grad", "vjp",
]  # fmt: skip

# Imported when they are first asked for: who trains a network waits for none of them.
_LATER = {
    "Explanation": "_explanation", "GradientReport": "_gradient_report", "TwoLayerGradients": "reference.calculus",
    "check_gradients": "gradcheck", "grad": "autodiff", "jacobian": "autodiff", "primitive": "primitives",
    "two_layer_gradients": "two_layer", "value_and_grad": "autodiff", "vjp": "autodiff",
}  # fmt: skip
_MODULES_LATER = ("calculus", "reference")


def __getattr__(name: str) -> Any:
    if name in _MODULES_LATER:
        return import_module(f"backsweep.{name}")
    if name not in _LATER:
        raise AttributeError(f"module 'backsweep' has no attribute {name!r}")
    return getattr(import_module(f"backsweep.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
