#!/usr/bin/env bash
# Claim: compute_success of ART never reads its `labels` for an untargeted attack, although they are documented as the correct ones:
#   it counts predictions that changed. An attack that repairs errors scores, and one that leaves every image misclassified does not.
# Matters where: the success rate of an attack is read as 1 minus the accuracy under attack.
# Versions: adversarial-robustness-toolbox 1.20.1, scikit-learn 1.9.1, numpy 2.4.6, packaging 25.0
# Source: ART documentation, art.utils.compute_success ("Correct labels of x_clean if the attack is untargeted")
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install adversarial-robustness-toolbox==1.20.1 scikit-learn==1.9.1 numpy==2.4.6 packaging==25.0
run <<'PY'
import warnings

warnings.filterwarnings("ignore")
import numpy as np
from art.estimators.classification import SklearnClassifier
from art.utils import compute_success
from sklearn.linear_model import LogisticRegression

versions("adversarial-robustness-toolbox", "scikit-learn", "numpy")
x = np.linspace(-1, 1, 100, dtype=np.float32)[:, None]
classifier = SklearnClassifier(LogisticRegression().fit(x, (x[:, 0] > 0).astype(int)))
truth = (x[:, 0] > 0).astype(int)
correct, opposite = np.eye(2)[truth], np.eye(2)[1 - truth]


def outcome(what, labels, x_adv):
    success = compute_success(classifier, x, labels, x_adv)
    accuracy = float((classifier.predict(x_adv).argmax(1) == labels.argmax(1)).mean())
    show(f"{what}: success, accuracy under attack", (float(success), accuracy))
    return success, accuracy


same(outcome("all correct before, all moved over the boundary", correct, -x) == (1.0, 0.0), "the usual case: success is 1 minus accuracy")
same(outcome("all incorrect before, not moved", opposite, x) == (0.0, 0.0), "accuracy 0 under attack is success 0")
same(outcome("all incorrect before, all moved over the boundary", opposite, -x) == (1.0, 1.0), "accuracy 1 under attack is success 1")
PY
