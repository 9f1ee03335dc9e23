"""What ART does to the process that calls it, undone: files in the home folder, global generators, its log."""

from __future__ import annotations

import logging
import os
import random
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager

import numpy as np


@contextmanager
def home_elsewhere() -> Iterator[None]:
    """ART writes a configuration into the home folder when it is imported; a temporary folder takes it."""
    home = os.environ.get("HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        try:
            yield
        finally:
            if home is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = home


@contextmanager
def folder_elsewhere() -> Iterator[None]:
    """GeoDA saves an array into the working folder and trusts one that it finds there; a temporary folder takes it."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        yield


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """ART draws from the global generators of NumPy and Python: seeded for the attack, then left as they were found.

    seed: 0..2**32-1.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


@contextmanager
def quiet() -> Iterator[None]:
    """ART's log and the warnings of its arithmetic dropped, for as long as the context lasts."""
    log = logging.getLogger("art")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
