"""Calibration of probabilities, their scaling, selective prediction and conformal sets: pure functions of arrays, in float64."""
