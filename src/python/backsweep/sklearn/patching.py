"""The estimators in the place of scikit-learn's, for code that one does not want to edit."""

from __future__ import annotations

import importlib

from backsweep.sklearn.classifier import MLPClassifier
from backsweep.sklearn.regressor import MLPRegressor

PLACES = ("sklearn.neural_network", "sklearn.neural_network._multilayer_perceptron")
OURS = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}

_theirs: dict[tuple[str, str], type] = {}


def patch() -> None:
    """Let ``from sklearn.neural_network import MLPClassifier, MLPRegressor`` give this package's.

    Names imported before remain scikit-learn's. A second call does nothing more.
    """
    for place in PLACES:
        module = importlib.import_module(place)
        for name, ours in OURS.items():
            _theirs.setdefault((place, name), getattr(module, name))
            setattr(module, name, ours)


def unpatch() -> None:
    """Undo `patch`."""
    for (place, name), theirs in _theirs.items():
        setattr(importlib.import_module(place), name, theirs)
    _theirs.clear()
