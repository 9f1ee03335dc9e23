"""A Keras model that is already in memory: what is audited is the object that the caller holds, and no file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from safeml.classifiers.base import Model
from safeml.errors import InputRefused, first_line

IN_MEMORY = "(in memory)"
SAVE = "save it with model.save('model.keras') and pass the path"


@dataclass(frozen=True, eq=False)
class InMemory:
    """A model in memory; the counterpart of `Opened` without a file.

    keras_model: the object of the caller. It is not copied, so it must not change during an audit.
    model: the same, checked.
    title: the name of the Keras model.
    origin, manifest, file_sha256: of the file; there is none.
    """

    keras_model: Any = field(repr=False)
    model: Model
    title: str
    origin: None = None
    manifest: Mapping[str, Any] | None = None
    file_sha256: str = ""

    def check_unchanged(self) -> None:
        """Raise InputRefused if weights or configuration have changed since the model was checked."""
        from safeml.classifiers.fingerprint import model_fingerprint

        if model_fingerprint(self.keras_model) != self.model.fingerprint:
            raise InputRefused(
                f"{self.model.where}: its weights or its configuration changed while it was audited; the run is void, "
                "run it again and do not train the model meanwhile."
            )


def in_memory(model: Any) -> InMemory:
    """Check a Keras 3 model of the caller.

    Raises InputRefused for any other object, for a model without an image input or a row of class scores, and for weights
    that are not finite.
    """
    keras = sys.modules.get("keras")  # whoever holds a Keras model has imported Keras
    if keras is None or not isinstance(model, keras.Model):
        raise InputRefused(
            f"model is {_kind(model)}; expected a path, or a model of Keras 3 (import keras). For another framework, export "
            "it to ONNX and pass the path."
        )
    if keras.backend.backend() != "tensorflow":
        raise InputRefused(
            f"model runs on the Keras backend {keras.backend.backend()}; expected tensorflow: {SAVE} in a process with "
            "KERAS_BACKEND=tensorflow."
        )
    from safeml.classifiers.keras import from_keras

    title = str(model.name)
    try:
        checked = from_keras(model, title)
    except NotImplementedError as error:  # get_config of a subclassed model
        raise InputRefused(
            f"{title}: has no configuration ({first_line(error)}); expected a functional or sequential model, or a "
            "subclass with get_config."
        ) from error
    return InMemory(model, checked, title)


def _kind(model: Any) -> str:
    """Name the class of an object, with its package."""
    cls = type(model)
    package = cls.__module__.partition(".")[0]
    return f"a {cls.__qualname__}" if package == "builtins" else f"a {package} {cls.__qualname__}"
