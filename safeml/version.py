"""The version, in a file that packaging reads without importing safeml."""

__version__ = "1.0.0"
