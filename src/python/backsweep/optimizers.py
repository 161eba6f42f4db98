"""The optimizers. Each means exactly what PyTorch's of the same name means.

The arithmetic is the backend's, one fused pass over the flat vectors; here are the settings and the state.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from backsweep._backends import aligned_zeros
from backsweep._checks import Array, flag, number

if TYPE_CHECKING:
    from backsweep.network import Network

Schedule = Callable[[int], float]


class Optimizer:
    """What the optimizers share: a learning rate, a clipping norm, and state bound to one network.

    The state belongs to the optimizer and, from the first training on, to one network: training another
    with it raises `ValueError`. `steps` counts the updates so far. Settings may be changed between trainings, as long
    as the state that there is stays what they call for; `reset` makes way for others.
    """

    kind: ClassVar[str]

    def __init__(self, learning_rate: float | Schedule, weight_decay: float, clip_norm: float | None) -> None:
        # Those of a subclass stand already.
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self._check()
        self.reset()

    def _check(self) -> None:
        """Refuse settings that are none: as they are given, and as they are when a training begins."""
        if not callable(self.learning_rate):
            self.learning_rate = number(self.learning_rate, "learning_rate")
        self.weight_decay = number(self.weight_decay, "weight_decay")
        if self.clip_norm is not None:
            self.clip_norm = number(self.clip_norm, "clip_norm", above=0.0)

    def reset(self) -> None:
        """Forget the state and the network it is bound to."""
        self._network: weakref.ref[Network] | None = None
        self._state: list[Array] = []
        self._kept: tuple[str, ...] = ()  # what the vectors of the state are
        self._steps = np.zeros(1, dtype=np.int64)  # an array, so that the core counts where it updates

    @property
    def steps(self) -> int:
        """Number of updates so far."""
        return int(self._steps[0])

    def rate(self, step: int) -> float:
        """The learning rate of update number `step`, counted from 0."""
        if not callable(self.learning_rate):
            return number(self.learning_rate, "learning_rate")
        return number(self.learning_rate(step), f"learning_rate({step})")

    def settings(self) -> dict[str, Any]:
        """All that the backends need, beside the learning rate."""
        clip_norm = 0.0 if self.clip_norm is None else self.clip_norm
        return {"kind": self.kind, "weight_decay": self.weight_decay, "clip_norm": clip_norm}

    def _states(self) -> tuple[str, ...]:
        """What is kept from step to step, a vector of each."""
        raise NotImplementedError

    def bind(self, network: Network) -> list[Array]:
        """The state for a network: new on the first call, and for no other network after it."""
        self._check()
        bound = self._network() if self._network is not None else None
        if self._network is not None and bound is not network:
            raise ValueError(
                f"optimizer must be new, or the one that trained this network before; this {type(self).__name__} "
                f"holds the state of another after {self.steps} steps"
            )
        theta = network.theta
        if not self._state:
            self._kept = self._states()
            self._state = [aligned_zeros(theta.size, theta.dtype) for _ in self._kept]
        elif self._kept != self._states():
            raise ValueError(
                f"optimizer must have settings for the state that it holds after {self.steps} steps "
                f"({', '.join(self._kept)}), got some for another ({', '.join(self._states()) or 'none'}); "
                "reset() makes it new"
            )
        elif any(vector.shape != theta.shape or vector.dtype != theta.dtype for vector in self._state):
            raise ValueError("optimizer must hold the state of a network of this size and dtype, got another's")
        self._network = weakref.ref(network)
        return self._state

    def __getstate__(self) -> dict[str, Any]:
        # A copy has a state of its own, and is bound to the next network that it trains.
        own = {"_state": [vector.copy() for vector in self._state], "_steps": self._steps.copy(), "_network": None}
        return {**self.__dict__, **own}

    def _arguments(self) -> dict[str, Any]:
        return {"learning_rate": self.learning_rate}

    def __repr__(self) -> str:
        arguments = {**self._arguments(), "weight_decay": self.weight_decay, "clip_norm": self.clip_norm}
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return f"{type(self).__name__}({shown})"


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's look-ahead on request.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a function of the step, counted from 0.
    momentum : float
        Share of the velocity that is kept, at least 0.
    nesterov : bool
        Look ahead along the velocity; needs a momentum.
    weight_decay : float
        Multiple of the parameters that is added to the gradient.
    clip_norm : float, optional
        Scale the whole gradient down to this norm where it is longer.
    """

    kind = "sgd"

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        self.momentum = momentum
        self.nesterov = nesterov
        super().__init__(learning_rate, weight_decay, clip_norm)

    def _check(self) -> None:
        super()._check()
        self.momentum = number(self.momentum, "momentum")
        self.nesterov = flag(self.nesterov, "nesterov")
        if self.nesterov and self.momentum == 0:
            raise ValueError("momentum must be greater than 0 with nesterov=True, got 0")

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "momentum": self.momentum, "nesterov": self.nesterov}

    def _states(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "momentum": self.momentum, "nesterov": self.nesterov}


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015, "Adam: a method for stochastic optimization").

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a function of the step, counted from 0.
    betas : tuple of two floats
        Shares that the first and the second moment keep, each in [0, 1).
    eps : float
        Added to the root of the second moment.
    weight_decay : float
        Multiple of the parameters that is added to the gradient.
    clip_norm : float, optional
        Scale the whole gradient down to this norm where it is longer.
    """

    kind = "adam"

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        self.betas = betas
        self.eps = eps
        super().__init__(learning_rate, weight_decay, clip_norm)

    def _check(self) -> None:
        super()._check()
        if not isinstance(self.betas, (tuple, list)):
            raise TypeError(f"betas must be two numbers, got {self.betas!r}")
        if len(self.betas) != 2:
            raise ValueError(f"betas must be two numbers, got {self.betas!r}")
        beta1, beta2 = self.betas
        self.betas = (number(beta1, "betas[0]", below=1.0), number(beta2, "betas[1]", below=1.0))
        self.eps = number(self.eps, "eps")

    def settings(self) -> dict[str, Any]:
        beta1, beta2 = self.betas
        return {**super().settings(), "beta1": beta1, "beta2": beta2, "epsilon": self.eps}

    def _states(self) -> tuple[str, ...]:
        return "first moment", "second moment"

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "betas": self.betas, "eps": self.eps}


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    As `Adam`, but each step first shrinks the parameters by ``learning_rate * weight_decay`` of themselves
    and leaves the gradient as it is.
    """

    kind = "adamw"

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, betas=betas, eps=eps, weight_decay=weight_decay, clip_norm=clip_norm)


