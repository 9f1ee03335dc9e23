"""Frames of a folder or a file are there already, so several are answered together; a frame of a camera never waits for the next."""

from typing import Callable, Iterator, List, Optional

from .frames import Frame

# A block ends with its last frame, after this many seconds, or with this many bytes of frames: so many lines a power cut can cost.
SECONDS, BYTES = 0.25, 1 << 22


def blocks(frames: Iterator[Frame], size: Callable[[], int]) -> Iterator[List[Frame]]:
    """Gather frames into blocks of at least one.

    size: returns the most frames of the next block.
    An error of the source is raised after the frames that came before it.
    """
    source, ended = iter(frames), False
    error: Optional[Exception] = None
    while not ended:
        most, held = max(1, size()), 0
        block: List[Frame] = []
        while len(block) < most and held < BYTES:
            frame: Optional[Frame] = None
            try:
                frame = next(source, None)
            except Exception as problem:  # raised below
                error = problem
            if frame is None:
                ended = True
                break
            block.append(frame)
            held += 0 if frame.image is None else frame.image.nbytes
            if frame.captured - block[0].captured >= SECONDS:
                break
        if block:
            yield block
        if error is not None:
            raise error
