"""The identity of a data set in the records: fingerprint and clustering."""

from __future__ import annotations

from typing import Literal

from safeml.data.dataset import ImageDataset
from safeml.results import DataIdentity

Role = Literal["test", "train", "valid"]


def data_identity(role: Role, data: ImageDataset) -> DataIdentity:
    """Return the identity of `data` in its role; signs by tracks, else by the declared frames per sign."""
    signs, clustering = None, "unknown"
    if data.tracks is not None:
        signs = float(len(set(data.tracks.tolist())))
        clustering = "recovered from pixels, not recorded" if data.tracks_origin else "tracks"
    elif data.frames_per_sign is not None:
        signs = len(data) / data.frames_per_sign
        clustering = f"declared, {data.frames_per_sign:g} frames per sign"
    return DataIdentity(
        role=role,
        name=data.name,
        fingerprint=data.fingerprint,
        images=len(data),
        classes=data.classes,
        signs=signs,
        clustering=clustering,
        notes=list(data.notes),
    )
