"""The input contract of a third-party model: candidates, their accuracies on labelled images, and a decision.

This package holds the candidates (data), measures (pure functions), rounds, decision and records of `safeml inspect`.
It may import numpy and scipy but no framework: it accesses a model only through the `Model` protocol.
"""
