"""The drop-in for scikit-learn's MLP: one pipeline twice, with its classifier and with ours.

    python examples/drop_in.py

Needs scikit-learn: pip install "backsweep[sklearn]"
"""

import time
import warnings

import numpy as np
from backsweep.sklearn import MLPClassifier
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as ScikitLearns
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

curves = []
for kind in (ScikitLearns, MLPClassifier):
    model = make_pipeline(StandardScaler(), kind(max_iter=300, random_state=0))
    began = time.perf_counter()
    model.fit(X_train, y_train)
    seconds = time.perf_counter() - began
    score = model.score(X_test, y_test)
    curves.append(np.array(model[-1].loss_curve_))
    print(
        f"{kind.__module__.split('.')[0]:10} {seconds:6.2f} s, {model[-1].n_iter_} epochs, {score:.1%} of unseen rows"
    )

difference = np.abs(curves[1] / curves[0] - 1).max()
print(f"The loss curves differ by {difference:.1g} of themselves.")
assert difference < 1e-6

# What there is beyond it.
model = MLPClassifier(
    (64, 32), activation=["gelu", "tanh"], layer_norm=True, class_weight="balanced", weight_decay=1e-2,
    learning_rate=lambda step: 2e-3 * 0.999**step, clip_norm=1.0, early_stopping=True, max_iter=300, random_state=0,
)  # fmt: skip
model.fit(X_train / 16, y_train, X_val=X_test / 16, y_val=y_test)
print(model.network_)
print(f"{model.n_iter_} epochs; loss of the validation rows {min(model.validation_loss_curve_):.3f} at best")
print("hidden layer", model.transform(X_test / 16).shape, "gradients", model.input_gradients(X_test[:2] / 16).shape)

# Batches normalised and units dropped in training; scores and predictions take running statistics and drop nothing.
model = MLPClassifier((128, 64), batch_norm=True, dropout=[0.1, 0.3], max_iter=30, random_state=0)
with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # few epochs are enough here
    model.fit(X_train / 16, y_train)
print(model.network_)
print(f"{model.n_iter_} epochs: {model.score(X_test / 16, y_test):.1%} of unseen rows")
