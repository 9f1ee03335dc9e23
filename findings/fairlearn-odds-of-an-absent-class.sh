#!/usr/bin/env bash
# Claim: fairlearn's equalized_odds_difference of a classifier without an error is 1.0, the worst value, where one group has no
#   sample of the positive class: the undefined true positive rate of that group counts as 0, without a warning.
# Matters where: a rare class of many is compared with all others, and not every site or camera has seen it.
# Versions: fairlearn 0.15.0, scikit-learn 1.9.1, numpy 2.4.6, pandas 3.1.1
# Source: fairlearn API reference, equalized_odds_difference; M. Hardt, E. Price, N. Srebro, Equality of opportunity in supervised
#   learning, NeurIPS 2016: equalised odds is a condition on rates within a true class, which needs samples of it.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install fairlearn==0.15.0 scikit-learn==1.9.1 numpy==2.4.6 pandas==3.1.1
run <<'PY'
import warnings
import numpy as np
from fairlearn.metrics import MetricFrame, equalized_odds_difference, true_positive_rate

versions("fairlearn", "scikit-learn", "numpy", "pandas")
true = np.array([1, 1, 0, 0, 0, 0])
group = np.array(["a", "a", "a", "a", "b", "b"])  # group b has no sample of class 1
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    absent = equalized_odds_difference(true, true, sensitive_features=group)
    rates = MetricFrame(metrics=true_positive_rate, y_true=true, y_pred=true, sensitive_features=group).by_group
both = equalized_odds_difference(np.append(true, 1), np.append(true, 1), sensitive_features=np.append(group, "b"))
show("equalised odds difference of a perfect classifier, class 1 absent from group b", absent)
show("true positive rates", rates.to_dict())
show("the same with one sample of class 1 in group b", both)
same(absent == 1.0 and rates["b"] == 0.0, "the absent class counts as a rate of 0")
same(both == 0.0, "with one sample the difference is 0")
same(not caught, "nothing warns")
PY
