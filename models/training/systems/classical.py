"""Systems without a network, on scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.training.epochs import Bools, Floats, History, Log
from models.training.systems.base import Part, Scores, check_part

SVM_ROWS = 50_000


@dataclass
class Classifier:
    """A classifier of scikit-learn.

    rows: at most so many training rows, drawn evenly from both classes' shares; all where None.
    score: what its score is: a probability with threshold 0.5, or a distance with threshold 0.
    """

    make: Callable[[int], Any]  #: from the seed
    threshold: float = 0.5
    rows: int | None = None
    model: Any = field(default=None, repr=False)

    def fit(self, x: Floats, y: Bools, validation: Part | None, seed: int, log: Log) -> History:
        check_part(x, y)
        if self.rows is not None and len(y) > self.rows:
            chosen = drawn(y, self.rows, seed)
            log(f"fits {len(chosen)} of {len(y)} rows")
            x, y = x[chosen], y[chosen]
        self.model = self.make(seed).fit(x, y)
        return []

    def scores(self, x: Floats) -> Scores:
        if hasattr(self.model, "predict_proba"):
            return np.asarray(self.model.predict_proba(x)[:, 1], np.float64)
        return np.asarray(self.model.decision_function(x), np.float64)


def drawn(y: Bools, rows: int, seed: int) -> np.ndarray:
    """Indices of `rows` rows, each class by its share, in order; at least one of each."""
    random = np.random.default_rng(seed)
    parts = []
    for one in (False, True):
        index = np.flatnonzero(y == one)
        count = min(len(index), max(1, round(rows * len(index) / len(y))))
        parts.append(random.choice(index, count, replace=False))
    return np.sort(np.concatenate(parts))


def svm(seed: int) -> Any:
    from sklearn.svm import SVC

    return SVC(C=10.0, kernel="rbf", gamma="scale", cache_size=500)


def forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(100, random_state=seed)


def nearest(seed: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(1)


def logistic(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=3000))


def boosting(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(random_state=seed)


@dataclass
class TreeAndOneClass:
    """A decision tree, and a one-class SVM around the benign training flows of each of its benign leaves.

    The tree calls known attacks; a flow in a benign leaf is an attack all the same when it is outside of
    what that leaf's benign flows look like.  The score is 2 where the tree says attack, otherwise 1 less the
    one-class SVM's distance, squeezed to 0 to 2: above 1 is outside.

    nu, gamma: of the one-class SVMs, nu the share of a leaf's training flows that may lie outside.
    smallest: benign leaves with fewer flows have no SVM, the tree alone decides there.
    most: flows of a leaf that its SVM is fitted on.
    """

    nu: float = 0.001
    gamma: float = 1.0
    smallest: int = 50
    most: int = 5000
    threshold: float = 1.0
    tree: Any = field(default=None, repr=False)
    around: dict[int, Any] = field(default_factory=dict, repr=False)

    def fit(self, x: Floats, y: Bools, validation: Part | None, seed: int, log: Log) -> History:
        check_part(x, y)
        from sklearn.svm import OneClassSVM
        from sklearn.tree import DecisionTreeClassifier

        random = np.random.default_rng(seed)
        # C4.5's gain is of entropy, and it wants two cases a leaf.
        self.tree = DecisionTreeClassifier(criterion="entropy", min_samples_leaf=2, random_state=seed)
        self.tree.fit(x, y)
        self.around = {}
        leaf, calm = self.tree.apply(x), ~self.tree.predict(x)
        for one in np.unique(leaf[calm & ~y]):
            index = np.flatnonzero((leaf == one) & ~y)
            if len(index) < self.smallest:
                continue
            if len(index) > self.most:
                index = random.choice(index, self.most, replace=False)
            self.around[int(one)] = OneClassSVM(nu=self.nu, gamma=self.gamma).fit(x[index])
        log(f"{self.tree.get_n_leaves()} leaves, {len(self.around)} with a one-class SVM")
        return []

    def scores(self, x: Floats) -> Scores:
        attack = self.tree.predict(x)
        result = np.where(attack, 2.0, 0.0)
        leaf = self.tree.apply(x)
        for one, around in self.around.items():
            here = (leaf == one) & ~attack
            if here.any():
                result[here] = 1.0 - np.tanh(around.decision_function(x[here]))
        return result
