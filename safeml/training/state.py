"""The state of an unfinished training, from which the next epoch resumes identically.

One file, replaced atomically after each epoch: a sha256 and its .npz archive. It belongs to one recipe, one set of images
and one version of the libraries; any other or a damaged state is not used.
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
    """The error of an unusable state; the message is a clause with the reason."""


@dataclass(frozen=True)
class State:
    """The state of a training.

    key: of the training.
    history: the finished epochs.
    variables: of model and optimizer, in order.
    """

    key: str
    history: list[dict[str, Any]]
    variables: list[np.ndarray] = field(default_factory=list)


def variables(model: keras.Model) -> list[Any]:
    """Return the variables of training: weights, moving statistics, seeds of dropout, and the optimizer's state."""
    own = {id(variable) for variable in model.metrics_variables}
    return [
        variable for variable in [*model.variables, *model.optimizer.variables] if id(variable) not in own
    ]


def save(folder: Path, state: State) -> None:
    """Save the state atomically. Raises OSError if the file cannot be written; the earlier state is then intact."""
    meta = json.dumps({"key": state.key, "history": state.history}, allow_nan=False)
    arrays = {f"v{number:05d}": value for number, value in enumerate(state.variables)}
    arrays["meta"] = np.frombuffer(meta.encode(), np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # numpy's types take every name for its one option
    content = stream.getvalue()
    atomic_write(folder / FILE, hashlib.sha256(content).digest() + content)


def load(folder: Path) -> State | None:
    """Load the state in `folder`, or None if there is none. Raises Damaged if it differs from the saved one."""
    path = folder / FILE
    if not os.path.lexists(path):
        return None
    try:
        raw = read_plain(path, BYTES)
    except (OSError, ValueError) as error:
        raise Damaged(first_line(error)) from error
    digest, content = raw[:DIGEST], raw[DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise Damaged("it differs from what was saved")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        meta = json.loads(bytes(stored["meta"]))
        names = sorted(name for name in stored.files if name != "meta")
        return State(meta["key"], meta["history"], [stored[name] for name in names])


def restore(model: keras.Model, state: State) -> None:
    """Assign the state to a model. Raises Damaged if it is of another model."""
    targets = variables(model)
    if [tuple(variable.shape) for variable in targets] != [value.shape for value in state.variables]:
        raise Damaged("it is of another model")
    for variable, value in zip(targets, state.variables, strict=True):
        variable.assign(value)


def finished_epochs(folder: Path) -> int:
    """Return the number of finished epochs of the state in `folder`; 0 without a usable state."""
    try:
        state = load(folder)
    except Damaged:
        return 0
    return len(state.history) if state else 0


def discard(folder: Path) -> None:
    (folder / FILE).unlink(missing_ok=True)
