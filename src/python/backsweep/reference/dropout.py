"""Dropout (Srivastava et al., 2014) and the generator behind its masks: an entry is a function of where it stands."""

from __future__ import annotations

import numpy as np

from backsweep._checks import Array

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(key: tuple[Array, Array], x: Array, y: Array) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds: the counter (x, y) as two random words of 32 bits, under a key of two words.

    Salmon, Moraes, Dror and Shaw (2011), Parallel random numbers: as easy as 1, 2, 3. All are uint32 and wrap.
    """
    keys = (*key, key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    with np.errstate(over="ignore"):
        x, y = x + keys[0], y + keys[1]
        for group in range(5):
            for r in ROTATIONS[group % 2]:
                x = x + y
                y = (y << np.uint32(r) | y >> np.uint32(32 - r)) ^ x
            x, y = x + keys[(group + 1) % 3], y + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def _words(number: int) -> tuple[Array, Array]:
    """The low and the high half of 64 bits."""
    return np.uint32(number & 0xFFFFFFFF), np.uint32(number >> 32)  # type: ignore[return-value]


def _mask(Z: Array, p: float, seed: int, step: int, layer: int) -> Array:
    """M in the shape and dtype of Z: 0 with probability p, else 1/(1 - p).

    The key is the seed, into which step and layer are folded one after another; the counter is (sample, feature / 2),
    whose two words are for an even feature and the odd one after it.
    """
    m, n = Z.shape
    key = threefry(threefry(_words(seed), *_words(step)), *_words(layer))
    samples, pairs = np.indices((m, (n + 1) // 2), dtype=np.uint32)
    even, odd = threefry(key, samples, pairs)
    words = np.stack([even, odd], axis=2).reshape(m, 2 * pairs.shape[1])[:, :n]
    scale = Z.dtype.type(1) / Z.dtype.type(1 - p)
    M: Array = np.where(words >= np.uint32(int(p * 2**32)), scale, Z.dtype.type(0))
    return M


def dropout(Z: Array, p: float, seed: int = 0, step: int = 0, layer: int = 0) -> Array:
    """``Z_next = Z ∘ M`` (m, n): M is 0 with probability p, else 1/(1 - p)."""
    return Z * _mask(Z, p, seed, step, layer)


def dropout_backward(G_next: Array, p: float, seed: int = 0, step: int = 0, layer: int = 0) -> Array:
    """``G = G_next ∘ M``, with the M of `dropout`."""
    return G_next * _mask(G_next, p, seed, step, layer)
