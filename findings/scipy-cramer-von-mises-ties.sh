#!/usr/bin/env bash
# Claim: the statistic of scipy.stats.cramervonmises_2samp is far above 0 for two samples that hold one and the same value, because its
#   formula for ranks is used with midranks. Nothing warns of the ties.
# Matters where: a drift monitor compares class indices, pixel levels or other repeated values by this statistic.
# Versions: scipy 1.17.1, numpy 2.4.6
# Source: SciPy reference, scipy.stats.cramervonmises_2samp; T. W. Anderson, On the distribution of the two-sample Cramer-von Mises criterion, 1962
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install scipy==1.17.1 numpy==2.4.6
run <<'PY'
import warnings
import numpy as np
from scipy.stats import cramervonmises_2samp

versions("scipy", "numpy")
def sum_of_squares(x, y):
    both, n, m = np.concatenate([x, y]), len(x), len(y)
    gaps = [(x <= v).mean() - (y <= v).mean() for v in both]
    return n * m / (n + m) ** 2 * float(np.square(gaps).sum())
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    x, y = np.zeros(5), np.zeros(40)
    constant = float(cramervonmises_2samp(x, y).statistic)
    random = np.random.default_rng(0)
    p, q = random.normal(size=15), random.normal(size=200)
    distinct = float(cramervonmises_2samp(p, q).statistic)
show("statistic of 5 and 40 zeros", constant)
show("the sum of squares that defines it", sum_of_squares(x, y))
show("warnings", [str(one.message) for one in caught])
same(constant > 1 and sum_of_squares(x, y) == 0, "equal constants are far apart")
same(abs(distinct - sum_of_squares(p, q)) < 1e-9, "without ties both agree")
same(not any("tie" in str(one.message).lower() for one in caught), "no warning speaks of ties")
PY
