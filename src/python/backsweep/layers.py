"""What a network is made of: the specification of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from backsweep import _core
from backsweep._checks import flag, known_name, number, whole_number


@dataclass(frozen=True)
class Dense:
    """A fully connected layer, ``Z[i+1] = σ(Z[i] W[i] + b[i])``.

    Parameters
    ----------
    width : int
        Number of outputs, at least 1.
    activation : str, optional
        One of ``identity relu leaky_relu elu sigmoid tanh softplus gelu silu``, with the meaning and the
        defaults of PyTorch's function of the same name. Left out, it is the network's activation, or
        ``identity`` where the layer is the network's last.
    bias : bool
        Whether the layer has ``b``.
    """

    width: int
    activation: str | None = None
    bias: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", whole_number(self.width, "width", 1))
        if self.activation is not None:
            known_name(self.activation, _core.activations, "activation")
        object.__setattr__(self, "bias", flag(self.bias, "bias"))


@dataclass(frozen=True)
class LayerNorm:
    """Layer normalisation: each row of ``Z[i]`` to mean 0 and variance 1, ``Ẑ``, then ``Z[i+1] = σ(Ẑ ∘ γ + β)``.

    Means what PyTorch's ``LayerNorm`` means, with its ε of 1e-5. In `Network.W` and `Network.b` it shows γ and β, (n,)
    each. It stands between an affine map and its σ as ``Dense(512, "identity"), LayerNorm("relu")``.

    Parameters
    ----------
    activation : str
        σ, as in `Dense`. It is ``identity`` unless said: the network's activation is that of `Dense`.

    References
    ----------
    Ba, Kiros and Hinton (2016), Layer Normalization.
    """

    activation: str = "identity"

    def __post_init__(self) -> None:
        known_name(self.activation, _core.activations, "activation")


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation: each column of ``Z[i]`` to mean 0 and variance 1, ``Ẑ``, then ``Z[i+1] = σ(Ẑ ∘ γ + β)``.

    Means what PyTorch's ``BatchNorm1d`` means, with its ε of 1e-5 and its momentum of 0.1. In training, mean and
    variance are the batch's, and each step takes a tenth of them, the variance over m - 1, into `Network.running_mean`
    and `Network.running_var`; these stand in their place in `forward`, `predict`, `evaluate` and all that is built on
    them. A batch of one row has no variance: `Network.fit` refuses a batch_size that leaves one. ``sample_weight``
    weighs the loss, not the statistics. In `Network.W` and `Network.b` the layer shows γ and β, (n,) each.

    Parameters
    ----------
    activation : str
        σ, as in `Dense`. It is ``identity`` unless said: the network's activation is that of `Dense`.

    References
    ----------
    Ioffe and Szegedy (2015), Batch normalization: accelerating deep network training by reducing internal covariate
    shift.
    """

    activation: str = "identity"

    def __post_init__(self) -> None:
        known_name(self.activation, _core.activations, "activation")


@dataclass(frozen=True)
class Dropout:
    """Dropout: in training an entry of ``Z[i]`` is 0 with probability p, else divided by 1 - p, so its mean stays.

    Means what PyTorch's ``Dropout`` means. `Network.fit` draws a new mask M for each step, ``Z[i+1] = Z[i] ∘ M``;
    `forward`, `predict`, `evaluate` and all that is built on them leave ``Z[i]`` as it is. M is a function of the
    network's seed, the step, the layer, the sample's place in the batch and the feature, so training is the same to
    the bit on any number of threads: `Network.dropout_masks` shows it. The layer has no parameters.

    Parameters
    ----------
    p : float
        At least 0 and below 1.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov (2014), Dropout: a simple way to prevent neural
    networks from overfitting.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", number(self.p, "p", below=1.0))


Layer = Dense | LayerNorm | BatchNorm | Dropout

NORMALISING: dict[str, type[LayerNorm] | type[BatchNorm]] = {"layer_norm": LayerNorm, "batch_norm": BatchNorm}


@dataclass(frozen=True)
class LayerShape:
    """A layer in its place: all that the backends know of it."""

    n_in: int
    n_out: int
    activation: str
    bias: bool
    kind: str = "dense"  # as in files written before there were others
    p: float = 0.0  # of dropout

    # Imported late: the reference is loaded with the first network, not with the package.
    @property
    def W_shape(self) -> tuple[int, ...]:
        """Of `Network.W`; no entry where there are no parameters."""
        from backsweep.reference import vectors

        return vectors.W_shape(astuple(self))

    @property
    def parameters(self) -> int:
        from backsweep.reference import vectors

        return vectors.parameter_count(astuple(self))

    @property
    def buffers(self) -> int:
        """Numbers that it keeps beside its parameters: a running mean and variance."""
        from backsweep.reference import vectors

        return vectors.buffer_count(astuple(self))

    @property
    def layer(self) -> Layer:
        """The layer without its place."""
        known_name(self.kind, _core.layers, "kind")
        if self.kind == "dropout":
            return Dropout(self.p)
        if self.kind in NORMALISING:
            return NORMALISING[self.kind](self.activation)
        return Dense(self.n_out, self.activation, self.bias)


def chain(layers: Sequence[int | Layer], activation: str) -> tuple[LayerShape, ...]:
    """The layers in their places: an input width, then widths or layers."""
    known_name(activation, _core.activations, "activation")
    if isinstance(layers, (str, bytes)) or not isinstance(layers, Sequence):
        raise TypeError(f"layers must be a list such as [784, 512, 10], got {layers!r}")
    if len(layers) < 2:
        raise ValueError(f"layers must hold an input width and at least one layer, got {layers!r}")
    n_in = whole_number(layers[0], "layers[0]", 1)
    shapes = []
    for i, item in enumerate(layers[1:], start=1):
        if isinstance(item, (LayerNorm, BatchNorm)):
            kind = "layer_norm" if isinstance(item, LayerNorm) else "batch_norm"
            shapes.append(LayerShape(n_in, n_in, item.activation, True, kind))
            continue
        if isinstance(item, Dropout):
            shapes.append(LayerShape(n_in, n_in, "identity", False, "dropout", item.p))
            continue
        layer = item if isinstance(item, Dense) else Dense(whole_number(item, f"layers[{i}]", 1))
        is_last = i == len(layers) - 1
        sigma = layer.activation or ("identity" if is_last else activation)
        shapes.append(LayerShape(n_in, layer.width, sigma, layer.bias))
        n_in = layer.width
    return tuple(shapes)
