"""Accuracy under corruptions of the image, and in the worst of a grid of small changes."""
