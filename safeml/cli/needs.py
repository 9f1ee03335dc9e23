"""One sentence if TensorFlow is missing or broken; commands that only read results work without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from safeml.errors import ConfigError, first_line

INSTALL = "install it with `python -m pip install --upgrade tensorflow keras`"


@contextmanager
def tensorflow_needed() -> Iterator[None]:
    """Guard code that imports TensorFlow and Keras. Raises ConfigError if they are absent or cannot be imported.

    Absence is detected before the code runs, a broken installation on import.
    """
    for name in ("tensorflow", "keras"):
        if find_spec(name) is None:
            raise ConfigError(f"{name} is not installed, but this command needs it; {INSTALL}.")
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "safeml":
            raise  # a defect of safeml
        raise ConfigError(
            f"TensorFlow or Keras cannot be imported ({first_line(error).rstrip('.')}); {INSTALL}."
        ) from error
