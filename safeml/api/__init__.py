"""safeml from Python: one call for an audit, attacks on arrays, recorded runs by path.

`audit.py` audits a model, `attack.py` attacks images, `runs.py` reads and decides recorded runs; `arrays.py` checks what
the caller passes. Everything here is a thin layer over the rooms that the commands use.
"""
