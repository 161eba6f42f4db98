"""The compiled core. A test compares this list with the module."""

from collections.abc import Sequence
from typing import Any

from backsweep._checks import Array

__version__: str
activations: tuple[str, ...]
elementary_functions: tuple[str, ...]
layers: tuple[str, ...]
losses: tuple[str, ...]
optimizers: tuple[str, ...]

def blas_description() -> str: ...
def instruction_set() -> str: ...
def instruction_sets() -> tuple[str, ...]: ...
def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def elementary(function: str, x: Array) -> Array: ...
def activation_forward(sigma: str, A: Array) -> Array: ...
def activation_backward(sigma: str, G: Array, A: Array) -> Array: ...
def dense(Z: Array, W: Array, b: Array | None, sigma: str) -> Array: ...
def dense_backward(
    G_next: Array, Z: Array, W: Array, b: Array | None, sigma: str
) -> tuple[Array, Array, Array | None]: ...
def layer_norm(Z: Array, gamma: Array, beta: Array) -> Array: ...
def layer_norm_backward(D: Array, Z: Array, gamma: Array) -> tuple[Array, Array, Array]: ...
def batch_norm(Z: Array, gamma: Array, beta: Array) -> Array: ...
def batch_norm_backward(D: Array, Z: Array, gamma: Array) -> tuple[Array, Array, Array]: ...
def dropout(Z: Array, p: float, seed: int, step: int, layer: int) -> Array: ...
def softmax(Z: Array) -> Array: ...
def loss_value(loss: str, Z: Array, y: Array, sample_weight: Array | None) -> float: ...
def loss_gradient(loss: str, Z: Array, y: Array, sample_weight: Array | None) -> Array: ...
def optimizer_update(
    theta: Array, dtheta: Array, state: list[Array], settings: dict[str, Any], learning_rate: float, step: int
) -> None: ...
def shuffle(order: Array, left: int, draws: Array) -> None: ...
def first_no_label(y: Array, classes: int) -> int | None: ...
def first_nonfinite_float32(X: Array, n_threads: int) -> tuple[int, int] | None: ...
def first_nonfinite_float64(X: Array, n_threads: int) -> tuple[int, int] | None: ...

class _Network:
    @property
    def parameters(self) -> int: ...
    @property
    def buffers(self) -> int: ...
    def forward(
        self, theta: Array, buffers: Array, X: Array, mean: Array | None, scale: Array | None, n_threads: int
    ) -> Array: ...
    def forward_few(self, theta: Array, buffers: Array, X: object) -> Array | None: ...
    def evaluate(
        self,
        theta: Array,
        buffers: Array,
        X: Array,
        y: Array,
        labels: bool,
        sample_weight: Array | None,
        mean: Array | None,
        scale: Array | None,
        n_threads: int,
    ) -> tuple[float, float]: ...
    def loss_and_gradients(
        self,
        theta: Array,
        buffers: Array,
        X: Array,
        y: Array,
        labels: bool,
        sample_weight: Array | None,
        mean: Array | None,
        scale: Array | None,
        training: bool,
        draws: Array,
        wants_dX: bool,
        n_threads: int,
    ) -> tuple[float, Array, Array | None]: ...

class _Trainer:
    @property
    def steps_in_epoch(self) -> int: ...
    def run(
        self, order: Array | None, first: int, learning_rates: Array, steps: Array, sums: Array, seconds: float
    ) -> tuple[int, str]: ...

class _Network_float32(_Network): ...
class _Network_float64(_Network): ...
class _Trainer_float32(_Trainer): ...
class _Trainer_float64(_Trainer): ...

def Network_float32(layers: Sequence[tuple[int, int, str, bool, str, float]], loss: str) -> _Network_float32: ...
def Trainer_float32(
    network: _Network_float32,
    theta: Array,
    buffers: Array,
    state: list[Array],
    settings: dict[str, Any],
    X: Array,
    y: Array,
    labels: bool,
    sample_weight: Array | None,
    mean: Array | None,
    scale: Array | None,
    batch_size: int,
    n_threads: int,
    loss_factor: float,
    penalty: float,
    loss_cap: float,
    draws: Array,
) -> _Trainer_float32: ...
def Network_float64(layers: Sequence[tuple[int, int, str, bool, str, float]], loss: str) -> _Network_float64: ...
def Trainer_float64(
    network: _Network_float64,
    theta: Array,
    buffers: Array,
    state: list[Array],
    settings: dict[str, Any],
    X: Array,
    y: Array,
    labels: bool,
    sample_weight: Array | None,
    mean: Array | None,
    scale: Array | None,
    batch_size: int,
    n_threads: int,
    loss_factor: float,
    penalty: float,
    loss_cap: float,
    draws: Array,
) -> _Trainer_float64: ...
