"""A lecture on backpropagation as a program: sections 3.0 to 3.3 of the notes, each formula computed and checked.

    python examples/lecture.py

The pages with the derivations are in docs/notes.
"""

import backsweep as bs
import numpy as np
from backsweep.datasets import load_digits

F, C = bs.functional, bs.calculus


def section(title):
    print(f"\n{title}\n{'-' * len(title)}")


def same(what, one, other):
    """Say that two ways to the same matrix agree, or stop."""
    difference = np.abs(one - other).max()
    assert difference < 1e-12, f"{what} differ by {difference:.1e}"
    print(f"  {what}: the same, to {difference:.0e}")


X, y = load_digits()
X = X[:200] / 16.0  # rows are samples
y = y[:200]
m, n, k = len(X), X.shape[1], 10
rng = np.random.default_rng(0)

section("3.0  Three ingredients: hypothesis class, loss, optimizer")
W = np.zeros((n, k))
print(f"  hypothesis  X W, {X.shape} {W.shape}")
print(f"  loss        {F.softmax_cross_entropy(X @ W, y):.4f}, which is ln {k} where nothing is known")
for _ in range(100):
    G = F.softmax_cross_entropy_backward(X @ W, y)  # (S - I_y)/m
    W -= 1.0 * (X.T @ G)
print(f"  optimizer   W -= X.T (S - I_y)/m, 100 times: loss {F.softmax_cross_entropy(X @ W, y):.4f}")

section("3.1  Two layers: a table of matrix derivatives, and the chain rule")
print(C.table())
h = 32
W1, W2 = rng.normal(size=(n, h)) / np.sqrt(n), rng.normal(size=(h, k)) / np.sqrt(h)
A, by_A = C.matmul(X, W1)
Z, by_Z = C.elementwise("relu", A)
logits, by_logits = C.matmul(Z, W2)
loss, by_loss = C.softmax_cross_entropy(logits, y)
(G,) = by_loss(1.0)
dZ, dW2 = by_logits(G)
(D,) = by_Z(dZ)
_, dW1 = by_A(D)
S, I_y = F.softmax(logits), np.eye(k)[y]
print()
same("G and (S - I_y)/m", G, (S - I_y) / m)
same("dW2 and σ(X W1)ᵀ (S - I_y)/m", dW2, np.maximum(X @ W1, 0).T @ (S - I_y) / m)
same("dW1 and Xᵀ [(S - I_y) W2ᵀ ∘ σ'(X W1)]/m", dW1, X.T @ ((S - I_y) @ W2.T * (X @ W1 > 0)) / m)
closed = bs.two_layer_gradients(X, y, W1, W2)
same("dW1 and bs.two_layer_gradients", dW1, closed.dW1)

section("3.2  The general sweep: G_i from G_{i+1}")
net = bs.Network([n, 32, 16, k], activation="tanh", dtype="float64", seed=0)
Zs, As = [X], []
for i in range(3):
    As.append(Zs[i] @ net.W[i] + net.b[i])
    Zs.append(np.tanh(As[i]) if i < 2 else As[i])
G = F.softmax_cross_entropy_backward(Zs[3], y)
_, grads = net.loss_and_gradients(X, y, dX=True)
for i in reversed(range(3)):
    D = G * (1 - np.tanh(As[i]) ** 2) if i < 2 else G  # D_i = G_{i+1} ∘ σ'(A_i)
    same(f"dW[{i}] = Z[{i}]ᵀ D[{i}] and the network's", Zs[i].T @ D, grads.dW[i])
    same(f"db[{i}] = column sums of D[{i}] and the network's", D.sum(axis=0), grads.db[i])
    G = D @ net.W[i].T  # G_i = D_i W_iᵀ
same("G[0] and the network's dX", G, grads.dX)
print()
print(bs.explain(net, X, y))

section("3.3  Forward and backward passes: any graph is a chain of vector-Jacobian products")
value, pullback = bs.vjp(lambda X, W: X @ W, X, W1)
V = rng.normal(size=value.shape)
same("the pullback of X W and V Wᵀ", pullback(V)[0], V @ W1.T)


def residual(p, X, y):
    Z = F.tanh(X @ p["in"])
    Z = Z + F.tanh(Z @ p["square"])  # Z is used twice: what comes back adds up
    return F.softmax_cross_entropy(Z @ p["out"], y)


parameters = {"in": W1, "square": rng.normal(size=(h, h)) / h, "out": W2}
value, gradient = bs.value_and_grad(residual)(parameters, X, y)
print(f"  a residual network: loss {value:.4f}, gradients { ({name: g.shape for name, g in gradient.items()}) }")
print(f"  x³ at 2: {bs.grad(lambda x: x**3)(2.0)}, its second derivative {bs.grad(bs.grad(lambda x: x**3))(2.0)}")

section("Is it right? Differences say, and what is wrong")
print(bs.check_gradients(residual, parameters, X, y))
print()
print(bs.check_gradients(net, X, y, grads=([-dW for dW in grads.dW], [m * db for db in grads.db])))
