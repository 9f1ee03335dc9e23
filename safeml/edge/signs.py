"""Which frames show the same sign track, as far as it is declared or the time tells."""

import os
import zipfile
from typing import Any, Optional

from .errors import Usage

TRACKS, IMAGE, FOLDER, PREFIX, GAP = "tracks", "image", "folder", "prefix", "gap"
KINDS = (TRACKS, IMAGE, FOLDER, PREFIX, GAP)


def kind_of(declared: Optional[str], kind: str, path: str) -> str:
    """Return how sign tracks are told apart: as declared, else by the array `tracks` of an .npz file, or by time gaps of a stream.

    kind: of the source. Raises Usage where neither tells them: frames of one sign would count as many.
    """
    has_tracks = kind == "npz" and _has_tracks(path)
    if declared == TRACKS and not has_tracks:
        raise Usage(f"{path} has no array `tracks`; declare another kind with --signs.")
    if declared:
        return declared
    if has_tracks:
        return TRACKS
    if kind in ("video", "camera"):
        return GAP
    raise Usage(
        "which frames show the same sign is not declared; write --signs folder, prefix (of the file name, up to the last _) or image."
    )


def _has_tracks(path: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "tracks.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


class Signs:
    """Names the sign track of each frame.

    kind: one of `KINDS`. gap: seconds without a frame after which another track begins.
    """

    def __init__(self, kind: str, gap: float) -> None:
        self.kind, self.gap = kind, gap
        self.number = 0
        self.time: Optional[float] = None

    def of(self, frame: Any) -> Any:
        """Return the track of a frame, which is compared with that of the frame before. frame: of `frames.Source`."""
        if self.kind == FOLDER:
            return os.path.dirname(frame.name)
        if self.kind == PREFIX:
            return frame.name.rpartition("_")[0] or frame.name
        earlier, self.time = self.time, frame.time
        other = earlier is None or self.kind == IMAGE
        if self.kind == TRACKS:
            other = other or frame.new_sign
        elif self.kind == GAP and earlier is not None:
            other = frame.time - earlier > self.gap
        self.number += other
        return self.number
