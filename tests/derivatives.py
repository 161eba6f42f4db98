"""Derivatives from their definition: central differences, in float64.

Two differences, of steps h and 2h, leave an error of h⁴/30 times the fifth derivative, 1e-16 times that, and of eps/h
times the value, 1e-12 times that: 1e-7 is told with digits to spare.
"""

import figures
import numpy as np

TITLE = "relative error against central differences"
SHAPES = 200  # random shapes for every rule
TOLERANCE = 1e-7
STEP = 2e-4


def slopes(f, arguments, position, G):
    """The derivatives of ⟨G, f(*arguments)⟩ by the entries of one argument."""
    x = np.array(arguments[position], dtype=np.float64)
    gradient = np.empty_like(x)

    def along(entry, step):
        moved = x.copy()
        moved[entry] += step
        return np.sum(G * f(*arguments[:position], moved, *arguments[position + 1 :]))

    for entry in np.ndindex(x.shape):
        near, far = (along(entry, h) - along(entry, -h) for h in (STEP, 2 * STEP))
        gradient[entry] = (8 * near - far) / (12 * STEP)
    return gradient


def check(f, arguments, gradients, G, what):
    """Fail unless the gradients of ⟨G, f⟩ are the slopes.

    The error is relative to the largest entry of all gradients together, as one vector; to 1 where they vanish.
    """
    shapes = [np.shape(x) for x in arguments]
    assert [np.shape(gradient) for gradient in gradients] == shapes, what
    wanted = [slopes(f, arguments, i, G) for i in range(len(arguments))]
    size = max((np.abs(want).max() for want in wanted if want.size), default=0.0)
    for i, (got, want) in enumerate(zip(gradients, wanted, strict=True)):
        error = np.abs(got - want).max(initial=0.0) / (size if size > 1e-6 else 1.0)
        assert error < TOLERANCE, f"{what}: gradient {i} is off by {error:.2g}, shapes {shapes}"
        figures.measured(TITLE, what, error)


def off(x, *kinks):
    """x with the entries near a kink moved away from it, further than a difference reaches."""
    for kink in kinks:
        x = np.where(np.abs(x - kink) < 20 * STEP, x + 50 * STEP, x)
    return x
