"""The mathematics of the notes in pure NumPy, under the names and signatures of `backsweep.functional`.

Nothing here is compiled and nothing is tuned: a line of code for a line of the notes. It is the oracle that
the core is tested against, and what ``Network(..., backend="reference")`` runs on.
"""

from backsweep.reference.activations import (
    elu,
    elu_backward,
    gelu,
    gelu_backward,
    identity,
    identity_backward,
    leaky_relu,
    leaky_relu_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softplus,
    softplus_backward,
    tanh,
    tanh_backward,
)  # fmt: skip
from backsweep.reference.dense import dense, dense_backward
from backsweep.reference.dropout import dropout, dropout_backward
from backsweep.reference.losses import (
    huber,
    huber_backward,
    mean_absolute_error,
    mean_absolute_error_backward,
    mean_squared_error,
    mean_squared_error_backward,
    poisson,
    poisson_backward,
    sigmoid_cross_entropy,
    sigmoid_cross_entropy_backward,
    softmax,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)  # fmt: skip
from backsweep.reference.normalisation import batch_norm, batch_norm_backward, layer_norm, layer_norm_backward
from backsweep.reference.optimizers import adam_update, adamw_update, rmsprop_update, sgd_update

__all__ = [
    "adam_update", "adamw_update", "batch_norm", "batch_norm_backward", "dense", "dense_backward", "dropout",
    "dropout_backward", "elu", "elu_backward", "gelu", "gelu_backward", "huber", "huber_backward", "identity",
    "identity_backward", "layer_norm", "layer_norm_backward", "leaky_relu", "leaky_relu_backward",
    "mean_absolute_error", "mean_absolute_error_backward", "mean_squared_error", "mean_squared_error_backward",
    "poisson", "poisson_backward", "relu", "relu_backward", "rmsprop_update", "sgd_update", "sigmoid",
    "sigmoid_backward", "sigmoid_cross_entropy", "sigmoid_cross_entropy_backward", "silu", "silu_backward", "softmax",
    "softmax_cross_entropy", "softmax_cross_entropy_backward", "softplus", "softplus_backward", "tanh", "tanh_backward",
]  # fmt: skip
