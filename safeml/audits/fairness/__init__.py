"""Accuracy by condition and by the user's groups, its gaps, and the slices of images in which the model fails most."""
