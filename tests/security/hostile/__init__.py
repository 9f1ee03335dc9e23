"""Hostile model files, each written from a clean one by a few lines. No binary file is in the repository.

Each sample shows a threat without being one: it names classes that do not exist, declares a few MiB against a lowered bound,
and holds no code. Given to Keras, HDF5, TensorFlow or ONNX Runtime it is read or ends in an error; `test_outside` proves it.
`CASES` lists them with the answer that the scan must give; `row` is the number of the threat. `clean` writes the models that
they are made from. To add a sample, add one line to the file of its kind.
"""

from tests.security.hostile import archives, configs, disguises, folders, rawzip, tensors, texts
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
    "rawzip",
    "tensors",
    "texts",
]
