"""Seeded faults: a check that cannot fail is no check.

Each fault is an edit of the reference's source, a word or two, of a kind that people make. The comparisons of the
suite, green before, must go red.
"""

import inspect
import sys
import textwrap

import backsweep as bs
import numpy as np
import pytest
from backsweep.reference import network as sweeps
from checks import check_differences, check_function, check_sweeps, check_training
from problems import LOSSES, Problem
from tolerances import assert_close, norm, relative_error


def plant(monkeypatch, where, old, new):
    """Replace `old` by `new` in a function of the reference ("relu") or in a method of a class of its ("Trainer.")."""
    owner, _, name = where.rpartition(".")
    home = getattr(sweeps, owner) if owner else home_of(name)
    named = [name] if name else [n for n, f in vars(home).items() if inspect.isfunction(f) and old in text(f)]
    assert len(named) == 1, f"{where} must contain {old!r} once to be given this fault"
    (name,) = named
    function = getattr(home, name)
    assert text(function).count(old) == 1, f"{where} must contain {old!r} once to be given this fault"
    namespace = {}
    code = compile(text(function).replace(old, new), where, "exec", dont_inherit=True)
    exec(code, function.__globals__, namespace)  # in the function's own module
    monkeypatch.setattr(home, name, namespace[name])
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("backsweep.reference") and getattr(module, name, None) is function:
            monkeypatch.setattr(module, name, namespace[name])


def text(function):
    """The source of a function, less its documentation, which says much the same as the code."""
    source = textwrap.dedent(inspect.getsource(function))
    return source.replace(f'"""{function.__doc__}"""', "pass") if function.__doc__ else source


def home_of(name):
    names = ("activations", "dense", "dropout", "losses", "normalisation", "optimizers")
    modules = [sys.modules[f"backsweep.reference.{name}"] for name in names]
    return next(module for module in modules if hasattr(module, name))


def by_function(name, shape=(33, 17), dtype="float64"):
    return f"function {name} {dtype}", lambda: check_function(name, shape, dtype)


def by_sweeps(**changes):
    return f"sweeps {changes}", lambda: check_sweeps(Problem((6, 7, 5, 5, 4), 12).but(**changes))


def by_differences(**changes):
    return f"differences {changes}", lambda: check_differences(Problem((3, 4, 4, 3), 5).but(**changes), "reference")


def by_training(name, **changes):
    return f"training {name}", lambda: check_training(Problem((6, 9, 3), 14).but(**changes), name)


def everywhere(sigma):
    """All the ways in which an activation is looked at."""
    own = [by_function(f"{sigma}_backward", dtype=dtype) for dtype in ("float32", "float64")]
    layer = [by_function("dense_backward")]
    return [*own, *layer, by_sweeps(activation=sigma), by_sweeps(activation=sigma, dtype="float32"),
            by_differences(activation=sigma), by_training("sgd", activation=sigma)]  # fmt: skip


def loss_checks(loss, **changes):
    own = [by_function(f"{loss}_backward", dtype=dtype) for dtype in ("float32", "float64")]
    return [*own, by_sweeps(loss=loss, **changes), by_differences(loss=loss, **changes)]


MEAN_LOSSES = [loss for loss in LOSSES if loss != "softmax_cross_entropy"]

