"""How many images are computed at a time, and what happens when memory does not suffice for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from safeml.errors import StageError

T = TypeVar("T")


@dataclass(eq=False)
class BatchSize:
    """A number of images that only falls: what did not fit once in this process is not tried again.

    first: images at the start. least: where halving ends; the batch of a model that takes no other is its own least.
    """

    first: int
    least: int = 1
    size: int = 0

    def __post_init__(self) -> None:
        self.size = self.size or self.first

    @property
    def halved(self) -> bool:
        return self.size < self.first


def until_it_fits(batch: BatchSize, compute: Callable[[int], T]) -> T:
    """`compute(batch.size)`, again with half the batch for as long as it raises MemoryError.

    Raises StageError where the least batch does not fit either.
    """
    while True:
        try:
            return compute(batch.size)
        except MemoryError:
            if batch.size <= batch.least:
                raise StageError(
                    f"out of memory at batch {batch.size}: not even that many images fit; "
                    "run on a machine with more memory, or with smaller images."
                ) from None
        # Outside of the handler, so that what the failed attempt holds is free before the next one.
        batch.size = max(batch.size // 2, batch.least)
