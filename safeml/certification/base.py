"""What a method of certification says when it cannot speak about a model."""

from __future__ import annotations

from safeml.errors import StageError


class NotCertifiable(StageError):
    """No certificate can be given for this model, whatever the image: its one sentence names the operation and why."""
