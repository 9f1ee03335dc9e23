#!/usr/bin/env bash
# Claim: infer() of ART's MembershipInferenceBlackBox returns shape (n, 1), so that comparing it with a vector of n truths broadcasts
#   to (n, n) without an error, and the "accuracy" of the attack falls to about one half whatever the attack knows.
# Matters where: a privacy audit computes attack accuracy with NumPy; a leaking model then passes.
# Versions: adversarial-robustness-toolbox 1.20.1, scikit-learn 1.9.1, numpy 2.4.6, packaging 25.0
# Source: ART documentation, art.attacks.inference.membership_inference; NumPy user guide, Broadcasting
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install adversarial-robustness-toolbox==1.20.1 scikit-learn==1.9.1 numpy==2.4.6 packaging==25.0
run <<'PY'
import numpy as np
from art.attacks.inference.membership_inference import MembershipInferenceBlackBox
from art.estimators.classification import SklearnClassifier
from sklearn.tree import DecisionTreeClassifier

versions("adversarial-robustness-toolbox", "scikit-learn", "numpy")
random = np.random.default_rng(0)
x = random.normal(size=(800, 8)).astype(np.float32)
y = random.integers(0, 2, 800)  # noise: a tree that is correct on it has learned it by heart
tree = DecisionTreeClassifier(random_state=0).fit(x[:400], y[:400])
attack = MembershipInferenceBlackBox(SklearnClassifier(tree), attack_model_type="rf")
attack.fit(x[:200], y[:200], x[400:600], y[400:600])
inferred = np.concatenate([attack.infer(x[200:400], y[200:400]), attack.infer(x[600:], y[600:])])
member = np.repeat([1, 0], 200)
show("shape", inferred.shape)
naive, meant = (inferred == member).mean(), (inferred.ravel() == member).mean()
show("attack accuracy as written, as meant", (float(naive), float(meant)))
same(inferred.shape == (400, 1), "infer returns a column")
same((inferred == member).shape == (400, 400), "the comparison is a matrix")
same(meant > 0.7 and abs(naive - 0.5) < 0.01, "an attack that works is reported as a coin toss")
PY
