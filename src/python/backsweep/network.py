"""`Network`: a thin hand on a flat vector of parameters and a backend that knows the equations.

Longer than 300 lines because a user reads the documentation of all its methods here.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import Any, NamedTuple

import numpy as np

from backsweep import _checks, _orders, description, files
from backsweep._backends import Backend, aligned_zeros, checked_dtype
from backsweep._checks import Array
from backsweep._orders import Order
from backsweep.history import History
from backsweep.layers import Layer, LayerShape, chain
from backsweep.optimizers import Adam, Optimizer
from backsweep.training import Callback, fit


class Gradients(NamedTuple):
    """The gradients of a loss: views ``dW[i]``, ``db[i]`` into the flat ``dtheta``, and ``dX`` if asked for."""

    dW: tuple[Array, ...]
    db: tuple[Array | None, ...]
    dtheta: Array
    dX: Array | None


class Data(NamedTuple):
    """Rows, what they are to give, whether that is labels, and what each row weighs."""

    X: Array
    y: Array
    labels: bool
    weights: Array | None


# The attributes of a network; what else an instance has is a subclass's or its user's.
OWN = {
    "layers", "loss", "theta", "buffers", "W", "b", "running_mean", "running_var", "input_mean", "input_scale",
    "_backend", "_network", "_optimizer", "_rng", "_draws",
}  # fmt: skip


class Network:
    """A fully connected network: ``Z[0] = X``, ``Z[i+1] = σ(Z[i] W[i] + b[i])``, and a loss of ``Z[L]``.

    Parameters
    ----------
    layers : list
        The input width, then a width, a `Dense`, a `LayerNorm`, a `BatchNorm` or a `Dropout` for each layer:
        ``[784, 512, 10]``. The last layer has identity activation unless it says otherwise; ``[784, 10]`` is softmax
        regression.
    activation : str
        σ of the hidden layers: one of ``identity relu leaky_relu elu sigmoid tanh softplus gelu silu``.
    loss : str
        One of ``softmax_cross_entropy sigmoid_cross_entropy mean_squared_error mean_absolute_error huber
        poisson``; each is a mean over samples.
    dtype : str
        "float32" or "float64".
    seed : int, optional
        Of the initial weights, of the order of rows in `fit` and of the masks of `Dropout`. None takes one from the
        system.
    backend : str
        "core", or "reference" for the same in pure NumPy.

    Attributes
    ----------
    W : tuple of arrays (n_i, n_{i+1})
        Writable views into `theta`. A `LayerNorm` or a `BatchNorm` shows γ (n_i,) here, and β in `b`; a `Dropout` an
        empty vector.
    b : tuple of arrays (n_{i+1},)
        Likewise; None where a layer has no bias.
    theta : array
        All parameters as one vector: W[0] row by row, b[0], W[1], ...
    running_mean, running_var : tuples of arrays (n_i,)
        Of each `BatchNorm`, None for other layers: writable views into `buffers`, which training moves with `theta`.
    buffers : array
        All of them as one vector.
    input_mean, input_scale : arrays (n_0,), or None
        Set by `standardise`: rows are read as ``(X - input_mean) / input_scale``.
    """

    def __init__(
        self,
        layers: Sequence[int | Layer],
        *,
        activation: str = "relu",
        loss: str = "softmax_cross_entropy",
        dtype: Any = "float32",
        seed: int | None = None,
        backend: str = "core",
    ) -> None:
        shapes = chain(layers, activation)
        description.check_loss(loss, shapes)
        if seed is not None:
            seed = _checks.whole_number(seed, "seed", 0)
        self._build(shapes, loss, Backend(backend, checked_dtype(dtype)))
        self._seed(seed)
        self._initialise()

    def _build(self, shapes: tuple[LayerShape, ...], loss: str, backend: Backend) -> None:
        self.layers = shapes
        self.loss = loss
        self._backend = backend
        # First the memory that the user asked for: where there is not so much, nothing else has been taken.
        self.theta = aligned_zeros(sum(layer.parameters for layer in shapes), backend.dtype)
        self.buffers = aligned_zeros(sum(layer.buffers for layer in shapes), backend.dtype)
        self.running_mean, self.running_var = self._running()
        self._network = backend.network(shapes, loss)
        self.W, self.b = self._views(self.theta)
        self.input_mean: Array | None = None
        self.input_scale: Array | None = None
        self._optimizer: Optimizer | None = None
        # What masks are drawn from: a seed, and the steps that `fit` has done. The core counts them.
        self._draws = np.zeros(2, dtype=np.int64)

    def _seed(self, seed: int | None) -> None:
        sequence = np.random.SeedSequence(seed)
        self._rng = np.random.default_rng(sequence)
        # A stream of its own: a network's weights and orders of rows do not depend on whether it drops anything.
        self._draws[0] = sequence.spawn(1)[0].generate_state(1)[0] >> 1

    def _initialise(self) -> None:
        # Variance 1/n_in (LeCun, 1998): on MNIST at least as good as He's 2/n_in, and one rule for every σ.
        for W, layer in zip(self.W, self.layers, strict=True):
            W[:] = self._rng.normal(0.0, 1 / np.sqrt(layer.n_in), size=W.shape) if layer.kind == "dense" else 1.0
        for variance in self.running_var:
            if variance is not None:
                variance[:] = 1.0

    def _running(self) -> tuple[tuple[Array | None, ...], tuple[Array | None, ...]]:
        from backsweep.reference.vectors import running

        pairs = [pair or (None, None) for pair in running(self.buffers, [astuple(layer) for layer in self.layers])]
        return tuple(mean for mean, _ in pairs), tuple(variance for _, variance in pairs)

    def _views(self, flat: Array) -> tuple[tuple[Array, ...], tuple[Array | None, ...]]:
        from backsweep.reference.vectors import split

        views = split(flat, [astuple(layer) for layer in self.layers])
        return tuple(W for W, _ in views), tuple(b for _, b in views)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._backend.dtype

    @property
    def backend(self) -> str:
        """ "core" or "reference"."""
        return self._backend.name

    @property
    def classifies(self) -> bool:
        """Whether rows can be right or wrong: the loss is a cross-entropy."""
        return self.loss in _checks.CLASSIFIERS

    @property
    def _fewest_rows(self) -> int:
        """Of a batch in training."""
        return 2 if any(layer.kind == "batch_norm" for layer in self.layers) else 1

    @property
    def n_in(self) -> int:
        """Width of the input."""
        return self.layers[0].n_in

    @property
    def n_out(self) -> int:
        """Width of the output."""
        return self.layers[-1].n_out

    # Reading rows

    @property
    def _standardisation(self) -> tuple[Array | None, Array | None]:
        mean, scale = self.input_mean, self.input_scale
        if mean is None and scale is None:
            return None, None
        for name, vector in (("input_mean", mean), ("input_scale", scale)):
            fits = isinstance(vector, np.ndarray) and vector.shape == (self.n_in,) and vector.dtype == np.float64
            if vector is None or not fits or not np.isfinite(vector).all():
                raise ValueError(f"{name} must be {self.n_in} finite numbers in float64, got {vector!r}")
            if name == "input_scale" and vector.min() < np.finfo(np.float64).tiny:  # rows are multiplied by 1 / scale
                raise ValueError(f"input_scale must be greater than 0, and no subnormal number, got {vector.min()}")
        return mean, scale

    def standardise(self, X: object) -> None:
        """Measure the columns of X, and read every row from now on as ``(X - mean) / scale``.

        Scale is the standard deviation, or 1 for a column that does not vary beyond the rounding of its entries. X is
        read in pieces; rows are standardised as they are gathered, so integers on disk stay there. The two vectors are
        saved with the network. ``dX`` remains the gradient with respect to X as it is given.

        Parameters
        ----------
        X : (m, n_0)
            Any real dtype; at least one row.
        """
        rows = _checks.inputs(X, self.n_in, at_least=1)
        _checks.finite(rows, "X", np.dtype(np.float64))
        m, first = len(rows), np.asarray(rows[0], dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            # Of differences from a row: those of a constant column are 0, where its own sum would be rounded.
            mean = first + sum(D.sum(axis=0) for D in _checks.differences(rows, first)) / m
            deviation = np.sqrt(sum((D * D).sum(axis=0) for D in _checks.differences(rows, mean)) / m)
        if not np.isfinite(deviation).all():
            column = int(np.argmin(np.isfinite(deviation)))
            raise ValueError(f"X must have columns of finite deviation, got column {column} beyond float64")
        # What numbers differ by where they are one number, rounded in two ways, is not taken for their scale.
        varies = deviation > np.finfo(np.float64).eps * np.abs(mean)
        self.input_mean, self.input_scale = mean, np.where(varies, deviation, 1.0)

    def _data(self, X: object, y: object, sample_weight: object = None) -> Data:
        """What to learn from. Rows and labels are looked at as they are read: a backend refuses the whole call."""
        rows = _checks.inputs(X, self.n_in, at_least=1)
        values, labels = _checks.targets(y, len(rows), self.n_out, self.loss, self.dtype)
        return Data(rows, values, labels, _checks.weights(sample_weight, len(rows), self.dtype))

    def _check_data(self, data: Data, threads: int = 1) -> None:
        """Say which row or label a backend refuses."""
        self._check_rows(data.X, threads)
        if data.labels:
            _checks.labels(data.y, self.n_out)

    def _check_rows(self, X: Array, threads: int) -> None:
        mean, scale = self._standardisation
        if mean is None or scale is None:
            _checks.finite(X, "X", self.dtype, threads)
        else:
            _checks.finite(X, "X", np.dtype(np.float64), threads)
            _checks.finite_standardised(X, mean, scale, self.dtype)

    def _permutation(self, m: int) -> Order:
        """A new order of m rows."""
        return _orders.drawn(m, self._rng, self._backend)

    def _is_finite(self, threads: int = 1) -> bool:
        """Whether all that it has learned is."""
        vectors = self.theta, self.buffers
        return all(_checks.first_nonfinite(vector, self.dtype, threads) is None for vector in vectors if vector.size)

    def _check_parameters(self, threads: int = 1) -> None:
        if not self._is_finite(threads):
            arrays: tuple[Array | None, ...]
            for name, arrays in (
                ("W", self.W), ("b", self.b), ("running_mean", self.running_mean), ("running_var", self.running_var)
            ):  # fmt: skip
                for i, array in enumerate(arrays):
                    if array is not None:
                        _checks.finite(array, f"{name}[{i}]", self.dtype)
        for i, variance in enumerate(self.running_var):
            if variance is not None:
                _checks.not_negative(variance, f"running_var[{i}]")

    def _check_pass(self, training: bool, m: int) -> None:
        if training and m < self._fewest_rows:
            raise ValueError("X must have at least 2 rows for the statistics of BatchNorm, got 1")

    # The work

    def forward(self, X: object, *, n_threads: int | None = None) -> Array:
        """The output layer's values ``Z[L]`` (m, k): logits under a cross-entropy.

        Parameters
        ----------
        X : (m, n_0)
            Any real dtype and layout; read where it is. m may be 0.
        n_threads : int, optional
            Left out, the work decides, up to `num_threads`.
        """
        if n_threads is None and self.input_mean is None and self.input_scale is None:
            Z = self._network.forward_few(self.theta, self.buffers, X)
            if Z is not None:
                return Z
        rows, threads = _checks.inputs(X, self.n_in), _checks.threads(n_threads)
        try:
            return self._network.forward(self.theta, self.buffers, rows, *self._standardisation, threads)
        except ValueError:
            self._check_rows(rows, threads)
            raise

    def loss_and_gradients(
        self, X: object, y: object, *, sample_weight: object = None, training: bool = False, dX: bool = False,
        n_threads: int | None = None,
    ) -> tuple[float, Gradients]:  # fmt: skip
        """The loss of all rows as one batch, and its gradients: the notes' forward and backward sweep.

        Nothing in the network changes, whichever the pass: the same call gives the same answer.

        Parameters
        ----------
        X : (m, n_0)
        y : (m,) or (m, k)
            As in `fit`.
        sample_weight : (m,), optional
            Makes the loss a weighted mean.
        training : bool
            Differentiate what the next step of `fit` would, with the masks that it draws and the statistics of this
            batch, rather than the function that `forward` computes. The two differ where there is a `Dropout` or a
            `BatchNorm`.
        dX : bool
            Also compute ∂ℓ/∂X (m, n_0).
        n_threads : int, optional
            Left out, the work decides.

        Returns
        -------
        loss : float
        gradients : Gradients
            ``dW`` and ``db`` (tuples of views, shaped as `W` and `b`), ``dtheta`` (flat) and ``dX``.
        """
        threads = _checks.threads(n_threads)
        data = self._data(X, y, sample_weight)
        training = _checks.flag(training, "training")
        self._check_pass(training, len(data.X))
        try:
            loss, dtheta, dX_values = self._network.loss_and_gradients(
                self.theta, self.buffers, *data, *self._standardisation, training, self._draws,
                _checks.flag(dX, "dX"), threads,
            )  # fmt: skip
        except ValueError:
            self._check_data(data, threads)
            raise
        return loss, Gradients(*self._views(dtheta), dtheta, dX_values)

    def dropout_masks(self, m: int, *, step: int | None = None) -> tuple[Array | None, ...]:
        """What each `Dropout` multiplies a batch of m rows by in a training pass, to feed it to another program.

        Parameters
        ----------
        m : int
            Rows of the batch.
        step : int, optional
            The steps that `fit` has done before, over all its calls. Left out, those that it has: the masks are those
            of its next step.

        Returns
        -------
        masks : tuple
            For each layer an array (m, n_i) of 0 and 1/(1 - p), or None where it is not a `Dropout`.
        """
        from backsweep import functional

        m = _checks.whole_number(m, "m", 0)
        done = int(self._draws[1]) if step is None else _checks.whole_number(step, "step", 0)
        return tuple(
            functional.dropout(np.ones((m, layer.n_in), self.dtype), layer.p, int(self._draws[0]), done, i)
            if layer.kind == "dropout"
            else None
            for i, layer in enumerate(self.layers)
        )

    def fit(
        self,
        X: object,
        y: object,
        *,
        epochs: int = 10,
        batch_size: int = 128,
        optimizer: Optimizer | None = None,
        shuffle: bool = True,
        sample_weight: object = None,
        validation_data: object = None,
        callbacks: Iterable[Callback] = (),
        progress: bool | str = "auto",
        n_threads: int | None = None,
        precision: str = "full",
    ) -> History:
        """Train by mini-batches; a further call goes on from where this one ends.

        Whole epochs run in the core with the GIL released. Ctrl-C ends the training after the current step
        (at most a tenth of a second later) and leaves network and optimizer usable.

        Parameters
        ----------
        X : (m, n_0)
            Any real dtype and layout, read-only or a memory map: rows are converted as they are gathered. Of a large X
            in Fortran order, such as a frame gives, each entry of a row lies elsewhere, and ``np.ascontiguousarray``
            pays with the first epoch.
        y : (m,) or (m, k)
            Labels 0..k-1, or probabilities (m, k), for softmax_cross_entropy; values in [0, 1] for
            sigmoid_cross_entropy, counts for poisson, any for the others: (m, k), or (m,) where k is 1.
        epochs : int
            How often each row is seen.
        batch_size : int
            Rows in a step; the last step of an epoch takes what is left. A `BatchNorm` needs two in each.
        optimizer : Optimizer, optional
            Left out, `Adam` with its defaults, kept from one call to the next.
        shuffle : bool
            Draw a new order of the rows for each epoch; else they are taken as they are.
        sample_weight : (m,), optional
            At least 0: makes each step's loss a weighted mean.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Evaluated after each epoch.
        callbacks : functions
            Each is called as ``callback(network, history)`` after each epoch; True ends the training.
        progress : bool or "auto"
            A progress bar on standard error; "auto" shows it on a terminal.
        n_threads : int, optional
            Left out, the work of a step decides, up to `num_threads`. Results are the same bits for any.
        precision : "full" or "bf16"
            What products take their operands in: the network's dtype, or bfloat16, rounded to nearest. Sums stay in
            float32, and so do parameters, biases, activations, the loss and the optimizer; layers of fewer than 64
            inputs or outputs are full. On processors with instructions for it (`show_config` tells) wide networks
            take 0.55 to 0.65 of the time with batches of 32 rows or more; batches of fewer than 16 rows, and other
            processors, take longer than in full. Predictions and evaluations are full.

        Returns
        -------
        History

        Raises
        ------
        ValueError, TypeError
            For input that does not fit; nothing has changed. Where it shows in a later epoch, as with a schedule that
            gives a number below 0 then, network and optimizer are as the epoch before has left them. So they are with
            any other exception of a schedule's.
        DivergenceError
            Before the step that would leave the loss or a weight infinite or NaN; the weights are the last
            finite ones.
        """
        if optimizer is None:
            optimizer = self._optimizer = self._optimizer or Adam()
        return fit(
            self, X, y, epochs=epochs, batch_size=batch_size, optimizer=optimizer, shuffle=shuffle,
            sample_weight=sample_weight, validation_data=validation_data, callbacks=callbacks, progress=progress,
            n_threads=n_threads, precision=precision,
        )  # fmt: skip

    def predict(self, X: object, *, n_threads: int | None = None) -> Array:
        """What the network says of each row.

        Labels (m,) under softmax_cross_entropy; 0 or 1 under sigmoid_cross_entropy; the rate exp(Z) under
        poisson; Z[L] under the others. All but the first are (m, k), or (m,) where k is 1.
        """
        Z = self.forward(X, n_threads=n_threads)
        if self.loss == "softmax_cross_entropy":
            labels: Array = Z.argmax(axis=1)
            return labels
        values = (
            (Z > 0).astype(np.int64) if self.loss == "sigmoid_cross_entropy"
            else np.exp(Z) if self.loss == "poisson"
            else Z
        )  # fmt: skip
        return values[:, 0] if self.n_out == 1 else values

    def predict_proba(self, X: object, *, n_threads: int | None = None) -> Array:
        """Probabilities (m, k): of each class under softmax_cross_entropy, of 1 under sigmoid_cross_entropy.

        Raises
        ------
        ValueError
            For a loss that does not classify.
        """
        if not self.classifies:
            raise ValueError(f"loss must be a cross-entropy to give probabilities, got {self.loss!r}")
        from backsweep import functional

        Z = self.forward(X, n_threads=n_threads)
        return functional.softmax(Z) if self.loss == "softmax_cross_entropy" else functional.sigmoid(Z)

    def evaluate(
        self, X: object, y: object, *, sample_weight: object = None, n_threads: int | None = None
    ) -> dict[str, float]:
        """``{"loss": .., "accuracy": ..}`` of all rows, tile by tile; accuracy under a cross-entropy only."""
        threads = _checks.threads(n_threads)
        return self._evaluate(self._data(X, y, sample_weight), threads)

    def _evaluate(self, data: Data, threads: int) -> dict[str, float]:
        try:
            loss, accuracy = self._network.evaluate(self.theta, self.buffers, *data, *self._standardisation, threads)
        except ValueError:
            self._check_data(data, threads)
            raise
        return {"loss": loss, "accuracy": accuracy} if self.classifies else {"loss": loss}

    # Files

    def save(self, path: str | os.PathLike[str], *, notes: dict[str, Any] | None = None) -> None:
        """Write the network to a safetensors file, whole or not at all.

        W and b stand under "W.0", "b.0", "W.1", ..., running statistics under "running_mean.1", "running_var.1"; the
        architecture as JSON in the header.

        Parameters
        ----------
        path : path
        notes : dict, optional
            Anything that JSON can say, kept beside the architecture: read back by `files.read`.
        """
        if notes is not None and not isinstance(notes, dict):
            raise TypeError(f"notes must be a dict, got {type(notes).__name__}")
        self._check_parameters()
        tensors, described = description.tensors(self), description.describe(self)
        description.checked(tensors, described, "the network")  # as `load` will
        files.write(path, tensors, {"network": described, "notes": notes or {}})

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, backend: str = "core") -> Network:
        """Read a network that `save` wrote. Nothing in the file is run; all of it is checked.

        Of a subclass it makes an instance without a call of its ``__init__``.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is not a whole model file, or one of another architecture than it says.
        """
        tensors, header = files.read(path)
        return description.restore(cls, tensors, header.get("network"), backend, os.fspath(path))

    # Copies: also of what a subclass or a user has put beside, and without a call of `__init__`

    def _beside(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in OWN}

    def _copied(self, twin: Network, optimizer: Optimizer | None, beside: dict[str, Any]) -> Network:
        """A twin that was not built yet, as a copy. The numbers are taken as they are: a NaN is no reason to refuse."""
        twin.__dict__.update(beside)
        twin._build(self.layers, self.loss, self._backend)
        twin.theta[:], twin.buffers[:], twin._draws[:] = self.theta, self.buffers, self._draws
        twin.input_mean, twin.input_scale = copy.deepcopy((self.input_mean, self.input_scale))
        twin._rng, twin._optimizer = copy.deepcopy(self._rng), optimizer
        return twin

    def __copy__(self) -> Network:
        return self._copied(type(self).__new__(type(self)), copy.copy(self._optimizer), self._beside())

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        twin = memo[id(self)] = type(self).__new__(type(self))  # for what refers to the network that holds it
        return self._copied(twin, *copy.deepcopy((self._optimizer, self._beside()), memo))

    def __getstate__(self) -> dict[str, Any]:
        return {
            "network": description.describe(self),
            "tensors": {name: tensor.copy() for name, tensor in description.tensors(self).items()},
            "backend": self.backend,
            "rng": copy.deepcopy(self._rng),
            "draws": self._draws.copy(),
            "optimizer": copy.copy(self._optimizer),
            "beside": self._beside(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        restored = description.restore(type(self), state["tensors"], state["network"], state["backend"], "the pickle")
        self.__dict__.update(state.get("beside", {}))
        self.__dict__.update(restored.__dict__)
        self._rng, self._draws = state["rng"], state["draws"].copy()
        self._optimizer = state["optimizer"]

    # Looking at it

    def __repr__(self) -> str:
        if "theta" not in self.__dict__:  # a debugger shows it where `__init__` failed
            return f"<{type(self).__name__} without layers>"
        widths = [str(self.n_in)]
        widths += [
            f"dropout {layer.p:g}"
            if layer.kind == "dropout"
            else f"{layer.n_out if layer.kind == 'dense' else layer.kind} {layer.activation}"
            for layer in self.layers
        ]
        return (
            f"Network({' -> '.join(widths)}; loss={self.loss}, {self.theta.size:,} parameters, {self.dtype.name}"
            f"{'' if self.backend == 'core' else ', ' + self.backend})"
        )

    def summary(self) -> str:
        """The layers as a table: formula, shapes, parameters."""
        lines = [f"{'layer':<8}{'computes':<36}{'W':<16}{'b':<10}{'parameters':>12}"]
        for i, layer in enumerate(self.layers):
            product = {"dense": f"Z[{i}] W[{i}]", "dropout": f"Z[{i}] ∘ M[{i}]"}.get(layer.kind, f"Ẑ[{i}] ∘ W[{i}]")
            A = product + (f" + b[{i}]" if layer.bias else "")
            computes = f"Z[{i + 1}] = " + (A if layer.activation == "identity" else f"{layer.activation}({A})")
            W = str(layer.W_shape) if layer.parameters else "none"
            b = f"({layer.n_out},)" if layer.bias else "none"
            lines.append(f"{i:<8}{computes:<36}{W:<16}{b:<10}{layer.parameters:>12,}")
        if self.input_mean is not None:
            lines.insert(1, f"{'':<8}{'Z[0] = (X - mean) / scale':<36}")
        lines.append(f"{'loss':<8}{self.loss}(Z[{len(self.layers)}], y)".ljust(70) + f"{self.theta.size:>12,}")
        size = self.theta.nbytes / 1e6
        lines.append(f"{self.dtype.name}, {size:,.2f} MB, backend {self.backend}")
        return "\n".join(lines)
