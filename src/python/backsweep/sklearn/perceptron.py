"""What the two estimators share: scikit-learn's contract on the outside, a `Network` within.

Longer than 300 lines because scikit-learn reads parameters, methods and attributes off one class.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context, is_classifier
from sklearn.callback import CallbackSupportMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from backsweep import _checks, _core
from backsweep._checks import Array
from backsweep.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm
from backsweep.network import Network
from backsweep.sklearn import inside, lbfgs
from backsweep.sklearn.attempt import Attempt
from backsweep.sklearn.objectives import Objective, constant_of_poisson
from backsweep.sklearn.signs import check_weights
from backsweep.sklearn.stochastic import NOT_FINITE, Descent, Rows, train
from backsweep.sklearn.tasks import Told, Untold

STOCHASTIC = ("sgd", "adam")
OUTPUTS: dict[str, Callable[[Array], Array]] = {
    "softmax": _core.softmax,
    "logistic": lambda Z: _core.activation_forward("sigmoid", Z),
    "exp": np.exp,
    "identity": lambda Z: Z,
}
LISTS = ("coefs_", "intercepts_", "scales_", "shifts_")  # the attributes that are views of the network's parameters
BESIDE = ("_draws", "buffers")  # and what else the network keeps from one step to the next
RECORDS = ("loss_curve_", "validation_loss_curve_", "validation_scores_")  # of the epochs of a training
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def stochastic(estimator: Perceptron) -> bool:
    """Whether the estimator learns by batches, and so can go on with further ones."""
    if estimator.solver not in STOCHASTIC:
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True


class Perceptron(CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A fully connected network as an estimator; `MLPClassifier` and `MLPRegressor` say what it is for."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({*_core.activations, "logistic"}), list, tuple],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), callable],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "layer_norm": ["boolean"],
        "batch_norm": ["boolean"],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "coefs_init": [list, tuple, None],
        "intercepts_init": [list, tuple, None],
        "n_jobs": [Integral, None],
        "progress": ["boolean", StrOptions({"auto"})],
    }

    # Set by the subclasses' __init__, or by fit.
    loss: Any
    hidden_layer_sizes: Any
    activation: Any
    solver: str
    alpha: float
    batch_size: Any
    learning_rate: Any
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: Any
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    layer_norm: bool
    batch_norm: bool
    dropout: Any
    weight_decay: float
    clip_norm: float | None
    coefs_init: Any
    intercepts_init: Any
    n_jobs: int | None
    progress: Any
    coefs_: list[Array]
    intercepts_: list[Array]
    scales_: list[Array]
    shifts_: list[Array]
    validation_loss_curve_: list[float]
    n_outputs_: int
    _optimizer: Descent
    _chain: list[int | Layer]
    _network: Network
    _views: tuple[list[Array], ...]

    def _keep(self, arguments: dict[str, Any]) -> None:
        """The arguments of __init__, as they are: scikit-learn wants each under its name, and nothing else."""
        for name, value in arguments.items():
            if name != "self":
                setattr(self, name, value)

    def _descended(self) -> str:
        """The loss that the network is trained on, whatever the parameter says since: the network knows no other."""
        name: str = self.__dict__.get("_loss", self.loss)  # unknown to a pickle of an older version
        return name

    # What the subclasses know

    def _objective(self) -> Objective:
        raise NotImplementedError

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        raise NotImplementedError

    def _weights(self, y: Any, sample_weight: Array | None) -> Array | None:
        """What a row counts, beside the weight that `fit` was given."""
        return sample_weight

    def _encoded(self, y: Any) -> Array:
        """The targets (m, k) of rows that are not trained on."""
        raise NotImplementedError

    def _score(self, X: Array, y: Array, sample_weight: Array | None) -> float:
        """The score of rows whose targets are encoded."""
        raise NotImplementedError

    # Fitting

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Perceptron:
        """Fit the network to X and y.

        Parameters
        ----------
        X : array, frame or sparse matrix (m, n)
        y : (m,) or (m, k)
            Classes, indicators of several classes, or values.
        sample_weight : (m,), optional
        X_val, y_val, sample_weight_val : as X, y and sample_weight, optional
            Rows to validate with: their loss after each epoch is `validation_loss_curve_`, and
            `early_stopping` looks at their score instead of holding out a part of X. With solver="sgd" or "adam".

        Returns
        -------
        self
        """
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together, got one of them")
        validation = None if X_val is None else (X_val, y_val, sample_weight_val)
        with Attempt(self) as attempt:
            self._fit(attempt, X, y, sample_weight, incremental=False, validation=validation)
        return self

    def _fit(
        self, attempt: Attempt, X: Any, y: Any, sample_weight: Any, *, incremental: bool,
        validation: tuple[Any, Any, Any] | None = None,
    ) -> None:  # fmt: skip
        sizes = self._sizes()
        if self.solver == "lbfgs":
            lbfgs.refuse_unheeded(self, validates=validation is not None)
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        if first:
            self._loss = self.loss
        given = y
        X, y = self._validate_input(X, y, incremental, reset=first)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        sample_weight = self._weights(given, sample_weight)
        if y.ndim == 1:
            y = y.reshape(-1, 1)
        if not first and y.shape[1] != self.n_outputs_:
            raise ValueError(f"y must have {self.n_outputs_} outputs, as in the fit before, got {y.shape[1]}")
        self.n_outputs_ = y.shape[1]
        self._random_state = check_random_state(self.random_state)
        if first:
            self._initialise([X.shape[1], *sizes, self.n_outputs_], X.dtype)
        network = self.network_
        # A frame's columns lie together: rows drawn from those would be read entry by entry, in each epoch again.
        rows = Rows(np.ascontiguousarray(dense(X)), y, sample_weight)
        name = "sample_weight" if getattr(self, "class_weight", None) is None else "sample_weight times class_weight"
        check_weights(rows.sample_weight, network, name)
        if self.solver == "lbfgs":
            lbfgs.minimise(self, network, rows, attempt)
        else:
            if self.early_stopping and incremental:
                raise ValueError("partial_fit does not support early_stopping=True")
            held_out = None
            if validation is not None:
                held_out = self._validation_rows(*validation)
            elif self.early_stopping:
                rows, held_out = self._split(rows)
                for part, whose in ((rows, "the rows trained on"), (held_out, "the rows held out")):
                    check_weights(part.sample_weight, network, f"{name} of {whose}")
            self._ready_records()
            train(self, network, rows, held_out, attempt, incremental=incremental)
            self._continues = incremental
        self._take_views()
        if not network._is_finite(self._threads()):
            raise ValueError(NOT_FINITE)

    def _sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if any(isinstance(size, (bool, np.bool_)) or not isinstance(size, Integral) for size in sizes):
            raise TypeError(f"hidden_layer_sizes must be integers, got {sizes}")
        if any(size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [int(size) for size in sizes]

    def _activations(self, n_hidden: int) -> list[str]:
        """The name of each hidden layer's σ, as scikit-learn has it."""
        if isinstance(self.activation, str):
            return [self.activation] * n_hidden
        if len(self.activation) != n_hidden:
            raise ValueError(
                f"activation must be a name, or a list of one for each of {n_hidden} hidden layers, "
                f"got {self.activation!r}"
            )
        return list(self.activation)

    def _dropout(self, n_hidden: int) -> list[float]:
        """The share of each hidden layer's units that a step of training leaves out."""
        listed = isinstance(self.dropout, (list, tuple))
        shares = list(self.dropout) if listed else [self.dropout] * n_hidden
        fits = [isinstance(p, Real) and not isinstance(p, bool) and 0 <= float(p) < 1 for p in shares]
        if len(shares) != n_hidden or not all(fits):
            raise ValueError(
                f"dropout must be at least 0 and below 1, or a list of such for each of {n_hidden} hidden layers, "
                f"got {self.dropout!r}"
            )
        if any(shares) and self.solver == "lbfgs":
            raise ValueError(f"dropout must be 0 with solver='lbfgs', which needs one function, got {self.dropout!r}")
        return [float(p) for p in shares]

    def _norm(self) -> type[LayerNorm] | type[BatchNorm] | None:
        if self.batch_norm and self.layer_norm:
            raise ValueError("batch_norm must be False with layer_norm=True: one of them normalises a layer")
        if self.batch_norm and self.solver == "lbfgs":
            raise ValueError("batch_norm must be False with solver='lbfgs', which takes no batches")
        return BatchNorm if self.batch_norm else LayerNorm if self.layer_norm else None

    def _layers(self, widths: list[int]) -> list[int | Layer]:
        """The network's layers: each hidden one is an affine map, what normalises it, σ, and what drops units."""
        *hidden, n_out = widths[1:]
        layers: list[int | Layer] = [widths[0]]
        shares, norm = self._dropout(len(hidden)), self._norm()
        for width, name, p in zip(hidden, self._activations(len(hidden)), shares, strict=True):
            sigma = {"logistic": "sigmoid"}.get(name, name)
            layers += [Dense(width, "identity"), norm(sigma)] if norm is not None else [Dense(width, sigma)]
            layers += [Dropout(p)] if p > 0 else []
        return [*layers, Dense(n_out, "identity")]

    def _initialise(self, widths: list[int], dtype: np.dtype[Any]) -> None:
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(widths)
        self.out_activation_ = self._objective().out_activation
        self.coefs_, self.intercepts_ = [], []
        activations = self._activations(len(widths) - 2)
        drawn_for = [*activations, activations[-1] if activations else self.activation]
        for n_in, n_out, sigma in zip(widths, widths[1:], drawn_for, strict=False):
            # Glorot and Bengio (2010), with scikit-learn's bound and in its order of drawing.
            bound = np.sqrt((2.0 if sigma == "logistic" else 6.0) / (n_in + n_out))
            W = self._random_state.uniform(-bound, bound, (n_in, n_out))
            b = self._random_state.uniform(-bound, bound, n_out)
            self.coefs_.append(W.astype(dtype, copy=False))
            self.intercepts_.append(b.astype(dtype, copy=False))
        self._take_initial("coefs_init", self.coefs_init, self.coefs_)
        self._take_initial("intercepts_init", self.intercepts_init, self.intercepts_)
        self.__dict__.pop("_beside", None)
        self._build(self._layers(widths), dtype)
        self.scales_, self.shifts_ = self._views[2:]
        self._restore_network()
        self._take_views()
        if any(isinstance(layer, Dropout) for layer in self._chain):  # a draw more than scikit-learn's
            self._network._draws[0] = self._random_state.randint(np.iinfo(np.int32).max)
        for name in RECORDS:
            self.__dict__.pop(name, None)

    def _ready_records(self) -> None:
        """What epochs write into: as the fit before left it, unless that had none, or watched something else."""
        if "loss_curve_" not in self.__dict__:
            self.loss_curve_: list[float] = []
        known = "validation_scores_" in self.__dict__
        if not known or (self.validation_scores_ is not None) != self.early_stopping:
            self._no_improvement_count = 0
            self.best_loss_: Any = None if self.early_stopping else np.inf
            self.validation_scores_: Any = [] if self.early_stopping else None
            self.best_validation_score_: Any = -np.inf if self.early_stopping else None

    @staticmethod
    def _take_initial(name: str, given: Sequence[Any] | None, drawn: list[Array]) -> None:
        if given is None:
            return
        shapes = [array.shape for array in drawn]
        if [np.shape(array) for array in given] != shapes:
            raise ValueError(f"{name} must be arrays of shapes {shapes}, got {[np.shape(array) for array in given]}")
        drawn[:] = [np.array(array, dtype=like.dtype) for array, like in zip(given, drawn, strict=True)]

    def _split(self, rows: Rows) -> tuple[Rows, Rows]:
        """Rows to train on, and a share held out: drawn as scikit-learn draws it."""
        stratify = rows.y if is_classifier(self) and self.n_outputs_ == 1 else None
        arrays = [array for array in rows if array is not None]
        parts = train_test_split(
            *arrays, random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
        )
        if len(parts[1]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return Rows(*parts[0::2], *[None] * (3 - len(arrays))), Rows(*parts[1::2], *[None] * (3 - len(arrays)))

    def _validation_rows(self, X: Any, y: Any, sample_weight: Any) -> Rows:
        rows = self._rows(X)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, rows)
            check_weights(sample_weight, self.network_, "sample_weight_val")
        targets = self._encoded(y)
        if targets.ndim == 1:
            targets = targets.reshape(-1, 1)
        if targets.shape != (len(rows), self.n_outputs_):
            raise ValueError(f"y_val must have {len(rows)} rows of {self.n_outputs_} outputs, got {targets.shape}")
        return Rows(rows, targets, sample_weight)

    def _record_validation_loss(self, rows: Rows) -> None:
        objective, network = self._objective(), self.network_
        loss, _ = network._network.evaluate(
            network.theta, network.buffers, rows.X, rows.targets(objective), objective.labels, rows.sample_weight,
            mean=None, scale=None, n_threads=self._threads(),
        )  # fmt: skip
        loss *= objective.loss_factor
        if objective.loss == "poisson":
            loss += float(np.average(constant_of_poisson(rows.y), weights=rows.sample_weight))
        self.__dict__.setdefault("validation_loss_curve_", []).append(loss)

    def _threads(self) -> int:
        return self.n_jobs if self.n_jobs is not None and self.n_jobs > 0 else 0

    def _told(self, rows: Rows, name: str, most: int) -> Untold:
        return Told(self, rows, name, most) if getattr(self, "_skl_callbacks", None) else Untold()

    def _snapshot(self) -> dict[str, Any]:
        """The estimator as it stands, for a callback that wants to predict with it."""
        return {**self._copies(), "_network": None}

    # Predicting

    @property
    def network_(self) -> Network:
        """The `Network` underneath; its parameters are `coefs_` and `intercepts_`."""
        self._check_fitted()
        if not self._holds_views():
            self._restore_network()
        return self._network

    def _check_fitted(self) -> None:
        if "coefs_" not in self.__dict__:  # found at once where it is, as in a prediction of a row
            check_is_fitted(self)

    def _holds_views(self) -> bool:
        """Whether the lists are the network's own arrays: not so in a copy, or where a user has put in others."""
        if self.__dict__.get("_network") is None:
            return False
        for name, views in zip(LISTS, self._views, strict=True):
            arrays = self.__dict__.get(name, views)
            if len(arrays) != len(views):
                return False
            for array, view in zip(arrays, views, strict=True):
                if array is not view:
                    return False
        return True

    def _restore_network(self) -> None:
        """A network for the arrays in the lists: the one that there is, where they fit it."""
        network = self.__dict__.get("_network")
        shapes = [np.shape(W) for W in self.coefs_]
        if not shapes or any(len(shape) != 2 for shape in shapes) or any(a[1] != b[0] for a, b in pairwise(shapes)):
            raise ValueError(f"coefs_ must be matrices of which each has as many rows as the last has columns, "
                             f"got shapes {shapes}")  # fmt: skip
        if network is None or [W.shape for W in self._views[0]] != shapes:
            # As it was fitted, whatever the parameters say now; unless a user has put in arrays of other shapes.
            chain: list[Any] = self.__dict__.get("_chain", [])
            if [layer.width for layer in chain[1:] if isinstance(layer, Dense)] != [n_out for _, n_out in shapes]:
                chain = self._layers([shapes[0][0], *(n_out for _, n_out in shapes)])
            self._build([shapes[0][0], *chain[1:]], self.coefs_[0].dtype)
            for name, array in self.__dict__.pop("_beside", {}).items():
                if array.shape == getattr(self._network, name).shape:
                    getattr(self._network, name)[:] = array
        # Arrays that a user has put into the lists count from now on: all of them, or none.
        put_in = []
        for name, views in zip(LISTS, self._views, strict=True):
            arrays = self.__dict__.get(name, views)
            if len(arrays) != len(views):
                raise ValueError(f"{name} must be {len(views)} arrays, got {len(arrays)}")
            for i, (array, view) in enumerate(zip(arrays, views, strict=True)):
                if array is not view:
                    put_in.append((view, _checks.real_array(array, f"{name}[{i}]")))
                    if np.shape(array) != view.shape:
                        raise ValueError(f"{name}[{i}] must have shape {view.shape}, got {np.shape(array)}")
        for view, array in put_in:
            view[...] = array

    def _build(self, chain: list[int | Layer], dtype: np.dtype[Any]) -> None:
        self._chain = chain
        self._network = Network(chain, loss=self._objective().loss, dtype=dtype, seed=0)
        self._views = parameters_of(self._network)

    def _take_views(self) -> None:
        """Let the lists hold the network's own arrays."""
        for name, views in zip(LISTS, self._views, strict=True):
            setattr(self, name, list(views))

    def _copies(self) -> dict[str, Any]:
        """The arrays as they stand, and what the network keeps beside them."""
        copies: dict[str, Any] = {name: [array.copy() for array in self.__dict__[name]] for name in LISTS
                                  if name in self.__dict__}  # fmt: skip
        network = self.__dict__.get("_network")
        if network is not None:
            copies["_beside"] = {name: getattr(network, name).copy() for name in BESIDE}
        return copies

    def _rows(self, X: Any) -> Array:
        """X as dense rows that a fitted network takes."""
        # The quick way for what is as it should be; all else gets scikit-learn's checks and messages.
        if self._is_plain(X) and _checks.first_nonfinite(X, X.dtype, self._threads()) is None:
            rows: Array = X
            return rows
        return self._validated(X)

    def _validated(self, X: Any) -> Array:
        return dense(validate_data(self, X, accept_sparse=["csr", "csc"], dtype=list(FLOATS), reset=False))

    def _is_plain(self, X: Any) -> bool:
        is_matrix = type(X) is np.ndarray and X.dtype in FLOATS and X.ndim == 2 and len(X) > 0
        return is_matrix and X.shape[1] == self.n_features_in_ and "feature_names_in_" not in self.__dict__

    def _outputs(self, rows: Array) -> Array:
        """The output layer's values (m, k), after the output activation."""
        network = self.network_
        Z = network._network.forward(
            network.theta, network.buffers, rows, mean=None, scale=None, n_threads=self._threads()
        )
        return self._activated(Z)

    def _activated(self, Z: Array) -> Array:
        return OUTPUTS[self.out_activation_](Z)

    def _predicted(self, X: Any) -> Array:
        """The same for X as a user gives it."""
        network = self.network_
        if "feature_names_in_" not in self.__dict__:
            Z = network._network.forward_few(network.theta, network.buffers, X)
            if Z is not None:
                return self._activated(Z)
        if self._is_plain(X):
            with contextlib.suppress(ValueError):  # a row that is not finite: scikit-learn says so
                return self._outputs(X)
        return self._outputs(self._validated(X))

    def transform(self, X: Any) -> Array:
        """The values of the last hidden layer.

        Parameters
        ----------
        X : (m, n)

        Returns
        -------
        Z : (m, width of the last hidden layer)
        """
        check_is_fitted(self)
        network = self.network_
        Z, _ = inside.values(network, self._rows(X).astype(network.dtype, copy=False))
        return Z[-2]

    def input_gradients(self, X: Any) -> Array:
        """How each output, before its activation, changes with each input.

        Parameters
        ----------
        X : (m, n)

        Returns
        -------
        J : (m, k, n)
            ``∂Z[L][i, k] / ∂X[i, n]``: derivatives of the logits under a cross-entropy.
        """
        check_is_fitted(self)
        network = self.network_
        return inside.slopes(network, self._rows(X).astype(network.dtype, copy=False))

    @property
    def _n_features_out(self) -> int:
        return int(self.coefs_[-1].shape[0])

    # scikit-learn's own

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "coefs_" in state:
            state.update(self._copies())
        for name in ("_network", "_views"):
            state.pop(name, None)
        if not (self.warm_start or state.get("_continues")):
            state.pop("_optimizer", None)
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def parameters_of(network: Network) -> tuple[list[Array], ...]:
    """The arrays behind each of `LISTS`: those of affine layers, then γ and β of normalising ones."""
    lists: tuple[list[Array], ...] = ([], [], [], [])
    for W, b, layer in zip(network.W, network.b, network.layers, strict=True):
        if layer.kind == "dropout":
            continue
        first = 0 if layer.kind == "dense" else 2
        assert b is not None  # all of an estimator's others have one
        lists[first].append(W)
        lists[first + 1].append(b)
    return lists


def dense(X: Any) -> Array:
    """Rows as an array; a sparse matrix is written out."""
    rows: Array = X.toarray() if scipy.sparse.issparse(X) else X
    return rows


can_go_on = available_if(stochastic)
