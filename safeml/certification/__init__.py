"""Certified lower bounds of robust accuracy, valid for every attack. Attacks give the upper bounds.

`ibp` certifies predictions of the deployed model by interval bounds. `smoothing` certifies another classifier, built from the
model and noise. Modules that import TensorFlow at the top (`interval`, `rules`) are imported only inside functions.
"""
