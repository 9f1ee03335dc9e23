"""Certified lower bounds of robustness: what no attack, however good, can undercut. Attacks give the upper bounds.

`ibp` proves answers of the deployed model by interval bounds; `smoothing` certifies another classifier, made of the model
and noise. Files that import TensorFlow at their top (`interval`, `rules`) are imported inside of functions only.
"""
