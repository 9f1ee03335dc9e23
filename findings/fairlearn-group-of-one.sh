#!/usr/bin/env bash
# Claim: the bootstrap of fairlearn's MetricFrame gives a group of one sample a confidence interval of zero width, without a
#   warning: every resample that holds the group at all holds the same sample.
# Matters where: a rare sign class is a group, and the width of the interval is taken for certainty.
# Versions: fairlearn 0.15.0, scikit-learn 1.9.1, numpy 2.4.6, pandas 3.1.1
# Source: fairlearn user guide, MetricFrame, confidence intervals by bootstrap
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install fairlearn==0.15.0 scikit-learn==1.9.1 numpy==2.4.6 pandas==3.1.1
run <<'PY'
import warnings
import numpy as np
from fairlearn.metrics import MetricFrame
from sklearn.metrics import accuracy_score

versions("fairlearn", "scikit-learn", "numpy", "pandas")
random = np.random.default_rng(0)
group = np.array(["a"] * 150 + ["b"] * 150 + ["one"])
true = np.ones(301, int)
predicted = np.append((random.random(300) < 0.75).astype(int), 0)  # the one sample is classified incorrectly
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    frame = MetricFrame(
        metrics=accuracy_score, y_true=true, y_pred=predicted, sensitive_features=group,
        n_boot=100, ci_quantiles=[0.025, 0.975], random_state=0,
    )
low, high = (float(one.loc["one"]) for one in frame.by_group_ci)
show("interval of the accuracy of a group of one", (low, high))
show("interval of group a", tuple(round(float(one.loc["a"]), 3) for one in frame.by_group_ci))
show("warnings", {str(one.message)[:100] for one in caught})
same(low == high == 0.0, "the interval of the group of one is [0, 0]")
same(not caught, "nothing warns")
PY
