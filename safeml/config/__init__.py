"""`safeml.toml` and `recipe.toml` as a whole, and the gates checked before anything runs.

The tables that several rooms read are in `safeml.settings`, those of the stages in `safeml.stages`. No framework and no array
may be imported here.
"""
