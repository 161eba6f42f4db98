"""A network as tensors and what JSON can say: what a file or a pickle holds of it, and the way back."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from backsweep import _core
from backsweep._backends import Backend, checked_dtype
from backsweep._checks import known_name
from backsweep.files import Tensors
from backsweep.layers import Layer, LayerShape, chain

if TYPE_CHECKING:
    from backsweep.network import Network

    N = TypeVar("N", bound=Network)


def describe(network: Network) -> dict[str, Any]:
    """The architecture."""
    mean, _ = network._standardisation  # refused where it is none
    return {
        "layers": [asdict(layer) for layer in network.layers],
        "loss": network.loss,
        "dtype": network.dtype.name,
        "standardised": mean is not None,
    }


def tensors(network: Network) -> Tensors:
    """The numbers, by name; the very arrays."""
    tensors = {f"W.{i}": W for i, W in enumerate(network.W) if W.size}
    tensors |= {f"b.{i}": b for i, b in enumerate(network.b) if b is not None}
    for name, vectors in (("running_mean", network.running_mean), ("running_var", network.running_var)):
        tensors |= {f"{name}.{i}": vector for i, vector in enumerate(vectors) if vector is not None}
    if network.input_mean is not None and network.input_scale is not None:
        tensors |= {"input.mean": network.input_mean, "input.scale": network.input_scale}
    return tensors


def check_loss(loss: str, shapes: tuple[LayerShape, ...]) -> None:
    """Refuse one that the last layer cannot have."""
    known_name(loss, _core.losses, "loss")
    if loss == "softmax_cross_entropy" and shapes[-1].n_out < 2:
        raise ValueError(
            "layers must end in at least 2 outputs for softmax_cross_entropy, got 1; "
            "sigmoid_cross_entropy takes one output for two classes"
        )


def checked(found: Tensors, description: Any, origin: str) -> tuple[tuple[LayerShape, ...], np.dtype[Any]]:
    """The layers and the dtype of the network that was described, where the tensors that were found are its own.

    Raises
    ------
    ValueError
        Naming the origin, where the two do not describe a network.
    """
    try:
        shapes = tuple(LayerShape(**layer) for layer in description["layers"])
        layers: list[int | Layer] = [shapes[0].n_in, *(shape.layer for shape in shapes)]
        if chain(layers, "identity") != shapes:
            raise ValueError(f"{shapes} do not follow one another")
        check_loss(description["loss"], shapes)
        dtype = checked_dtype(description["dtype"])
        expected: dict[str, tuple[int, ...]] = {
            f"W.{i}": layer.W_shape for i, layer in enumerate(shapes) if layer.parameters
        }
        expected |= {f"b.{i}": (layer.n_out,) for i, layer in enumerate(shapes) if layer.bias}
        for name in ("running_mean", "running_var"):
            expected |= {f"{name}.{i}": (layer.n_out,) for i, layer in enumerate(shapes) if layer.buffers}
        if description["standardised"]:
            expected |= {"input.mean": (shapes[0].n_in,), "input.scale": (shapes[0].n_in,)}
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{origin} must describe a network, got a description that does not: {error}") from None
    # All of the file is checked before a network of its size is made.
    if found.keys() != expected.keys():
        raise ValueError(f"{origin} must hold the tensors {sorted(expected)}, got {sorted(found)}")
    for name, shape in expected.items():
        tensor = found[name]
        wanted = np.dtype(np.float64) if name.startswith("input.") else dtype
        if tensor.shape != shape or tensor.dtype != wanted:
            raise ValueError(f"{origin} must hold {name} as {wanted} {shape}, got {tensor.dtype} {tensor.shape}")
        if not np.isfinite(tensor).all() or (name == "input.scale" and not (tensor > 0).all()):
            raise ValueError(f"{origin} must hold finite numbers in {name}, got others")
        if name.startswith("running_var.") and tensor.min() < 0:
            raise ValueError(f"{origin} must hold variances in {name}, got {tensor.min()}")
    return shapes, dtype


def restore(cls: type[N], found: Tensors, description: Any, backend: str, origin: str) -> N:
    """The network that was described, holding the tensors that were found; `ValueError` as in `checked`."""
    shapes, dtype = checked(found, description, origin)
    network = cls.__new__(cls)  # without its __init__, of whose arguments a subclass decides
    network._build(shapes, description["loss"], Backend(backend, dtype))
    network._seed(None)
    if description["standardised"]:
        network.input_mean, network.input_scale = found["input.mean"].copy(), found["input.scale"].copy()
    for name, target in tensors(network).items():
        target[:] = found[name]
    return network
