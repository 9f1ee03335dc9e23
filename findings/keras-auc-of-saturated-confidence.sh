#!/usr/bin/env bash
# Claim: keras.metrics.AUC calls a perfect detector a coin toss (0.5) where confidences are saturated: its 200 thresholds are equally
#   spaced over 0..1, so all scores above 0.995 are one tie. Logits with from_logits=True do not help: they go through a sigmoid first.
# Matters where: the AUROC of error or outlier detection by the largest softmax output is taken from Keras. Most outputs of a
#   classifier of traffic signs are above 0.995, and the difference that detects lies behind the third nine.
# Versions: keras 3.15.1, jax 0.10.2, scikit-learn 1.9.1, numpy 2.4.6
# Source: Keras documentation, AUC (num_thresholds; the area is an approximation)
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install keras==3.15.1 jax==0.10.2 scikit-learn==1.9.1 numpy==2.4.6
run <<'PY'
os.environ["KERAS_BACKEND"] = "jax"
os.environ["KERAS_HOME"] = os.getcwd()
import keras
import numpy as np
from sklearn.metrics import roc_auc_score

versions("keras", "jax", "scikit-learn", "numpy")
random = np.random.default_rng(0)
correct = np.arange(2000) % 2


def area(scores, **options):
    metric = keras.metrics.AUC(**options)
    metric.update_state(correct, scores.astype(np.float32))
    return round(float(metric.result()), 3), round(float(roc_auc_score(correct, scores)), 3)


confidence = np.where(correct == 1, 0.9999, 0.9985) + random.uniform(-5e-5, 5e-5, 2000)
by_keras, exact = area(confidence)
show("confidence of incorrect and correct answers", [float(confidence[correct == kind].mean().round(4)) for kind in (0, 1)])
show("AUROC by Keras, by scikit-learn", (by_keras, exact))
same((by_keras, exact) == (0.5, 1.0), "a perfect detector is a coin toss for Keras")
logits = np.where(correct == 1, 12.0, 7.0) + random.normal(0, 1, 2000)
by_keras, exact = area(logits, from_logits=True)
show("AUROC of logits by Keras, by scikit-learn", (by_keras, exact))
same(by_keras < 0.55 and exact > 0.999, "logits that separate are a coin toss too")
metric = keras.metrics.SensitivityAtSpecificity(0.95)
metric.update_state(correct, confidence.astype(np.float32))
show("sensitivity at a specificity of 0.95", float(metric.result()))
same(float(metric.result()) == 0.0, "so is the sensitivity at a specificity")
PY
