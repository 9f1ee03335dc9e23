"""`safeml.toml` and `recipe.toml` as a whole, and the gates checked before anything runs.

Common tables are in `safeml.settings`, those of the stages in `safeml.stages`. This package imports no framework and no
NumPy.
"""
