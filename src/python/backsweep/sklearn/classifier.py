"""`MLPClassifier`: scikit-learn's, on compiled training."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from backsweep._checks import Array
from backsweep.sklearn.attempt import Attempt
from backsweep.sklearn.objectives import Objective, objective
from backsweep.sklearn.perceptron import Perceptron, can_go_on
from backsweep.sklearn.stochastic import Rows


class MLPClassifier(ClassifierMixin, Perceptron):
    """A classifier: a fully connected network under a cross-entropy.

    All of scikit-learn's parameters, attributes and methods have scikit-learn's meaning, and the same seed gives
    its initial weights, orders of rows and, to rounding, its loss curve: see
    `sklearn.neural_network.MLPClassifier`. Described here is what is new.

    Parameters
    ----------
    class_weight : dict or "balanced", optional
        Weights of the classes, as `sklearn.utils.compute_sample_weight` has them; they multiply `sample_weight`.
    activation : str or list of str
        σ of the hidden layers; a list has one for each. Beside scikit-learn's four names every name of
        `Dense` is known.
    learning_rate : str or callable
        Also a function of the step, counted from 0, that gives the learning rate, with solver="sgd" or "adam".
    layer_norm : bool
        Put a `LayerNorm` between each hidden layer's affine map and its σ.
    batch_norm : bool
        Put a `BatchNorm` there in its place: training normalises by each batch, prediction by running statistics,
        `Network.running_mean` and `Network.running_var`. With solver="sgd" or "adam".
    dropout : float or list of float
        The share of a hidden layer's units that each step of training leaves out, as `Dropout` does; a list has
        one for each. With solver="sgd" or "adam".
    weight_decay : float
        Decoupled weight decay of all parameters, with solver="adam" (Loshchilov and Hutter, 2019); `alpha` is
        a penalty in the loss.
    clip_norm : float, optional
        Scale a batch's gradient down to this norm where it is longer, with solver="sgd" or "adam".
    coefs_init, intercepts_init : lists of arrays, optional
        Initial parameters, shaped as `coefs_` and `intercepts_`, in place of those that are drawn.
    n_jobs : int, optional
        Threads of a step. Left out, or -1, the work decides; results are the same bits.
    progress : bool or "auto"
        A progress bar over epochs, on standard error.

    Attributes
    ----------
    network_ : Network
        The network underneath. `coefs_` and `intercepts_` are the ``W`` and ``b`` of its `Dense` layers.
    scales_, shifts_ : lists of arrays (n_i,)
        γ and β of its normalising layers, where it has some.
    validation_loss_curve_ : list of float
        The loss of the rows X_val after each epoch, without the penalty, where `fit` was given some.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Perceptron._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }
    loss = "log_loss"
    class_weight: Any

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: Any = None,
        layer_norm: bool = False,
        batch_norm: bool = False,
        dropout: Any = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        coefs_init: Any = None,
        intercepts_init: Any = None,
        n_jobs: int | None = None,
        progress: Any = False,
    ) -> None:
        self._keep(locals())

    def _objective(self) -> Objective:
        return objective(self._descended(), self.n_outputs_, multiclass=self._label_binarizer.y_type_ == "multiclass")

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=(np.float64, np.float32), reset=reset
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            classes = unique_labels(y)
            if self.warm_start:
                if set(classes) != set(self.classes_):
                    raise ValueError(
                        "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                        f"Previously got {self.classes_}, `y` has {classes}"
                    )
            elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
                )
        return X, self._encoded(y)

    def _encoded(self, y: Any) -> Array:
        """Indicators of the classes (m, k), or of the second of two (m, 1)."""
        plain = isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "biuU"
        if plain and len(self.classes_) > 1:  # what follows takes its time
            classes = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
            indicators: Array = y[:, np.newaxis] == classes
            return indicators
        encoded: Array = self._label_binarizer.transform(y).astype(bool)
        return encoded

    def _validation_rows(self, X: Any, y: Any, sample_weight: Any) -> Rows:
        self._require_known(y)
        return super()._validation_rows(X, y, sample_weight)

    def _require_known(self, y: Any) -> None:
        """Refuse rows to validate with of a class that there was not: no indicator would be set, as of the first."""
        labels = np.asarray(y)
        one_each = labels.ndim == 1 or (labels.ndim == 2 and labels.shape[1] == 1)
        if not one_each or self._label_binarizer.y_type_.startswith("multilabel"):
            return  # `_encoded` says what is wrong, if anything
        labels = labels.ravel()
        unknown = list(dict.fromkeys(labels[~(labels[:, np.newaxis] == self.classes_).any(axis=1)].tolist()))
        if unknown:
            shown = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
            raise ValueError(f"y_val must hold classes that y has, {self.classes_.tolist()}, got {shown}")

    def _weights(self, y: Any, sample_weight: Array | None) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        of_classes: Array = compute_sample_weight(self.class_weight, y)
        return of_classes if sample_weight is None else of_classes * sample_weight

    def _score(self, X: Array, y: Array, sample_weight: Array | None) -> float:
        outputs = self._outputs(X)
        if not np.isfinite(outputs).all():
            return np.nan
        named = self._label_binarizer.inverse_transform(y)
        return float(accuracy_score(named, self._named(outputs), sample_weight=sample_weight))

    def _named(self, outputs: Array) -> Array:
        """The classes of some rows' outputs."""
        if self.out_activation_ == "softmax":
            classes: Array = self.classes_[outputs.argmax(axis=1)]
            return classes
        values = outputs.ravel() if self.n_outputs_ == 1 else outputs
        if self._label_binarizer.y_type_ == "binary" and len(self.classes_) == 2:  # what follows takes its time
            named: Array = self.classes_[(values > 0.5).astype(np.int64)]
        else:
            named = self._label_binarizer.inverse_transform(values)
        return named

    @can_go_on
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """One epoch over the given rows.

        Parameters
        ----------
        X : array, frame or sparse matrix (m, n)
        y : (m,)
        sample_weight : (m,), optional
        classes : (k,), optional
            All classes that there will be; needed in the first call.

        Returns
        -------
        self
        """
        with Attempt(self) as attempt:
            if _check_partial_fit_first_call(self, classes):
                self._label_binarizer = LabelBinarizer()
                self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else classes)
            self._fit(attempt, X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """The class of each row (m,), or indicators (m, k) where a row has several."""
        return self._named(self._predicted(X))

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class (m, k), in the order of `classes_`."""
        outputs = self._predicted(X)
        if self.n_outputs_ > 1:
            return outputs
        pair: Array = np.hstack([1 - outputs, outputs])
        return pair

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`."""
        probabilities = self.predict_proba(X)
        logarithms: Array = np.log(probabilities, out=probabilities)
        return logarithms

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
