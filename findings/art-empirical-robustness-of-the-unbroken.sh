#!/usr/bin/env bash
# Claim: empirical_robustness of ART is 0.0 where the attack changes no prediction. The most robust classifier gets the score of one that
#   the smallest change breaks.
# Matters where: models are ranked by that number, "higher is more robust", or a gate asks for a smallest value.
# Versions: adversarial-robustness-toolbox 1.20.1, scikit-learn 1.9.1, numpy 2.4.6, packaging 25.0
# Source: ART documentation, art.metrics.empirical_robustness; Moosavi-Dezfooli, Fawzi and Frossard, DeepFool, 2016
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install adversarial-robustness-toolbox==1.20.1 scikit-learn==1.9.1 numpy==2.4.6 packaging==25.0
run <<'PY'
import logging
import warnings

warnings.filterwarnings("ignore")
import numpy as np
from art.estimators.classification import SklearnClassifier
from art.metrics import empirical_robustness
from sklearn.linear_model import LogisticRegression

versions("adversarial-robustness-toolbox", "scikit-learn", "numpy")
logging.disable(logging.CRITICAL)
random = np.random.default_rng(0)
labels = np.arange(200) % 2
scores = {}
for distance in (0.05, 0.1, 0.2, 0.4):
    # Four features around 0.5, the boundary: class 1 lies `distance` above it, class 0 below it. The attack may move a feature by 0.3.
    x = (0.5 + np.where(labels[:, None] == 1, distance, -distance) + random.uniform(-0.01, 0.01, (200, 4))).astype(np.float32)
    classifier = SklearnClassifier(LogisticRegression(C=1e4).fit(x, labels), clip_values=(0.0, 1.0))
    accuracy = float((classifier.predict(x).argmax(1) == labels).mean())
    scores[distance] = float(empirical_robustness(classifier, x, "fgsm", {"eps": 0.3, "eps_step": 0.01}))
    show(f"classes {distance} from the boundary: accuracy, empirical robustness", (accuracy, round(scores[distance], 4)))
    same(accuracy == 1.0, "every sample is classified correctly")
same(0.0 < scores[0.05] < scores[0.1] < scores[0.2], "the farther the boundary, the higher the score, while the attack succeeds")
same(scores[0.4] == 0.0, "where the boundary is out of reach, the score is 0.0")
PY
