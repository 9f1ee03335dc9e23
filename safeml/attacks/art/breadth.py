"""One attack of ART on images, within a number of seconds. Legend: N images, H W C pixels, K classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import numpy as np

from safeml import interruption
from safeml.attacks.art.budget import OutOfTime, Watch, wall
from safeml.attacks.art.generate import Generate, prepared
from safeml.attacks.art.registry import art_attack
from safeml.attacks.art.row import Row
from safeml.attacks.art.surroundings import folder_elsewhere, quiet, seeded
from safeml.classifiers.base import DifferentiableClassifier
from safeml.errors import StageError, first_line
from safeml.threats import Threat


@dataclass(frozen=True, eq=False)
class BreadthOutcome:
    """What an attack of ART found. It is a claim: the caller projects, clips and re-predicts.

    adversarial: float32 [N, H, W, C]; what ART returned, or the clean image where it was not reached.
    attempted: bool [N]; the images that the attack went through to its end.
    status: "finished", "budget exhausted" or "failed". reason: a clause for the last two, else "".
    seconds: from the first image on, without the import of ART. queries: images that the model was asked about, where
    a gradient counts as one for each image and class.
    """

    adversarial: np.ndarray
    attempted: np.ndarray
    status: Literal["finished", "budget exhausted", "failed"]
    reason: str
    seconds: float
    queries: int


def run_art(
    name: str,
    classifier: DifferentiableClassifier,
    images: np.ndarray,
    labels: np.ndarray,
    threat: Threat,
    seed: int,
    seconds: float,
    batch: int,
) -> BreadthOutcome:
    """Run the attack `name` of `ART_ATTACKS` on all images, or on as many as `seconds` allow.

    images: float32 [N, H, W, C], 0..1, which the classifier gets right. labels: int [N], 0..K-1.
    threat: its epsilon bounds an attack that takes a bound; an attack that searches for a small change runs as it is.
    seed: with the pixels of an image it decides the attack's random numbers; of an attack that takes several images at
    a time, the pixels of all of them. batch: the most images that are given to such an attack at a time.
    The deadline holds wherever Python is in the main thread; in another thread it holds when the model is asked.
    An exception of ART is the status "failed", and what was found before it is kept.
    Raises ConfigError (see `art_attack`) and StageError for images or a budget of another kind; MemoryError and
    KeyboardInterrupt go through.
    """
    row = art_attack(name, threat)
    _check(images, labels, seconds, batch)
    if classifier.classes < row.least_classes:
        few = f"it wants at least {row.least_classes} classes, and the model has {classifier.classes}"
        return BreadthOutcome(images.copy(), np.zeros(len(images), dtype=bool), "failed", few, 0.0, 0)
    watch = Watch()
    done: list[tuple[np.ndarray, np.ndarray]] = []
    status: Literal["finished", "budget exhausted", "failed"] = "finished"
    reason = ""
    with ExitStack() as stack:
        stack.enter_context(quiet())
        if row.writes:
            stack.enter_context(folder_elsewhere())
        attack = prepared(row, classifier, images.shape[1:], threat, batch, watch)
        watch.start(seconds)
        try:
            with wall(watch):
                for rows in _groups(row, len(images), batch):
                    done.append((rows, _attacked(attack, images[rows], labels[rows], seed, name)))  # noqa: PERF401 -- kept one by one
        except OutOfTime:
            count = sum(len(rows) for rows, _ in done)
            status, reason = (
                "budget exhausted",
                f"{seconds:g} s were over after {count} of {len(images)} images",
            )
        except MemoryError:
            raise
        except Exception as error:
            interruption.check()
            status, reason = "failed", first_line(error)
    adversarial, attempted = images.copy(), np.zeros(len(images), dtype=bool)
    for rows, found in done:
        adversarial[rows], attempted[rows] = found, True
    return BreadthOutcome(adversarial, attempted, status, reason, watch.spent(), watch.queries)


def _groups(row: Row, count: int, batch: int) -> Iterator[np.ndarray]:
    """The images that the attack is given together: what is finished before the deadline is kept."""
    size = {"one": 1, "batch": batch, "all": max(count, 1)}[row.group]
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def _attacked(attack: Generate, images: np.ndarray, labels: np.ndarray, seed: int, name: str) -> np.ndarray:
    digest = hashlib.sha256(f"{seed} {name}".encode())
    digest.update(np.ascontiguousarray(images).tobytes())
    number = int.from_bytes(digest.digest()[:4], "big")
    with seeded(number):
        found = np.asarray(attack(images, labels, np.random.default_rng(number)), dtype=np.float32)
    if found.shape != images.shape or not np.isfinite(found).all():
        raise StageError(
            f"ART returned {found.shape} or values that are not finite; expected {images.shape}."
        )
    return found


def _check(images: np.ndarray, labels: np.ndarray, seconds: float, batch: int) -> None:
    if images.ndim != 4 or images.dtype != np.float32:
        raise StageError(f"images are {images.dtype} {list(images.shape)}; expected float32 [N, H, W, C].")
    if labels.shape != (len(images),):
        raise StageError(f"labels are {list(labels.shape)}; expected one for each of {len(images)} images.")
    if not seconds > 0 or batch < 1:
        raise StageError(f"the budget is {seconds:g} s and batch {batch}; expected both above zero.")