# The fault in words: where it is, what is replaced by what, and which checks must notice.
FAULTS = {
    # A flipped sign.
    "sign in tanh'": ("tanh_backward", "1 - np.tanh", "1 + np.tanh", everywhere("tanh")),
    "sign in sigmoid'": ("sigmoid_backward", "(1 - Z)", "(Z - 1)", everywhere("sigmoid")),
    "sign in silu'": ("silu_backward", "A * (1 - S)", "A * (S - 1)", everywhere("silu")),
    "sign in gelu'": ("gelu_backward", "+ A * density", "- A * density", everywhere("gelu")),
    "sign in relu'": ("relu_backward", "A > 0", "A < 0", everywhere("relu")),
    "sign in elu'": ("elu_backward", "np.exp(np.minimum(A, 0))", "np.exp(np.maximum(-A, 0))", everywhere("elu")),
    "sign in softplus'": ("softplus_backward", "sigmoid(A)", "sigmoid(-A)", everywhere("softplus")),
    "sign of S - I_y": (
        "softmax_cross_entropy_backward", "keepdims=True) - I_y", "keepdims=True) + I_y",
        loss_checks("softmax_cross_entropy"),
    ),
    "sign of dX": ("Network.", "(G if scale", "(-G if scale", [by_sweeps(), by_differences()]),
    # Another constant or another formula nearby.
    "leaky slope": ("leaky_relu_backward", "(0.01)", "(0.1)", everywhere("leaky_relu")),
    "approximate gelu": ("_normal_cdf", "0.5 * erfc(A / -math.sqrt(2))",
        "0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (A + 0.044715 * A**3)))",
        [by_function("gelu"), by_function("gelu_backward"), by_sweeps(activation="gelu")]),
    "half of the square": ("mean_squared_error_backward", "2 * ", "", loss_checks("mean_squared_error")),
    "where huber bends": ("huber_backward", "-1, 1", "-2, 2", loss_checks("huber")),
    "natural logarithm of the count": ("poisson", "np.exp(Z) -", "np.exp2(Z) -",
        [by_function("poisson"), by_sweeps(loss="poisson"), by_differences(loss="poisson")]),
    # The mean.
    "1/m dropped from softmax_cross_entropy": (
        "softmax_cross_entropy_backward", "_shares(Z, sample_weight) * ", "", loss_checks("softmax_cross_entropy"),
    ),
    **{
        f"1/m dropped from {loss}": (
            "_mean_backward", "_shares(slopes, sample_weight) * ", "", loss_checks(loss),
        ) for loss in MEAN_LOSSES
    },
    **{
        f"1/k dropped from {loss}": ("_mean_backward", " / slopes.shape[1]", "", loss_checks(loss))
        for loss in MEAN_LOSSES
    },
    "weighted sum over m": ("_shares", "w / total if total", "w / len(w) if total",
        [by_function("huber"), by_function("softmax_cross_entropy_backward"), by_sweeps(weighted=True),
         by_training("sgd", weighted=True)]),
    # The sweeps.
    "σ' missed in a layer": ("dense_backward", "sigma_backward(G_next, A)", "G_next", [by_function("dense_backward")]),
    "σ' missed in the sweep": ("Network.", '_backward")(G, As[i])', '_backward")(G, 0 * As[i])',
        [by_sweeps(), by_sweeps(dtype="float32"), by_differences(), by_training("sgd")]),
    "σ' at Z[i+1]": ("Network.", "(G, As[i])", "(G, Zs[i + 1])",
        [by_sweeps(), by_sweeps(activation="gelu"), by_differences()]),
    "W not transposed": ("preactivation_backward", "W.T", "W",
        [by_sweeps(widths=(5, 5, 5)), by_differences(widths=(4, 4, 4)), by_training("sgd", widths=(5, 5, 5))]),
    "D not transposed": ("preactivation_backward", "Z.T @ D", "(Z.T @ D)[::-1]",
        [by_function("dense_backward"), by_sweeps(), by_differences()]),
    "db of one row": ("preactivation_backward", "D.sum(axis=0)", "D[0]",
        [by_sweeps(), by_differences(), by_training("sgd")]),
    "db a mean": ("preactivation_backward", "D.sum(axis=0)", "D.mean(axis=0)", [by_function("dense_backward")]),
    "b not added": ("preactivation", "Z @ W + b", "Z @ W", [by_function("dense"), by_sweeps(), by_training("sgd")]),
    "Z of the next layer": ("Network.", "D, Zs[i]", "D, Zs[max(i - 1, 0)]",
        [by_sweeps(widths=(5, 5, 5, 5)), by_differences(widths=(4, 4, 4))]),
    "scale left out of dX": ("Network.", "(G / scale)", "(G * 1.0)",
        [by_sweeps(standardised=True), by_differences(standardised=True)]),
    "mean left in the columns": ("Network.", " - mean", "", [by_sweeps(standardised=True)]),
    "means left out of layer_norm": ("layer_norm_backward", "- scaled.mean(axis=1, keepdims=True)", "",
        [by_function("layer_norm_backward"), by_function("layer_norm_backward", dtype="float32")]),
    "layer_norm with n - 1": ("_normalised", "(centred**2).mean(axis=1, keepdims=True)",
        "(centred**2).sum(axis=1, keepdims=True) / (Z.shape[1] - 1)",
        [by_function("layer_norm"), by_function("layer_norm_backward")]),
    "epsilon outside of the root": ("_normalised", "keepdims=True) + Z.dtype.type(EPSILON))",
        "keepdims=True)) + Z.dtype.type(EPSILON)", [by_function("layer_norm")]),
    "deviation without ε": ("_reciprocal_deviation", "+ variance.dtype.type(EPSILON)", "", [by_function("batch_norm")]),
    "mean held for constant": ("batch_norm_backward", "scaled - scaled.mean(axis=0)", "scaled",
        [by_function("batch_norm_backward")]),
    "variance held for constant": ("batch_norm_backward", " - Zhat * (scaled * Zhat).mean(axis=0)", "",
        [by_function("batch_norm_backward")]),
    "dγ of the input": ("batch_norm_backward", "(D * Zhat).sum", "(D * Z).sum", [by_function("batch_norm_backward")]),
    "mask of another step": ("dropout", "p, seed, step, layer", "p, seed, step + 1, layer", [by_function("dropout")]),
    "other mask on the way back": ("dropout_backward", "p, seed, step, layer", "p, seed, step, layer + 1",
        [by_function("dropout_backward")]),
    "mask not scaled": ("_mask", "Z.dtype.type(1 - p)", "Z.dtype.type(1)", [by_function("dropout")]),
    # Training.
    "last part of a batch left out": ("Trainer.", "-(-len(X) // self.batch_size)", "len(X) // self.batch_size",
        [by_training("sgd")]),
    "rows in their order": ("Trainer.", "batch if order is None else order[batch]", "batch", [by_training("sgd")]),
    "weights of the whole data": ("Trainer.", "self.sample_weight[rows]", "self.sample_weight[: len(Z)]",
        [by_training("sgd", weighted=True)]),
    "rate of the first step": ("Trainer.", "learning_rates[s - first]", "learning_rates[0]",
        [by_training("sgd, schedule"), by_training("adam, schedule"), by_training("adamw, schedule")]),
    # The optimizers.
    "bias correction by the other beta": ("adam_update", "1 - beta2**t", "1 - beta1**t",
        [by_function("adam_update"), by_function("adamw_update"), by_training("adam"), by_training("adamw")]),
    "bias correction left out": ("adam_update", "m / (1 - beta1**t)", "m",
        [by_function("adam_update"), by_training("adam"), by_training("adam, betas")]),
    "bias correction one step late": ("adam_update", "t = step + 1", "t = step + 2",
        [by_function("adam_update"), by_training("adam")]),
    "epsilon inside the root": ("adam_update", "np.sqrt(v_hat) + epsilon", "np.sqrt(v_hat + epsilon)",
        [by_function("adam_update"), by_training("adam"), by_training("adam, betas")]),
    "decay not decoupled": ("adamw_update", "theta *= 1 - learning_rate * weight_decay",
        "dtheta = dtheta + weight_decay * theta", [by_function("adamw_update"), by_training("adamw, weight decay")]),
    "damped momentum": ("sgd_update", "momentum * v + g\n", "momentum * v + (1 - momentum) * g\n",
        [by_function("sgd_update"), by_training("sgd, momentum")]),
    "damped first step": ("sgd_update", "g if step == 0 else momentum", "(1 - momentum) * g if step == 0 else momentum",
        [by_function("sgd_update"), by_training("sgd, momentum")]),
    "no look-ahead": ("sgd_update", "g + momentum * v if nesterov", "v if nesterov",
        [by_function("sgd_update"), by_training("sgd, nesterov")]),
    "decay of the wrong sign": ("sgd_update", "+ weight_decay * theta", "- weight_decay * theta",
        [by_function("sgd_update"), by_training("sgd, weight decay")]),
    "clipping by entry": ("clipped", "(dtheta.astype(np.float64) ** 2).sum()", "(dtheta.astype(np.float64) ** 2).max()",
        [by_function("sgd_update"), by_training("sgd, clip_norm"), by_training("adam, clip_norm")]),
    "centring left out": ("rmsprop_update", "square - average**2", "square",
        [by_function("rmsprop_update"), by_training("rmsprop, centered")]),
    "momentum of the gradient": ("rmsprop_update", "momentum * velocity + change", "momentum * velocity + g",
        [by_function("rmsprop_update"), by_training("rmsprop, momentum")]),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_noticed(fault, monkeypatch):
    where, old, new, checks = FAULTS[fault]
    for _, check in checks:
        check()
    plant(monkeypatch, where, old, new)
    unnoticed = [name for name, check in checks if not goes_red(check)]
    assert not unnoticed, f"{fault}: not noticed by {unnoticed}"


def goes_red(check):
    try:
        check()
    except AssertionError:
        return True
    return False


def test_every_derivative_has_a_fault():
    """A new activation or loss must be shown to be checked, too."""
    faulty = {where for where, *_ in FAULTS.values()}
    backward = {name for name in bs.functional.__all__ if name.endswith("_backward")} - {"identity_backward"}
    shared = {f"{loss}_backward" for loss in MEAN_LOSSES}  # their mean is in one place
    assert backward - shared <= faulty
    assert "_mean_backward" in faulty
    assert {name for name in bs.functional.__all__ if name.endswith("_update")} <= faulty


# The comparison itself.


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (np.zeros(3), np.zeros(3)),
        (np.full(3, 1e-9), np.zeros(3)),
        (np.zeros((0, 3)), np.zeros((0, 3))),
    ],
    ids=["zeros", "almost zeros", "nothing"],
)
def test_comparison_refuses_to_pass_for_nothing(got, want):
    with pytest.raises(AssertionError, match="cannot be told from zero"):
        assert_close(got, want, 1e-8)
    assert_close(got, want, 1e-8, may_vanish=True)


