"""The state of an unfinished training: everything from which the next epoch goes on as if nothing had happened.

One file, replaced after each epoch in one step: a sha256, and the .npz archive that it is of. It belongs to one recipe, one
set of images and one version of the libraries; a state of anything else, or a damaged one, is not used.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from safeml.errors import first_line
from safeml.store.files import atomic_write, read_plain

FILE = ".training-state"
DIGEST = 32
BYTES = 4 * 1024**3


class Damaged(Exception):
    """The state cannot be used; the message is a clause that says why."""


@dataclass(frozen=True)
class State:
    """key: what the training belongs to. history: the finished epochs. variables: of model and optimizer, in their order."""

    key: str
    history: list[dict[str, Any]]
    variables: list[np.ndarray] = field(default_factory=list)


def variables(model: keras.Model) -> list[Any]:
    """What training changes: weights, moving statistics, seeds of dropout, and all that the optimizer remembers."""
    own = {id(variable) for variable in model.metrics_variables}
    return [
        variable for variable in [*model.variables, *model.optimizer.variables] if id(variable) not in own
    ]


def save(folder: Path, state: State) -> None:
    """Raises OSError where the file cannot be written; the earlier state is intact then."""
    meta = json.dumps({"key": state.key, "history": state.history}, allow_nan=False)
    arrays = {f"v{number:05d}": value for number, value in enumerate(state.variables)}
    arrays["meta"] = np.frombuffer(meta.encode(), np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # numpy's types take every name for its one option
    content = stream.getvalue()
    atomic_write(folder / FILE, hashlib.sha256(content).digest() + content)


def load(folder: Path) -> State | None:
    """The state in `folder`, or None where there is none. Raises Damaged where it is not what was saved."""
    path = folder / FILE
    if not os.path.lexists(path):
        return None
    try:
        raw = read_plain(path, BYTES)
    except (OSError, ValueError) as error:
        raise Damaged(first_line(error)) from error
    digest, content = raw[:DIGEST], raw[DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise Damaged("it is not what was saved")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        meta = json.loads(bytes(stored["meta"]))
        names = sorted(name for name in stored.files if name != "meta")
        return State(meta["key"], meta["history"], [stored[name] for name in names])


def restore(model: keras.Model, state: State) -> None:
    """Raises Damaged where the state is of another model."""
    targets = variables(model)
    if [tuple(variable.shape) for variable in targets] != [value.shape for value in state.variables]:
        raise Damaged("it is of another model")
    for variable, value in zip(targets, state.variables, strict=True):
        variable.assign(value)


def finished_epochs(folder: Path) -> int:
    """How many epochs the state in `folder` has behind it; 0 where there is none that can be used."""
    try:
        state = load(folder)
    except Damaged:
        return 0
    return len(state.history) if state else 0


def discard(folder: Path) -> None:
    (folder / FILE).unlink(missing_ok=True)
