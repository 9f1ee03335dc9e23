"""Data sets by kind: one row per loader, imported on use."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safeml.data.dataset import ImageDataset
from safeml.errors import ConfigError, InputRefused, first_line

LOADERS: dict[str, str] = {
    "gtsrb": "safeml.data.gtsrb:load",
    "npz": "safeml.data.npz:load",
    "folder": "safeml.data.folder:load",
    "rendered": "safeml.data.rendered:render",
}


def load_dataset(kind: str, path: str | Path = "", **options: Any) -> ImageDataset:
    """Load the data set of a kind at a path, with the options of its loader (see `options_of`).

    Raises:
        ConfigError: an unknown kind or option, a missing option or path, or nothing at the path.
        InputRefused: the data cannot be read, are damaged or are not of the declared kind.
    """
    load = _loader(kind)
    known = options_of(kind)
    for option in options:
        if option not in known:
            raise ConfigError(f'data of kind "{kind}" has no option {option}{_suggest(option, known)}')
    parameters = inspect.signature(load).parameters
    if str(path):
        if "path" not in parameters:
            raise ConfigError(f'data of kind "{kind}" is rendered, not read; remove the path {path}.')
        options = {"path": path, **options}
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            raise ConfigError(f'data of kind "{kind}" requires {name}, which is missing.')
    try:
        return load(**options)
    except OSError as error:
        raise InputRefused(
            f"{error.filename or path}: cannot be read ({error.strerror or first_line(error)}); expected readable data."
        ) from error


def options_of(kind: str) -> tuple[str, ...]:
    """Return the names of the loader options of a kind, without the path."""
    return tuple(name for name in inspect.signature(_loader(kind)).parameters if name != "path")


def _loader(kind: str) -> Callable[..., ImageDataset]:
    if kind not in LOADERS:
        raise ConfigError(f'data kind "{kind}" is unknown{_suggest(kind, tuple(LOADERS))}')
    module, function = LOADERS[kind].split(":")
    loader: Callable[..., ImageDataset] = getattr(importlib.import_module(module), function)
    return loader


def _suggest(word: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else f"; known are {', '.join(known)}."