@pytest.mark.parametrize(
    ("got", "reason"),
    [
        (np.array([1.0, 2.0, 3.1]), "1 of 3 entries are wrong"),
        (np.array([-1.0, -2.0, -3.0]), "3 of 3 entries are wrong"),
        (np.array([1.0, 2.0, np.nan]), "not finite"),
        (np.array([1.0, 2.0]), "shape"),
        (np.array([[1.0, 2.0, 3.0]]), "shape"),
        (np.array([1.0, 2.0, 3.0], np.float32), "dtype"),
        (np.array([1, 2, 3]), "dtype"),
    ],
    ids=str,
)
def test_comparison_refuses(got, reason):
    want = np.array([1.0, 2.0, 3.0])
    assert_close(want.copy(), want, 1e-3)
    with pytest.raises(AssertionError, match=reason):
        assert_close(got, want, 1e-3)


def test_comparison_refuses_a_bound_that_is_not_finite():
    with pytest.raises(AssertionError, match="bound"):
        assert_close(np.ones(3), np.ones(3), np.nan, may_vanish=True)
    with pytest.raises(AssertionError, match="bound"):
        assert_close(np.ones(3), np.ones(3), np.inf, may_vanish=True)


def test_relative_error():
    assert relative_error([3.0, 4.0], [3.0, 4.0]) == 0
    assert relative_error([0.0, 0.0], [0.0, 0.0]) == 0
    assert relative_error([-3.0, -4.0], [3.0, 4.0]) == 2
    assert relative_error([0.0, 0.0], [3.0, 4.0]) == 1
    assert relative_error([1e-9], [0.0]) == np.inf
    assert norm([[3.0], [4.0]]) == 5
