"""A drop-in for `sklearn.neural_network`: the estimators, and what puts them in its place.

Needs scikit-learn (``pip install "backsweep[sklearn]"``); the rest of the package never imports it.
"""

from backsweep.sklearn.classifier import MLPClassifier
from backsweep.sklearn.patching import patch, unpatch
from backsweep.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "patch", "unpatch"]