class RMSprop(Optimizer):
    """RMSprop (Hinton, lecture 6e), with PyTorch's momentum and centring.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a function of the step, counted from 0.
    alpha : float
        Share that the average of squares keeps, in [0, 1).
    eps : float
        Added to the root of the average of squares.
    weight_decay : float
        Multiple of the parameters that is added to the gradient.
    momentum : float
        Share of the velocity that is kept, at least 0.
    centered : bool
        Divide by the deviation instead of the root of the mean square.
    clip_norm : float, optional
        Scale the whole gradient down to this norm where it is longer.
    """

    kind = "rmsprop"

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        clip_norm: float | None = None,
    ) -> None:
        self.alpha = alpha
        self.eps = eps
        self.momentum = momentum
        self.centered = centered
        super().__init__(learning_rate, weight_decay, clip_norm)

    def _check(self) -> None:
        super()._check()
        self.alpha = number(self.alpha, "alpha", below=1.0)
        self.eps = number(self.eps, "eps")
        self.momentum = number(self.momentum, "momentum")
        self.centered = flag(self.centered, "centered")

    def settings(self) -> dict[str, Any]:
        own = {"alpha": self.alpha, "epsilon": self.eps, "momentum": self.momentum, "centered": self.centered}
        return {**super().settings(), **own}

    def _states(self) -> tuple[str, ...]:
        """In the order in which the backends take them."""
        kept = {"average of squares": True, "velocity": self.momentum > 0, "average": self.centered}
        return tuple(name for name, used in kept.items() if used)

    def _arguments(self) -> dict[str, Any]:
        own = {"alpha": self.alpha, "eps": self.eps, "momentum": self.momentum, "centered": self.centered}
        return {**super()._arguments(), **own}
