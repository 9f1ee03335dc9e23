#!/usr/bin/env bash
# Claim: CalibratedClassifierCV(method="temperature") finds a wrong temperature for a strongly overconfident classifier that offers
#   predict_proba only: the logits are rebuilt from clipped logarithms. With decision_function the same logits give the true one.
# Matters where: a Keras model with a softmax is wrapped for scikit-learn by its probabilities.
# Versions: scikit-learn 1.9.1, numpy 2.4.6
# Source: scikit-learn user guide, Probability calibration; Guo et al., On Calibration of Modern Neural Networks, 2017
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install scikit-learn==1.9.1 numpy==2.4.6
run <<'PY'
import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

versions("scikit-learn", "numpy")
random = np.random.default_rng(0)
K, SCALE = 10, 30.0
true = random.normal(0, 1.5, (5000, K))
labels = np.array([random.choice(K, p=row) for row in softmax(true, axis=1)])


class Probabilities(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.arange(K)
        return self

    def predict_proba(self, X):
        return softmax(SCALE * np.asarray(X), axis=1)

    def predict(self, X):
        return np.asarray(X).argmax(axis=1)


class Logits(Probabilities):
    def decision_function(self, X):
        return SCALE * np.asarray(X)


found = {}
for kind in (Probabilities, Logits):
    calibrated = CalibratedClassifierCV(FrozenEstimator(kind().fit(true, labels)), method="temperature").fit(true, labels)
    (inner,) = calibrated.calibrated_classifiers_
    found[kind.__name__] = float(inner.calibrators[0].beta_)
show(f"inverse temperature; {1 / SCALE:.4f} is true", found)
same(abs(found["Logits"] * SCALE - 1) < 0.1, "decision_function gives the true temperature")
same(found["Probabilities"] * SCALE > 2, "predict_proba gives an inverse temperature that is more than twice too large")
PY
