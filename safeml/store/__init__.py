"""Run folders: atomic files, the lock of a run, and the stored work of an unfinished run.

Standard library, NumPy and the records only. Audits do not import it: they receive a `Work`.
"""
