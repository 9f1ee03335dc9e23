"""Model files as untrusted bytes: a private copy, and a static scan by allow-list.

Here lives what looks at a file before any framework is imported. h5py and numpy may be imported, frameworks may not. A
scanner is one file a format: a function of a path that returns `Facts`, or raises `Refused` or `Inconclusive`.
"""
