"""A small classifier of digits for the tests of what `backsweep.sklearn` has beyond scikit-learn."""

from backsweep.sklearn import MLPClassifier
from sklearn.datasets import load_digits

X, Y = load_digits(return_X_y=True)
X, Y = X[:300] / 16, Y[:300]


def classifier(**parameters):
    return MLPClassifier(**{"hidden_layer_sizes": (12,), "max_iter": 5, "random_state": 0, **parameters})


def fit(**parameters):
    return classifier(**parameters).fit(X, Y)


# Of so small an epsilon it does not matter where it stands.
BY_HAND = {"alpha": 0.0, "shuffle": False, "epsilon": 1e-30}


class Listener:
    """A callback that counts, looks at the estimator of each epoch, and stops after the last."""

    def __init__(self, last):
        self.last = last
        self.losses, self.scores, self.states = [], [], []

    def setup(self, estimator, context):
        self.states.append("setup")

    def on_fit_task_begin(self, estimator, context):
        self.states.append(context.task_name)

    def on_fit_task_end(self, estimator, context, *, metadata, fitted_estimator):
        if context.task_name != "epoch":
            return False
        self.losses.append(metadata["loss"])
        self.scores.append(fitted_estimator.score(X, Y))
        return len(self.losses) == self.last

    def teardown(self, estimator, context):
        self.states.append("teardown")
