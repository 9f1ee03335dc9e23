"""The error of a certification method that does not support a model."""

from __future__ import annotations

from safeml.errors import StageError


class NotCertifiable(StageError):
    """No image of this model can be certified; the message names the operation and the reason."""
