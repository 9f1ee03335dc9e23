#!/usr/bin/env bash
# Claim: MAPIE's split-conformal sets with conformity_score="aps" miss the promised coverage without a warning where the softmax is
#   saturated (top probability exactly 1.0), although the data are exchangeable; "lac" on the same scores covers.
# Matters where: a network is fed another input range than it was trained on, or is extremely overconfident.
# Versions: mapie 1.6.0, scikit-learn 1.9.1, numpy 2.4.6
# Source: MAPIE documentation, SplitConformalClassifier; Romano, Sesia and Candes, Classification with Valid and Adaptive Coverage, 2020
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install mapie==1.6.0 scikit-learn==1.9.1 numpy==2.4.6
run <<'PY'
import warnings
import numpy as np
from mapie.classification import SplitConformalClassifier
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin

versions("mapie", "scikit-learn", "numpy")
random = np.random.default_rng(0)
K, N = 20, 4000
labels = random.integers(0, K, N)
logits = random.normal(0, 1, (N, K))
logits[np.arange(N), labels] += 3.0


class Saturated(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.arange(K)
        return self

    def predict_proba(self, X):
        return softmax(200.0 * np.asarray(X), axis=1)

    def predict(self, X):
        return np.asarray(X).argmax(axis=1)


model = Saturated().fit(logits, labels)
half = N // 2
show("accuracy", (model.predict(logits) == labels).mean())
show("rows with a top probability of exactly 1.0", (model.predict_proba(logits).max(axis=1) == 1.0).mean())
coverage, messages = {}, set()
for score in ("aps", "lac"):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        conformal = SplitConformalClassifier(model, confidence_level=0.99, conformity_score=score, prefit=True, random_state=0)
        conformal.conformalize(logits[:half], labels[:half])
        sets = conformal.predict_set(logits[half:])[1][:, :, 0]
    messages |= {str(one.message)[:100] for one in caught}
    coverage[score] = float(sets[np.arange(half), labels[half:]].mean())
show("coverage; 0.99 was asked for", coverage)
show("warnings", messages)
same(coverage["aps"] < 0.97, "aps covers less than 0.97")
same(coverage["lac"] >= 0.98, "lac covers")
PY
