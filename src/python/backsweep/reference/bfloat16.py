"""bfloat16: the upper half of a float32, 8 bits of significand, as an operand of products."""

from __future__ import annotations

import numpy as np

from backsweep._checks import Array
from backsweep.reference.vectors import Spec

FEWEST_UNITS = 64  # a layer of fewer inputs or outputs takes its operands as they are


def rounded_to_bf16(x: Array) -> Array:
    """x (float32) in bfloat16, as float32: to nearest, ties to even; what is not finite stays so."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    even = bits + (0x7FFF + ((bits >> 16) & 1))
    upper = np.where(np.isnan(x), bits | 0x400000, even) & np.uint32(0xFFFF0000)
    return upper.astype(np.uint32).view(np.float32).reshape(np.shape(x))


def bf16_product(A: Array, B: Array, transposed: bool = False) -> Array:
    """``A B``, or ``Aᵀ B``, of rounded operands, summed in float32."""
    A = rounded_to_bf16(A)
    C: Array = (A.T if transposed else A) @ rounded_to_bf16(B)
    return C


def takes_bf16(layer: Spec, precision: str) -> bool:
    """Whether a layer's products take operands in bfloat16."""
    n_in, n_out, _, _, kind, _ = layer
    return precision == "bf16" and kind == "dense" and min(n_in, n_out) >= FEWEST_UNITS
