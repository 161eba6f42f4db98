"""`MLPRegressor`: scikit-learn's, on compiled training."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import check_array, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import validate_data

from backsweep._checks import Array
from backsweep.sklearn.attempt import Attempt
from backsweep.sklearn.objectives import Objective, objective
from backsweep.sklearn.perceptron import Perceptron, can_go_on


class MLPRegressor(RegressorMixin, Perceptron):
    """A regressor: a fully connected network under the squared error, or under another loss.

    All of scikit-learn's parameters, attributes and methods have scikit-learn's meaning, and the same seed gives
    its initial weights, orders of rows and, to rounding, its loss curve: see
    `sklearn.neural_network.MLPRegressor`. Described here is what is new.

    Parameters
    ----------
    loss : str
        Beside scikit-learn's "squared_error" and "poisson": "absolute_error", and "huber" with δ = 1, both means
        over rows and outputs.
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
        "loss": [StrOptions({"squared_error", "poisson", "absolute_error", "huber"})],
    }

    def __init__(
        self,
        loss: str = "squared_error",
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
        return objective(self._descended(), self.n_outputs_)

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, y_numeric=True,
            dtype=(np.float64, np.float32), reset=reset,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, self._admitted(y)

    def _admitted(self, y: Array) -> Array:
        if self._descended() == "poisson" and (y < 0).any():
            raise ValueError(f"y must be at least 0 with loss='poisson', got {y.min()}")
        return y

    def _encoded(self, y: Any) -> Array:
        return self._admitted(check_array(y, ensure_2d=False, dtype="numeric"))

    def _score(self, X: Array, y: Array, sample_weight: Array | None) -> float:
        outputs = self._outputs(X)
        if not np.isfinite(outputs).all():
            return np.nan
        return float(r2_score(y, outputs, sample_weight=sample_weight))

    @can_go_on
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """One epoch over the given rows.

        Parameters
        ----------
        X : array, frame or sparse matrix (m, n)
        y : (m,) or (m, k)
        sample_weight : (m,), optional

        Returns
        -------
        self
        """
        with Attempt(self) as attempt:
            self._fit(attempt, X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """The values of each row: (m, k), or (m,) for one output."""
        outputs = self._predicted(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs
