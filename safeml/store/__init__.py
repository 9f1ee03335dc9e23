"""Run folders: files that are whole or absent, the lock of a run, and what is kept of one that is not finished.

Standard library, NumPy and the records only. Audits do not import it: they are handed a `Work`.
"""
