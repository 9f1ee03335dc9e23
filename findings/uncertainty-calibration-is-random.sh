#!/usr/bin/env bash
# Claim: get_calibration_error of uncertainty-calibration with p=1 gives another number at each call on the same data: its default
#   debias=True subtracts a simulation that draws from NumPy's global generator. It has no seed argument, and its documentation speaks
#   of no randomness. With p=2, or debias=False, two calls are equal.
# Matters where: the calibration error of a report is to be reproduced, or compared with a limit (p=1 is the usual ECE).
# Versions: uncertainty-calibration 0.1.4, numpy 2.4.6, scikit-learn 1.9.1
# Source: uncertainty-calibration, documentation of get_calibration_error; Kumar, Liang and Ma, Verified Uncertainty Calibration, 2019
set -euo pipefail
source "$(dirname "$0")/lib.sh"
install uncertainty-calibration==0.1.4 numpy==2.4.6 scikit-learn==1.9.1
run <<'PY'
import calibration
import numpy as np

versions("uncertainty-calibration", "numpy", "scikit-learn")
random = np.random.default_rng(0)
probabilities = random.uniform(0, 1, 200)
labels = (random.uniform(0, 1, 200) < probabilities).astype(int)


def calls(**options):
    results = [float(calibration.get_calibration_error(probabilities, labels, **options)) for _ in range(5)]
    show(f"five calls on the same data, {options}", [round(result, 5) for result in results])
    return set(results)


same(len(calls(p=1)) == 5, "p=1: five different numbers")
same(len(calls(p=2)) == 1, "p=2: one number")
same(len(calls(p=1, debias=False)) == 1, "p=1 without debias: one number")
seeded = set()
for _ in range(3):
    np.random.seed(0)
    seeded.add(float(calibration.get_calibration_error(probabilities, labels, p=1)))
same(len(seeded) == 1, "the seed of NumPy's global generator decides")
PY
