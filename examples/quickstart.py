"""Handwritten digits in a few lines: train, evaluate, save, load, predict."""

import backsweep as bs
import numpy as np
from backsweep.datasets import load_digits

X, y = load_digits()  # 1797 images of 8 × 8 pixels
order = np.random.default_rng(0).permutation(len(X))
train, test = order[:1437], order[1437:]

net = bs.Network([64, 256, 128, 10], activation="relu", loss="softmax_cross_entropy", seed=0)
net.standardise(X[train])  # from now on the network standardises the rows that it is given
net.fit(X[train], y[train], epochs=20, batch_size=32, optimizer=bs.Adam(1e-3))
print(f"test accuracy {net.evaluate(X[test], y[test])['accuracy']:.4f}")

net.save("digits.safetensors")
labels = bs.Network.load("digits.safetensors").predict(X[test[:10]])
print("predicted", *labels)
print("true     ", *y[test[:10]])
