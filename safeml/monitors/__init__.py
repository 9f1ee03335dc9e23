"""Run-time monitors: when not to trust a prediction. NumPy and the standard library only, in the syntax of Python 3.6.

A device carries this folder as it is; its modules import each other relatively. Legend: N images, K classes, F features.
Every score is higher where a prediction deserves more trust.
"""
