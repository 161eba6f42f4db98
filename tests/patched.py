"""A plugin of pytest: with it, ``sklearn.neural_network`` holds this package's estimators before a test is read."""

from backsweep.sklearn import patch

patch()
