"""Hostile model files, each written from a clean one by a few lines. No binary file stands in the repository.

`CASES` lists them with what the scan must say; `row` is the number of the threat. `clean` writes the models that they are made
from. To add a sample, add one line to the file of its kind.
"""

from tests.security.hostile import archives, configs, disguises, folders, tensors, texts
from tests.security.hostile.case import ACCEPTED, ANY, CASES, EXIT, NOT_CLEAN, REFUSED, Case

__all__ = [
    "ACCEPTED",
    "ANY",
    "CASES",
    "EXIT",
    "NOT_CLEAN",
    "REFUSED",
    "Case",
    "archives",
    "configs",
    "disguises",
    "folders",
    "tensors",
    "texts",
]
