"""Successive rounds on more images; each eliminates significantly worse contracts. Legend: N images, C candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from safeml.contracts.candidates import Candidate
from safeml.contracts.feeds import Answers
from safeml.contracts.measure import accuracy, drop, named, one_sided_level
from safeml.data.dataset import ImageDataset
from safeml.errors import InputRefused
from safeml.results import Metric
from safeml.work import Progress, silent

GROWTH = 4
WEAK = 0.5


@dataclass(frozen=True)
class Measured:
    """A candidate in its last round (1, 2, ...); drop is None for the best of that round."""

    candidate: Candidate
    round: int
    accuracy: Metric
    drop: Metric | None


@dataclass(frozen=True)
class Search:
    """The result of all rounds.

    kept: candidates never significantly worse than the best, best first.
    fallen: the others, last eliminated and best first.
    refused: reason by name of the candidate.
    data, first_data: images of the last and of the first round.
    raw, first_raw: largest output by feed in the last and in the first round, int [N].
    sizes: images of each round.
    """

    kept: tuple[Measured, ...]
    fallen: tuple[Measured, ...]
    refused: dict[str, tuple[Candidate, str]]
    data: ImageDataset
    raw: dict[str, np.ndarray]
    first_data: ImageDataset
    first_raw: dict[str, np.ndarray]
    sizes: tuple[int, ...]


def search(
    candidates: Sequence[Candidate],
    answers: Answers,
    data: ImageDataset,
    images: int,
    seed: int,
    progress: Progress = silent,
) -> Search:
    """Try all candidates on a random sample of `images`, the remaining ones on 4 times as many, then on all.

    A candidate is eliminated if the whole interval of its paired drop relative to the best of the round is above 0.
    Holm's procedure controls the family-wise error: each of the R planned rounds has a share ALPHA / R, divided by the
    number of open comparisons, which decreases with each elimination. The rounds end early if one candidate remains and
    it is not weak (weak: interval wholly below 0.5); a weak candidate is measured on all images.

    Raises: InputRefused if the model accepts none of the candidates.

        References: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics, 1979.
    """
    plan = round_sizes(len(data), images)
    alive = sorted(candidates, key=lambda candidate: candidate.rank)
    refused: dict[str, tuple[Candidate, str]] = {}
    fallen: list[Measured] = []
    first: tuple[ImageDataset, dict[str, np.ndarray]] | None = None
    for number, size in enumerate(plan, start=1):
        sample = data.sample(size, seed)
        raw, alive = _ask(alive, answers, sample, refused, progress)
        first = first or (sample, raw)
        kept, worse = _round(alive, raw, sample, number, len(plan))
        fallen += worse
        alive = [entry.candidate for entry in kept]
        if len(kept) == 1 and not is_weak(kept[0].accuracy):
            break
    assert first is not None
    return Search(
        kept=tuple(sorted(kept, key=_standing)),
        fallen=tuple(sorted(fallen, key=_standing)),
        refused=refused,
        data=sample,
        raw=raw,
        first_data=first[0],
        first_raw=first[1],
        sizes=tuple(plan[:number]),
    )


def round_sizes(total: int, images: int) -> list[int]:
    """Return the number of images of each round: `images`, 4 times as many, all; without repeats."""
    return [size for size in (images, GROWTH * images) if size < total] + [total]


def best_of_these_images(found: Search) -> bool:
    """Return whether the best remaining candidate is significantly better than each other, with images independent.

    A declared number of frames is a worst case: all frames of a sign are classified alike. Two contracts of one model do
    not behave so, and a contract can be significantly better on these images without proof for other signs. The author's
    contract is a question about these predictions, so the best one is proposed with a warning.
    """
    best, *others = found.kept
    single = replace(found.data, tracks=None, frames_per_sign=1.0)
    hits = {
        entry.candidate.name: named(found.raw[entry.candidate.feed], entry.candidate.settings.class_order)
        == found.data.labels
        for entry in found.kept
    }
    level = one_sided_level(len(others))
    return all(
        _is_loss(drop(hits[best.candidate.name], hits[other.candidate.name], single, level))
        for other in others
    )


def is_weak(metric: Metric) -> bool:
    """Return whether the interval of the accuracy is wholly below one half."""
    return metric.high is not None and metric.high < WEAK


def _ask(
    alive: list[Candidate],
    answers: Answers,
    sample: ImageDataset,
    refused: dict[str, tuple[Candidate, str]],
    progress: Progress,
) -> tuple[dict[str, np.ndarray], list[Candidate]]:
    """Return the largest outputs by feed and the accepted candidates; the others are added to `refused`."""
    raw: dict[str, np.ndarray] = {}
    failed: dict[str, str] = {}
    feeds = list({candidate.feed: candidate for candidate in alive}.values())
    step = f"{len(sample):,} images"
    for done, candidate in enumerate(feeds):
        progress(step, done, len(feeds))
        try:
            raw[candidate.feed] = answers(candidate, sample)
        except InputRefused as error:
            failed[candidate.feed] = str(error)
    progress(step, len(feeds), len(feeds))
    refused |= {
        candidate.name: (candidate, failed[candidate.feed]) for candidate in alive if candidate.feed in failed
    }
    fed = [candidate for candidate in alive if candidate.feed in raw]
    if not fed:
        raise InputRefused(next(iter(failed.values())))
    return raw, fed


def _round(
    alive: list[Candidate], raw: dict[str, np.ndarray], sample: ImageDataset, number: int, rounds: int
) -> tuple[list[Measured], list[Measured]]:
    """Split the candidates into remaining and eliminated; each elimination relaxes the level of the next comparison."""
    hits = {
        candidate.name: named(raw[candidate.feed], candidate.settings.class_order) == sample.labels
        for candidate in alive
    }
    best = min(alive, key=lambda candidate: (-int(hits[candidate.name].sum()), candidate.rank))
    fallen: list[Measured] = []
    while True:
        level = one_sided_level((len(alive) - 1) * rounds)
        measured = [
            Measured(
                candidate,
                number,
                accuracy(hits[candidate.name], sample),
                None if candidate is best else drop(hits[best.name], hits[candidate.name], sample, level),
            )
            for candidate in alive
        ]
        worse = [entry for entry in measured if entry.drop is not None and _is_loss(entry.drop)]
        if not worse:
            return measured, fallen
        fallen += worse
        alive = [entry.candidate for entry in measured if entry not in worse]


def _is_loss(found: Metric) -> bool:
    return found.low is not None and found.low > 0


def _standing(entry: Measured) -> tuple[int, float, int]:
    """Return a sort key: later eliminated first, then higher accuracy."""
    return -entry.round, -(entry.accuracy.value or 0.0), entry.candidate.rank
