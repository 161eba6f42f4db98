"""A number instead of a class: Friedman's function of ten variables, five of which do nothing.

The noise has standard deviation 1, so that is the error below which no method can come.
"""

import backsweep as bs
import numpy as np


def friedman(rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    X = rng.uniform(size=(rows, 10))
    values = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2 + 10 * X[:, 3] + 5 * X[:, 4]
    return X, values + rng.normal(size=rows)


rng = np.random.default_rng(0)
X, y = friedman(8000, rng)
X_test, y_test = friedman(2000, rng)

net = bs.Network([10, 64, 64, 1], activation="silu", loss="mean_squared_error", seed=0)
net.standardise(X)
mean, scale = y.mean(), y.std()  # the target is standardised by hand, and predictions are brought back
history = net.fit(X, (y - mean) / scale, epochs=30, batch_size=64, optimizer=bs.AdamW(2e-3, weight_decay=0.1))
print(history.header(), history.row(history.epochs - 1), sep="\n")

predicted = net.predict(X_test) * scale + mean
rmse = np.sqrt(np.mean((predicted - y_test) ** 2))
print(f"test RMSE {rmse:.3f}, of which 1 is noise; R² {1 - rmse**2 / y_test.var():.3f}")
