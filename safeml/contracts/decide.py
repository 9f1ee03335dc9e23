"""The decision of `safeml inspect`: a proposed contract, or a reason for none. Legend: N images, K classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from safeml.classifiers.base import Model
from safeml.contracts import words
from safeml.contracts.candidates import NOT_TRIED, Candidate, candidates
from safeml.contracts.feeds import Answers, Feeds
from safeml.contracts.measure import accuracy, chance_level, named, one_sided_level
from safeml.contracts.permutation import held_out, with_runner_up
from safeml.contracts.records import ContractResult, Outcome, Permutation, Reason
from safeml.contracts.search import WEAK, Measured, Search, best_of_these_images, is_weak, search
from safeml.data.dataset import ImageDataset
from safeml.work import Progress, silent

FIRST_IMAGES = 400


def inspect_model(
    model: Model,
    data: ImageDataset,
    images: int = FIRST_IMAGES,
    seed: int = 7,
    progress: Progress = silent,
    among: Sequence[Candidate] | None = None,
) -> Outcome:
    """Determine the input contract of a model by its accuracy on `data`, first on a sample of `images`.

    among: the candidates; None: all that fit the model. Their order does not matter.

    Raises: InputRefused if the model accepts none of them.
    """
    if model.outputs != data.classes:
        sentence = words.wrong_classes(model.where, model.outputs, data)
        return _outcome(model, data, seed, "classes", sentence)
    tried = among if among is not None else candidates(model.input_shape, data.images.shape[1:], data.classes)
    answers = Feeds(model, data.class_names)
    found = search(tried, answers, data, images, seed, progress)
    best, chance = found.kept[0], chance_level(found.data)
    above = _above_chance(best, found, chance, len(tried))
    swapped = None
    if not above or is_weak(best.accuracy):
        swapped = _other_order(tried, answers, data, found, seed, progress)
    reason: Reason = ""
    if swapped is not None and _makes_it_good(swapped, best, chance):
        reason = "permutation"
        sentence = words.permutation(
            model.where, swapped, best.candidate.name, best.accuracy, data.class_names
        )
    elif not above:
        reason, swapped = "chance", None
        sentence = words.chance(
            model.where, best.candidate.name, best.accuracy, chance, len(found.kept) + len(found.fallen)
        )
    elif len(found.kept) > 1 and not best_of_these_images(found):
        reason, swapped = "same", None
        sentence = words.same(model.where, found.kept, _differing(found), len(found.data))
    else:
        swapped = _swapped_classes(found, seed)
        runner_up = next(iter((*found.kept[1:], *found.fallen)), None)
        sentence = words.proposal(model.where, best, runner_up)
    return _outcome(model, data, seed, reason, sentence, found, chance, swapped)


def _outcome(
    model: Model,
    data: ImageDataset,
    seed: int,
    reason: Reason,
    sentence: str,
    found: Search | None = None,
    chance: float | None = None,
    permutation: Permutation | None = None,
) -> Outcome:
    kept, fallen = (found.kept, found.fallen) if found else ((), ())
    refused = [
        ContractResult(name=name, settings=candidate.settings, reason=why)
        for name, (candidate, why) in (found.refused.items() if found else ())
    ]
    rows = [*(_tried(entry, True) for entry in kept), *(_tried(entry, False) for entry in fallen), *refused]
    proposed = not reason
    warnings = []
    if proposed and len(kept) > 1:
        warnings.append(words.on_these_images([entry.candidate.name for entry in kept[1:]]))
    if proposed and is_weak(kept[0].accuracy):
        warnings.append(words.weak(kept[0].accuracy))
    if proposed and permutation is not None:
        warnings.append(words.swapped(permutation, kept[0].candidate.settings.class_order, data.class_names))
    if proposed:
        warnings += words.few_images(data)
    return Outcome(
        status="proposed" if proposed else "cannot_tell",
        reason=reason,
        sentence=sentence,
        warnings=tuple(warnings),
        notes=words.notes(model, data, found is not None),
        model=model.where,
        model_fingerprint=model.fingerprint,
        parameters=model.parameters,
        input_shape=model.input_shape,
        outputs=model.outputs,
        data=data.name,
        data_fingerprint=data.fingerprint,
        pixels_fingerprint=data.pixels_fingerprint,
        images=len(data),
        classes=data.classes,
        seed=seed,
        rounds=found.sizes if found else (),
        chance=chance,
        winner=rows[0] if proposed else None,
        runner_up=rows[1] if proposed and len(kept) + len(fallen) > 1 else None,
        same=tuple(entry.candidate.name for entry in kept) if reason == "same" else (),
        permutation=permutation,
        tried=tuple(rows),
        not_tried=NOT_TRIED,
    )


def _tried(entry: Measured, kept: bool) -> ContractResult:
    return ContractResult(
        name=entry.candidate.name,
        settings=entry.candidate.settings,
        accuracy=entry.accuracy,
        drop=entry.drop,
        kept=kept,
    )


def _above_chance(best: Measured, found: Search, chance: float, tried: int) -> bool:
    """Return whether the best contract is significantly above chance, corrected for the selection from `tried`."""
    raw = found.raw[best.candidate.feed]
    hits = named(raw, best.candidate.settings.class_order) == found.data.labels
    low = accuracy(hits, found.data, one_sided_level(tried)).low
    return low is not None and low > chance


def _differing(found: Search) -> int:
    """Count the images of the last round on which the remaining contracts disagree."""
    answers = np.stack(
        [named(found.raw[entry.candidate.feed], entry.candidate.settings.class_order) for entry in found.kept]
    )
    return int((answers != answers[0]).any(axis=0).sum())


def _other_order(
    tried: Sequence[Candidate],
    answers: Answers,
    data: ImageDataset,
    found: Search,
    seed: int,
    progress: Progress,
) -> Permutation | None:
    """Return the feed with the best permutation, fitted on all images, with its runner-up.

    The two best of the first round are fitted again on all images.

    A permuted model need not be best in its original class order, so eliminated feeds are examined too.
    """
    feeds = {entry.feed: entry for entry in sorted(tried, key=lambda entry: -entry.rank)}
    first = [
        (attempt, feeds[feed])
        for feed, raw in found.first_raw.items()
        if (attempt := held_out(feed, raw, None, found.first_data, seed, 1)) is not None
    ]
    if not first:
        return None
    first.sort(key=lambda pair: (-(pair[0].permuted.value or 0.0), pair[1].rank))
    finalists: list[tuple[Permutation, np.ndarray]] = []
    for done, (_, candidate) in enumerate(first[:2]):
        progress("class order", done, len(first[:2]))
        raw = answers(candidate, data)
        attempt = held_out(candidate.feed, raw, None, data, seed, len(feeds))
        if attempt is not None:
            finalists.append((attempt, raw))
    progress("class order", len(first[:2]), len(first[:2]))
    finalists.sort(key=lambda pair: -(pair[0].permuted.value or 0.0))
    if len(finalists) < 2:
        return finalists[0][0] if finalists else None
    (best, best_raw), (other, other_raw) = finalists
    return with_runner_up(best, other, (best_raw, other_raw), data, seed, len(feeds))


def _makes_it_good(swapped: Permutation, best: Measured, chance: float) -> bool:
    """Return whether the permutation is correct on half of the images, and significantly above chance and all contracts.

    The half excludes models of other classes: a good assignment lifts even a random network above chance.
    """
    value, low, gain = swapped.permuted.value, swapped.permuted.low, swapped.gain.low
    if value is None or low is None or gain is None or gain <= 0:
        return False
    return value >= WEAK and low > max(chance, best.accuracy.high or 0.0)


def _swapped_classes(found: Search, seed: int) -> Permutation | None:
    """Return a permutation that significantly improves the proposed contract: some of its classes may be swapped."""
    best = found.kept[0].candidate
    order = best.settings.class_order
    attempt = held_out(best.name, found.raw[best.feed], order, found.data, seed, 2)
    return attempt if attempt is not None and (attempt.gain.low or 0.0) > 0 else None
